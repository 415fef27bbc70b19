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
  bool has_nodes;  // --layer and --node mean something
};
constexpr Stage kStages[] = {
    {"gguf", DumpGguf, false},      {"ir", DumpIr, true},          {"passes", DumpPasses, false},
    {"plan", DumpPlan, true},       {"memory", DumpMemory, false}, {"ledger", DumpLedger, true},
    {"weights", DumpWeights, true}, {"tokens", DumpTokens, false},
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

absl::Status CheckFlags(const DumpFlags& flags, const Stage& stage) {
  if (flags.filtered() && !stage.has_nodes) {
    return absl::InvalidArgumentError(
        StrCat("--stage ", stage.name, " has no nodes for --layer and --node to choose from"));
  }
  if (!flags.after.empty() && stage.name != "ir") {
    return absl::InvalidArgumentError(
        StrCat("--after goes with --stage ir, got --stage ", stage.name));
  }
  if (!flags.output.empty() && SameFile(flags.output, flags.model.model)) {
    return absl::InvalidArgumentError(
        StrCat("-o ", flags.output, ": is the file to dump; name another"));
  }
  return absl::OkStatus();
}

absl::Status Run(const DumpFlags& flags) {
  RENGA_ASSIGN_OR_RETURN(const Stage* stage, FindStage(flags.stage));
  RENGA_RETURN_IF_ERROR(CheckFlags(flags, *stage));
  RENGA_ASSIGN_OR_RETURN(const FileKind kind, SniffFile(flags.model.model));
  if (kind != FileKind::kGguf) {
    RENGA_RETURN_IF_ERROR(kind == FileKind::kPlan
                              ? flags.model.compile.CheckForPlan(flags.model.model)
                              : absl::OkStatus());
  }
  Progress progress(StrCat("reading ", flags.model.model));
  RENGA_ASSIGN_OR_RETURN(const std::string text, stage->dump(flags, kind));
  progress.Stop();
  return WriteResult(flags.output, text);
}

RunFn Add(CLI::App& app) {
  auto flags = std::make_shared<DumpFlags>();
  flags->stage = "ir";
  app.add_option("-m,--model,FILE", flags->model.model, "a GGUF, a plan or a .ir file")->required();
  app.add_option("--stage", flags->stage,
                 "gguf: metadata and tensors as they stand in the file\n"
                 "ir: the graph, one node a line (default)\n"
                 "passes: what each pass changed\n"
                 "plan: buffers and steps\n"
                 "memory: what lies where, and the sums\n"
                 "ledger: what was fused, what was not and why\n"
                 "weights: every tensor and what uses it\n"
                 "tokens: the vocabulary");
  app.add_option("--after", flags->after,
                 "the graph after this pass, or after `frontend` (default: frontend for a GGUF, as "
                 "it is for .ir, the last for a plan)");
  app.add_option("--layer", flags->layer, "only this layer");
  app.add_option("--node", flags->node, "only nodes (weights: tensors) of this name; * and ?");
  app.add_option("-o,--output", flags->output, "write to this file, all or nothing");
  app.add_flag("--json", flags->json, "one JSON object");
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
        "  renga dump model.gguf --stage weights                # every tensor accounted for",
    .add = Add,
};

}  // namespace renga
