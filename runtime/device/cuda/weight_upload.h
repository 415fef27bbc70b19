// A plan's weights from their files into the memory of a GPU, each in its layout: several threads
// read, take digests and queue copies from pinned memory; the plan's packing kernels put what came
// into the layout `mma` there.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/device/cuda/resources.h"
#include "runtime/memory/weight_files.h"
#include "runtime/plan/plan.h"

namespace renga::cuda {

struct UploadOptions {
  WeightPaths paths;
  int threads = 0;  // that read; 0: one a core, at most kMostUploadThreads
  // Bytes of a staging buffer, of which each thread has two; more where 16 rows of a weight are.
  size_t piece_bytes = size_t{2} << 20;
  // Afterwards everything is read back, put into the file's order on the host and compared with
  // the plan's digests. Takes minutes for a large model.
  bool paranoid = false;
  // With `paranoid`: what differs is no error but listed (DeviceWeights::differences).
  bool list_differences = false;
  double patience_seconds = 60;               // for a piece; what takes longer is Unavailable
  const std::atomic<bool>* cancel = nullptr;  // set: Cancelled at the next piece
  // Called with bytes of weights read and all of them, from one thread at a time.
  std::function<void(int64_t done, int64_t total)> progress;
};

inline constexpr int kMostUploadThreads = 12;

// Kernel `index` of plan.gpu.kernels, loaded in the context. Called before any thread starts.
using KernelLookup = std::function<absl::StatusOr<Function>(int32_t index)>;

// A weight in whose place the GPU has something else.
struct WeightDifference {
  int index = 0;       // of the plan's weights
  absl::Status wrong;  // Unavailable: something else arrived; Internal: it was packed wrongly
};

// All weights, in the plan's order. Move-only.
class DeviceWeights {
 public:
  // Of weight `index`, a multiple of plan::kGpuWeightAlignment from the start.
  uint8_t* data(int index) const { return memory_.data() + offsets_[index]; }
  // plan.memory.weights.
  size_t bytes() const { return memory_.bytes(); }
  // In the plan's order; see UploadOptions::list_differences.
  absl::Span<const WeightDifference> differences() const { return differences_; }

 private:
  friend absl::StatusOr<DeviceWeights> UploadWeights(const plan::Plan&, const UploadOptions&,
                                                     const ContextRef&, const KernelLookup&);
  Memory memory_;
  std::vector<uint64_t> offsets_;
  std::vector<WeightDifference> differences_;
};

// For a valid plan with a GPU target. Returns when everything is there.
//   those of WeightFiles::Open
//   FailedPrecondition  a digest differs: the model file has changed since
//   DataLoss            likewise, of weights that the plan embeds
//   ResourceExhausted   not enough memory of the GPU, saying what each arena takes, or to lock
//   Cancelled           as options.cancel asked for
//   Unavailable         a file cannot be read, a call of the driver fails, or (paranoid) something
//                       else arrived
//   Internal            (paranoid) it arrived, and was packed wrongly
// All but those of WeightFiles name the tensor.
absl::StatusOr<DeviceWeights> UploadWeights(const plan::Plan& plan, const UploadOptions& options,
                                            const ContextRef& context, const KernelLookup& kernels);

}  // namespace renga::cuda
