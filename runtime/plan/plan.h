// The plan as plain C++ values: the one contract between codegen (which builds it) and the runtime
// (which executes it). plan.fbs is its form on disk; serialize.h converts between the two.
//
// A plan names no operator and holds no graph object: the IR text inside is for people, `dump`,
// `diff` and the reference interpreter.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "ir/base/digest.h"
#include "ir/base/dtype.h"
#include "ir/base/model.h"
#include "runtime/plan/gpu.h"

namespace renga::plan {

// Bumped whenever a reader of the old form would misread the new one.
inline constexpr uint32_t kFormatVersion = 5;

// A size that is known only at run time. The executor binds every symbol before each run of the
// steps; `max` bounds it and sized the arena. The lower bound is 1, except that R may be 0: a step
// all of whose outputs are empty is skipped, so a prefill chunk that nobody asks logits of costs no
// output layer.
struct Symbol {
  std::string name;  // "T" tokens in this run, "S" sequences, "R" rows of logits asked for,
                     // "L" key positions visible, "P" pages of a sequence, "C" cache cells and
                     // "C_w512" those of a group with a window (Geometry)
  int64_t max = 1;   // inclusive upper bound
  friend bool operator==(const Symbol&, const Symbol&) = default;
};

// A size: symbol < 0 means the constant `value`, else symbols[symbol] (value unused).
struct Dim {
  int32_t symbol = -1;
  int64_t value = 1;
  friend bool operator==(const Dim&, const Dim&) = default;
};

struct TensorType {
  DType dtype = DType::kF32;
  std::vector<Dim> shape;  // row-major, outermost first; dense
  std::string layout;      // how a weight's bytes lie (ir/base/packing.h); empty: as in the file
  friend bool operator==(const TensorType&, const TensorType&) = default;
};

// Where a buffer's bytes live.
enum class Space : uint8_t {
  kInput = 0,       // filled by the executor before a run; `index` into Plan::inputs
  kWeight = 1,      // `index` into Plan::weights
  kCache = 2,       // `index` into Plan::caches; content survives from run to run
  kArena = 3,       // activation arena at `offset`; buffers never live together may share bytes
  kPersistent = 4,  // of its own at `offset` among those of its kind; zeroed when the plan is
                    // loaded, and zeroed again by every step that uses it
};

struct Buffer {
  std::string
      name;  // the IR value's name without its sigil; unique among weights, and among others
  TensorType type;
  Space space = Space::kArena;
  int32_t index = -1;    // see Space; -1 for the arena
  uint64_t offset = 0;   // bytes from the arena's start, 64-byte aligned; 0 outside the arena
  uint64_t bytes = 0;    // at every symbol's max
  int32_t view_of = -1;  // buffer whose bytes this one shows in another shape: no view itself, same
                         // space, index, offset and bytes; -1: owns its bytes
  friend bool operator==(const Buffer&, const Buffer&) = default;
};

// A named constant of a step.
using AttrValue = std::variant<int64_t, double, bool, std::string>;
struct Attr {
  std::string name;
  AttrValue value;
  friend bool operator==(const Attr&, const Attr&) = default;
};

enum class StepKind : uint8_t {
  kKernel = 0,  // a kernel of the target, by name
  kGemm = 1,    // a library matrix product
  kCopy = 2,
  kSet = 3,
};

struct Step {
  std::string name;    // value it finally produces
  int32_t layer = -1;  // -1 outside layers
  StepKind kind = StepKind::kKernel;
  int32_t kernel = -1;           // index into Plan::kernels
  std::vector<int32_t> inputs;   // indices into Plan::buffers; -1 for an absent optional operand
  std::vector<int32_t> outputs;  // indices into Plan::buffers
  std::vector<Attr> attrs;       // sorted by name
  std::vector<std::string> provenance;  // names of the source graph's nodes this step computes
  // On a GPU only. Buffers that the step alone uses: in the arena, or persistent.
  std::vector<int32_t> scratch;
  int32_t chosen_by = -1;         // symbol whose value chooses the variant: T or R
  std::vector<Variant> variants;  // by `last`, the last of which is the symbol's max
  friend bool operator==(const Step&, const Step&) = default;
};

// What a step computes. For the cpu target it is built into the runtime; on a GPU the step's
// variants say how.
struct Kernel {
  std::string name;
  friend bool operator==(const Kernel&, const Kernel&) = default;
};

// The bytes of a weight as the runtime uses them, in the plan file itself.
struct EmbeddedBytes {
  uint64_t offset = 0;  // from the start of the plan file's data section, a multiple of 4096
  Digest digest;
  friend bool operator==(const EmbeddedBytes&, const EmbeddedBytes&) = default;
};

// A tensor of the model in one layout. A tensor that is used in two has two entries.
struct Weight {
  WeightSource source;  // file, offset, bytes, type, shape
  Digest digest;        // of the bytes in the file
  std::string layout;   // that kernels read (ir/base/packing.h); empty: as in the file
  std::optional<EmbeddedBytes> embedded;  // where the file is not needed
  friend bool operator==(const Weight&, const Weight&) = default;
};

// K or V of one layer: [cells, heads, head_dim], owned by the KV arena.
struct Cache {
  std::string name;  // buffer name, "0.k_cache"
  int32_t layer = 0;
  DType dtype = DType::kF16;
  int64_t heads = 0;
  int64_t head_dim = 0;
  uint64_t cell_bytes = 0;  // bytes of one token's entry
  int32_t group = 0;        // of pages, see Geometry::windows
  friend bool operator==(const Cache&, const Cache&) = default;
};

struct Geometry {
  int64_t page_tokens = 0;  // cells of a page
  int64_t context = 0;      // tokens a sequence can hold
  int64_t max_sequences = 1;
  int64_t max_step_tokens = 0;  // T's bound
  // Caches are in groups that have pages of their own, and each its page tables. Group 0 keeps all
  // of a sequence: inputs `cells` and `pages`, symbol C. Group i + 1 keeps what a token sees that
  // sees the last windows[i] keys, its own too: inputs and symbol with that number
  // (ir/base/windows.h), as `cells.w512`, `pages.w512` and C_w512. Rising.
  std::vector<int64_t> windows = {};
  // Of a step of up to so many tokens every result is bit by bit what it is in a step of its token
  // alone (T is 1, and R): batch-invariant. 1 or more; max_step_tokens where no result ever depends
  // on what else is in a step.
  int64_t invariant_tokens = 1;
  friend bool operator==(const Geometry&, const Geometry&) = default;
};

enum class LedgerResult : uint8_t { kMatched = 0, kRejected = 1 };
struct LedgerEntry {
  std::string pass;
  std::string node;
  int32_t layer = -1;
  LedgerResult result = LedgerResult::kMatched;
  std::string reason;
  friend bool operator==(const LedgerEntry&, const LedgerEntry&) = default;
};

// Where more than one lowering was possible: what was taken, and why.
struct Choice {
  std::string subject;                  // weight or node, without sigil
  std::string what;                     // "layout"
  std::string chosen;                   // one of `considered`
  std::vector<std::string> considered;  // "file", "rows8"
  std::string reason;
  friend bool operator==(const Choice&, const Choice&) = default;
};

// What one pass did, for `dump --stage passes`.
struct PassRecord {
  std::string name;
  bool changed = false;
  int64_t nodes_before = 0;
  int64_t nodes_after = 0;
  double milliseconds = 0;
  friend bool operator==(const PassRecord&, const PassRecord&) = default;
};

// Bytes needed on the device, exact (layout.h computes them).
struct Memory {
  uint64_t weights = 0;      // in their layouts; on GPUs each rounded up to 256 bytes
  uint64_t kv = 0;           // the caches, each rounded up to 64 bytes
  uint64_t activations = 0;  // arena, inputs, persistent buffers and what the sampler
                             // works in, each rounded up to 64 bytes
  uint64_t total() const { return weights + kv + activations; }
  friend bool operator==(const Memory&, const Memory&) = default;
};

struct Plan {
  std::string target;    // "cpu", or the names of gpu.targets, separated by commas
  std::string producer;  // "renga 0.1.0"
  ModelInfo model;
  TokenizerData tokenizer;
  std::vector<ModelFile> files;  // the GGUF parts the weights are mapped from
  std::vector<IgnoredTensor> ignored;
  Geometry geometry;
  std::vector<Symbol> symbols;
  std::vector<std::string> inputs;   // names of kInput buffers, in Space::kInput index order
  std::vector<std::string> outputs;  // names of buffers the caller may read after a run ("logits")
  std::vector<Weight> weights;
  std::vector<Cache> caches;
  std::vector<Buffer> buffers;
  std::vector<Kernel> kernels;
  std::vector<Step> steps;  // in execution order
  Memory memory;
  std::string ir;         // final graph, text form
  std::string source_ir;  // graph as the frontend made it, text form
  std::vector<PassRecord> passes;
  std::vector<LedgerEntry> ledger;
  std::vector<Choice> choices;
  uint64_t data_bytes = 0;  // of the plan file's data section, which holds embedded weights
  Gpu gpu;
  friend bool operator==(const Plan&, const Plan&) = default;
};

}  // namespace renga::plan
