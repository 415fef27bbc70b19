// renga dump FILE: any stage of a GGUF, a plan or a graph's text.
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ir/base/status.h"
#include "tools/renga/command.h"
#include "tools/renga/dump_input.h"
#include "tools/renga/progress.h"

namespace renga {
namespace {

struct Stage {
  std::string_view name;
  absl::StatusOr<std::string> (*dump)(const DumpFlags& flags, FileKind kind);
  bool has_layers;  // --layer means something
  bool has_nodes;   // --node means something
};
constexpr Stage kStages[] = {
    {"gguf", DumpGguf, false, false},       {"ir", DumpIr, true, true},
    {"passes", DumpPasses, false, false},   {"plan", DumpPlan, true, true},
    {"kernels", DumpKernels, false, false}, {"source", DumpSource, true, true},
    {"memory", DumpMemory, true, false},    {"ledger", DumpLedger, true, true},
    {"weights", DumpWeights, true, true},   {"tokens", DumpTokens, false, false},
    {"trace", DumpTrace, true, true},
};

absl::StatusOr<const Stage*> FindStage(const std::string& name) {
  std::vector<std::string_view> names;
  for (const Stage& stage : kStages) {
    if (stage.name == name) return &stage;
    names.push_back(stage.name);
  }
  return absl::InvalidArgumentError(
      StrCat("--stage: expected one of ", StrJoin(names, ", "), ", got ", name));
}

absl::Status CheckPictureFlags(const DumpFlags& flags, const Stage& stage) {
  if (flags.dot && (stage.name != "ir" || flags.json || !flags.html.empty())) {
    return absl::InvalidArgumentError("--dot goes with --stage ir, and without --json and --html");
  }
  if (!flags.trace.empty() && flags.html.empty()) {
    return absl::InvalidArgumentError("--trace goes with --html");
  }
  if (flags.html.empty()) return absl::OkStatus();
  if (stage.name != "ir" || flags.json || flags.filtered() || !flags.around.empty()) {
    return absl::InvalidArgumentError(
        "--html shows all stages on one page: without --stage, --json, --layer, --node and "
        "--around");
  }
  if (!flags.output.empty()) {
    return absl::InvalidArgumentError("-o and --html: expected one of them, got both");
  }
  if (SameFile(flags.html, flags.model.model)) {
    return absl::InvalidArgumentError(
        StrCat("--html ", flags.html, ": is the file to dump; name another"));
  }
  return absl::OkStatus();
}

absl::Status CheckFlags(const DumpFlags& flags, const Stage& stage) {
  if (flags.layer && !stage.has_layers) {
    return absl::InvalidArgumentError(
        StrCat("--stage ", stage.name, " has no layers for --layer to choose from"));
  }
  if (!flags.node.empty() && !stage.has_nodes) {
    return absl::InvalidArgumentError(
        StrCat("--stage ", stage.name, " has no nodes for --node to choose from"));
  }
  const auto only_for = [&](bool given, std::string_view flag, std::string_view name) {
    if (!given || stage.name == name) return absl::OkStatus();
    return absl::InvalidArgumentError(
        StrCat(flag, " goes with --stage ", name, ", got --stage ", stage.name));
  };
  RENGA_RETURN_IF_ERROR(only_for(!flags.after.empty(), "--after", "ir"));
  RENGA_RETURN_IF_ERROR(only_for(!flags.around.empty(), "--around", "ir"));
  RENGA_RETURN_IF_ERROR(only_for(flags.diff, "--diff", "passes"));
  RENGA_RETURN_IF_ERROR(only_for(flags.threads > 0, "-t", "memory"));
  if (!flags.around.empty() && flags.filtered()) {
    return absl::InvalidArgumentError(
        "--around: expected neither --layer nor --node beside it, as it chooses the nodes itself");
  }
  if (flags.depth && flags.around.empty()) {
    return absl::InvalidArgumentError("--depth goes with --around");
  }
  RENGA_RETURN_IF_ERROR(CheckPictureFlags(flags, stage));
  if (!flags.output.empty() && SameFile(flags.output, flags.model.model)) {
    return absl::InvalidArgumentError(
        StrCat("-o ", flags.output, ": is the file to dump; name another"));
  }
  return absl::OkStatus();
}

// A trace holds a run's values and nothing else, and nothing else holds them.
absl::Status CheckTraceStage(const DumpFlags& flags, FileKind kind) {
  if ((kind == FileKind::kTrace) == (flags.stage == "trace")) return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat(
      "--stage ", flags.stage, ": ", flags.model.model,
      kind == FileKind::kTrace ? " is a trace, which has the stage trace only; name the model"
                               : " is no trace; `renga trace` makes one"));
}

absl::Status Run(DumpFlags flags) {
  if (!flags.stage.empty()) RENGA_RETURN_IF_ERROR(FindStage(flags.stage).status());
  RENGA_ASSIGN_OR_RETURN(const FileKind kind, SniffFile(flags.model.model));
  if (flags.stage.empty()) flags.stage = kind == FileKind::kTrace ? "trace" : "ir";
  RENGA_ASSIGN_OR_RETURN(const Stage* stage, FindStage(flags.stage));
  RENGA_RETURN_IF_ERROR(CheckFlags(flags, *stage));
  RENGA_RETURN_IF_ERROR(CheckTraceStage(flags, kind));
  if (kind != FileKind::kGguf) {
    RENGA_RETURN_IF_ERROR(kind == FileKind::kPlan
                              ? flags.model.compile.CheckForPlan(flags.model.model)
                              : absl::OkStatus());
  }
  Progress progress(StrCat("reading ", flags.model.model));
  const bool html = !flags.html.empty();
  RENGA_ASSIGN_OR_RETURN(const std::string text,
                         html ? DumpHtml(flags, kind) : stage->dump(flags, kind));
  progress.Stop();
  return WriteResult(html ? flags.html : flags.output, text);
}

RunFn Add(CLI::App& app) {
  auto flags = std::make_shared<DumpFlags>();
  app.add_option("-m,--model,FILE", flags->model.model, "a GGUF, a plan, a .ir file or a trace")
      ->required();
  app.add_option("--stage", flags->stage,
                 "gguf: metadata and tensors as they stand in the file\n"
                 "ir: the graph, one node a line (default)\n"
                 "passes: what each pass changed\n"
                 "plan: buffers and steps\n"
                 "kernels: of a plan for GPUs, what each takes of them\n"
                 "source: of a plan for GPUs, the kernels' source; with --node of some steps\n"
                 "memory: what lies where and when, and the sums\n"
                 "ledger: what was fused, what was not and why\n"
                 "weights: every tensor and what uses it\n"
                 "tokens: the vocabulary\n"
                 "trace: the values of a trace (the default for one)");
  app.add_option("--after", flags->after,
                 "the graph after this pass, or after `frontend` (default: frontend for a GGUF, as "
                 "it is for .ir, the last for a plan)");
  app.add_option("--layer", flags->layer, "only this layer; -1 is what stands outside layers");
  app.add_option("--node", flags->node, "only nodes (weights: tensors) of this name; * and ?");
  app.add_option("--around", flags->around,
                 "only this node, what leads to it and what reads it (ir)");
  app.add_option("--depth", flags->depth, "levels of inputs that --around shows (default: 2)")
      ->check(CLI::Range(0, 1'000'000));
  app.add_option("-t,--threads", flags->threads,
                 "of a run on the cpu, for what it takes (memory; default: all cores)")
      ->check(CLI::Range(1, 1024));
  app.add_flag("--diff", flags->diff, "what each pass did (passes)");
  app.add_option("-o,--output", flags->output, "write to this file, all or nothing");
  app.add_flag("--json", flags->json, "one JSON object");
  app.add_flag("--dot", flags->dot, "--stage ir as Graphviz text, a cluster a layer");
  app.add_option("--html", flags->html,
                 "write one HTML page of everything to this file; it opens without network");
  app.add_option("--trace", flags->trace, "with --html: statistics of each value in this trace");
  AddCompileFlags(app, &flags->model.compile);
  app.add_flag("--no-cache", flags->model.no_cache, "do not use or keep a compiled plan");
  return [flags] { return Run(*flags); };
}

}  // namespace

const Command kDumpCommand = {
    .name = "dump",
    .summary = "prints any stage of a GGUF, a plan or a graph",
    .examples =
        "  renga dump model.gguf --layer 3                      # the graph of one layer\n"
        "  renga dump model.gguf --stage passes --diff          # the story of the compilation\n"
        "  renga dump model.gguf --stage weights                # every tensor accounted for",
    .add = Add,
};

}  // namespace renga
