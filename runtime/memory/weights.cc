#include "runtime/memory/weights.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <mutex>
#include <numeric>
#include <thread>

#include "ir/base/status.h"
#include "runtime/memory/load_weight.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/serialize.h"

namespace renga {
namespace {

namespace fs = std::filesystem;

std::string PlanName(const WeightOptions& options) {
  return options.plan_path.empty() ? "the plan" : options.plan_path;
}

std::string Beside(const std::string& file, const std::string& path) {
  return (fs::path(file).parent_path() / fs::path(path).filename()).string();
}

// Where to look for file `index` of the plan, best first.
std::vector<std::string> Candidates(const plan::Plan& plan, size_t index,
                                    const WeightOptions& options) {
  const std::string& stored = plan.files[index].path;
  if (!options.model_path.empty()) {
    return {index == 0 ? options.model_path : Beside(options.model_path, stored)};
  }
  if (options.plan_path.empty()) return {stored};
  return {stored, Beside(options.plan_path, stored)};
}

absl::Status Changed(const std::string& file, const WeightOptions& options,
                     std::string_view difference) {
  return absl::FailedPreconditionError(
      StrCat(file, " has changed since ", PlanName(options), " was compiled: ", difference,
             "; run: renga compile ", file, " -o ",
             options.plan_path.empty() ? "X.plan" : options.plan_path));
}

absl::StatusOr<MappedFile> OpenFile(const plan::Plan& plan, size_t index,
                                    const WeightOptions& options) {
  const std::vector<std::string> candidates = Candidates(plan, index, options);
  for (const std::string& path : candidates) {
    absl::StatusOr<MappedFile> file = MappedFile::Open(path);
    if (absl::IsNotFound(file.status())) continue;
    if (!file.ok()) return file.status();
    if (file->size() != plan.files[index].bytes) {
      return Changed(path, options,
                     StrCat(file->size(), " bytes, expected ", plan.files[index].bytes));
    }
    return file;
  }
  return absl::NotFoundError(StrCat(PlanName(options), ": its weights are in ",
                                    StrJoin(candidates, " or "),
                                    ", which does not exist; say where it is with -m"));
}

// The plan file, whose last `data_bytes` before the trailer are its data section. The plan came
// from it: what changed since shows in the digests.
absl::StatusOr<MappedFile> OpenPlanFile(const plan::Plan& plan, const WeightOptions& options) {
  if (options.plan_path.empty()) {
    return absl::FailedPreconditionError(
        "the plan: its weights are embedded in its file, expected the path of that file, got none");
  }
  RENGA_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(options.plan_path));
  if (file.size() < plan.data_bytes + plan::kTrailerBytes) {
    return absl::DataLossError(StrCat(options.plan_path, ": damaged: expected ", plan.data_bytes,
                                      " bytes of embedded weights, got a file of ", file.size(),
                                      "; compile it again"));
  }
  return file;
}

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

}  // namespace

absl::StatusOr<WeightStore> WeightStore::Open(const plan::Plan& plan,
                                              const WeightOptions& options) {
  WeightStore store;
  store.files_.resize(plan.files.size());
  bool embedded = false;
  std::vector<bool> needed(plan.files.size(), false);
  for (const plan::Weight& weight : plan.weights) {
    embedded |= weight.embedded.has_value();
    if (!weight.embedded.has_value()) needed[weight.source.file] = true;
  }
  for (size_t i = 0; i < plan.files.size(); ++i) {
    if (!needed[i] && embedded) continue;
    RENGA_ASSIGN_OR_RETURN(store.files_[i], OpenFile(plan, i, options));
  }
  uint64_t data_start = 0;
  if (embedded) {
    RENGA_ASSIGN_OR_RETURN(store.plan_file_, OpenPlanFile(plan, options));
    data_start = store.plan_file_.size() - plan::kTrailerBytes - plan.data_bytes;
  }

  std::vector<WeightLoad> loads;
  std::vector<uint64_t> places;  // in the region, of those that go there
  uint64_t bytes = 0;
  for (const plan::Weight& weight : plan.weights) {
    const bool from_plan = weight.embedded.has_value();
    WeightLoad load = {from_plan ? &store.plan_file_ : &store.files_[weight.source.file],
                       from_plan ? data_start + weight.embedded->offset : weight.source.offset,
                       from_plan && !weight.layout.empty(), nullptr};
    places.push_back(bytes);
    if (!weight.layout.empty() && load.packed != options.packed) {
      bytes += plan::AlignUp(options.packed ? plan::StoredBytes(weight) : weight.source.bytes);
    }
    loads.push_back(load);
  }
  RENGA_ASSIGN_OR_RETURN(store.region_, Region::Allocate(bytes, "packed weights"));
  store.region_.AdviseHugePages();
  for (size_t i = 0; i < loads.size(); ++i) {
    const bool moves = !plan.weights[i].layout.empty() && loads[i].packed != options.packed;
    if (moves) loads[i].to = store.region_.data() + places[i];
    store.data_.push_back(moves ? loads[i].to : loads[i].file->bytes().data() + loads[i].offset);
  }

  Loader loader(plan, loads, options);
  loader.Run();
  for (size_t i = 0; i < loads.size(); ++i) {
    const plan::Weight& weight = plan.weights[i];
    RENGA_RETURN_IF_ERROR(loader.result(i).status());
    const Digest& digest = *loader.result(i);
    const Digest& expected = weight.embedded ? weight.embedded->digest : weight.digest;
    if (digest == expected) continue;
    const std::string difference = StrCat("tensor ", weight.source.name, ": digest ",
                                          digest.ToHex(), ", expected ", expected.ToHex());
    if (weight.embedded) {
      return absl::DataLossError(
          StrCat(options.plan_path, ": damaged: ", difference, "; compile it again"));
    }
    return Changed(loads[i].file->path(), options, difference);
  }
  return store;
}

}  // namespace renga
