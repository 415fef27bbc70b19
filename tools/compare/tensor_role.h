// A tensor's name taken apart: which layer, and what it is there.
#pragma once

#include <string>
#include <string_view>

namespace renga {

struct TensorRole {
  int layer = -1;    // -1 outside layers
  std::string role;  // "attn_q.weight"; the whole name outside layers
};

// "blk.3.attn_q.weight" -> 3, "attn_q.weight". GGUF's names as llama.cpp writes them.
TensorRole RoleOfTensor(std::string_view name);

}  // namespace renga
