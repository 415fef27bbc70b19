// A tiny qwen2 with heads of 32 whose key biases are far larger than what they are added to, as
// Qwen2's are.
#pragma once

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/tiny_model.h"

namespace renga {

// Queries and keys of about 1, so that attention looks at many tokens, and key biases up to 60.
inline TinyModel BiasedKeysModel() {
  TinyModel model;
  model.architecture = "qwen2";
  model.embedding = 128;
  model.heads = 4;
  model.kv_heads = 2;
  model.head_dim = 32;
  model.hidden = 64;
  model.vocab = 24;
  model.Fill();
  model.SetU32("context_length", 128);
  const auto scale = [&](const std::string& name, float factor) {
    std::string& data = model.Tensor(name).data;
    std::vector<float> values(data.size() / sizeof(float));
    std::memcpy(values.data(), data.data(), data.size());
    for (float& value : values) value *= factor;
    std::memcpy(data.data(), values.data(), data.size());
  };
  for (int64_t layer = 0; layer < model.layers; ++layer) {
    const std::string block = "blk." + std::to_string(layer) + ".";
    for (const std::string name : {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_down"}) {
      scale(block + name + ".weight", 0.15f);
    }
    scale(block + "attn_k.bias", 60);
  }
  return model;
}

}  // namespace renga
