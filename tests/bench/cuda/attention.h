// Attention of one new token over a long context: what to compile, and times.
#pragma once

#include <memory>

#include "tests/bench/cuda/bench.h"

namespace renga::bench {

KernelTexts AttentionTexts();

// Attention of one token over a cache of its own for each layer, as a step of a chain.
class AttentionStep {
 public:
  static absl::StatusOr<std::unique_ptr<AttentionStep>> Make(const CudaBench& bench, int context);
  virtual ~AttentionStep() = default;
  // q, y: [32, 128] on the GPU. Layers beyond those that there are use their caches again.
  virtual absl::Status Launch(int layer, const float* q, float* y) const = 0;
};

// 32 query heads and 8 of keys and values of 128, f16 cache, 1k and 8k positions.
void BenchAttention(const CudaBench& bench, Table* table);

}  // namespace renga::bench
