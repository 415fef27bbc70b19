// Weights of many layers on the GPU, and the decode product that reads them.
#pragma once

#include <cstdint>
#include <string>

#include "ir/base/dtype.h"
#include "tests/bench/cuda/bench.h"
#include "tests/emulator/kernels/weights.h"

namespace renga::bench {

// Rows of a weight that differ; they repeat, which no kernel knows.
inline constexpr int64_t kPoolRows = 64;

// Of a product y = W x: [n, k] weights, a norm of x before it, y added to after it.
struct Shape {
  const char* what;
  int64_t n, k;
  bool norm, residual;
};

// Layers of one weight on the GPU: `count` copies `stride` bytes apart, and the rows that it
// repeats.
struct Layers {
  emulator::TestWeight pool;
  MmaLayout layout;
  cuda::Memory memory;
  int count = 0;
  size_t stride = 0;

  const void* At(int layer) const { return memory.data() + layer * stride; }
};

// As many layers as have `bytes` of weights together, at least `least`.
absl::StatusOr<Layers> MakeLayers(const CudaBench& bench, DType type, const Shape& shape,
                                  int64_t bytes, int64_t least);

// "Packed<Q4_K, 28672, 4096>".
std::string PackedName(DType type, int64_t n, int64_t k);

// A kernel for up to `tokens` tokens.
std::string DecodeName(DType type, const Shape& shape, int tokens, int warps);
std::string DecodeText(DType type, const Shape& shape, int tokens, int warps);

}  // namespace renga::bench
