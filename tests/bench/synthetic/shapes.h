// The public models whose shapes speed is measured on, and the tensors that a GGUF of them has.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ir/base/dtype.h"

namespace renga::synthetic {

// From the model's config.json on its publisher's page.
struct Shape {
  std::string_view name;          // "llama-3.1-8b"
  std::string_view architecture;  // as GGUF has it
  std::string_view pre;           // pre-tokenizer
  int64_t layers, width, heads, kv_heads, head_dim, hidden, vocab, context;
  float rope_base, eps;
  float rope_factor;  // of Llama 3's scaling, written as rope_freqs.weight; 0: none
  bool qkv_bias;
  bool tied;                              // the embedding is the output's weight too
  int64_t specials;                       // control tokens, the vocabulary's last
  std::vector<std::string_view> special;  // names of the first of them
  int64_t bos, eos;                       // among the special ones
};

// Which element types a quantised file mixes, as llama.cpp's quantiser does.
struct Mix {
  std::string_view name;  // "q4_k_m"
  uint32_t file_type;     // general.file_type
  DType matrix;
  DType more_bits;  // attn_v and ffn_down in about half of the layers
  DType output;     // also of an embedding that is the output
};

struct Tensor {
  std::string name;
  DType type;
  std::vector<int64_t> shape;  // outermost first
  enum class Values { kMatrix, kNorm, kBias, kRopeFactors } values;
};

struct Model {
  Shape shape;
  Mix mix;
  std::vector<Tensor> tensors;  // in the file's order
};

// 0: as many as the model has.
struct Cut {
  int64_t layers = 0;  // the first ones
  int64_t vocab = 0;   // tokens
};

absl::Span<const Shape> AllShapes();
absl::Span<const Mix> AllMixes();

// "llama-3.1-8b-q4_k_m": a shape and a mix. InvalidArgument for another name, or a cut that leaves
// nothing or more than there is.
absl::StatusOr<Model> FindModel(std::string_view name, const Cut& cut);

// What Llama 3's scaling divides the frequency of each pair of a head by.
std::vector<float> RopeFactors(const Shape& shape);

}  // namespace renga::synthetic
