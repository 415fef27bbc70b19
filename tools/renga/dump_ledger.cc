// dump --stage ledger: what was fused, what was not and why.
#include <algorithm>
#include <map>

#include "absl/strings/str_format.h"
#include "ir/base/status.h"
#include "tools/fusion_summary.h"
#include "tools/renga/dump_filter.h"
#include "tools/renga/dump_input.h"
#include "tools/renga/table.h"
#include "tools/renga/text.h"

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
  const FusionSummary summary = SummarizeFusion(history.passes, kept);
  Json entries = Json::array(), choices = Json::array();
  std::map<std::string, int> counts;  // a line for every weight of every layer tells nothing new
  for (const plan::Choice& choice : history.choices) {
    const int layer = std::max(LayerOf(choice.subject), LayerOfTensor(choice.subject));
    if (!filter.Keeps(choice.subject, layer, {})) continue;
    choices.push_back({{"subject", choice.subject},
                       {"what", choice.what},
                       {"chosen", choice.chosen},
                       {"considered", choice.considered},
                       {"reason", choice.reason}});
    ++counts[StrCat(choice.what, ": ", choice.chosen, " of ", StrJoin(choice.considered, ", "),
                    ": ", choice.reason)];
  }
  RENGA_RETURN_IF_ERROR(filter.CheckFound());
  TextTable table;
  for (const plan::LedgerEntry& entry : kept) {
    if (flags.json) {
      entries.push_back(EntryJson(entry));
    } else {
      table.Add({entry.node, ResultText(entry.result), entry.pass, entry.reason});
    }
  }
  if (flags.json) {
    return JsonText({{"entries", std::move(entries)}, {"choices", std::move(choices)}});
  }
  std::string text =
      StrCat(table.Text(), kept.size(),
             kept.size() == 1 ? " entry: " : " entries: ", FusionText(summary), "\n");
  if (!counts.empty()) text += "choices\n";
  for (const auto& [line, count] : counts) {
    StrAppend(&text, absl::StrFormat("  %4d x ", count), EscapeForTerminal(line), "\n");
  }
  return text;
}

}  // namespace renga
