// dump --html: every stage on one page.
#include <filesystem>
#include <optional>

#include "ir/base/status.h"
#include "ir/text/parse.h"
#include "tools/renga/dump_input.h"
#include "tools/view/page.h"

namespace renga {
namespace {

std::string StageOf(const DumpFlags& flags, const std::vector<plan::PassRecord>& passes) {
  if (!flags.after.empty()) return StrCat("after ", flags.after);
  return passes.empty() ? "as it stands in the file" : StrCat("after ", passes.back().name);
}

}  // namespace

absl::StatusOr<std::string> DumpHtml(const DumpFlags& flags, FileKind kind) {
  GraphPage page;
  page.title = std::filesystem::path(flags.model.model).filename().string();
  page.producer = StrCat("renga ", RENGA_VERSION);
  OpenedPlan opened;
  Graph graph;
  std::optional<Graph> source;
  if (kind == FileKind::kIr || !flags.after.empty()) {
    RENGA_ASSIGN_OR_RETURN(DumpedGraph dumped, GraphOf(flags, kind, /*all_passes=*/false));
    graph = std::move(dumped.graph);
    page.passes = std::move(dumped.passes);
    page.ledger = std::move(dumped.ledger);
  }
  if (kind != FileKind::kIr) {
    RENGA_ASSIGN_OR_RETURN(opened, PlanOf(flags, kind));
    DescribePlan(*opened.plan, &page);
    page.plan = opened.plan.get();
    if (flags.after.empty()) {
      RENGA_ASSIGN_OR_RETURN(graph, Parse(opened.plan->ir, "the plan's graph"));
    }
    RENGA_ASSIGN_OR_RETURN(source, Parse(opened.plan->source_ir, "the plan's source graph"));
    page.source = &*source;
  }
  page.stage = StageOf(flags, page.passes);
  page.graph = &graph;
  return GraphPageHtml(page);
}

}  // namespace renga
