// Runs a plan for GPUs on one: a call executes all steps for any number of tokens of any sequences,
// or starts that while the run before is under way.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/device/cuda/plan_code.h"
#include "runtime/device/cuda/resources.h"
#include "runtime/device/cuda/weight_upload.h"
#include "runtime/exec/cuda_timeline.h"
#include "runtime/exec/cuda_transfers.h"
#include "runtime/exec/device_sampling.h"
#include "runtime/exec/index_rules.h"
#include "runtime/exec/step_hooks.h"
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
  bool list_differences = false;                                        // likewise
  // Waits for every step, so that an error or a kernel that never ends has the step's name. Slow.
  bool check_steps = false;
  bool graphs = true;            // steps of one token a sequence are started as one graph
  double patience_seconds = 60;  // after which a run that has not ended is an error
  Timeline* timeline = nullptr;  // where there is one, it has the runs when the executor is gone
};

// What happened so far.
struct CudaCounters {
  int64_t kernels_compiled = 0;  // by the driver, because the plan had no code for this GPU
  int64_t graphs = 0;            // captured
  int64_t graph_runs = 0;
  int64_t allocations = 0;  // of the GPU's memory
  uint64_t allocated_bytes = 0;
  int64_t runs_ahead = 0;  // started before the one before was finished
  int64_t waits = 0;       // for a run behind which no other was started: the GPU idles after it
  int64_t sampled = 0;     // rows whose token the GPU chose where it was asked to
  int64_t undecided = 0;   // rows for which it could not
};

// Not thread-safe; used in the thread that made it. Owns all memory of the run.
class CudaExecutor {
 public:
  // Loads code and weights of a valid plan. Errors: those of WeightStore, PlanCode and
  // CheckIndexOperands; ResourceExhausted where the GPU has not the memory, saying what each part
  // takes; Unavailable where the driver fails.
  static absl::StatusOr<std::unique_ptr<CudaExecutor>> Create(
      std::shared_ptr<const plan::Plan> plan, cuda::ContextRef context, const CudaOptions& options);

  ~CudaExecutor();  // after what is under way
  CudaExecutor(const CudaExecutor&) = delete;
  CudaExecutor& operator=(const CudaExecutor&) = delete;

  // Executes all steps and waits for them. Inputs are checked first (OutOfRange, InvalidArgument).
  // Unavailable where the GPU failed: then nothing on it can be used any more, and every later call
  // says so.
  absl::Status Run(const StepInputs& inputs);

  // The two halves of it, as StepRunner has them.
  bool runs_ahead() const { return layout_.fed_back() >= 0 && !options_.check_steps; }
  absl::Status Start(const StepInputs& inputs);
  absl::Status Finish();

  // Queues copies of pages of every cache, before what is run next; in order.
  absl::Status CopyPages(absl::Span<const PageCopy> copies);

  // A page of every cache of a group, appended to `bytes`, and back.
  absl::Status ReadPage(int group, int32_t page, std::string* bytes) const;
  absl::Status WritePage(int group, int32_t page, std::string_view bytes);

  // The first bytes of a buffer as the last run left them.
  absl::Status Read(int32_t buffer, absl::Span<uint8_t> to) const { return Read(buffer, 0, to); }
  // Bytes from `offset` on of any buffer, weights and caches too: between two steps of a run, in
  // its hooks, or as the last run left them. OutOfRange beyond the buffer.
  absl::Status Read(int32_t buffer, uint64_t offset, absl::Span<uint8_t> to) const;
  // The same the other way.
  absl::Status Write(int32_t buffer, uint64_t offset, absl::Span<const uint8_t> from);

  // From the next run on, around each step that has something to launch, which then has ended.
  // FailedPrecondition unless the executor waits for each step (CudaOptions::check_steps).
  absl::Status SetHooks(StepHooks hooks);

  // The step, by index into Plan::steps, in which the GPU failed or that has not ended; -1 where
  // there is none, or the executor does not wait for each.
  int failed_step() const { return failed_step_; }

  // As if nothing had ever been stored in any cache.
  absl::Status ForgetCaches();

  // Of the plan's symbols in the last run, or the one under way, by index; P is the width of the
  // page table as the GPU has it.
  absl::Span<const int64_t> sizes() const { return sizes_; }

  // What the GPU has in place of weights of the file; only where that was asked for
  // (CudaOptions::list_differences).
  absl::Span<const cuda::WeightDifference> differences() const { return weights_.differences(); }

