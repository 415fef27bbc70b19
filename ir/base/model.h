// What a model is besides its graph: plain data that the frontend fills in from the file, that the
// plan stores, and that the runtime's tokenizer and loader read. No behaviour.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ir/base/dtype.h"

namespace renga {

// tokenizer.ggml.token_type values.
enum class TokenType : uint8_t {
  kUndefined = 0,
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

// A vocabulary as the file gives it, packed so that 150,000 tokens cost no 150,000 allocations.
struct TokenizerData {
  std::string model;              // "llama" (SentencePiece) or "gpt2" (byte-level BPE)
  std::string pre;                // tokenizer.ggml.pre; empty where the file has none
  std::string text;               // all tokens' text, one after another, as in the file
  std::vector<uint32_t> offsets;  // [tokens + 1] start of each token in `text`
  std::vector<float> scores;      // [tokens] SentencePiece scores; empty for BPE
  std::vector<TokenType> types;   // [tokens]
  std::vector<std::pair<int32_t, int32_t>>
      merges;  // BPE: ids of the left and right part, best first
  int32_t bos = -1, eos = -1, eot = -1, eom = -1, unk = -1, pad = -1;  // -1: none
  bool add_bos = false;
  bool add_eos = false;
  bool add_space_prefix = false;  // SentencePiece: a space before the first stretch of text
  std::vector<int32_t>
      end_of_generation;      // sorted ids that end generation (eos, eot, eom, by name)
  std::string chat_template;  // Jinja source; empty where the file has none

  int32_t size() const { return offsets.empty() ? 0 : static_cast<int32_t>(offsets.size() - 1); }
  std::string_view token(int32_t id) const {
    return std::string_view(text).substr(offsets[id], offsets[id + 1] - offsets[id]);
  }
  friend bool operator==(const TokenizerData&, const TokenizerData&) = default;
};

// Size figures for people and for checks; what the graph computes is in the graph alone.
struct ModelInfo {
  std::string architecture;  // "llama", "qwen2"
  std::string name;          // general.name, may be empty
  std::string file_type;     // "Q4_K - Medium" style label of general.file_type, may be empty
  int64_t layers = 0;
  int64_t embedding = 0;  // width of the residual stream
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t feed_forward = 0;
  int64_t vocab = 0;           // logical vocabulary: ids 0..vocab-1 may be generated
  int64_t context_length = 0;  // tokens the model was trained for
  friend bool operator==(const ModelInfo&, const ModelInfo&) = default;
};

// Where one weight's bytes are: a tensor in one of the model's files.
struct WeightSource {
  std::string name;  // GGUF tensor name, the graph's @name
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;  // row-major, outermost first (GGUF's ne reversed)
  int32_t file = 0;            // index into the model's files (split GGUF)
  uint64_t offset = 0;         // bytes from the start of that file
  uint64_t bytes = 0;
  friend bool operator==(const WeightSource&, const WeightSource&) = default;
};

// One file of the model.
struct ModelFile {
  std::string path;  // as given by the user
  uint64_t bytes = 0;
  friend bool operator==(const ModelFile&, const ModelFile&) = default;
};

// A tensor of the file that the graph does not use, and why that is right.
struct IgnoredTensor {
  std::string name;
  std::string reason;
  friend bool operator==(const IgnoredTensor&, const IgnoredTensor&) = default;
};

}  // namespace renga
