#include "tools/fusion_summary.h"

#include <algorithm>
#include <string_view>

#include "ir/base/strings.h"
#include "passes/core/pipeline.h"

namespace renga {
namespace {

constexpr std::string_view kFuse = "fuse-";

std::string ShortName(std::string_view pass) {
  std::string name(pass.substr(kFuse.size()));
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

}  // namespace

FusionSummary SummarizeFusion(const std::vector<plan::PassRecord>& passes,
                              const std::vector<plan::LedgerEntry>& ledger) {
  FusionSummary summary;
  for (const plan::PassRecord& pass : passes) {
    if (!pass.name.starts_with(kFuse)) continue;
    FusionCount count{ShortName(pass.name)};
    for (const plan::LedgerEntry& entry : ledger) {
      if (entry.pass != pass.name) continue;
      ++count.candidates;
      if (entry.result == plan::LedgerResult::kMatched) {
        ++count.matched;
      } else {
        summary.rejected.push_back(&entry);
      }
    }
    summary.passes.push_back(std::move(count));
  }
  return summary;
}

std::string FusionText(const FusionSummary& summary) {
  std::vector<std::string> counts;
  for (const FusionCount& count : summary.passes) {
    counts.push_back(StrCat(count.name, " ", count.matched, "/", count.candidates));
  }
  return StrCat(counts.empty() ? "none" : StrJoin(counts, "  "), "       ", summary.rejected.size(),
                " rejected");
}

std::vector<std::string> FusionsLeftOut(const std::vector<plan::PassRecord>& passes) {
  std::vector<std::string> left_out;
  for (const Pass& pass : DefaultPipeline()) {
    const bool ran = std::any_of(passes.begin(), passes.end(),
                                 [&](const auto& record) { return record.name == pass.name; });
    if (pass.name.starts_with(kFuse) && !ran) left_out.emplace_back(pass.name);
  }
  return left_out;
}

}  // namespace renga
