#include "tools/renga/dump_input.h"

#include <algorithm>

#include "frontend/gguf/gguf.h"
#include "frontend/models/model.h"
#include "ir/base/mapped_file.h"
#include "ir/base/status.h"
#include "ir/text/parse.h"
#include "ir/trace/trace.h"
#include "passes/core/pipeline.h"
#include "passes/core/runner.h"
#include "runtime/plan/serialize.h"
#include "tools/renga/pass_names.h"
#include "tools/renga/text.h"

namespace renga {
namespace {

constexpr uint64_t kMaxIrBytes = uint64_t{64} << 20;

std::string_view TextOf(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

// A graph's text begins with its version, perhaps after comments.
bool LooksLikeIr(std::string_view text) {
  const size_t start = text.find_first_not_of(" \t\r\n");
  if (start == std::string_view::npos) return false;
  text.remove_prefix(start);
  return text.starts_with("ir ") || text.starts_with("//");
}

absl::StatusOr<Graph> FrontendGraph(const std::string& path, const CompileOptions& options) {
  RENGA_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(path));
  RENGA_ASSIGN_OR_RETURN(const GraphOptions graph_options, GraphOptionsOf(file, options));
  RENGA_ASSIGN_OR_RETURN(Model model, BuildModel(file, graph_options));
  return std::move(model.graph);
}

absl::StatusOr<Graph> ParseFile(const std::string& path) {
  RENGA_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  if (file.size() > kMaxIrBytes) {
    return absl::InvalidArgumentError(
        StrCat(path, ": expected at most ", kMaxIrBytes, " bytes of IR text, got ", file.size()));
  }
  return Parse(TextOf(file), path);
}

// The passes to run: those that the flags leave in, up to the one asked for.
absl::StatusOr<std::vector<std::string>> PassesToRun(const DumpFlags& flags,
                                                     const CompileOptions& options,
                                                     bool all_passes) {
  std::vector<std::string> names;
  for (const Pass& pass : DefaultPipeline()) {
    const std::string name(pass.name);
    const auto has = [&name](const std::vector<std::string>& list) {
      return std::find(list.begin(), list.end(), name) != list.end();
    };
    if (options.only_passes && !has(*options.only_passes)) continue;
    if (has(options.disabled_passes)) continue;
    names.push_back(name);
  }
  if (flags.after.empty() || all_passes) return all_passes ? names : std::vector<std::string>();
  RENGA_ASSIGN_OR_RETURN(const std::string after, PassOrFrontendNamed("--after", flags.after));
  const auto last = std::find(names.begin(), names.end(), after);
  if (last == names.end() && after != "frontend") {
    return absl::InvalidArgumentError(
        StrCat("--after: ", after, " is left out by --passes or --disable-pass"));
  }
  names.erase(last == names.end() ? names.begin() : last + 1, names.end());
  return names;
}

// A plan keeps the first and the last graph only.
absl::StatusOr<DumpedGraph> GraphOfPlan(const DumpFlags& flags, bool all_passes) {
  RENGA_ASSIGN_OR_RETURN(plan::Plan plan, plan::LoadPlan(flags.model.model));
  const std::string last = plan.passes.empty() ? "frontend" : plan.passes.back().name;
  const std::string after = WithDashes(flags.after);
  if (!after.empty() && after != last && after != "frontend") {
    return absl::InvalidArgumentError(StrCat("--after: a plan keeps the graphs after frontend and ",
                                             last, " only, got ", flags.after,
                                             "; dump the GGUF instead"));
  }
  const bool first = after == "frontend";
  RENGA_ASSIGN_OR_RETURN(Graph graph, Parse(first ? plan.source_ir : plan.ir,
                                            StrCat(flags.model.model, ": the plan's graph")));
  DumpedGraph dumped{std::move(graph), std::move(plan.passes), std::move(plan.ledger), {}};
  if (all_passes) dumped.texts = {std::move(plan.source_ir), std::move(plan.ir)};
  dumped.choices = std::move(plan.choices);
  return dumped;
}

}  // namespace

absl::StatusOr<FileKind> SniffFile(const std::string& path) {
  RENGA_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  if (plan::IsPlanFile(file.bytes())) return FileKind::kPlan;
  const std::string_view text = TextOf(file);
  // Big-endian files too: the reader has a message for them.
  if (text.starts_with("GGUF") || text.starts_with("FUGG")) return FileKind::kGguf;
  if (LooksLikeIr(text)) return FileKind::kIr;
  if (IsTraceFile(file.bytes())) return FileKind::kTrace;
  return absl::InvalidArgumentError(
      StrCat(path, ": expected a GGUF, a plan, the text of a graph or a trace, got ",
             text.empty() ? "an empty file"
                          : StrCat("a file that begins with ", Quoted(text.substr(0, 8)))));
}

bool DumpFlags::Keeps(std::string_view name) const { return Keeps(name, LayerOf(name), {}); }

bool DumpFlags::Keeps(std::string_view name, int of_layer,
                      const std::vector<std::string>& provenance) const {
  if (layer && of_layer != *layer) return false;
  // As it is printed elsewhere: %3.q, @blk.3.attn_q.weight.
  std::string_view glob = node;
  if (glob.starts_with('%') || glob.starts_with('@')) glob.remove_prefix(1);
  return MatchesGlob(glob, name) ||
         std::any_of(provenance.begin(), provenance.end(),
                     [glob](const std::string& source) { return MatchesGlob(glob, source); });
}

absl::StatusOr<DumpedGraph> GraphOf(const DumpFlags& flags, FileKind kind, bool all_passes) {
  if (kind == FileKind::kPlan) return GraphOfPlan(flags, all_passes);
  const std::string& path = flags.model.model;
  RENGA_ASSIGN_OR_RETURN(const CompileOptions options, flags.model.compile.Options());
  DumpedGraph result;
  if (kind == FileKind::kGguf) {
    RENGA_ASSIGN_OR_RETURN(result.graph, FrontendGraph(path, options));
  } else {
    RENGA_ASSIGN_OR_RETURN(result.graph, ParseFile(path));
  }
  RunPassesOptions pass_options;
  RENGA_ASSIGN_OR_RETURN(pass_options.only, PassesToRun(flags, options, all_passes));
  pass_options.disabled = options.disabled_passes;
  pass_options.sites_off = options.sites_off;
  pass_options.sites_may_be_gone = !flags.after.empty();
  if (all_passes) {
    pass_options.on_dump = [&result](int, std::string_view, std::string_view text) {
      result.texts.emplace_back(text);
    };
  }
  Ledger ledger;
  RENGA_ASSIGN_OR_RETURN(const std::vector<PassRecord> passes,
                         RunPasses(result.graph, pass_options, &ledger));
  for (const PassRecord& pass : passes) {
    result.passes.push_back(
        {pass.name, pass.changed, pass.nodes_before, pass.nodes_after, pass.ms});
  }
  for (LedgerEntry& entry : ledger.entries) {
    result.ledger.push_back(
        {std::move(entry.pass), std::move(entry.node), entry.layer,
         entry.matched ? plan::LedgerResult::kMatched : plan::LedgerResult::kRejected,
         std::move(entry.reason)});
  }
  result.choices = PlanChoices(std::move(ledger.choices));
  return result;
}

absl::StatusOr<PassHistory> PassHistoryOf(const DumpFlags& flags, FileKind kind) {
  if (kind != FileKind::kIr) {
    RENGA_ASSIGN_OR_RETURN(const OpenedPlan opened, PlanOf(flags, kind));
    return PassHistory{opened.plan->passes, opened.plan->ledger, opened.plan->choices,
                       opened.plan->model.layers};
  }
  RENGA_ASSIGN_OR_RETURN(DumpedGraph dumped, GraphOf(flags, kind, /*all_passes=*/true));
  PassHistory history{std::move(dumped.passes), std::move(dumped.ledger),
                      std::move(dumped.choices)};
  for (const Node& node : dumped.graph.nodes) {
    const int64_t layer = LayerOf(NodeName(dumped.graph, node));
    history.layers = std::max(history.layers, layer + 1);
  }
  return history;
}

int LayerOfTensor(std::string_view name) {
  constexpr std::string_view kBlock = "blk.";
  return name.starts_with(kBlock) ? LayerOf(name.substr(kBlock.size())) : -1;
}

absl::StatusOr<OpenedPlan> PlanOf(const DumpFlags& flags, FileKind kind) {
  if (kind == FileKind::kIr) {
    return absl::InvalidArgumentError(StrCat("--stage ", flags.stage, ": ", flags.model.model,
                                             " is a graph without weights; name a GGUF or a plan"));
  }
  RENGA_ASSIGN_OR_RETURN(const OpenOptions options, flags.model.Options());
  return OpenPlan(flags.model.model, options);
}

}  // namespace renga
