// diff of two GGUFs: what the files say, and how far their weights are apart.
#include <unistd.h>

#include <cmath>
#include <thread>

#include "absl/strings/str_format.h"
#include "frontend/gguf/gguf.h"
#include "ir/base/status.h"
#include "tools/compare/gguf_diff.h"
#include "tools/renga/diff.h"
#include "tools/renga/interrupt.h"
#include "tools/renga/progress.h"
#include "tools/renga/table.h"
#include "tools/renga/text.h"

namespace renga {
namespace {

std::string Arrow(const std::string& before, const std::string& after) {
  if (before.empty()) return after;
  if (after.empty()) return before;
  return before == after ? before : StrCat(before, " -> ", after);
}

std::string ErrorText(const WeightError& error) {
  std::string text = absl::StrFormat("relative RMS %.3g", error.RelativeRms());
  if (error.not_finite > 0) {
    StrAppend(&text, ", ", WithCommas(error.not_finite), " NaN or infinite on one side");
  }
  return text;
}

Json NumberJson(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

std::string DiffText(const GgufDiff& diff, const GgufFile& a, const GgufFile& b) {
  if (diff.equal()) {
    return StrCat("equal: ", diff.keys, " keys, ", diff.common_tensors,
                  " tensors, all the same bytes\n");
  }
  TextTable table;
  for (const MetadataChange& change : diff.metadata) {
    table.Add({"metadata", std::string(ToString(change.kind)), change.key,
               Arrow(change.before, change.after), change.note});
  }
  for (const TensorGroup& group : diff.groups) {
    const size_t count = group.changes.size();
    table.Add({LayersText(group.layers), std::string(ToString(group.kind)), group.role,
               Arrow(group.before, group.after), count > 1 ? StrCat(count, " x") : "",
               group.error ? ErrorText(*group.error) : ""});
  }
  std::string text = table.Text();
  WeightError all;
  for (const TensorGroup& group : diff.groups) {
    if (group.error) all.Add(*group.error);
  }
  StrAppend(&text, diff.metadata.size(), " of ", std::max<size_t>(diff.keys, 1), " keys and ",
            diff.tensors.size(), " of ", a.tensors().size(), " tensors differ; ",
            WithCommas(static_cast<int64_t>(a.total_bytes())), " -> ",
            WithCommas(static_cast<int64_t>(b.total_bytes())), " bytes\n");
  if (all.elements > 0) {
    StrAppend(&text, "weights of B from those of A: ", ErrorText(all),
              " over all that differ.  What it does to the results: add --values\n");
  }
  return text;
}

Json ErrorJson(const std::optional<WeightError>& error) {
  if (!error) return nullptr;
  return {{"relative_rms", NumberJson(error->RelativeRms())},
          {"elements", error->elements},
          {"not_finite", error->not_finite}};
}

Json DiffJson(const GgufDiff& diff) {
  Json metadata = Json::array(), groups = Json::array(), nodes = Json::array();
  for (const MetadataChange& change : diff.metadata) {
    metadata.push_back({{"kind", std::string(ToString(change.kind))},
                        {"key", change.key},
                        {"before", change.before},
                        {"after", change.after},
                        {"note", change.note}});
  }
  for (const TensorGroup& group : diff.groups) {
    groups.push_back({{"kind", std::string(ToString(group.kind))},
                      {"subject", "weight"},
                      {"role", group.role},
                      {"layers", group.layers},
                      {"count", group.changes.size()},
                      {"before", group.before},
                      {"after", group.after},
                      {"bytes_before", group.bytes_before},
                      {"bytes_after", group.bytes_after},
                      {"error", ErrorJson(group.error)}});
  }
  for (const TensorChange& change : diff.tensors) {
    const Json name = change.name;
    nodes.push_back({{"a", change.kind == ChangeKind::kAdded ? Json(nullptr) : name},
                     {"b", change.kind == ChangeKind::kRemoved ? Json(nullptr) : name},
                     {"kind", std::string(ToString(change.kind))},
                     {"layer", change.layer < 0 ? Json(nullptr) : Json(change.layer)},
                     {"before", change.before},
                     {"after", change.after},
                     {"error", ErrorJson(change.error)}});
  }
  return {{"kind", "gguf"},
          {"metadata", std::move(metadata)},
          {"groups", std::move(groups)},
          {"nodes", std::move(nodes)}};
}

}  // namespace

absl::StatusOr<DiffAnswer> DiffGgufFiles(const DiffFlags& flags) {
  RENGA_ASSIGN_OR_RETURN(const GgufFile a, GgufFile::Open(flags.a));
  RENGA_ASSIGN_OR_RETURN(const GgufFile b, GgufFile::Open(flags.b));
  Progress progress("comparing weights");
  InterruptScope interrupt;
  GgufDiffOptions options;
  options.threads = flags.options.threads > 0
                        ? flags.options.threads
                        : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  options.progress = [&](int64_t done, int64_t total) {
    progress.Update(done, total);
    return !interrupt.flag();
  };
  RENGA_ASSIGN_OR_RETURN(const GgufDiff diff, DiffGgufs(a, b, options));
  progress.Stop();
  return DiffAnswer{diff.equal(), DiffText(diff, a, b), DiffJson(diff)};
}

}  // namespace renga
