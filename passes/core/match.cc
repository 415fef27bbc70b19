#include "passes/core/match.h"

#include <algorithm>
#include <utility>

#include "ir/base/status.h"
#include "passes/core/attempt.h"
#include "passes/core/readers.h"

namespace renga {

absl::StatusOr<Matcher> Matcher::Create(const Graph& graph, const OpDef& fused,
                                        absl::Span<const std::string_view> without) {
  if (!fused.fused()) {
    return absl::InternalError(StrCat("match: expected a fused operator, got ", fused.name));
  }
  Matcher matcher(graph, fused);
  for (const std::vector<bool>& present : OperandChoices(fused)) {
    bool wanted = true;
    for (size_t i = 0; i < present.size(); ++i) {
      const std::string_view name = fused.operands[i].name;
      if (present[i] && std::find(without.begin(), without.end(), name) != without.end()) {
        wanted = false;
      }
    }
    if (!wanted) continue;
    Pattern pattern;
    RENGA_ASSIGN_OR_RETURN(pattern.parts, DecompositionPattern(fused, present));
    const Graph& parts = pattern.parts.graph;
    pattern.uses = ComputeUses(parts);
    pattern.returned.assign(parts.values.size(), false);
    for (ValueId id : parts.returns) pattern.returned[id] = true;
    pattern.anchor = pattern.uses.producer[parts.returns[fused.anchor]];
    matcher.patterns_.push_back(std::move(pattern));
  }
  matcher.uses_ = ComputeUses(graph);
  matcher.used_.assign(graph.nodes.size(), false);
  matcher.readers_ = ReadersOf(graph);
  matcher.returned_.assign(graph.values.size(), false);
  for (ValueId id : graph.returns) matcher.returned_[id] = true;
  matcher.overwritten_by_.assign(graph.values.size(), -1);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const int node = static_cast<int>(n);
    for (const Alias& alias : graph.nodes[n].op->aliases) {
      const ValueId id = graph.nodes[n].operands[alias.operand];
      if (id != kNoValue) matcher.overwritten_by_[id] = node;
    }
  }
  return matcher;
}

bool Matcher::IsCandidate(int index) const {
  const Node& node = graph_.nodes[index];
  const Pattern& pattern = patterns_[0];
  const std::vector<Node>& parts = pattern.parts.graph.nodes;
  const Node& anchor = parts[pattern.anchor];
  if (node.op != anchor.op) return false;
  const auto same_op = [&](const Node& part) { return part.op == anchor.op; };
  if (std::count_if(parts.begin(), parts.end(), same_op) == 1) return true;
  for (size_t i = 0; i < node.operands.size(); ++i) {
    const ValueId want = anchor.operands[i], got = node.operands[i];
    const int part = want == kNoValue ? -1 : pattern.uses.producer[want];
    if (part < 0) continue;
    const int producer = got == kNoValue ? -1 : uses_.producer[got];
    if (producer < 0 || graph_.nodes[producer].op != parts[part].op) return false;
  }
  return true;
}

std::optional<Match> Matcher::At(int index, std::string* why) const {
  Obstacle nearest;
  for (const Pattern& pattern : patterns_) {
    Attempt attempt(*this, pattern);
    if (std::optional<Match> match = attempt.Run(index)) return match;
    // The reason that counts is that of the pattern that came nearest.
    if (!(attempt.obstacle() < nearest)) nearest = attempt.obstacle();
  }
  *why = std::move(nearest.why);
  return std::nullopt;
}

void Matcher::Use(const Match& match) {
  for (int node : match.nodes) used_[node] = true;
}

}  // namespace renga
