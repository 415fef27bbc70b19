// dump --html: every stage on one page.
#include <filesystem>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "ir/base/status.h"
#include "ir/text/parse.h"
#include "ir/trace/trace.h"
#include "tools/renga/dump_input.h"
#include "tools/view/page.h"

namespace renga {
namespace {

std::string StageOf(const DumpFlags& flags, const std::vector<plan::PassRecord>& passes) {
  if (!flags.after.empty()) return StrCat("after ", flags.after);
  return passes.empty() ? "as it stands in the file" : StrCat("after ", passes.back().name);
}

// Whether a recorded value can be one of this type: its constant sizes are the same.
bool Fits(const TracedValue& value, const TensorType& type) {
  if (value.shape.size() != type.shape.size()) return false;
  for (size_t axis = 0; axis < type.shape.size(); ++axis) {
    if (!type.shape[axis].is_symbol() && type.shape[axis].value != value.shape[axis]) return false;
  }
  return true;
}

// A trace of another model has no value to show statistics of, or one of other sizes.
absl::Status CheckTrace(const Trace& trace, const Graph& graph, const DumpFlags& flags) {
  absl::flat_hash_map<std::string_view, const TracedValue*> values;
  for (const TracedValue& value : trace.values) values.emplace(value.name, &value);
  int64_t shown = 0;
  for (const Value& value : graph.values) {
    const auto found = values.find(value.name);
    if (value.kind != ValueKind::kResult || found == values.end()) continue;
    if (!Fits(*found->second, value.type)) {
      shown = 0;
      break;
    }
    ++shown;
  }
  if (shown > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat("--trace ", flags.trace, ": its ", trace.values.size(),
                                           " values are not those of the graph of ",
                                           flags.model.model, "; name a trace of that model"));
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
  Trace trace;
  if (!flags.trace.empty()) {
    RENGA_ASSIGN_OR_RETURN(trace, ReadTrace(flags.trace));
    RENGA_RETURN_IF_ERROR(CheckTrace(trace, graph, flags));
    page.trace = &trace;
  }
  return GraphPageHtml(page);
}

}  // namespace renga
