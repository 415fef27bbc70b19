#include "runtime/memory/weights.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <numeric>
#include <thread>
#include <utility>

#include "ir/base/status.h"
#include "runtime/memory/load_weight.h"
#include "runtime/memory/weight_files.h"
#include "runtime/plan/layout.h"

namespace renga {
namespace {

// Loads all weights, the largest first, so that the threads end together.
class Loader {
 public:
  Loader(const plan::Plan& plan, std::vector<WeightLoad> loads, const WeightOptions& options)
      : plan_(plan),
        loads_(std::move(loads)),
        options_(options),
        results_(loads_.size(), Digest{}),
        order_(loads_.size()) {
    std::iota(order_.begin(), order_.end(), 0);
    std::stable_sort(order_.begin(), order_.end(), [&](size_t a, size_t b) {
      return plan.weights[a].source.bytes > plan.weights[b].source.bytes;
    });
    for (const plan::Weight& weight : plan.weights) {
      total_ += static_cast<int64_t>(weight.source.bytes);
    }
  }

  void Run() {
    std::vector<std::thread> helpers;
    for (int i = 1; i < options_.threads; ++i) helpers.emplace_back([this] { Work(); });
    Work();
    for (std::thread& helper : helpers) helper.join();
  }

  const absl::StatusOr<Digest>& result(size_t weight) const { return results_[weight]; }

 private:
  void Work() {
    for (size_t i = next_++; i < order_.size(); i = next_++) {
      const size_t weight = order_[i];
      results_[weight] = LoadWeight(plan_.weights[weight], loads_[weight],
                                    [this](int64_t bytes) { Advance(bytes); });
    }
  }

  void Advance(int64_t bytes) {
    if (options_.progress == nullptr) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    options_.progress(done_ += bytes, total_);
  }

  const plan::Plan& plan_;
  const std::vector<WeightLoad> loads_;
  const WeightOptions& options_;
  std::vector<absl::StatusOr<Digest>> results_;
  std::vector<size_t> order_;
  std::atomic<size_t> next_{0};
  std::mutex mutex_;
  int64_t done_ = 0, total_ = 0;  // of the first, guarded by mutex_
};

// Weights without a layout up to this size are copied: each would keep the pages around it too,
// sixteen at a time on Linux.
constexpr uint64_t kCopiedBytes = 64 << 10;

// What of the files is not used where it lies leaves the process: whoever reads a page maps those
// around it as well, also of weights that were packed and released before.
void ReleaseUnused(const plan::Plan& plan, const std::vector<WeightLoad>& loads) {
  std::map<const MappedFile*, std::vector<std::pair<uint64_t, uint64_t>>> used;
  for (size_t i = 0; i < loads.size(); ++i) {
    auto& ranges = used[loads[i].file];
    if (loads[i].to != nullptr) continue;
    const uint64_t bytes =
        loads[i].packed ? plan::StoredBytes(plan.weights[i]) : plan.weights[i].source.bytes;
    ranges.emplace_back(loads[i].offset, loads[i].offset + bytes);
  }
  for (auto& [file, ranges] : used) {
    std::sort(ranges.begin(), ranges.end());
    ranges.emplace_back(file->size(), file->size());
    uint64_t at = 0;
    for (const auto& [begin, end] : ranges) {
      if (begin > at) file->Release(at, begin - at);
      at = std::max(at, end);
    }
  }
}

}  // namespace

absl::StatusOr<WeightStore> WeightStore::Open(const plan::Plan& plan,
                                              const WeightOptions& options) {
  WeightStore store;
  RENGA_ASSIGN_OR_RETURN(store.files_,
                         WeightFiles::Open(plan, {options.plan_path, options.model_path}));
  std::vector<WeightLoad> loads;
  std::vector<bool> moves;       // to the region
  std::vector<uint64_t> places;  // there
  uint64_t bytes = 0;
  for (const plan::Weight& weight : plan.weights) {
    const WeightFiles::Place place = store.files_.Find(weight);
    const WeightLoad load = {place.file, place.offset, place.packed, nullptr};
    places.push_back(bytes);
    const bool copied = weight.layout.empty() && weight.source.bytes <= kCopiedBytes;
    moves.push_back(copied || (!weight.layout.empty() && load.packed != options.packed));
    if (moves.back()) {
      bytes += plan::AlignUp(options.packed ? plan::StoredBytes(weight) : weight.source.bytes);
    }
    loads.push_back(load);
  }
  RENGA_ASSIGN_OR_RETURN(store.region_, Region::Allocate(bytes, "packed weights"));
  store.region_.AdviseHugePages();
  for (size_t i = 0; i < loads.size(); ++i) {
    if (moves[i]) loads[i].to = store.region_.data() + places[i];
    store.data_.push_back(moves[i] ? loads[i].to : loads[i].file->bytes().data() + loads[i].offset);
  }

  Loader loader(plan, loads, options);
  loader.Run();
  for (size_t i = 0; i < loads.size(); ++i) {
    RENGA_RETURN_IF_ERROR(loader.result(i).status());
    RENGA_RETURN_IF_ERROR(store.files_.CheckDigest(plan.weights[i], *loader.result(i)));
  }
  ReleaseUnused(plan, loads);
  return store;
}

}  // namespace renga
