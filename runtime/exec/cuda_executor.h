// Runs a plan for GPUs on one: a call executes all steps for any number of tokens of any sequences.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/device/cuda/plan_code.h"
#include "runtime/device/cuda/resources.h"
#include "runtime/device/cuda/weight_upload.h"
#include "runtime/exec/index_rules.h"
#include "runtime/exec/step_inputs.h"
#include "runtime/memory/kv_pages.h"
#include "runtime/plan/cache_layout.h"
#include "runtime/plan/launch.h"
#include "runtime/plan/plan.h"
#include "runtime/plan/tensor_map.h"

namespace renga {

struct CudaOptions {
  int threads = 1;         // of the host, for loading the weights
  std::string plan_path;   // see WeightOptions
  std::string model_path;  // see WeightOptions
  std::function<void(int64_t done, int64_t total)> progress = nullptr;  // see WeightOptions
  bool paranoid = false;                                                // see cuda::UploadOptions
  // Waits for every step, so that an error or a kernel that never ends has the step's name. Slow.
  bool check_steps = false;
  bool graphs = true;            // steps of one token a sequence are started as one graph
  double patience_seconds = 60;  // after which a run that has not ended is an error
};

// What happened so far.
struct CudaCounters {
  int64_t kernels_compiled = 0;  // by the driver, because the plan had no code for this GPU
  int64_t graphs = 0;            // captured
  int64_t graph_runs = 0;
  int64_t allocations = 0;  // of the GPU's memory
};

// Not thread-safe; used in the thread that made it. Owns all memory of the run.
class CudaExecutor {
 public:
  // Loads code and weights of a valid plan. Errors: those of WeightStore, PlanCode and
  // CheckIndexOperands; ResourceExhausted where the GPU has not the memory, saying what each part
  // takes; Unavailable where the driver fails.
  static absl::StatusOr<std::unique_ptr<CudaExecutor>> Create(
      std::shared_ptr<const plan::Plan> plan, cuda::ContextRef context, const CudaOptions& options);

  // Executes all steps and waits for them. Inputs are checked first (OutOfRange, InvalidArgument).
  // Unavailable where the GPU failed: then nothing on it can be used any more, and every later call
  // says so.
  absl::Status Run(const StepInputs& inputs);

  // Queues copies of pages of every cache, before what is run next; in order.
  absl::Status CopyPages(absl::Span<const PageCopy> copies);

  // A page of every cache, appended to `bytes`, and back.
  absl::Status ReadPage(int32_t page, std::string* bytes) const;
  absl::Status WritePage(int32_t page, std::string_view bytes);

  // The first bytes of a buffer as the last run left them.
  absl::Status Read(int32_t buffer, absl::Span<uint8_t> to) const;

  // The buffer that Run brings to the host by itself, R values of 4 bytes; -1: none.
  void set_fetched(int32_t buffer) { fetched_ = buffer; }
  const void* fetched() const { return fetched_memory_.data(); }

  const plan::Plan& plan() const { return *plan_; }
  const cuda::GpuFacts& gpu() const { return context_->gpu(); }
  const CudaCounters& counters() const { return counters_; }

 private:
  CudaExecutor(std::shared_ptr<const plan::Plan> plan, cuda::ContextRef context,
               const CudaOptions& options)
      : plan_(std::move(plan)), context_(std::move(context)), options_(options) {}

  absl::Status Prepare();
  absl::Status Explained(const absl::Status& status, std::string_view what) const;
  absl::Status AllocateAll();
  absl::Status Allocate(std::string_view what, uint64_t bytes, cuda::Memory* memory);
  absl::Status LoadWeights();
  void PlaceBuffers();
  // Where page `page` of every cache lies, from caches_ on.
  std::vector<plan::ByteRange> PagePlaces(int32_t page) const;
  void CopyInputs(const StepInputs& inputs);
  void BindSizes(const StepInputs& inputs);
  absl::Status Start();
  absl::Status StartSteps();
  absl::Status StartStep(const plan::Step& step);
  absl::Status StartLaunch(const plan::Launch& launch);
  absl::Status Wait(std::string_view what);

  std::shared_ptr<const plan::Plan> plan_;
  cuda::ContextRef context_;
  const CudaOptions options_;
  IndexLimits limits_;
  cuda::Stream stream_;
  cuda::PlanCode code_;
  cuda::DeviceWeights weights_;
  cuda::Memory caches_, activations_, persistent_;
  plan::TensorMapEncoder encode_map_;
  cuda::PinnedMemory input_memory_;      // as the inputs lie on the GPU
  std::vector<uint64_t> input_offsets_;  // of each of Plan::inputs, there and from input_address_
  uint64_t input_address_ = 0;
  std::vector<uint64_t> addresses_;  // by buffer
  int32_t fetched_ = -1;
  cuda::PinnedMemory fetched_memory_;
  std::vector<int64_t> sizes_;                                        // by symbol, of the last run
  size_t rows_ = 0;                                                   // likewise
  std::vector<std::pair<std::vector<int64_t>, cuda::Graph>> graphs_;  // by sizes
  CudaCounters counters_;
  absl::Status failed_;  // the error after which the GPU is of no use
};

}  // namespace renga
