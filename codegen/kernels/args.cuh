// What the kernels take: one struct each, by value, the same for the kernel and for whoever
// launches it. Pointers are to the GPU's memory. "Zeros at first" says that the kernel needs them
// once and leaves them so.
#pragma once

#include "codegen/kernels/integers.cuh"
#include "codegen/kernels/tensor_map.cuh"

namespace renga::kernels {

struct Half;

// linear.cuh: linear, norm_linear, linear_add.
struct LinearArgs {
  const float* x;         // [tokens, k]
  const float* norm;      // [k] where kNorm
  const void* weight;     // packed
  const float* bias;      // [n] or null
  const float* residual;  // [tokens, n] or null; may be y
  float* y;               // [tokens, n]
  int tokens;             // 1 to kTokens
};

// gate_up.cuh.
struct GateUpArgs {
  const float* x;          // [tokens, k]
  const float* norm;       // [k] where kNorm
  const void* gate;        // packed
  const void* up;          // packed
  const float* gate_bias;  // [n] or null
  const float* up_bias;    // [n] or null
  float* y;                // [tokens, n]
  int tokens;              // 1 to kTokens
};

// qkv_rope.cuh.
struct QkvRopeArgs {
  const float* x;     // [tokens, k]
  const float* norm;  // [k] where kNorm
  const void* q;      // packed, as k and v
  const void* k;
  const void* v;
  const float* q_bias;  // [q_heads * head_dim] or null; the others likewise
  const float* k_bias;
  const float* v_bias;
  const float* q_norm;       // [head_dim] where kHeadNorm
  const float* k_norm;       // [head_dim] where kHeadNorm
  const float* factors;      // [dims / 2] or null
  const int32_t* positions;  // [tokens]
  const int32_t* cells;      // [tokens]; below 0: nothing is stored
  float* q_out;              // [tokens, q_heads, head_dim]
  void* k_cache;             // [cells, kv_heads, head_dim] of KeyCache
  Half* k_scales;            // of a quantised cache
  void* v_cache;             // the same of ValueCache
  Half* v_scales;
  float* raw;         // [tokens, rows of q, k and v]
  uint32_t* tickets;  // [q_heads + 2 kv_heads], zeros
  int tokens;         // 1 to kTokens
};

// head.cuh.
struct HeadArgs {
  const float* x;      // [rows, k]
  const float* norm;   // [k] where kNorm
  const void* weight;  // packed
  const float* bias;   // [n] or null
  float* logits;       // [rows, n] or null: not wanted
  int32_t* next;       // [rows]
  uint64_t* best;      // [rows], zeros at first and afterwards
  uint32_t* ticket;    // one, zero at first and afterwards
  int rows;            // 1 to kTokens
};

// attention.cuh. `rows` are those of a tile, 16 * kRowWarps; `tiles` = grid.y * grid.z.
struct AttentionArgs {
  const float* q;        // [tokens, q_heads, head_dim]
  const void* k_cache;   // [cells, kv_heads, head_dim] of KeyCache
  const Half* k_scales;  // of a quantised cache
  const void* v_cache;   // the same of ValueCache
  const Half* v_scales;
  const int32_t* positions;  // [tokens]
  const int32_t* sequences;  // [tokens]; equal neighbours share a tile
  const int32_t* pages;      // [sequences, pages_of_sequence]; below 0: no page
  const float* sinks;        // [q_heads] or null
  float* y;                  // [tokens, q_heads, head_dim]
  float* part_values;        // [tiles, splits, rows, head_dim]; not used where splits is 1
  float* part_stats;         // [tiles, splits, rows, 2]; likewise
  uint32_t* tickets;         // [tiles], zeros at first and afterwards; likewise
  int pages_of_sequence;
  int span;  // number of key positions of this run
  int tokens;
};
struct BiasedAttentionArgs {
  AttentionArgs attention;
  const float* k_bias;  // [kv_heads * head_dim]
};

// attention_parts.cuh.
struct AttnScoresArgs {
  const float* q;       // [tokens, q_heads, head_dim]
  const void* k_cache;  // as in AttentionArgs
  const Half* k_scales;
  const int32_t* sequences;  // [tokens]
  const int32_t* positions;  // [tokens] or null; see AttnScores
  const int32_t* pages;      // [sequences, pages_of_sequence]
  float* s;                  // [tokens, q_heads, span]
  int pages_of_sequence;
  int span;
};
struct BiasedAttnScoresArgs {
  AttnScoresArgs scores;
  const float* k_bias;  // [kv_heads * head_dim]
};
struct MaskedSoftmaxArgs {
  const float* s;            // [tokens, q_heads, span]
  const int32_t* positions;  // [tokens]
  const float* sinks;        // [q_heads] or null
  float* p;                  // as s; may be s
  int span;
};
struct AttnValuesArgs {
  const float* p;       // [tokens, q_heads, span]
  const void* v_cache;  // as in AttentionArgs
  const Half* v_scales;
  const int32_t* sequences;  // [tokens]
  const int32_t* pages;      // [sequences, pages_of_sequence]
  float* y;                  // [tokens, q_heads, head_dim]
  int pages_of_sequence;
  int span;
};

// experts.cuh.
struct RouteArgs {
  const float* scores;  // [tokens, experts]
  int32_t* experts;     // [tokens, used]
  float* weights;       // [tokens, used]
};
struct ExpertLinearArgs {
  const float* x;          // [tokens, k] or [tokens, used, k]
  const void* weight;      // [experts, rows, k] as the file has it
  const int32_t* experts;  // [tokens, used]
  float* y;                // [tokens, used, rows]
};
struct ExpertSumArgs {
  const float* x;        // [tokens, used, width]
  const float* weights;  // [tokens, used]
  float* y;              // [tokens, width]
};

// matmul.cuh.
struct HalfRowsArgs {
  const float* x;     // [rows, k]
  const float* norm;  // [k] where kNorm
  Half* y;            // [rows, kXParts, padded k]
  float* factors;     // [rows]: what sums of products with y are to be multiplied by
};
struct MatmulArgs {
  const Half* x;          // [tokens, kXParts, kPitch], by HalfRows
  const float* factors;   // [tokens]
  const void* weight;     // packed
  const float* bias;      // [n] or null
  const float* residual;  // [tokens, n] or null; may be y
  float* y;               // [tokens, n]
  int tokens;
};

// matmul_wgmma.cuh.
struct MatmulWgmmaArgs {
  // x: [tokens or more, kXParts kPitch] f16 by HalfRows with kWgmmaOrder; boxes of kTileTokens rows
  // of 64, the 128-byte swizzle.
  TensorMap map;
  MatmulArgs product;  // whose x is not used
  // Where several blocks divide k; else not used.
  float* parts;       // [splits, tokens, n]
  uint32_t* tickets;  // [grid.x * grid.y], zeros at first and afterwards
};

// rows.cuh.
struct EmbedArgs {
  const int32_t* tokens;  // [count]
  const void* table;      // [vocabulary, width] as the file has it
  float* y;               // [count, width]
};
struct GatherRowsArgs {
  const float* x;       // [rows_of_x, width]
  const int32_t* rows;  // [count]
  float* y;             // [count, width]
  int rows_of_x;
};
struct SliceArgs {
  const float* x;  // [rows, width]
  float* y;        // [rows, size]
};
struct RmsNormArgs {
  const float* x;       // [rows, width]
  const float* weight;  // [width]
  float* y;             // [rows, width]; may be x
};
struct ArgMaxArgs {
  const float* x;  // [rows, width]
  int32_t* y;      // [rows]
};

// heads.cuh.
struct RopeArgs {
  const float* x;            // [tokens, heads, head_dim]
  const int32_t* positions;  // [tokens]
  const float* factors;      // [dims / 2] or null
  float* y;                  // as x; may be x
  int tokens;
};
struct FinishHeadsArgs {
  const float* q;  // [tokens, q_heads, head_dim]
  const float* k;  // [tokens, kv_heads, head_dim], as v
  const float* v;
  const float* q_norm;  // [head_dim] where kHeadNorm, as k_norm
  const float* k_norm;
  const float* factors;      // [dims / 2] or null
  const int32_t* positions;  // [tokens]
  const int32_t* cells;      // [tokens]; below 0: nothing is stored
  float* q_out;              // as q; may be q
  void* k_cache;             // [cells, kv_heads, head_dim] of KeyCache
  Half* k_scales;            // of a quantised cache
  void* v_cache;             // the same of ValueCache
  Half* v_scales;
  int tokens;
};
struct KvAppendArgs {
  const float* x;        // [tokens, heads, head_dim]
  const int32_t* cells;  // [tokens]; below 0: nothing is stored
  void* cache;           // [cells, heads, head_dim] of Element
  Half* scales;          // of a quantised cache
  int tokens;
};

// elementwise.cuh.
struct AddArgs {
  const float* a;
  const float* b;
  float* y;  // may be a or b
  int64_t count;
};
struct GluArgs {
  const float* gate;
  const float* up;
  float* y;  // may be gate or up
  int64_t count;
};

// sample.cuh. The same structs stand in runtime/plan/sample_args.h.
struct SampleRow {
  int row;                                      // of logits and next
  int sums;                                     // 1: SampleResult::sum is wanted
  int kept;                                     // largest logits to look at, 1 to kSampleKept
  int top_k;                                    // 0: off
  int first_change;                             // of SampleArgs::changes
  int changes;                                  // at most kSampleChanges
  float temperature, top_p, typical_p, repeat;  // as in SamplingParams; temperature above 0
  double log_min_p;                             // logarithm of min_p; -infinity: off
  double uniform;                               // in [0, 1)
  double unused;                                // a multiple of 16 bytes
};
struct SampleChange {  // no id twice
  int id;              // below vocab
  int penalised;       // 1: `repeat` and `penalty` count
  float bias;          // added to the logit before
  float penalty;       // taken off it
};
struct SampleResult {
  int id;        // chosen; -1: undecided
  int top;       // number of keys in SampleArgs::top; 0: nothing is known of the row
  float max;     // the largest logit
  float logit;   // of the chosen id, as the model gave it
  uint64_t sum;  // of the weights of all logits, where wanted
};
struct SampleArgs {
  const float* logits;  // [rows, columns]
  int32_t* next;        // [rows]: each row's arg max, or -1; becomes the chosen id, or -1
  // These two no kernel writes: they are read before the wait for the previous one.
  const SampleRow* rows;        // [grid.y]
  const SampleChange* changes;  // of all rows
  SampleResult* results;        // [grid.y]
  uint64_t* top;        // [grid.y, kSampleKept]: TokenKeys of the largest logits, largest first
  float* maxima;        // [grid.y, grid.x, kSampleChunks]
  uint64_t* part_sums;  // [grid.y, grid.x]
  uint32_t* tickets;    // [grid.y], zeros at first and afterwards
  int columns;          // from row to row of the logits
  int vocab;            // ids below may be chosen
  int segment;    // ids of a block, a multiple of 4 kSampleThreads: grid.x is vocab / segment,
                  // rounded up, and at most kSampleMostBlocks
  int rehearses;  // 1: the first row's blocks fetch the code before they wait
};
inline constexpr int kSampleKept = 128;       // largest logits that are looked at
inline constexpr int kSampleChanges = 128;    // of one row
inline constexpr int kSampleThreads = 256;    // of a block
inline constexpr int kSampleChunks = 32;      // of a block's logits
inline constexpr int kSampleMostBlocks = 64;  // of a row

// pack.cuh. The same struct stands in runtime/plan/pack_weight.h.
struct PackArgs {
  const void* file;    // [rows, row_bytes] as the file has them, from a multiple of 4 on; the bytes
                       // up to the next multiple of 4 may be read
  void* packed;        // the whole weight; zeros at first in what no tile has
  int64_t row_bytes;   // of the file
  int64_t plane[4];    // bytes from `packed` to each plane
  int64_t tail;        // likewise, to the exponent
  int64_t first_tile;  // where the first of `rows` goes
  int rows;            // of `file`
  int tiles;           // that they fill: rows / 16, rounded up
  int steps;           // of a tile
  int step_blocks;     // of 32 k
  int finish;          // 1: nothing but the exponent, after everything else
};

}  // namespace renga::kernels
