#include "passes/core/runner.h"

#include <algorithm>
#include <chrono>

#include "absl/strings/str_format.h"
#include "ir/base/output_file.h"
#include "ir/base/status.h"
#include "ir/core/verify.h"
#include "ir/text/print.h"
#include "passes/core/pipeline.h"

namespace renga {
namespace {

absl::Status AfterPass(absl::StatusCode code, std::string_view message, std::string_view pass) {
  return absl::Status(code, StrCat(message, "; after pass ", pass));
}

absl::Status CheckNames(absl::Span<const Pass> pipeline, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    std::vector<std::string_view> known;
    for (const Pass& pass : pipeline) known.push_back(pass.name);
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    return absl::InvalidArgumentError(
        StrCat("pass: expected one of ", StrJoin(known, ", "), ", got ", name));
  }
  return absl::OkStatus();
}

absl::Status CheckSites(absl::Span<const Pass> pipeline, const std::vector<std::string>& sites) {
  for (const std::string& site : sites) {
    const std::string name = site.substr(0, site.find(':'));
    RENGA_RETURN_IF_ERROR(CheckNames(pipeline, {name}));
    for (const Pass& pass : pipeline) {
      if (pass.name != name || !pass.whole) continue;
      return absl::InvalidArgumentError(
          StrCat("pass ", name, ": does all or nothing; it cannot leave out one node, got ", site));
    }
  }
  return absl::OkStatus();
}

bool Contains(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

absl::Status Dump(const RunPassesOptions& options, int index, std::string_view name,
                  std::string_view text) {
  if (options.on_dump) options.on_dump(index, name, text);
  if (options.dump_dir.empty()) return absl::OkStatus();
  const std::string path =
      StrCat(options.dump_dir, "/", absl::StrFormat("%02d", index), ".", name, ".ir");
  return WriteFileAtomically(path, {text});
}

}  // namespace

absl::StatusOr<std::vector<PassRecord>> RunPasses(Graph& graph, absl::Span<const Pass> pipeline,
                                                  const RunPassesOptions& options, Ledger* ledger) {
  if (options.only.has_value()) RENGA_RETURN_IF_ERROR(CheckNames(pipeline, *options.only));
  RENGA_RETURN_IF_ERROR(CheckNames(pipeline, options.disabled));
  RENGA_RETURN_IF_ERROR(CheckSites(pipeline, options.sites_off));
  ledger->sites_off = {options.sites_off.begin(), options.sites_off.end()};
  RENGA_RETURN_IF_ERROR(Annotate(Verify(graph), "before the first pass"));
  Compact(graph);
  std::string before = Print(graph);
  RENGA_RETURN_IF_ERROR(Dump(options, 0, "frontend", before));

  std::vector<PassRecord> records;
  for (size_t i = 0; i < pipeline.size(); ++i) {
    const Pass& pass = pipeline[i];
    if (options.only.has_value() && !Contains(*options.only, pass.name)) continue;
    if (Contains(options.disabled, pass.name)) continue;

    PassRecord record;
    record.name = pass.name;
    record.nodes_before = static_cast<int>(graph.nodes.size());
    ledger->pass = pass.name;
    const auto start = std::chrono::steady_clock::now();
    const absl::StatusOr<bool> changed = pass.run(graph, *ledger);
    const auto stop = std::chrono::steady_clock::now();
    if (!changed.ok()) {
      return AfterPass(changed.status().code(), ToStd(changed.status().message()), pass.name);
    }
    record.ms = std::chrono::duration<double, std::milli>(stop - start).count();
    record.changed = *changed;
    record.nodes_after = static_cast<int>(graph.nodes.size());

    Compact(graph);
    std::string after = Print(graph);
    // Before verifying: a broken graph is what one wants to look at.
    RENGA_RETURN_IF_ERROR(Dump(options, static_cast<int>(i) + 1, pass.name, after));
    if (absl::Status status = Verify(graph); !status.ok()) {
      return AfterPass(absl::StatusCode::kInternal, ToStd(status.message()), pass.name);
    }
    if (*changed != (before != after)) {
      return AfterPass(absl::StatusCode::kInternal,
                       *changed ? "changed: expected another text, got the same"
                                : "changed: expected the same text, got another",
                       pass.name);
    }
    before = std::move(after);
    records.push_back(std::move(record));
  }
  for (const std::string& site : options.sites_off) {
    if (options.sites_may_be_gone || ledger->sites_met.contains(site)) continue;
    return absl::InvalidArgumentError(
        StrCat("pass: expected a node that the pass rewrites, got ", site,
               "; `renga dump --stage ledger` lists those that matched"));
  }
  return records;
}

absl::StatusOr<std::vector<PassRecord>> RunPasses(Graph& graph, const RunPassesOptions& options,
                                                  Ledger* ledger) {
  return RunPasses(graph, DefaultPipeline(), options, ledger);
}

}  // namespace renga
