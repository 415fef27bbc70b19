// renga trace MODEL -p TEXT -o X.trace: every value of one run, in a file.
#include <atomic>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "ir/base/status.h"
#include "ir/trace/write_trace.h"
#include "passes/simplify/key_bias_apart.h"
#include "tools/renga/command.h"
#include "tools/renga/interrupt.h"
#include "tools/renga/model_flags.h"
#include "tools/renga/output.h"
#include "tools/renga/positions_flag.h"
#include "tools/renga/progress.h"
#include "tools/renga/prompt_flags.h"
#include "tools/renga/text.h"
#include "tools/renga/token_ids.h"
#include "tools/renga/trace_report.h"
#include "tools/trace_model.h"

namespace renga {
namespace {

struct Flags {
  ModelFlags model;
  PromptFlags prompt;
  std::optional<std::string> ids;
  std::string nodes;
  std::optional<std::string> positions;
  std::string output;
  bool fused = false;
  bool json = false;
};

absl::StatusOr<Trace> Record(const Flags& flags, const TokenIds& tokens,
                             const std::atomic<bool>& cancel) {
  TraceModelOptions options;
  RENGA_ASSIGN_OR_RETURN(options.open, flags.model.Options());
  CompileOptions& compile = options.open.compile;
  if (!flags.fused && !compile.only_passes && compile.disabled_passes.empty() &&
      compile.sites_off.empty()) {
    // Every value, also those that fused nodes keep inside; but caches keep what they keep in a
    // run. A plan is what it is.
    compile.only_passes = {std::string(kKeyBiasApart)};
  }
  options.ids = tokens.ids;
  options.prompt = tokens.text;
  if (!flags.nodes.empty()) {
    options.keep = [&flags](std::string_view name) { return MatchesGlob(flags.nodes, name); };
  }
  if (flags.positions) {
    RENGA_ASSIGN_OR_RETURN(
        options.positions,
        ParsePositions(*flags.positions, static_cast<int64_t>(tokens.ids.size())));
  }
  options.cancel = &cancel;
  return TraceModel(flags.model.model, options);
}

absl::Status Run(const Flags& flags) {
  if (SameFile(flags.output, flags.model.model)) {
    return absl::InvalidArgumentError(
        StrCat("-o ", flags.output, ": is the model to trace; name another"));
  }
  RENGA_ASSIGN_OR_RETURN(const TokenIds tokens,
                         ReadTokenIds(flags.model.model, flags.prompt, flags.ids));
  if (tokens.ids.empty()) {
    return absl::InvalidArgumentError("nothing to run: give -p TEXT, -f FILE or --ids 1,2,3");
  }
  Progress progress(StrCat("tracing ", flags.model.model));
  InterruptScope interrupt;  // until the file is whole
  RENGA_ASSIGN_OR_RETURN(const Trace trace, Record(flags, tokens, interrupt.flag()));
  if (trace.values.empty()) {
    return absl::InvalidArgumentError(StrCat("--nodes ", flags.nodes,
                                             ": expected a name that some value has; `renga dump ",
                                             flags.model.model, "` lists them"));
  }
  if (interrupt.flag()) return absl::CancelledError("interrupted");
  RENGA_RETURN_IF_ERROR(WriteTrace(trace, flags.output));
  if (interrupt.flag()) return absl::CancelledError("interrupted");
  progress.Stop();
  if (flags.json) return WriteStdout(JsonText(TraceJson(trace, [](const auto&) { return true; })));
  return WriteStdout(
      StrCat("wrote ", EscapeForTerminal(flags.output), "  ", TraceSummary(trace), "\n"));
}

RunFn Add(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  AddModelFlags(app, &flags->model);
  AddDeviceFlags(app, &flags->model);
  AddPromptFlags(app, &flags->prompt);
  app.add_option("--ids", flags->ids, "token ids instead of a text: 1,403,407; no BOS is added");
  app.add_option("--nodes", flags->nodes, "only values of this name; * and ?");
  app.add_option("--positions", flags->positions,
                 "only the rows of these tokens: 0,3..5,-1 (ranges with both ends; negative counts "
                 "from the end); caches stay whole");
  app.add_flag("--fused", flags->fused,
               "of a GGUF: what its compiled plan computes, not every value of the model's graph");
  app.add_option("-o,--output", flags->output, "the trace, a safetensors file; all or nothing")
      ->required();
  app.add_flag("--json", flags->json, "one JSON object: what was run, and statistics of nodes[]");
  return [flags] { return Run(*flags); };
}

}  // namespace

const Command kTraceCommand = {
    .name = "trace",
    .summary = "records every value of a run, to look at and to compare",
    .examples =
        "  renga trace model.gguf -p \"Once upon a time\" -o a.trace   # then: renga dump a.trace\n"
        "  renga trace model.gguf -p Hi --device reference -o b.trace # then: renga diff a b\n"
        "  renga trace model.gguf -f long.txt --positions 0,-4..-1 -o c.trace  # five tokens' rows",
    .add = Add,
};

}  // namespace renga
