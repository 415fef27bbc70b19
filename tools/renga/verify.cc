// renga verify MODEL: every node alone and the whole model, against the reference interpreter.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "ir/base/status.h"
#include "tools/renga/command.h"
#include "tools/renga/errors.h"
#include "tools/renga/interrupt.h"
#include "tools/renga/model_flags.h"
#include "tools/renga/output.h"
#include "tools/renga/progress.h"
#include "tools/renga/prompt_flags.h"
#include "tools/renga/text.h"
#include "tools/renga/token_ids.h"
#include "tools/renga/verify_report.h"
#include "tools/repro/keep_nodes.h"
#include "tools/verify_model.h"

namespace renga {
namespace {

// For whoever gives none: plain words, numbers and code, some seventy tokens.
constexpr std::string_view kText =
    "The capital of France is Paris, and 17 + 25 = 42. Water boils at 100 degrees. Once upon a "
    "time there was a little girl who lived near the forest.\n\ndef area(width, height):\n    "
    "return width * height\n\nprint(area(3, 4))  # 12";
constexpr size_t kNodeTokens = 9;  // of the text, for the nodes

struct Flags {
  ModelFlags model;
  PromptFlags prompt;
  std::optional<std::string> ids;
  std::optional<double> rtol;
  std::string node;
  std::optional<int> layer;
  std::string plan;
  std::string against;
  std::string html;
  std::string repro;
  bool quick = false;
  bool fresh = false;
  bool json = false;
};

absl::StatusOr<VerifyModelOptions> OptionsOf(const Flags& flags, const std::atomic<bool>& cancel) {
  VerifyModelOptions options;
  RENGA_ASSIGN_OR_RETURN(options.open, flags.model.Options());
  RENGA_ASSIGN_OR_RETURN(TokenIds tokens, ReadTokenIds(flags.model.model, flags.prompt, flags.ids));
  if (tokens.ids.empty() && !flags.against.empty()) {
    return absl::InvalidArgumentError(
        "--against: expected the text that the log is of, got none; give it with -p, -f or --ids");
  }
  if (tokens.ids.empty()) {
    PromptFlags own;
    own.text = std::string(kText);
    RENGA_ASSIGN_OR_RETURN(tokens, ReadTokenIds(flags.model.model, own, std::nullopt));
  }
  options.text_ids = std::move(tokens.ids);
  options.ids.assign(options.text_ids.begin(),
                     options.text_ids.begin() +
                         static_cast<int64_t>(std::min(options.text_ids.size(), kNodeTokens)));
  options.quick = flags.quick;
  options.fresh = flags.fresh;
  options.plan = flags.plan;
  options.log = flags.against;
  options.nodes.rtol = flags.rtol;
  options.nodes.threads = flags.model.threads;
  options.nodes.cancel = &cancel;
  if (!flags.node.empty() || flags.layer) {
    options.nodes.keep = [&flags](std::string_view name) {
      return (flags.node.empty() || MatchesGlob(flags.node, name)) &&
             (!flags.layer || LayerOf(name) == *flags.layer);
    };
  }
  return options;
}

// Folders for the bad nodes, a few; they are said on stderr.
constexpr int kMostKept = 4;
absl::Status Keep(const Flags& flags, const VerifyModelOptions& options,
                  const VerifyReport& report) {
  if (flags.repro.empty() || !report.nodes || report.nodes->bad.empty()) return absl::OkStatus();
  if (report.device != "cpu") {
    // What was found is worth more than an error.
    fprintf(
        stderr,
        "--repro: keeps nodes of runs on the cpu; of a GPU's plan `renga bisect MODEL --node %s "
        "--target TARGET -o FOLDER` keeps the step with its kernels\n",
        EscapeForTerminal(report.nodes->bad[0].name).c_str());
    return absl::OkStatus();
  }
  RENGA_ASSIGN_OR_RETURN(const OpenedPlan opened, OpenPlan(flags.model.model, options.open));
  CaptureOptions capture;
  capture.ids = report.ids;
  capture.good_ir = opened.plan->source_ir;
  capture.threads = std::max(1, options.open.threads);
  for (const BadValue& bad : report.nodes->bad) {
    if (static_cast<int>(capture.nodes.size()) < kMostKept) capture.nodes.push_back(bad.name);
  }
  const std::string found = StrCat("found by renga verify ", flags.model.model);
  RENGA_ASSIGN_OR_RETURN(
      const std::vector<KeptNode> kept,
      KeepNodes(opened.plan, opened.path, capture, flags.repro, found, kMostKept));
  for (const KeptNode& node : kept) {
    fprintf(stderr, "%s\n", EscapeForTerminal(KeptText(node)).c_str());
  }
  return absl::OkStatus();
}

absl::Status Run(const Flags& flags) {
  if (flags.rtol && !(*flags.rtol > 0)) {
    return absl::InvalidArgumentError(
        StrCat("--rtol: expected a number above 0, got ", *flags.rtol));
  }
  InterruptScope interrupt;
  RENGA_ASSIGN_OR_RETURN(VerifyModelOptions options, OptionsOf(flags, interrupt.flag()));
  Progress progress(StrCat("verifying ", flags.model.model));
  options.nodes.progress = [&progress](int64_t done, int64_t of) { progress.Update(done, of); };
  const absl::StatusOr<VerifyReport> verified = VerifyModel(flags.model.model, options);
  progress.Stop();
  if (absl::IsCancelled(verified.status())) {
    fprintf(stderr, "%s\n", std::string(verified.status().message()).c_str());
  }
  RENGA_RETURN_IF_ERROR(verified.status());
  const VerifyReport& report = *verified;
  RENGA_RETURN_IF_ERROR(Keep(flags, options, report));
  if (!flags.html.empty()) {
    RENGA_RETURN_IF_ERROR(WriteResult(flags.html, VerifyHtml(flags.model.model, report)));
  }
  RENGA_RETURN_IF_ERROR(
      WriteStdout(flags.json ? JsonText(VerifyJson(report)) : VerifyText(report)));
  return report.ok() ? absl::OkStatus() : AnswerIsNo();
}

RunFn Add(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  AddModelFlags(app, &flags->model);
  AddDeviceFlags(app, &flags->model);
  AddPromptFlags(app, &flags->prompt);
  app.add_option("--ids", flags->ids, "token ids instead of a text: 1,403,407; no BOS is added");
  app.add_option("--rtol", flags->rtol,
                 "relative error (root mean square) that a node alone may have (default 0.001, or "
                 "what its type rounds off)");
  app.add_option("--node", flags->node, "only values of this name; * and ?");
  app.add_option("--layer", flags->layer, "only nodes of this layer");
  app.add_option(
      "--plan", flags->plan,
      "a plan to hold against MODEL, a GGUF: its graph, its weights, all that it computes");
  app.add_option("--against", flags->against,
                 "a log of llama.cpp's llama-eval-callback of the same model and text");
  app.add_option(
      "--repro", flags->repro,
      "folder for the first bad node, as a program that shows its fault; more beside it");
  app.add_flag("--quick", flags->quick,
               "without a full context, the whole model in one way only, not also token by token");
  app.add_flag("--fresh", flags->fresh, "does not go on from a run that was interrupted");
  app.add_option("--html", flags->html, "also writes the result as a page to this file");
  app.add_flag("--json", flags->json, "one JSON object: ok, bad[], fidelity, and more");
  return [flags] { return Run(*flags); };
}

}  // namespace

const Command kVerifyCommand = {
    .name = "verify",
    .summary = "checks every node alone and the whole model against the interpreter",
    .examples =
        "  renga verify model.gguf                 # exit code 1 where something is wrong\n"
        "  renga verify model.gguf --plan other.plan --html report.html",
    .add = Add,
};

}  // namespace renga
