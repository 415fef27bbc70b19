// What a cpu kernel is: a name, a check of a plan step against what the kernel can do, and the
// code. Plans are untrusted: everything a kernel assumes about types, ranks, sizes and attributes
// is checked once by `prepare`, at load, so that `run` needs no checks but those that depend on
// input *values* (token ids, positions, cells, page tables), which the executor validates before
// each run.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/device/cpu/thread_pool.h"
#include "runtime/plan/plan.h"

namespace renga::cpu {

// A tensor at run time: all sizes known, dense, row-major, 64-byte aligned start (weights: as the
// file has them). A null `data` is an absent optional operand.
struct TensorRef {
  uint8_t* data = nullptr;
  DType dtype = DType::kF32;
  int rank = 0;
  int64_t dims[4] = {1, 1, 1, 1};

  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(data);
  }
};

struct KernelCall {
  absl::Span<const TensorRef> inputs;
  absl::Span<const TensorRef> outputs;
  ThreadPool& pool;
};

// What a step is about to be given: tensors without data, sizes as in that run.
struct ScratchCall {
  absl::Span<const TensorRef> inputs;
  absl::Span<const TensorRef> outputs;
  int threads = 1;
};

// The code, and what it asks its pool for at most. Made of the code alone where that is nothing.
struct PreparedKernel {
  PreparedKernel() = default;
  template <typename Run>
  PreparedKernel(Run code) : run(std::move(code)) {}
  template <typename Run, typename Scratch>
  PreparedKernel(Run code, Scratch bytes) : run(std::move(code)), scratch(std::move(bytes)) {}

  void operator()(const KernelCall& call) const { run(call); }

  std::function<void(const KernelCall&)> run;
  std::function<ScratchBytes(const ScratchCall&)> scratch;  // null: none
};

// What `prepare` sees of a step. Absent optional inputs are null.
struct StepSignature {
  std::string_view name;  // for messages
  absl::Span<const plan::TensorType* const> inputs;
  absl::Span<const plan::TensorType* const> outputs;
  absl::Span<const plan::Attr> attrs;
  absl::Span<const plan::Symbol> symbols;
};

struct KernelDef {
  std::string_view name;
  absl::StatusOr<PreparedKernel> (*prepare)(const StepSignature& step);
};

// All built-in kernels, sorted by name; nullptr when there is none of that name.
absl::Span<const KernelDef* const> AllKernels();
const KernelDef* FindKernel(std::string_view name);

}  // namespace renga::cpu
