#include "runtime/device/cuda/weight_upload.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <numeric>
#include <optional>
#include <thread>
#include <utility>

#include "ir/base/packing.h"
#include "ir/base/status.h"
#include "runtime/device/cuda/arena.h"
#include "runtime/device/cuda/upload_worker.h"
#include "runtime/plan/layout.h"

namespace renga::cuda {
namespace {

bool IsPacked(const plan::Weight& weight) {
  return !weight.layout.empty() && !weight.embedded.has_value();
}

// All weights, the largest first, so that the threads end together.
class Upload {
 public:
  Upload(const plan::Plan& plan, const UploadOptions& options, const WeightFiles& files,
         const std::map<DType, PackingKernel>& kernels, const DeviceWeights& weights)
      : plan_(plan),
        options_(options),
        files_(files),
        kernels_(kernels),
        weights_(weights),
        order_(plan.weights.size()),
        results_(plan.weights.size()) {
    std::iota(order_.begin(), order_.end(), 0);
    std::stable_sort(order_.begin(), order_.end(), [&](size_t a, size_t b) {
      return plan.weights[a].source.bytes > plan.weights[b].source.bytes;
    });
    piece_bytes_ = std::max<size_t>(options.piece_bytes, 4);
    for (const plan::Weight& weight : plan.weights) {
      total_ += static_cast<int64_t>(files.Find(weight).bytes);
      if (!IsPacked(weight)) continue;
      const std::vector<int64_t>& shape = weight.source.shape;
      const int64_t rows = std::min<int64_t>(16, shape[shape.size() - 2]);
      piece_bytes_ = std::max(
          piece_bytes_, static_cast<size_t>(rows * RowBytes(weight.source.dtype, shape.back())));
    }
    piece_bytes_ = (piece_bytes_ + 3) / 4 * 4;
  }

  std::vector<WeightDifference> TakeDifferences() {
    std::vector<WeightDifference> list;
    for (auto& [index, wrong] : differences_) list.push_back({index, std::move(wrong)});
    return list;
  }

