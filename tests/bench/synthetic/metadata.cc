#include "tests/bench/synthetic/metadata.h"

#include <string>
#include <vector>

#include "ir/base/strings.h"

namespace renga::synthetic {
namespace {

constexpr int32_t kNormal = 1, kControl = 3;  // tokenizer.ggml.token_type

struct Merge {
  std::string_view left, right;
};
constexpr Merge kMerges[] = {{"t", "h"}, {"th", "e"}, {"\xC4\xA0", "t"}, {"i", "n"}, {"e", "r"}};

// The letter of byte-level BPE for a byte, as UTF-8; `next` counts those without one of their own.
std::string Letter(int byte, int* next) {
  const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
  const int code = printable ? byte : 0x100 + (*next)++;
  if (code < 0x80) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
}

std::vector<std::string> Tokens(const Shape& shape) {
  std::vector<std::string> tokens;
  int next = 0;
  for (int byte = 0; byte < 256; ++byte) tokens.push_back(Letter(byte, &next));
  for (const Merge& merge : kMerges) tokens.push_back(StrCat(merge.left, merge.right));
  const int64_t first_special = shape.vocab - shape.specials;
  for (int64_t id = static_cast<int64_t>(tokens.size()); id < shape.vocab; ++id) {
    const size_t special = static_cast<size_t>(id - first_special);
    if (id < first_special) {
      tokens.push_back(StrCat("w", id));
    } else if (special < shape.special.size()) {
      tokens.emplace_back(shape.special[special]);
    } else {
      tokens.push_back(StrCat("<|special_", special, "|>"));
    }
  }
  return tokens;
}

}  // namespace

void AddMetadata(const Model& model, GgufWriter* writer) {
  const Shape& shape = model.shape;
  const auto u32 = [&](std::string_view key, int64_t value) {
    writer->AddU32(StrCat(shape.architecture, ".", key), static_cast<uint32_t>(value));
  };
  writer->AddString("general.architecture", shape.architecture);
  writer->AddString("general.name", StrCat("random weights, ", shape.name, " ", model.mix.name));
  writer->AddU32("general.file_type", model.mix.file_type);
  writer->AddU32("general.quantization_version", 2);
  u32("vocab_size", shape.vocab);
  u32("context_length", shape.context);
  u32("embedding_length", shape.width);
  u32("block_count", shape.layers);
  u32("feed_forward_length", shape.hidden);
  u32("rope.dimension_count", shape.head_dim);
  u32("attention.head_count", shape.heads);
  u32("attention.head_count_kv", shape.kv_heads);
  writer->AddF32(StrCat(shape.architecture, ".attention.layer_norm_rms_epsilon"), shape.eps);
  writer->AddF32(StrCat(shape.architecture, ".rope.freq_base"), shape.rope_base);

  const int64_t first_special = shape.vocab - shape.specials;
  std::vector<int32_t> types(static_cast<size_t>(shape.vocab), kNormal);
  for (int64_t id = first_special; id < shape.vocab; ++id) types[id] = kControl;
  std::vector<std::string> merges;
  for (const Merge& merge : kMerges) merges.push_back(StrCat(merge.left, " ", merge.right));
  writer->AddString("tokenizer.ggml.model", "gpt2");
  writer->AddString("tokenizer.ggml.pre", shape.pre);
  writer->Add("tokenizer.ggml.tokens", MetaType::kArray, RawArray(Tokens(shape)));
  writer->Add("tokenizer.ggml.token_type", MetaType::kArray, RawArray(MetaType::kI32, types));
  writer->Add("tokenizer.ggml.merges", MetaType::kArray, RawArray(merges));
  writer->AddU32("tokenizer.ggml.bos_token_id", static_cast<uint32_t>(first_special + shape.bos));
  writer->AddU32("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(first_special + shape.eos));
}

}  // namespace renga::synthetic
