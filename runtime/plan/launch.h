// From a step of a plan and the sizes of a run to what is launched on a GPU.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/plan/plan.h"
#include "runtime/plan/tensor_map.h"

namespace renga::plan {

// What every GPU that we compile for allows (CUDA C++ Programming Guide, "Technical Specifications
// per Compute Capability").
inline constexpr int64_t kMaxBlockThreads = 1024;
inline constexpr std::array<int64_t, 3> kMaxGrid = {(int64_t{1} << 31) - 1, 65535, 65535};
inline constexpr size_t kMaxArgumentBytes = 4096;

// The variant that computes `step` with symbol i at symbols[i]; nullptr where the step has none for
// that, as with 0 rows: then there is nothing to compute.
const Variant* ChooseVariant(const Step& step, absl::Span<const int64_t> symbols);

// The size of a launch.
struct LaunchShape {
  std::array<int64_t, 3> grid = {1, 1, 1};
  int64_t threads = 0;
  int64_t dynamic_shared = 0;  // bytes
  friend bool operator==(const LaunchShape&, const LaunchShape&) = default;
};

// Errors as Evaluate; of a plan that Validate accepted and symbols within their bounds there are
// none, and the shape is within the limits of every target.
absl::StatusOr<LaunchShape> ShapeOf(const Plan& plan, const Launch& launch,
                                    absl::Span<const int64_t> symbols);

// Bytes of the struct that `args` describe: each field at a multiple of its alignment, which is its
// size but for tensor maps (kTensorMapAlignment), the whole a multiple of the largest.
size_t ArgumentBytes(absl::Span<const Arg> args);

// The struct itself; where it has tensor maps, a launch needs it aligned like them. `addresses` has
// the address of each of the plan's buffers, `encode` makes tensor maps. Errors as Evaluate, those
// of `encode`, and for a value that its field cannot hold; FailedPrecondition for a tensor map
// without `encode`.
absl::StatusOr<std::vector<uint8_t>> PackArguments(absl::Span<const Arg> args,
                                                   absl::Span<const uint64_t> addresses,
                                                   absl::Span<const int64_t> symbols,
                                                   const TensorMapEncoder& encode = nullptr);

// The symbols of `plan`, each at its bound.
std::vector<int64_t> MaxSymbols(const Plan& plan);

// Most bytes of dynamic shared memory that any launch of each of plan.gpu.kernels asks for,
// packers and the sampler among them. They must have been checked.
std::vector<int64_t> MaxDynamicShared(const Plan& plan);

}  // namespace renga::plan
