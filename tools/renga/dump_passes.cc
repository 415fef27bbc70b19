// dump --stage passes: what was done to the graph.
#include <algorithm>

#include "absl/strings/str_format.h"
#include "ir/base/status.h"
#include "ir/diff/graph_diff.h"
#include "ir/text/parse.h"
#include "tools/renga/dump_input.h"
#include "tools/renga/graph_diff_json.h"
#include "tools/renga/text.h"

namespace renga {
namespace {

// What happened between two texts of a graph.
struct Story {
  Json groups = Json::array();
  std::string text;  // a line a group, indented
};

absl::StatusOr<Story> Tell(const std::string& before, const std::string& after) {
  Story story;
  if (before == after) return story;
  RENGA_ASSIGN_OR_RETURN(const Graph a, Parse(before, "the graph before the pass"));
  RENGA_ASSIGN_OR_RETURN(const Graph b, Parse(after, "the graph after the pass"));
  const GraphDiff diff = DiffGraphs(a, b);
  story.groups = GroupsJson(diff);
  if (diff.equal()) {
    story.text = "    only what means nothing: provenance or the order of declarations\n";
    return story;
  }
  // The last line sums up; the pass's own line says how many nodes there are.
  std::string_view lines = story.text = GraphDiffText(a, b, diff);
  lines = lines.substr(0, lines.rfind('\n', lines.size() - 2) + 1);
  std::string indented;
  while (!lines.empty()) {
    const size_t end = lines.find('\n') + 1;
    StrAppend(&indented, "    ", lines.substr(0, end));
    lines.remove_prefix(end);
  }
  story.text = std::move(indented);
  return story;
}

// Of one file: pass records, and the stories of each pass or of all of them together.
struct Told {
  std::vector<plan::PassRecord> passes;
  std::vector<Story> of_pass;  // empty where the texts in between are not kept
  std::optional<Story> of_all;
};

absl::StatusOr<Told> TellPasses(const DumpFlags& flags, FileKind kind) {
  RENGA_ASSIGN_OR_RETURN(DumpedGraph dumped, GraphOf(flags, kind, /*all_passes=*/true));
  Told told{std::move(dumped.passes), {}, std::nullopt};
  for (size_t i = 0; i + 1 < dumped.texts.size(); ++i) {
    RENGA_ASSIGN_OR_RETURN(Story story, Tell(dumped.texts[i], dumped.texts[i + 1]));
    told.of_pass.push_back(std::move(story));
  }
  // A plan keeps the first graph and the last, which for a single pass is all there is.
  if (kind == FileKind::kPlan && told.passes.size() != 1) {
    told.of_all = told.of_pass.empty() ? Story() : std::move(told.of_pass.front());
    told.of_pass.clear();
  }
  return told;
}

Json PassJson(const plan::PassRecord& pass) {
  return {{"name", pass.name},
          {"changed", pass.changed},
          {"nodes_before", pass.nodes_before},
          {"nodes_after", pass.nodes_after},
          {"ms", pass.milliseconds}};
}

std::string PassText(const plan::PassRecord& pass, size_t width) {
  return absl::StrFormat("%-*s  %-9s  %6d -> %6d nodes  %8.3f ms\n", static_cast<int>(width),
                         pass.name, pass.changed ? "changed" : "unchanged", pass.nodes_before,
                         pass.nodes_after, pass.milliseconds);
}

}  // namespace

absl::StatusOr<std::string> DumpPasses(const DumpFlags& flags, FileKind kind) {
  Told told;
  if (flags.diff) {
    RENGA_ASSIGN_OR_RETURN(told, TellPasses(flags, kind));
  } else {
    RENGA_ASSIGN_OR_RETURN(PassHistory history, PassHistoryOf(flags, kind));
    told.passes = std::move(history.passes);
  }
  Json passes = Json::array();
  std::string text;
  size_t width = 4;
  for (const plan::PassRecord& pass : told.passes) width = std::max(width, pass.name.size());
  for (size_t i = 0; i < told.passes.size(); ++i) {
    passes.push_back(PassJson(told.passes[i]));
    StrAppend(&text, PassText(told.passes[i], width));
    if (i >= told.of_pass.size()) continue;
    passes.back()["groups"] = std::move(told.of_pass[i].groups);
    StrAppend(&text, told.of_pass[i].text);
  }
  Json json = {{"passes", std::move(passes)}};
  if (told.of_all) {
    json["groups"] = std::move(told.of_all->groups);
    StrAppend(&text, "all passes together (a plan keeps the first graph and the last):\n",
              told.of_all->text.empty() ? "    nothing\n" : told.of_all->text);
  }
  return flags.json ? JsonText(json) : text;
}

}  // namespace renga
