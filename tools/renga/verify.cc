// renga verify MODEL: every node alone and the whole model, against the reference interpreter.
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"
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
#include "tools/verify_model.h"

namespace renga {
namespace {

// For whoever gives none: plain words, numbers and code, some seventy tokens.
constexpr std::string_view kText =
    "The capital of France is Paris, and 17 + 25 = 42. Water boils at 100 degrees. Once upon a "
    "time there was a little girl who lived near the forest.\n\ndef area(width, height):\n    "
    "return width * height\n\nprint(area(3, 4))  # 12";
constexpr size_t kNodeTokens = 9;  // of the text, for the nodes
constexpr size_t kMostShown = 20;  // bad nodes, for people

struct Flags {
  ModelFlags model;
  PromptFlags prompt;
  std::optional<std::string> ids;
  std::optional<double> rtol;
  std::string node;
  std::optional<int> layer;
  bool quick = false;
  bool json = false;
};

Json ToJson(const VerifyReport& report) {
  Json bad = Json::array();
  if (report.nodes) {
    for (const BadValue& value : report.nodes->bad) {
      bad.push_back({{"node", value.name},
                     {"op", value.op},
                     {"layer", value.layer < 0 ? Json() : Json(value.layer)},
                     {"kind", value.error.lone_nonfinite > 0 ? "not a number" : "differs"},
                     {"error", value.error.relative},
                     {"tolerance", value.tolerance},
                     {"max_abs", value.error.max_abs},
                     {"at", value.error.worst_at},
                     {"expected", value.error.a_at_worst},
                     {"got", value.error.b_at_worst},
                     {"likely", value.likely}});
    }
  }
  const auto json = [](const Fidelity& fidelity) {
    return Json{{"steps", fidelity.steps},     {"positions", fidelity.positions},
                {"kl_mean", fidelity.kl_mean}, {"kl_p99", fidelity.kl_p99},
                {"kl_max", fidelity.kl_max},   {"top1", fidelity.top1}};
  };
  Json chunkings = Json::array();
  for (const Fidelity& fidelity : report.fidelity) chunkings.push_back(json(fidelity));
  Json result = {{"ok", report.ok()},
                 {"device", report.device},
                 {"values", report.nodes ? report.nodes->values : 0},
                 {"bad", std::move(bad)},
                 {"skipped", report.nodes ? Json(report.nodes->skipped) : Json::array()},
                 {"worst", report.nodes ? report.nodes->worst : ""},
                 {"worst_share", report.nodes ? report.nodes->worst_share : 0},
                 {"fidelity", report.fidelity.empty() ? Json() : json(report.fidelity[0])},
                 {"chunkings", std::move(chunkings)},
                 {"seconds", report.seconds}};
  if (!report.no_nodes.empty()) result["no_nodes"] = report.no_nodes;
  return result;
}

std::string BadText(const BadValue& value) {
  std::string text = StrCat("BAD  ", EscapeForTerminal(value.name), "  ", value.op, "  ");
  if (value.likely.empty()) {
    StrAppend(&text, absl::StrFormat("differs by %.3g of its size (allowed %.3g)",
                                     value.error.relative, value.tolerance));
  } else {
    text += EscapeForTerminal(value.likely);
  }
  if (!value.error.worst_at.empty()) {
    StrAppend(&text, absl::StrFormat("; at [%s] expected %.6g, got %.6g", value.error.worst_at,
                                     value.error.a_at_worst, value.error.b_at_worst));
  }
  if (!value.error.observation.empty()) StrAppend(&text, "; ", value.error.observation);
  return text + "\n";
}

std::string Text(const VerifyReport& report) {
  std::string text;
  if (report.nodes) {
    const Verdict& verdict = *report.nodes;
    for (size_t i = 0; i < std::min(verdict.bad.size(), kMostShown); ++i) {
      text += BadText(verdict.bad[i]);
    }
    if (verdict.bad.size() > kMostShown) {
      StrAppend(&text, "and ", verdict.bad.size() - kMostShown, " more (--json has all)\n");
    }
    for (const std::string& skipped : verdict.skipped) {
      StrAppend(&text, "not compared  ", EscapeForTerminal(skipped), "\n");
    }
    const int64_t good = verdict.values - static_cast<int64_t>(verdict.bad.size());
    StrAppend(&text, verdict.bad.empty() ? "ok   " : "     ", good,
              verdict.bad.empty() ? "" : " other", " values of nodes alone on ", report.ids.size(),
              " tokens");
    if (!verdict.worst.empty()) {
      StrAppend(&text, absl::StrFormat(", worst %.2g of its tolerance (%s)", verdict.worst_share,
                                       EscapeForTerminal(verdict.worst)));
    }
    text += "\n";
  } else {
    StrAppend(&text, "nodes not checked: ", report.no_nodes, "\n");
  }
  for (const Fidelity& fidelity : report.fidelity) {
    StrAppend(&text, fidelity.ok() ? "ok   " : "BAD  ",
              absl::StrFormat("the whole, %s: KL %.3g mean, %.3g max; top-1 %.2f %% of %d "
                              "positions\n",
                              fidelity.steps, fidelity.kl_mean, fidelity.kl_max,
                              100 * fidelity.top1, fidelity.positions));
  }
  StrAppend(&text, report.ok() ? "ok" : "not ok", " on ", report.device,
            absl::StrFormat("  (%.1f s)\n", report.seconds));
  return text;
}

absl::StatusOr<VerifyModelOptions> OptionsOf(const Flags& flags, const std::atomic<bool>& cancel) {
  VerifyModelOptions options;
  RENGA_ASSIGN_OR_RETURN(options.open, flags.model.Options());
  RENGA_ASSIGN_OR_RETURN(TokenIds tokens, ReadTokenIds(flags.model.model, flags.prompt, flags.ids));
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

absl::Status Run(const Flags& flags) {
  if (flags.rtol && !(*flags.rtol > 0)) {
    return absl::InvalidArgumentError(
        StrCat("--rtol: expected a number above 0, got ", *flags.rtol));
  }
  InterruptScope interrupt;
  RENGA_ASSIGN_OR_RETURN(VerifyModelOptions options, OptionsOf(flags, interrupt.flag()));
  Progress progress(StrCat("verifying ", flags.model.model));
  options.nodes.progress = [&progress](int64_t done, int64_t of) { progress.Update(done, of); };
  RENGA_ASSIGN_OR_RETURN(const VerifyReport report, VerifyModel(flags.model.model, options));
  progress.Stop();
  RENGA_RETURN_IF_ERROR(WriteStdout(flags.json ? JsonText(ToJson(report)) : Text(report)));
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
  app.add_flag("--quick", flags->quick, "the whole model in one way only, not also token by token");
  app.add_flag("--json", flags->json, "one JSON object: ok, bad[], fidelity, and more");
  return [flags] { return Run(*flags); };
}

}  // namespace

const Command kVerifyCommand = {
    .name = "verify",
    .summary = "checks every node alone and the whole model against the interpreter",
    .examples =
        "  renga verify model.gguf                 # exit code 1 where something is wrong\n"
        "  renga verify model.plan -f text.txt --json",
    .add = Add,
};

}  // namespace renga