  absl::Status Run(const ContextRef& context) {
    int threads = options_.threads;
    if (threads <= 0) {
      threads = std::min(static_cast<int>(std::thread::hardware_concurrency()), kMostUploadThreads);
    }
    threads = std::clamp<int>(threads, 1, std::max<int>(static_cast<int>(order_.size()), 1));
    std::vector<absl::Status> workers(threads);
    std::vector<std::thread> helpers;
    for (int i = 1; i < threads; ++i) {
      helpers.emplace_back([&, i] { workers[i] = Work(context); });
    }
    workers[0] = Work(context);
    for (std::thread& helper : helpers) helper.join();
    // A thread that was told to stop has nothing to say.
    for (const auto* statuses : {&results_, &workers}) {
      for (const absl::Status& status : *statuses) {
        if (!status.ok() && !absl::IsAborted(status)) return status;
      }
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Work(const ContextRef& context) {
    absl::Status status = WorkWith(context);
    if (!status.ok()) stop_ = true;
    return status;
  }

  absl::Status WorkWith(const ContextRef& context) {
    absl::StatusOr<UploadWorker> worker =
        UploadWorker::Create(context, piece_bytes_, !kernels_.empty(), options_.patience_seconds);
    if (!worker.ok()) {
      return ExplainMemory(worker.status(), *context, plan_, "staging buffers of weights");
    }
    std::vector<size_t> loaded;
    for (size_t i = next_++; i < order_.size() && !stop_; i = next_++) {
      const size_t index = order_[i];
      results_[index] = Load(*worker, index);
      // A digest that differs stops nobody: which of several is reported does not depend on who
      // comes first.
      if (!results_[index].ok() && !is_difference_[index]) return absl::AbortedError("");
      loaded.push_back(index);
    }
    RENGA_RETURN_IF_ERROR(Annotate(worker->Finish(), "weights"));
    if (!options_.paranoid || stop_) return absl::OkStatus();
    for (const size_t index : loaded) {
      if (!results_[index].ok()) continue;
      results_[index] = Named(index, Wanted().ok() ? ReadBack(*worker, index) : Wanted());
    }
    return absl::OkStatus();
  }

  absl::Status Load(UploadWorker& worker, size_t index) {
    const plan::Weight& weight = plan_.weights[index];
    const PackingKernel* kernel = IsPacked(weight) ? &kernels_.at(weight.source.dtype) : nullptr;
    const absl::StatusOr<Digest> digest =
        worker.Load(weight, files_.Find(weight), kernel, weights_.data(static_cast<int>(index)),
                    [this](int64_t bytes) { return Advance(bytes); });
    if (!digest.ok()) return Named(index, digest.status());
    absl::Status status = files_.CheckDigest(weight, *digest);
    is_difference_[index] = !status.ok();
    return status;
  }

  absl::Status ReadBack(UploadWorker& worker, size_t index) {
    RENGA_ASSIGN_OR_RETURN(
        const std::optional<absl::Status> wrong,
        worker.Verify(plan_.weights[index], weights_.data(static_cast<int>(index))));
    if (!wrong) return absl::OkStatus();
    if (!options_.list_differences) return *wrong;
    const std::lock_guard<std::mutex> lock(mutex_);
    differences_[static_cast<int>(index)] = *wrong;
    return absl::OkStatus();
  }

  absl::Status Named(size_t index, const absl::Status& status) const {
    if (absl::IsCancelled(status) || absl::IsAborted(status)) return status;
    return Annotate(status, StrCat("tensor ", plan_.weights[index].source.name));
  }

  // Whether to go on.
  absl::Status Wanted() const {
    if (options_.cancel != nullptr && *options_.cancel) return absl::CancelledError("interrupted");
    return stop_ ? absl::AbortedError("") : absl::OkStatus();
  }

  absl::Status Advance(int64_t bytes) {
    if (options_.progress != nullptr) {
      const std::lock_guard<std::mutex> lock(mutex_);
      options_.progress(done_ += bytes, total_);
    }
    return Wanted();
  }

  const plan::Plan& plan_;
  const UploadOptions& options_;
  const WeightFiles& files_;
  const std::map<DType, PackingKernel>& kernels_;
  const DeviceWeights& weights_;
  size_t piece_bytes_ = 0;
  std::vector<size_t> order_;
  std::vector<absl::Status> results_;  // by weight; each is one thread's
  std::vector<char> is_difference_ = std::vector<char>(results_.size(), 0);  // likewise
  std::atomic<size_t> next_{0};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  int64_t done_ = 0, total_ = 0;             // of the first, guarded by mutex_
  std::map<int, absl::Status> differences_;  // by weight, likewise
};

}  // namespace

absl::StatusOr<DeviceWeights> UploadWeights(const plan::Plan& plan, const UploadOptions& options,
                                            const ContextRef& context,
                                            const KernelLookup& kernels) {
  RENGA_ASSIGN_OR_RETURN(const WeightFiles files, WeightFiles::Open(plan, options.paths));
  std::map<DType, PackingKernel> packers;
  for (const plan::GpuPacker& packer : plan.gpu.packers) {
    const auto is_needed = [&](const plan::Weight& weight) {
      return IsPacked(weight) && weight.source.dtype == packer.type;
    };
    if (std::none_of(plan.weights.begin(), plan.weights.end(), is_needed)) continue;
    PackingKernel& kernel = packers[packer.type];
    RENGA_ASSIGN_OR_RETURN(kernel.function, kernels(packer.kernel));
    kernel.threads = static_cast<unsigned>(plan.gpu.kernels[packer.kernel].threads);
    kernel.shared_bytes = static_cast<unsigned>(packer.dynamic_shared);
  }
  DeviceWeights weights;
  uint64_t bytes = 0;
  for (const plan::Weight& weight : plan.weights) {
    weights.offsets_.push_back(bytes);
    bytes += (plan::StoredBytes(weight) + plan::kGpuWeightAlignment - 1) /
             plan::kGpuWeightAlignment * plan::kGpuWeightAlignment;
  }
  RENGA_ASSIGN_OR_RETURN(weights.memory_, AllocateArena(context, plan, "weights", bytes));
  // What packing does not write must be zero, and takes the exponents up from there.
  if (!packers.empty()) {
    RENGA_ASSIGN_OR_RETURN(const Stream stream, Stream::Create(context));
    RENGA_RETURN_IF_ERROR(stream.Fill(weights.memory_.data(), 0, bytes));
    RENGA_RETURN_IF_ERROR(stream.SynchronizeWithin(options.patience_seconds));
  }
  Upload upload(plan, options, files, packers, weights);
  RENGA_RETURN_IF_ERROR(upload.Run(context));
  weights.differences_ = upload.TakeDifferences();
  return weights;
}

}  // namespace renga::cuda
