// dump --stage ledger: what was fused, what was not and why.
#include <algorithm>

#include "absl/strings/str_format.h"
#include "ir/base/status.h"
#include "tools/fusion_summary.h"
#include "tools/renga/dump_filter.h"
#include "tools/renga/dump_input.h"
#include "tools/renga/table.h"

namespace renga {
namespace {

std::string ResultText(plan::LedgerResult result) {
  return result == plan::LedgerResult::kMatched ? "matched" : "rejected";
}

Json EntryJson(const plan::LedgerEntry& entry) {
  return {{"pass", entry.pass},
          {"node", entry.node},
          {"layer", LayerJson(entry.layer)},
          {"result", ResultText(entry.result)},
          {"reason", entry.reason}};
}

}  // namespace

absl::StatusOr<std::string> DumpLedger(const DumpFlags& flags, FileKind kind) {
  RENGA_ASSIGN_OR_RETURN(const PassHistory history, PassHistoryOf(flags, kind));
  DumpFilter filter(flags, "entries");
  filter.AddLayers(history.layers);
  std::vector<plan::LedgerEntry> kept;
  for (const plan::LedgerEntry& entry : history.ledger) {
    if (filter.Keeps(entry.node, entry.layer, {})) kept.push_back(entry);
  }
  RENGA_RETURN_IF_ERROR(filter.CheckFound());
  const FusionSummary summary = SummarizeFusion(history.passes, kept);
  Json entries = Json::array();
  TextTable table;
  for (const plan::LedgerEntry& entry : kept) {
    if (flags.json) {
      entries.push_back(EntryJson(entry));
    } else {
      table.Add({entry.node, ResultText(entry.result), entry.pass, entry.reason});
    }
  }
  if (flags.json) return JsonText({{"entries", std::move(entries)}});
  return StrCat(table.Text(), kept.size(),
                kept.size() == 1 ? " entry: " : " entries: ", FusionText(summary), "\n");
}

}  // namespace renga
