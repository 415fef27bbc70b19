// Decoders of random shape for property tests: sizes, heads, groups, weight types and optional
// parts all drawn from a seed, odd on purpose.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ir/base/dtype.h"
#include "ir/base/status.h"
#include "ir/reference/interpreter.h"
#include "ir/text/parse.h"

namespace renga {

class RandomDecoder {
 public:
  explicit RandomDecoder(uint32_t seed) : random_(seed) {
    kv_heads_ = 1 + Pick(3);
    heads_ = kv_heads_ * (1 + Pick(3));
    head_dim_ = 2 * (1 + Pick(9));
    width_ = 32 * (1 + Pick(2));
    hidden_ = 32 * (1 + Pick(3));
    vocab_ = 11 + Pick(40);
    layers_ = 1 + Pick(3);
    biases_ = Chance();
    head_norms_ = Chance();
    factors_ = Chance();
    gate_bias_ = Chance();
    up_bias_ = Chance();
    output_bias_ = Chance();
    sinks_ = Chance();
    activation_ = Chance() ? "silu" : "gelu_tanh";
    const std::string dims = StrCat(2 * (1 + Pick(head_dim_ / 2)));
    rope_ = StrCat("{base=", 1000 + Pick(50000), ".0, dims=", dims, ", factor=", 1 + Pick(4),
                   ".5, magnitude=1.0, pairing=", Chance() ? "neox" : "norm",
                   ", scaling=", Chance() ? "none" : "linear", "}");
    factors_size_ = std::stoi(dims) / 2;
    Write();
  }

  const std::string& text() const { return text_; }
  int layers() const { return layers_; }

  // Numbers for the declared weights, of the type each has: small, and no two weights alike.
  absl::StatusOr<absl::Span<const uint8_t>> Weight(const Graph& graph, const std::string& name) {
    std::vector<uint8_t>& bytes = weights_[name];
    if (!bytes.empty()) return absl::MakeConstSpan(bytes);
    const TensorType& type = graph.value(graph.FindValue(name, /*weight=*/true)).type;
    int64_t elements = 1;
    for (const Dim& dim : type.shape) elements *= dim.value;
    std::mt19937 random(std::hash<std::string>()(name));
    std::normal_distribution<float> normal(type.rank() == 1 ? 1.0f : 0.0f, 0.3f);
    const auto put = [&](const auto& value) {
      const auto* data = reinterpret_cast<const uint8_t*>(&value);
      bytes.insert(bytes.end(), data, data + sizeof(value));
    };
    for (int64_t i = 0; i < elements; ++i) {
      const float x = normal(random);
      if (type.dtype == DType::kF32) put(x);
      if (type.dtype == DType::kF16) put(FloatToHalf(x));
      if (type.dtype == DType::kBF16) put(static_cast<uint16_t>(std::bit_cast<uint32_t>(x) >> 16));
      if (type.dtype == DType::kQ8_0) {
        if (i % 32 == 0) put(FloatToHalf(0.01f + 0.005f * std::abs(x)));
        put(static_cast<int8_t>(random() % 255 - 127));
      }
    }
    return absl::MakeConstSpan(bytes);
  }

 private:
  int Pick(int n) { return static_cast<int>(random_() % static_cast<uint32_t>(n)); }
  bool Chance() { return Pick(2) == 0; }

  std::string Matrix(const std::string& name, int rows, int columns) {
    static constexpr const char* kTypes[] = {"f32", "f16", "bf16", "q8_0"};
    const bool blocks = columns % 32 == 0;
    StrAppend(&weights_text_, "weight @", name, ": ", kTypes[Pick(blocks ? 4 : 3)], "[", rows, ",",
              columns, "]\n");
    return "@" + name;
  }
  std::string Vector(const std::string& name, int size) {
    StrAppend(&weights_text_, "weight @", name, ": f32[", size, "]\n");
    return "@" + name;
  }
  void Node(const std::string& name, const std::string& type, const std::string& rest) {
    StrAppend(&nodes_, "  %", name, ": ", type, " = ", rest, "\n");
  }
  std::string Bias(const std::string& name, int size, bool there) {
    return there ? ", bias=" + Vector(name, size) : "";
  }

  // "%<layer>.<role>" as heads, normed and rotated as the model has it.
  void Heads(const std::string& l, const std::string& role, int heads, bool rotated) {
    const std::string type = StrCat("f32[T,", heads, ",", head_dim_, "]");
    const int width = heads * head_dim_;
    Node(l + role + "_proj", StrCat("f32[T,", width, "]"),
         StrCat("linear(%", l, "normed, ", Matrix(l + role, width, width_),
                Bias(l + role + "_bias", width, biases_), ")"));
    const bool normed = rotated && head_norms_;
    std::string at = l + role + "_heads";
    Node(at, type, StrCat("split_heads(%", l, role, "_proj) {heads=", heads, "}"));
    if (normed) {
      Node(l + role + "_normed", type,
           StrCat("rms_norm(%", at, ", ", Vector(l + role + "_norm", head_dim_), ") {eps=1e-06}"));
      at = l + role + "_normed";
    }
    if (rotated) {
      Node(l + role, type,
           StrCat("rope(%", at, ", %positions", factors_ ? ", factors=@factors" : "", ") ", rope_));
    }
  }

