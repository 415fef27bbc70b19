#include "tests/faults/zoo/random_model.h"

#include <bit>
#include <cstring>
#include <iterator>

#include "ir/base/strings.h"

namespace renga::faults {
namespace {

// A type of blocks as random bytes, but for the scales in f16 at these offsets: any such block is a
// right one.
struct BlockType {
  DType type;
  std::vector<int> scales;
};

const std::vector<BlockType>& BlockTypes() {
  static const auto& types = *new std::vector<BlockType>{
      {DType::kQ4_0, {0}},    {DType::kQ4_1, {0, 2}}, {DType::kQ5_0, {0}},
      {DType::kQ5_1, {0, 2}}, {DType::kQ8_0, {0}},    {DType::kQ2_K, {80, 82}},
      {DType::kQ3_K, {108}},  {DType::kQ4_K, {0, 2}}, {DType::kQ5_K, {0, 2}},
      {DType::kQ6_K, {208}},  {DType::kIQ4_NL, {0}},  {DType::kIQ4_XS, {0}},
  };
  return types;
}

}  // namespace

RandomModel::RandomModel(uint32_t seed) : random_(seed) {
  model_.architecture = random_() % 2 == 0 ? "llama" : "qwen2";
  model_.layers = Pick({1, 2, 3});
  const bool blocks = random_() % 2 == 0;  // widths of whole blocks
  model_.kv_heads = Pick({1, 2, 3});
  model_.heads = model_.kv_heads * Pick({1, 2, 4});
  model_.head_dim = Pick({2, 4, 6, 10, 16});
  if (blocks) {
    model_.kv_heads = Pick({1, 2, 4});
    model_.heads = Pick({4, 8});
    model_.head_dim = Pick({8, 16, 64});
  }
  model_.embedding = model_.heads * model_.head_dim;
  model_.hidden = blocks ? Pick({32, 96, 256}) : Pick({5, 10, 33, 64});
  model_.vocab = Pick({7, 19, 24, 70});
  model_.Fill();
  what_ = StrCat("seed ", seed, ": ", model_.architecture, " ", model_.layers, " layers of ",
                 model_.embedding, "x", model_.hidden, ", ", model_.heads, "/", model_.kv_heads,
                 " heads of ", model_.head_dim);
  for (GgufWriter::Tensor& tensor : model_.writer.tensors) {
    if (tensor.ne.size() == 2) Retype(&tensor);
  }
  context_ = Pick({13, 24, 40, 64});
  step_tokens_ = Pick({8, 16, 32});
  ids_.resize(2 + random_() % 9);
  for (int32_t& id : ids_) id = static_cast<int32_t>(random_() % 7);
}

void RandomModel::Retype(GgufWriter::Tensor* tensor) {
  const uint64_t width = tensor->ne[0], elements = width * tensor->ne[1];
  std::vector<float> values(elements);
  std::memcpy(values.data(), tensor->data.data(), tensor->data.size());
  const uint32_t choice = random_() % 6;
  if (choice < 2) return;  // f32
  if (choice < 4) {
    const bool half = choice == 2;
    std::string data;
    for (const float x : values) data += Raw<uint16_t>(half ? FloatToHalf(x) : FloatToBFloat16(x));
    tensor->type = static_cast<uint32_t>(half ? DType::kF16 : DType::kBF16);
    tensor->data = data;
    return;
  }
  const BlockType& type = BlockTypes()[random_() % BlockTypes().size()];
  const DTypeInfo& info = Info(type.type);
  if (width % static_cast<uint64_t>(info.block_elements) != 0) return;
  tensor->type = static_cast<uint32_t>(type.type);
  tensor->data.clear();
  for (uint64_t block = 0; block < elements / static_cast<uint64_t>(info.block_elements); ++block) {
    std::string bytes(static_cast<size_t>(info.block_bytes), '\0');
    for (char& byte : bytes) byte = static_cast<char>(random_());
    for (const int at : type.scales) {
      const float scale = 0.002f + static_cast<float>(random_() % 100) * 2e-5f;
      bytes.replace(static_cast<size_t>(at), 2, Raw<uint16_t>(FloatToHalf(scale)));
    }
    tensor->data += bytes;
  }
  what_ += StrCat(" ", Name(type.type));
}

}  // namespace renga::faults
