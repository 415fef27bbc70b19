// What every pass did, what it could not do and why, and what was chosen where there was a choice.
// Printed by `dump --stage ledger`.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ir/base/strings.h"
#include "ir/core/graph.h"

namespace renga {

struct LedgerEntry {
  std::string pass;      // "rows-asked"
  std::string node;      // name of the node concerned
  int layer = -1;        // that the node's name starts with; -1 outside layers
  bool matched = false;  // the rewrite was made; else it was considered and rejected
  std::string reason;    // what was gained, or why not: "%0.norm has 2 users"
};

// Where more than one lowering was possible: what was taken, and why.
struct Choice {
  std::string subject;                  // weight or node, without sigil
  std::string what;                     // "layout"
  std::string chosen;                   // one of `considered`
  std::vector<std::string> considered;  // "file", "rows8"
  std::string reason;
};

// The reason of an entry for a site that was switched off.
inline constexpr std::string_view kLeftOut = "left out on request";

struct Ledger {
  std::string pass;  // the one now running, set by the runner
  std::vector<LedgerEntry> entries;
  std::vector<Choice> choices;
  std::set<std::string, std::less<>> sites_off;  // RunPassesOptions::sites_off
  std::set<std::string, std::less<>> sites_met;  // those of them that a pass came across

  // Whether the pass may do at `node` what it would; if not, an entry says so. Asked once the
  // rewrite is known to be possible.
  bool Allows(std::string_view node) {
    if (sites_off.empty()) return true;
    std::string site = StrCat(pass, ":", node);
    if (!sites_off.contains(site)) return true;
    sites_met.insert(std::move(site));
    Rejected(node, std::string(kLeftOut));
    return false;
  }

  void Matched(std::string_view node, std::string reason) { Add(node, true, std::move(reason)); }
  void Rejected(std::string_view node, std::string reason) { Add(node, false, std::move(reason)); }

 private:
  void Add(std::string_view node, bool matched, std::string reason) {
    entries.push_back({pass, std::string(node), LayerOf(node), matched, std::move(reason)});
  }
};

}  // namespace renga