  void Layer(int layer, const std::string& x) {
    const std::string l = StrCat(layer, ".");
    const std::string wide = StrCat("f32[T,", width_, "]");
    const std::string cache = StrCat("f32[C,", kv_heads_, ",", head_dim_, "]");
    Node(l + "normed", wide,
         StrCat("rms_norm(%", x, ", ", Vector(l + "norm", width_), ") {eps=1e-05}"));
    Heads(l, "q", heads_, true);
    Heads(l, "k", kv_heads_, true);
    Heads(l, "v", kv_heads_, false);
    for (const std::string role : {"k", "v"}) {
      StrAppend(&caches_, "cache %", l, role, "_cache: ", cache, "\n");
      Node(l + role + "_cells", cache,
           StrCat("kv_append(%", l, role, "_cache, %", l, role == "v" ? "v_heads" : "k",
                  ", %cells)"));
      StrAppend(&returns_, ", %", l, role, "_cells");
    }
    const std::string scores = StrCat("f32[T,", heads_, ",L]");
    Node(l + "scores", scores,
         StrCat("attn_scores(%", l, "q, %", l, "k_cells, %sequences, %pages) {page_tokens=4, ",
                "scale=0.25, span=L}"));
    Node(l + "probs", scores,
         StrCat("masked_softmax(%", l, "scores, %positions",
                sinks_ ? ", sinks=" + Vector(l + "sinks", heads_) : "",
                ") {causal=true, window=", window_, "}"));
    Node(l + "mix", StrCat("f32[T,", heads_, ",", head_dim_, "]"),
         StrCat("attn_values(%", l, "probs, %", l, "v_cells, %sequences, %pages) {page_tokens=4}"));
    const int mixed = heads_ * head_dim_;
    Node(l + "attn", StrCat("f32[T,", mixed, "]"), StrCat("merge_heads(%", l, "mix)"));
    Node(l + "attn_out", wide,
         StrCat("linear(%", l, "attn, ", Matrix(l + "o", width_, mixed),
                Bias(l + "o_bias", width_, output_bias_), ")"));
    Node(l + "mid", wide, StrCat("add(%", x, ", %", l, "attn_out)"));
    const std::string inner = StrCat("f32[T,", hidden_, "]");
    Node(l + "ffn_normed", wide,
         StrCat("rms_norm(%", l, "mid, ", Vector(l + "ffn_norm", width_), ") {eps=1e-05}"));
    Node(l + "gate", inner,
         StrCat("linear(%", l, "ffn_normed, ", Matrix(l + "gate_w", hidden_, width_),
                Bias(l + "gate_b", hidden_, gate_bias_), ")"));
    Node(l + "up", inner,
         StrCat("linear(%", l, "ffn_normed, ", Matrix(l + "up_w", hidden_, width_),
                Bias(l + "up_b", hidden_, up_bias_), ")"));
    Node(l + "act", inner, StrCat("glu(%", l, "gate, %", l, "up) {activation=", activation_, "}"));
    Node(l + "down", wide,
         StrCat("linear(%", l, "act, ", Matrix(l + "down_w", width_, hidden_), ")"));
    Node(l + "out", wide, StrCat("add(%", l, "mid, %", l, "down)"));
  }

  void Write() {
    window_ = Pick(2) * 3;
    if (factors_) Vector("factors", factors_size_);
    std::string x = "x";
    for (int layer = 0; layer < layers_; ++layer) {
      Layer(layer, x);
      x = StrCat(layer, ".out");
    }
    Node("final", StrCat("f32[T,", width_, "]"),
         StrCat("rms_norm(%", x, ", ", Vector("final_norm", width_), ") {eps=1e-05}"));
    Node("logits_all", StrCat("f32[T,", vocab_, "]"),
         StrCat("linear(%final, ", Matrix("output", vocab_, width_),
                Bias("output_bias", vocab_, output_bias_), ")"));
    Node("logits", StrCat("f32[R,", vocab_, "]"), "gather_rows(%logits_all, %rows)");
    Node("next", "i32[R]", "arg_max(%logits)");
    text_ = StrCat("ir 1\ndim T = 1..8\ndim R = 1..4\ndim S = 1..2\ndim L = 1..16\ndim P = 1..4\n",
                   "dim C = 1..32\n", weights_text_, caches_, "graph @step(%x: f32[T,", width_,
                   "], %positions: i32[T], %cells: i32[T], %sequences: i32[T], %pages: i32[S,P], ",
                   "%rows: i32[R]) {\n", nodes_, "  return %logits, %next", returns_, "\n}\n");
  }

  std::mt19937 random_;
  int kv_heads_, heads_, head_dim_, width_, hidden_, vocab_, layers_, factors_size_, window_ = 0;
  bool biases_, head_norms_, factors_, gate_bias_, up_bias_, output_bias_, sinks_;
  std::string activation_, rope_, weights_text_, caches_, nodes_, returns_, text_;
  std::map<std::string, std::vector<uint8_t>> weights_;
};

}  // namespace renga
