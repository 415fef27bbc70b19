// Writes tiny models of pseudo-random weights as GGUF files: valid ones, and such that differ from
// a valid one in what a test changes. Tensors and metadata are plain fields of the writer.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/temp_folder.h"

namespace renga {

struct TinyModel {
  std::string architecture = "llama";
  int64_t layers = 2;
  int64_t embedding = 12;
  int64_t heads = 3;
  int64_t kv_heads = 1;
  int64_t head_dim = 4;  // embedding / heads: qwen2 allows no other
  int64_t hidden = 10;
  int64_t vocab = 7;
  GgufWriter writer;

  // Metadata and tensors of a model of the fields above, with an output of its own. qwen2 gets the
  // biases it needs.
  void Fill() {
    writer.AddString("general.architecture", architecture);
    SetU32("block_count", layers);
    SetU32("embedding_length", embedding);
    SetU32("context_length", 64);
    SetU32("feed_forward_length", hidden);
    SetU32("attention.head_count", heads);
    SetU32("attention.head_count_kv", kv_heads);
    SetF32("attention.layer_norm_rms_epsilon", 1e-5f);
    writer.AddString("tokenizer.ggml.model", "llama");
    std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
    while (static_cast<int64_t>(tokens.size()) < vocab) {
      tokens.push_back(std::string(1, static_cast<char>('a' + tokens.size())));
    }
    writer.Add("tokenizer.ggml.tokens", MetaType::kArray, RawArray(tokens));
    writer.Add("tokenizer.ggml.scores", MetaType::kArray,
               RawArray(MetaType::kF32, std::vector<float>(vocab, 0.0f)));
    AddWeight("token_embd.weight", {vocab, embedding});
    for (int64_t layer = 0; layer < layers; ++layer) {
      const std::string block = "blk." + std::to_string(layer) + ".";
      const int64_t kv = kv_heads * head_dim;
      AddWeight(block + "attn_norm.weight", {embedding});
      AddWeight(block + "attn_q.weight", {heads * head_dim, embedding});
      AddWeight(block + "attn_k.weight", {kv, embedding});
      AddWeight(block + "attn_v.weight", {kv, embedding});
      if (architecture == "qwen2") {
        AddWeight(block + "attn_q.bias", {heads * head_dim});
        AddWeight(block + "attn_k.bias", {kv});
        AddWeight(block + "attn_v.bias", {kv});
      }
      AddWeight(block + "attn_output.weight", {embedding, heads * head_dim});
      AddWeight(block + "ffn_norm.weight", {embedding});
      AddWeight(block + "ffn_gate.weight", {hidden, embedding});
      AddWeight(block + "ffn_up.weight", {hidden, embedding});
      AddWeight(block + "ffn_down.weight", {embedding, hidden});
    }
    AddWeight("output_norm.weight", {embedding});
    AddWeight("output.weight", {vocab, embedding});
  }

  // Sets `<architecture>.<key>`, whether or not it is there.
  void Set(std::string_view key, MetaType type, std::string value) {
    Unset(key);
    writer.Add(architecture + "." + std::string(key), type, std::move(value));
  }
  void SetU32(std::string_view key, int64_t value) {
    Set(key, MetaType::kU32, Raw(static_cast<uint32_t>(value)));
  }
  void SetF32(std::string_view key, float value) { Set(key, MetaType::kF32, Raw(value)); }
  void SetString(std::string_view key, std::string_view value) {
    Set(key, MetaType::kString, RawString(value));
  }
  void Unset(std::string_view key) {
    std::erase_if(writer.entries, [&](const GgufWriter::Entry& entry) {
      return entry.key == architecture + "." + std::string(key);
    });
  }

  // Values in -1..1, the same in every run, that depend on the name alone.
  void AddWeight(const std::string& name, const std::vector<int64_t>& shape) {
    uint64_t elements = 1;
    for (int64_t size : shape) elements *= static_cast<uint64_t>(size);
    std::vector<float> values(elements);
    uint64_t state = 0xcbf29ce484222325u;
    for (char c : name) state = (state ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
    for (float& value : values) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      value = static_cast<float>(static_cast<int64_t>(state >> 40) - (1 << 23)) / (1 << 23);
    }
    AddFloats(name, shape, values);
  }
  void AddFloats(const std::string& name, const std::vector<int64_t>& shape,
                 const std::vector<float>& values) {
    std::string data(values.size() * sizeof(float), '\0');
    std::memcpy(data.data(), values.data(), data.size());
    writer.AddTensor(name, DType::kF32, shape, std::move(data));
  }

  // The tensor must be there.
  GgufWriter::Tensor& Tensor(std::string_view name) {
    for (GgufWriter::Tensor& tensor : writer.tensors) {
      if (tensor.name == name) return tensor;
    }
    ADD_FAILURE() << "no tensor " << name;
    return writer.tensors.front();
  }
  GgufWriter::Tensor Remove(std::string_view name) {
    GgufWriter::Tensor removed = Tensor(name);
    std::erase_if(writer.tensors,
                  [&](const GgufWriter::Tensor& tensor) { return tensor.name == name; });
    return removed;
  }

  // Writes the file, each time a new one, since older ones may still be mapped; its path. Files go
  // with the last copy of the model.
  std::string Write() {
    return folder_->Write("model-" + std::to_string(written_++) + ".gguf", writer.Bytes());
  }

 private:
  std::shared_ptr<TempFolder> folder_ = std::make_shared<TempFolder>();
  int written_ = 0;
};

}  // namespace renga
