// What the buffers of a plan hold between two steps of a run, on any device: as bytes, and as the
// values of the plan's graph that they stand for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ir/core/eval.h"
#include "runtime/exec/cuda_executor.h"
#include "runtime/exec/executor.h"
#include "runtime/plan/plan.h"

namespace renga {

// Whether a buffer still holds its value, the plan's lifetimes say.
class StepMemory {
 public:
  virtual ~StepMemory() = default;

  virtual const plan::Plan& plan() const = 0;
  // Of the plan's symbols in the run that is under way or was the last, by index.
  virtual absl::Span<const int64_t> sizes() const = 0;

  // Bytes of a buffer from `offset` on; errors are the device's. Of caches what nothing has written
  // reads as zeros. Weights may only be written where the device has them to itself: on a GPU.
  virtual absl::Status Read(int32_t buffer, uint64_t offset, absl::Span<uint8_t> to) const = 0;
  virtual absl::Status Write(int32_t buffer, uint64_t offset,
                             absl::Span<const uint8_t> from) const = 0;
};

// Those of executors, which must outlive them.
class CpuMemory final : public StepMemory {
 public:
  explicit CpuMemory(const Executor& executor) : executor_(executor) {}
  const plan::Plan& plan() const override { return executor_.plan(); }
  absl::Span<const int64_t> sizes() const override { return executor_.sizes(); }
  absl::Status Read(int32_t buffer, uint64_t offset, absl::Span<uint8_t> to) const override;
  absl::Status Write(int32_t buffer, uint64_t offset,
                     absl::Span<const uint8_t> from) const override;

 private:
  const Executor& executor_;
};

class CudaMemory final : public StepMemory {
 public:
  explicit CudaMemory(CudaExecutor& executor) : executor_(executor) {}
  const plan::Plan& plan() const override { return executor_.plan(); }
  absl::Span<const int64_t> sizes() const override { return executor_.sizes(); }
  absl::Status Read(int32_t buffer, uint64_t offset, absl::Span<uint8_t> to) const override {
    return executor_.Read(buffer, offset, to);
  }
  absl::Status Write(int32_t buffer, uint64_t offset,
                     absl::Span<const uint8_t> from) const override {
    return executor_.Write(buffer, offset, from);
  }

 private:
  CudaExecutor& executor_;
};

// Elements of that shape.
int64_t Count(absl::Span<const int64_t> shape);
// Of a buffer, at the sizes of the run.
std::vector<int64_t> ShapeOf(const StepMemory& memory, int32_t buffer);

// A buffer's elements, dense and row-major, as its type stores them; those of types of blocks as
// f32.
struct StoredTensor {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::vector<uint8_t> bytes;
};

// At the sizes of the run; of a cache the first `cells` cells, in whatever layout they lie.
absl::StatusOr<StoredTensor> ReadStored(const StepMemory& memory, int32_t buffer, int64_t cells);

// The same as the interpreter holds it.
absl::StatusOr<HostTensor> ReadTensor(const StepMemory& memory, int32_t buffer, int64_t cells);

// What cells from the first on are in the memory of a cache of the plan, as its type rounds: up to
// the last of their bytes, zeros between them. The tensor is [cells, heads, head_dim].
absl::StatusOr<std::string> CellBytes(const plan::Plan& plan, const plan::Cache& cache,
                                      const HostTensor& tensor);

// Into the buffer, as its type rounds; of a cache those of `cells`, which the tensor must have.
// InvalidArgument for other sizes or another kind of type.
absl::Status WriteTensor(const StepMemory& memory, int32_t buffer, const HostTensor& tensor,
                         absl::Span<const int32_t> cells);

}  // namespace renga
