// The header of a GGUF with the shapes of Llama-3.1-8B and the types of Q4_K_M, and behind it a
// hole where 5 GB of weights would be: for whatever looks at shapes alone. As qwen2 too, whose
// projections have biases; and one layer of it with all products by weights of one type.
#pragma once

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/gguf_writer.h"
#include "tests/support/temp_folder.h"

namespace renga {

class Llama8b {
 public:
  static constexpr int64_t kLayers = 32, kWidth = 4096, kHeads = 32, kKvHeads = 8, kHeadDim = 128,
                           kHidden = 14336, kVocabulary = 128256;

  // Writes it as `name` into the folder; returns its path.
  static std::string Write(const TempFolder& folder, std::string_view name,
                           std::string architecture = "llama") {
    Llama8b model;
    model.architecture_ = std::move(architecture);
    return model.WriteTo(folder, name);
  }
  static std::string WriteLayer(const TempFolder& folder, std::string_view name, DType type) {
    Llama8b model;
    model.layers_ = 1;
    model.type_ = type;
    return model.WriteTo(folder, name);
  }

 private:
  std::string WriteTo(const TempFolder& folder, std::string_view name) {
    AddMetadata();
    AddTensors();
    const std::string path = folder.Write(name, writer_.Bytes());
    std::filesystem::resize_file(path, writer_.data_offset() + bytes_);
    return path;
  }

  void AddMetadata() {
    writer_.AddString("general.architecture", architecture_);
    AddU32("block_count", layers_);
    AddU32("context_length", 131072);
    AddU32("embedding_length", kWidth);
    AddU32("feed_forward_length", kHidden);
    AddU32("attention.head_count", kHeads);
    AddU32("attention.head_count_kv", kKvHeads);
    AddU32("rope.dimension_count", kHeadDim);
    writer_.AddF32(architecture_ + ".rope.freq_base", 500000);
    writer_.AddF32(architecture_ + ".attention.layer_norm_rms_epsilon", 1e-5f);
    writer_.AddString("tokenizer.ggml.model", "llama");
    std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
    for (int64_t i = 3; i < kVocabulary; ++i) tokens.push_back("t" + std::to_string(i));
    writer_.Add("tokenizer.ggml.tokens", MetaType::kArray, RawArray(tokens));
    writer_.Add("tokenizer.ggml.scores", MetaType::kArray,
                RawArray(MetaType::kF32, std::vector<float>(kVocabulary, 0.0f)));
  }
  void AddU32(const std::string& key, int64_t value) {
    writer_.AddU32(architecture_ + "." + key, static_cast<uint32_t>(value));
  }

  void AddTensors() {
    AddTensor("token_embd.weight", DType::kQ4_K, {kVocabulary, kWidth});
    const bool biased = architecture_ == "qwen2";
    if (!biased) AddTensor("rope_freqs.weight", DType::kF32, {kHeadDim / 2});
    for (int64_t layer = 0; layer < layers_; ++layer) {
      // Half of these get more bits: the first eighth, the last, and each third between.
      constexpr int64_t kEighth = kLayers / 8;
      const bool more = layer < kEighth || layer >= 7 * kEighth || (layer - kEighth) % 3 == 2;
      const DType mixed = more ? DType::kQ6_K : DType::kQ4_K;
      const std::string block = "blk." + std::to_string(layer) + ".";
      constexpr int64_t kKv = kKvHeads * kHeadDim;
      AddTensor(block + "attn_norm.weight", DType::kF32, {kWidth});
      AddTensor(block + "attn_q.weight", DType::kQ4_K, {kWidth, kWidth});
      AddTensor(block + "attn_k.weight", DType::kQ4_K, {kKv, kWidth});
      AddTensor(block + "attn_v.weight", mixed, {kKv, kWidth});
      if (biased) {
        AddTensor(block + "attn_q.bias", DType::kF32, {kWidth});
        AddTensor(block + "attn_k.bias", DType::kF32, {kKv});
        AddTensor(block + "attn_v.bias", DType::kF32, {kKv});
      }
      AddTensor(block + "attn_output.weight", DType::kQ4_K, {kWidth, kWidth});
      AddTensor(block + "ffn_norm.weight", DType::kF32, {kWidth});
      AddTensor(block + "ffn_gate.weight", DType::kQ4_K, {kHidden, kWidth});
      AddTensor(block + "ffn_up.weight", DType::kQ4_K, {kHidden, kWidth});
      AddTensor(block + "ffn_down.weight", mixed, {kWidth, kHidden});
    }
    AddTensor("output_norm.weight", DType::kF32, {kWidth});
    AddTensor("output.weight", DType::kQ6_K, {kVocabulary, kWidth});
  }
  void AddTensor(std::string name, DType type, std::vector<int64_t> shape) {
    if (type_ && shape.size() == 2) type = *type_;
    uint64_t bytes = Info(type).block_bytes;
    for (const int64_t size : shape) bytes *= size;
    GgufWriter::Tensor tensor{std::move(name),
                              {shape.rbegin(), shape.rend()},
                              static_cast<uint32_t>(type),
                              "",
                              std::nullopt,
                              bytes_};
    writer_.tensors.push_back(std::move(tensor));
    bytes_ += (bytes / Info(type).block_elements + 31) / 32 * 32;
  }

  std::string architecture_ = "llama";
  int64_t layers_ = kLayers;
  std::optional<DType> type_;  // of all matrices; none: those of Q4_K_M
  GgufWriter writer_;
  uint64_t bytes_ = 0;  // of the tensors so far
};

}  // namespace renga
