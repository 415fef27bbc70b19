#include "runtime/memory/weights.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <numeric>
#include <thread>

#include "ir/base/status.h"

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

// Index of the first weight (in the plan's order) whose bytes differ; the number of weights when
// none does. Threads take the largest weights first, so that they end together.
size_t FirstDifference(const plan::Plan& plan, const std::vector<const uint8_t*>& data, int threads,
                       std::vector<Digest>* digests) {
  std::vector<size_t> order(plan.weights.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return plan.weights[a].source.bytes > plan.weights[b].source.bytes;
  });
  digests->resize(plan.weights.size());
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next++; i < order.size(); i = next++) {
      const size_t weight = order[i];
      (*digests)[weight] =
          DigestOf(absl::MakeConstSpan(data[weight], plan.weights[weight].source.bytes));
    }
  };
  std::vector<std::thread> helpers;
  for (int i = 1; i < threads; ++i) helpers.emplace_back(work);
  work();
  for (std::thread& helper : helpers) helper.join();
  size_t first = 0;
  while (first < data.size() && (*digests)[first] == plan.weights[first].digest) ++first;
  return first;
}

}  // namespace

absl::StatusOr<WeightStore> WeightStore::Open(const plan::Plan& plan,
                                              const WeightOptions& options) {
  WeightStore store;
  for (size_t i = 0; i < plan.files.size(); ++i) {
    RENGA_ASSIGN_OR_RETURN(MappedFile file, OpenFile(plan, i, options));
    store.files_.push_back(std::move(file));
  }
  for (const plan::Weight& weight : plan.weights) {
    store.data_.push_back(store.files_[weight.source.file].bytes().data() + weight.source.offset);
  }
  std::vector<Digest> digests;
  const size_t bad = FirstDifference(plan, store.data_, options.threads, &digests);
  if (bad < plan.weights.size()) {
    const plan::Weight& weight = plan.weights[bad];
    return Changed(store.files_[weight.source.file].path(), options,
                   StrCat("tensor ", weight.source.name, ": digest ", digests[bad].ToHex(),
                          ", expected ", weight.digest.ToHex()));
  }
  return store;
}

}  // namespace renga
