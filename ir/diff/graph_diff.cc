#include "ir/diff/graph_diff.h"

#include "ir/diff/changes.h"
#include "ir/diff/groups.h"
#include "ir/diff/matchers.h"

namespace renga {

std::string_view ToString(ChangeKind kind) {
  static constexpr std::string_view kNames[] = {
      "added",    "removed",   "fused",   "split", "rewritten", "renamed",     "order",
      "operator", "attribute", "operand", "type",  "shape",     "weight type", "weight values"};
  return kNames[static_cast<int>(kind)];
}

std::string_view ToString(MatchBy by) {
  static constexpr std::string_view kNames[] = {"name", "provenance", "structure"};
  return kNames[static_cast<int>(by)];
}

std::string_view ToString(Subject subject) {
  static constexpr std::string_view kNames[] = {"node",      "weight", "cache",
                                                "parameter", "symbol", "return"};
  return kNames[static_cast<int>(subject)];
}

GraphDiff DiffGraphs(const Graph& a, const Graph& b, const GraphDiffOptions& options) {
  LineUp line_up(a, b);
  MatchLeaves(&line_up);
  if (!options.ignore_names) {
    MatchByProvenance(&line_up);
    MatchByName(&line_up);
  }
  MatchByWeights(&line_up);
  MatchByFingerprint(&line_up);
  // Regions before neighbours: a fusion's nodes have neighbours too, but belong together.
  MatchRegions(&line_up, options.ignore_names);
  MatchNeighbours(&line_up);
  MatchByFingerprint(&line_up);
  MatchRegions(&line_up, options.ignore_names);
  MatchAbsorbed(&line_up);
  MatchLeavesByUse(&line_up);
  FinishMatches(&line_up);

  GraphDiff diff;
  diff.changes = FindChanges(line_up, options.ignore_names);
  diff.matches = std::move(line_up.matches);
  diff.match_of_a = std::move(line_up.a.match_of);
  diff.match_of_b = std::move(line_up.b.match_of);
  diff.groups = GroupChanges(a, b, diff);
  return diff;
}

}  // namespace renga
