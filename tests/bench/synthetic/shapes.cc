#include "tests/bench/synthetic/shapes.h"

#include <cmath>

#include "ir/base/status.h"

namespace renga::synthetic {
namespace {

constexpr int64_t kMinVocab = 1024;  // letters, merges and special tokens have room

// A row that is no whole number of blocks of 256 gets another type (llama.cpp,
// src/llama-quant.cpp).
struct Fallback {
  DType type, instead;
};
constexpr Fallback kFallbacks[] = {{DType::kQ4_K, DType::kQ5_0}, {DType::kQ6_K, DType::kQ8_0}};

DType Fitting(DType type, int64_t width) {
  if (width % Info(type).block_elements == 0) return type;
  for (const Fallback& fallback : kFallbacks) {
    if (fallback.type == type) return fallback.instead;
  }
  return type;
}

// The first and the last eighth of the layers, and every third between (the same source).
bool GetsMoreBits(int64_t layer, int64_t layers) {
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

class TensorList {
 public:
  explicit TensorList(std::vector<Tensor>* tensors) : tensors_(*tensors) {}

  void Matrix(std::string name, DType type, int64_t rows, int64_t width) {
    Add(std::move(name), Fitting(type, width), {rows, width}, Tensor::Values::kMatrix);
  }
  void Vector(std::string name, int64_t size, Tensor::Values values) {
    Add(std::move(name), DType::kF32, {size}, values);
  }

 private:
  void Add(std::string name, DType type, std::vector<int64_t> shape, Tensor::Values values) {
    tensors_.push_back({std::move(name), type, std::move(shape), values});
  }
  std::vector<Tensor>& tensors_;
};

// `layers` is the real model's number, by which the types go.
void AddLayer(const Shape& shape, const Mix& mix, int64_t layer, int64_t layers, TensorList* list) {
  using Values = Tensor::Values;
  const std::string block = StrCat("blk.", layer, ".");
  const DType more = GetsMoreBits(layer, layers) ? mix.more_bits : mix.matrix;
  const int64_t q = shape.heads * shape.head_dim, kv = shape.kv_heads * shape.head_dim;
  list->Vector(block + "attn_norm.weight", shape.width, Values::kNorm);
  list->Matrix(block + "attn_q.weight", mix.matrix, q, shape.width);
  list->Matrix(block + "attn_k.weight", mix.matrix, kv, shape.width);
  list->Matrix(block + "attn_v.weight", more, kv, shape.width);
  if (shape.qkv_bias) {
    list->Vector(block + "attn_q.bias", q, Values::kBias);
    list->Vector(block + "attn_k.bias", kv, Values::kBias);
    list->Vector(block + "attn_v.bias", kv, Values::kBias);
  }
  list->Matrix(block + "attn_output.weight", mix.matrix, shape.width, q);
  list->Vector(block + "ffn_norm.weight", shape.width, Values::kNorm);
  list->Matrix(block + "ffn_gate.weight", mix.matrix, shape.hidden, shape.width);
  list->Matrix(block + "ffn_up.weight", mix.matrix, shape.hidden, shape.width);
  list->Matrix(block + "ffn_down.weight", more, shape.width, shape.hidden);
}

absl::Status ApplyCut(const Cut& cut, Shape* shape) {
  if (cut.layers < 0 || cut.layers > shape->layers) {
    return absl::InvalidArgumentError(StrCat(shape->name, ": layers: expected 1..", shape->layers,
                                             ", or 0 for all, got ", cut.layers));
  }
  if (cut.vocab != 0 && (cut.vocab < kMinVocab || cut.vocab > shape->vocab)) {
    return absl::InvalidArgumentError(StrCat(shape->name, ": tokens: expected ", kMinVocab, "..",
                                             shape->vocab, ", or 0 for all, got ", cut.vocab));
  }
  if (cut.layers > 0) shape->layers = cut.layers;
  if (cut.vocab > 0) shape->vocab = cut.vocab;
  return absl::OkStatus();
}

std::vector<std::string> AllNames() {
  std::vector<std::string> names;
  for (const Shape& shape : AllShapes()) {
    for (const Mix& mix : AllMixes()) names.push_back(StrCat(shape.name, "-", mix.name));
  }
  return names;
}

}  // namespace

absl::Span<const Shape> AllShapes() {
  static const auto& shapes = *new std::vector<Shape>{
      {.name = "qwen2.5-0.5b",
       .architecture = "qwen2",
       .pre = "qwen2",
       .layers = 24,
       .width = 896,
       .heads = 14,
       .kv_heads = 2,
       .head_dim = 64,
       .hidden = 4864,
       .vocab = 151936,
       .context = 32768,
       .rope_base = 1e6f,
       .eps = 1e-6f,
       .rope_factor = 0,
       .qkv_bias = true,
       .tied = true,
       .specials = 293,
       .special = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"},
       .bos = 0,
       .eos = 2},
      {.name = "llama-3.2-1b",
       .architecture = "llama",
       .pre = "llama-bpe",
       .layers = 16,
       .width = 2048,
       .heads = 32,
       .kv_heads = 8,
       .head_dim = 64,
       .hidden = 8192,
       .vocab = 128256,
       .context = 131072,
       .rope_base = 5e5f,
       .eps = 1e-5f,
       .rope_factor = 32,
       .qkv_bias = false,
       .tied = true,
       .specials = 256,
       .special = {"<|begin_of_text|>", "<|end_of_text|>"},
       .bos = 0,
       .eos = 1},
      {.name = "llama-3.1-8b",
       .architecture = "llama",
       .pre = "llama-bpe",
       .layers = 32,
       .width = 4096,
       .heads = 32,
       .kv_heads = 8,
       .head_dim = 128,
       .hidden = 14336,
       .vocab = 128256,
       .context = 131072,
       .rope_base = 5e5f,
       .eps = 1e-5f,
       .rope_factor = 8,
       .qkv_bias = false,
       .tied = false,
       .specials = 256,
       .special = {"<|begin_of_text|>", "<|end_of_text|>"},
       .bos = 0,
       .eos = 1},
  };
  return shapes;
}

absl::Span<const Mix> AllMixes() {
  static constexpr Mix kMixes[] = {
      {"f16", 1, DType::kF16, DType::kF16, DType::kF16},
      {"bf16", 32, DType::kBF16, DType::kBF16, DType::kBF16},
      {"q8_0", 7, DType::kQ8_0, DType::kQ8_0, DType::kQ8_0},
      {"q4_k_m", 15, DType::kQ4_K, DType::kQ6_K, DType::kQ6_K},
  };
  return kMixes;
}

absl::StatusOr<Model> FindModel(std::string_view name, const Cut& cut) {
  for (const Shape& shape : AllShapes()) {
    for (const Mix& mix : AllMixes()) {
      if (name != StrCat(shape.name, "-", mix.name)) continue;
      Model model = {shape, mix, {}};
      RENGA_RETURN_IF_ERROR(ApplyCut(cut, &model.shape));
      const Shape& s = model.shape;
      TensorList list(&model.tensors);
      if (!s.tied) list.Matrix("output.weight", mix.output, s.vocab, s.width);
      list.Matrix("token_embd.weight", s.tied ? mix.output : mix.matrix, s.vocab, s.width);
      if (s.rope_factor > 0) {
        list.Vector("rope_freqs.weight", s.head_dim / 2, Tensor::Values::kRopeFactors);
      }
      for (int64_t layer = 0; layer < s.layers; ++layer) {
        AddLayer(s, mix, layer, shape.layers, &list);
      }
      list.Vector("output_norm.weight", s.width, Tensor::Values::kNorm);
      return model;
    }
  }
  return absl::InvalidArgumentError(
      StrCat("model: expected one of ", StrJoin(AllNames(), ", "), ", got '", name, "'"));
}

// Meta's llama-models, apply_scaling: long waves by the factor, short ones not at all, those
// between by a mixture.
std::vector<float> RopeFactors(const Shape& shape) {
  constexpr double kLow = 1, kHigh = 4, kOriginalContext = 8192, kTurn = 6.283185307179586;
  std::vector<float> factors;
  for (int64_t i = 0; i < shape.head_dim / 2; ++i) {
    const double exponent = 2.0 * static_cast<double>(i) / static_cast<double>(shape.head_dim);
    const double turns = kOriginalContext / (kTurn * std::pow(double{shape.rope_base}, exponent));
    const double kept = std::min(1.0, std::max(0.0, (turns - kLow) / (kHigh - kLow)));
    factors.push_back(static_cast<float>(1 / ((1 - kept) / shape.rope_factor + kept)));
  }
  return factors;
}

}  // namespace renga::synthetic
