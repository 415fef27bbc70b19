// Which buffers of a plan a launch was given, for tests that stand in for its kernels.
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/plan/launch.h"
#include "runtime/plan/plan.h"

namespace renga {

// An argument that points to a buffer, and where in the kernel's struct it lies.
struct BufferArgument {
  std::string buffer;
  plan::Space space;
  size_t offset = 0;
};

// Of each kernel those that point to buffers but weights: found by giving each buffer an address
// that is nobody else's. Where steps share a kernel, the names are those of the last one's.
inline std::map<std::string, std::vector<BufferArgument>> BufferArguments(const plan::Plan& plan) {
  std::vector<uint64_t> addresses;
  for (size_t i = 0; i < plan.buffers.size(); ++i) addresses.push_back((i + 1) << 40);
  const auto no_map = [](const plan::TensorMapSpec&) {
    return absl::StatusOr<plan::EncodedTensorMap>(plan::EncodedTensorMap{});
  };
  std::map<std::string, std::vector<BufferArgument>> found;
  for (const plan::Step& step : plan.steps) {
    for (const plan::Variant& variant : step.variants) {
      for (const plan::Launch& launch : variant.launches) {
        const auto packed =
            plan::PackArguments(launch.args, addresses, plan::MaxSymbols(plan), no_map);
        EXPECT_TRUE(packed.ok()) << packed.status();
        if (!packed.ok()) continue;
        std::vector<BufferArgument>& arguments = found[plan.gpu.kernels[launch.kernel].name];
        arguments.clear();  // another step of the same kernel has them in the same places
        for (size_t at = 0; at + 8 <= packed->size(); at += 8) {
          uint64_t value = 0;
          std::memcpy(&value, packed->data() + at, sizeof(value));
          for (size_t i = 0; i < addresses.size(); ++i) {
            const plan::Buffer& buffer = plan.buffers[i];
            if (value != addresses[i] || buffer.space == plan::Space::kWeight) continue;
            arguments.push_back({buffer.space == plan::Space::kInput
                                     ? plan.inputs[static_cast<size_t>(buffer.index)]
                                     : buffer.name,
                                 buffer.space, at});
          }
        }
      }
    }
  }
  return found;
}

}  // namespace renga