  // The plan's output `next`, R values, of the run that was finished last; empty where it has none.
  // Valid until the second run after it is started.
  absl::Span<const int32_t> next() const {
    return finished_ == 0 ? absl::Span<const int32_t>() : transfers_.results(finished_ - 1);
  }

  // Whether StepInputs::sampling is looked at, and what came of it in the run that was
  // finished last.
  bool samples() const { return samplers_[0].has_value(); }
  absl::Span<const SampledRow> sampled() const { return sampled_; }

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
  uint64_t BaseOf(const plan::Buffer& buffer, int64_t run) const;
  // Where page `page` of every cache of the group lies, from caches_ on.
  std::vector<plan::ByteRange> PagePlaces(int group, int32_t page) const;
  void BindSizes(const StepInputs& inputs);
  absl::Status CheckMayStart(const StepInputs& inputs) const;
  absl::Status StartRun(const StepInputs& inputs);
  absl::Status StartLaunches();
  absl::Status StartAll();
  absl::Status StartNoted(bool captured);
  absl::Status StartSteps();
  absl::Status NoteRun();
  // Hands CudaOptions::timeline what is known; the events of graphs are gone then.
  absl::Status CloseTimeline();
  absl::Status StartStep(const plan::Step& step);
  absl::Status StartLaunch(const plan::Launch& launch);
  absl::Status RunStep(int index);
  absl::Status Waited(std::string_view what, const absl::Status& status);
  // Programmatic dependent launch exists from this compute capability on (CUDA C++ Programming
  // Guide, "Programmatic Dependent Launch and Synchronization").
  bool overlaps_launches() const { return context_->gpu().sm >= 90; }
  const std::vector<uint64_t>& addresses() const { return addresses_[started_ % 2]; }
  // Of the bytes of a buffer as the run under way, or else the last one, has them.
  absl::StatusOr<uint64_t> PlaceOf(int32_t buffer, uint64_t offset, size_t bytes) const;

  // cuda_sampling.cc.
  absl::Status PrepareSampling();
  size_t BeginSampling(absl::Span<const RowSampling> asked);
  int64_t SampledRows() const;
  absl::Status StartSampling();
  std::vector<CudaTransfers::Piece> SamplingResults() const;
  void FinishSampling();
  uint8_t* sampling_memory() const;

  std::shared_ptr<const plan::Plan> plan_;
  cuda::ContextRef context_;
  const CudaOptions options_;
  IndexLimits limits_;
  cuda::Stream stream_;
  cuda::PlanCode code_;
  cuda::DeviceWeights weights_;
  cuda::Memory caches_, activations_, persistent_;
  plan::TensorMapEncoder encode_map_;
  CudaInputLayout layout_;
  CudaTransfers transfers_;
  int32_t next_ = -1;                          // the buffer, where the plan has it
  std::vector<uint64_t> cache_addresses_;      // by cache
  std::vector<uint64_t> addresses_[2];         // by buffer, of runs with even and odd numbers
  std::vector<int64_t> sizes_;                 // by symbol, of the last run
  size_t rows_ = 0;                            // likewise
  int64_t started_ = 0, finished_ = 0;         // runs
  std::chrono::steady_clock::time_point end_;  // of the last run, if another was behind it
  double run_seconds_ = 0;                     // from the end of one to that of the next, if known
  // By key: the sizes, and behind them whether the run's number is odd and how many rows are
  // sampled.
  std::vector<std::pair<std::vector<int64_t>, cuda::Graph>> graphs_;
  std::vector<int64_t> key_;
  // Of runs with even and odd numbers.
  std::optional<DeviceSampling> samplers_[2];
  cuda::Memory sampling_;  // of both
  cuda::PinnedMemory sampling_host_[2];
  std::vector<SampledRow> sampled_;
  std::unique_ptr<CudaTimeline> timeline_;  // CudaOptions::timeline
  bool behind_event_ = false;               // the next launch follows no kernel of the run
  struct Noted {
    const char* name = "";
    int64_t tokens = 0;
  } noted_[2];  // of runs with even and odd numbers
  CudaCounters counters_;
  StepHooks hooks_;
  bool starting_ = false;    // steps are being started: run number started_ is the one under way
  absl::Status hook_error_;  // which ends a run and nothing else
  int failed_step_ = -1;
  absl::Status failed_;  // the error after which the GPU is of no use
};

}  // namespace renga
