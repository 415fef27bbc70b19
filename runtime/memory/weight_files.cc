#include "runtime/memory/weight_files.h"

#include <filesystem>
#include <utility>

#include "ir/base/status.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/serialize.h"

namespace renga {
namespace {

namespace fs = std::filesystem;

std::string PlanName(const WeightPaths& paths) {
  return paths.plan_path.empty() ? "the plan" : paths.plan_path;
}

std::string Beside(const std::string& file, const std::string& path) {
  return (fs::path(file).parent_path() / fs::path(path).filename()).string();
}

// Where to look for file `index` of the plan, best first.
std::vector<std::string> Candidates(const plan::Plan& plan, size_t index,
                                    const WeightPaths& paths) {
  const std::string& stored = plan.files[index].path;
  if (!paths.model_path.empty()) {
    return {index == 0 ? paths.model_path : Beside(paths.model_path, stored)};
  }
  if (paths.plan_path.empty()) return {stored};
  return {stored, Beside(paths.plan_path, stored)};
}

absl::Status Changed(const std::string& file, const WeightPaths& paths,
                     std::string_view difference) {
  return absl::FailedPreconditionError(StrCat(
      file, " has changed since ", PlanName(paths), " was compiled: ", difference,
      "; run: renga compile ", file, " -o ", paths.plan_path.empty() ? "X.plan" : paths.plan_path));
}

absl::StatusOr<MappedFile> OpenFile(const plan::Plan& plan, size_t index,
                                    const WeightPaths& paths) {
  const std::vector<std::string> candidates = Candidates(plan, index, paths);
  for (const std::string& path : candidates) {
    absl::StatusOr<MappedFile> file = MappedFile::Open(path);
    if (absl::IsNotFound(file.status())) continue;
    if (!file.ok()) return file.status();
    if (file->size() != plan.files[index].bytes) {
      return Changed(path, paths,
                     StrCat(file->size(), " bytes, expected ", plan.files[index].bytes));
    }
    return file;
  }
  return absl::NotFoundError(StrCat(PlanName(paths), ": its weights are in ",
                                    StrJoin(candidates, " or "),
                                    ", which does not exist; say where it is with -m"));
}

// The plan file, whose last `data_bytes` before the trailer are its data section. The plan came
// from it: what changed since shows in the digests.
absl::StatusOr<MappedFile> OpenPlanFile(const plan::Plan& plan, const WeightPaths& paths) {
  if (paths.plan_path.empty()) {
    return absl::FailedPreconditionError(
        "the plan: its weights are embedded in its file, expected the path of that file, got none");
  }
  RENGA_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(paths.plan_path));
  if (file.size() < plan.data_bytes + plan::kTrailerBytes) {
    return absl::DataLossError(StrCat(paths.plan_path, ": damaged: expected ", plan.data_bytes,
                                      " bytes of embedded weights, got a file of ", file.size(),
                                      "; compile it again"));
  }
  return file;
}

}  // namespace

absl::StatusOr<WeightFiles> WeightFiles::Open(const plan::Plan& plan, WeightPaths paths) {
  WeightFiles result;
  result.files_.resize(plan.files.size() + 1);
  bool embedded = false;
  std::vector<bool> needed(plan.files.size(), false);
  for (const plan::Weight& weight : plan.weights) {
    embedded |= weight.embedded.has_value();
    if (!weight.embedded.has_value()) needed[weight.source.file] = true;
  }
  for (size_t i = 0; i < plan.files.size(); ++i) {
    if (!needed[i] && embedded) continue;
    RENGA_ASSIGN_OR_RETURN(result.files_[i], OpenFile(plan, i, paths));
  }
  if (embedded) {
    MappedFile& file = result.files_.back();
    RENGA_ASSIGN_OR_RETURN(file, OpenPlanFile(plan, paths));
    result.data_start_ = file.size() - plan::kTrailerBytes - plan.data_bytes;
  }
  result.paths_ = std::move(paths);
  return result;
}

WeightFiles::Place WeightFiles::Find(const plan::Weight& weight) const {
  if (!weight.embedded.has_value()) {
    return {&files_[weight.source.file], weight.source.offset, weight.source.bytes, false};
  }
  return {&files_.back(), data_start_ + weight.embedded->offset, plan::StoredBytes(weight),
          !weight.layout.empty()};
}

absl::Status WeightFiles::CheckDigest(const plan::Weight& weight, const Digest& digest) const {
  const Digest& expected = weight.embedded ? weight.embedded->digest : weight.digest;
  if (digest == expected) return absl::OkStatus();
  const std::string difference = StrCat("tensor ", weight.source.name, ": digest ", digest.ToHex(),
                                        ", expected ", expected.ToHex());
  if (weight.embedded) {
    return absl::DataLossError(
        StrCat(paths_.plan_path, ": damaged: ", difference, "; compile it again"));
  }
  return Changed(files_[weight.source.file].path(), paths_, difference);
}

}  // namespace renga
