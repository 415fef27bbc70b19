// renga bisect MODEL: the few differences between a good and a bad configuration that matter.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "ir/base/status.h"
#include "tools/bisect/bisect.h"
#include "tools/cuda_device.h"
#include "tools/renga/bisect_alone.h"
#include "tools/renga/command.h"
#include "tools/renga/errors.h"
#include "tools/renga/interrupt.h"
#include "tools/renga/model_flags.h"
#include "tools/renga/output.h"
#include "tools/renga/prompt_flags.h"
#include "tools/renga/text.h"
#include "tools/renga/token_ids.h"
#include "tools/repro/cuda_repro.h"
#include "tools/repro/keep_nodes.h"

namespace renga {
namespace {

// For whoever gives none.
constexpr std::string_view kText = "The capital of France is Paris, and 17 + 25 = 42.";
constexpr int kMostKept = 4;  // repro folders, of each culprit

struct Flags {
  std::string model;
  std::optional<std::string> good;
  std::string bad;
  PromptFlags prompt;
  std::optional<std::string> ids;
  int64_t tokens = 16;
  std::optional<double> kl;
  std::string command;
  std::string node;
  std::string alone;
  std::string target = "cpu";
  std::string folder = "renga-bisect";
  int most = 4;
  int threads = 0;
  bool json = false;
};

struct Side {
  std::string model;
  OpenOptions open;
};

// Words as a shell parts them: blanks between, quotes around what belongs together.
std::vector<std::string> Words(const std::string& text) {
  std::vector<std::string> words;
  bool open = false;  // a word
  char quote = 0;
  for (const char c : text) {
    if (quote != 0 ? c == quote : c == '\'' || c == '"') {
      quote = quote != 0 ? 0 : c;
      if (!open) words.emplace_back();
      open = true;
    } else if (quote == 0 && (c == ' ' || c == '\t')) {
      open = false;
    } else {
      if (!open) words.emplace_back();
      open = true;
      words.back() += c;
    }
  }
  return words;
}

// "--device reference --passes ''", or another model's path with or without flags.
absl::StatusOr<Side> ParseSide(std::string_view flag, const std::string& text,
                               const std::string& model, int threads) {
  ModelFlags flags;
  flags.model = model;
  flags.device = "cpu";
  flags.threads = threads;
  CLI::App app;
  app.add_option("MODEL", flags.model);
  AddCompileFlags(app, &flags.compile);
  app.add_option("--device", flags.device);
  std::vector<std::string> words = Words(text);
  std::reverse(words.begin(), words.end());  // as CLI11 takes them
  try {                                      // CLI11 reports by exceptions; they end here
    app.parse(std::move(words));
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(
        StrCat(flag, ": expected flags of renga compile, --device or a model, got '", text,
               "': ", error.what()));
  }
  Side side;
  side.model = flags.model;
  RENGA_ASSIGN_OR_RETURN(side.open, flags.Options());
  return side;
}

int Threads(const Flags& flags) {
  return flags.threads > 0 ? flags.threads
                           : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

bool IsCuda(const OpenOptions& open) { return open.device.starts_with("cuda"); }

// What a side runs: of a GGUF compiled for its device.
absl::StatusOr<OpenedPlan> PlanOf(std::string_view flag, const Side& side) {
  RENGA_ASSIGN_OR_RETURN(const bool is_plan, IsPlan(side.model));
  OpenOptions open = side.open;
  if (IsCuda(open)) {
    RENGA_ASSIGN_OR_RETURN(const int ordinal, CudaOrdinal(open.device));
    RENGA_ASSIGN_OR_RETURN(const CudaDevice device, OpenCuda(ordinal));
    if (!is_plan) open.compile.target = device.target;
  }
  RENGA_ASSIGN_OR_RETURN(OpenedPlan opened, OpenPlan(side.model, open));
  if (is_plan && open.device != "reference" && IsCuda(open) == opened.plan->gpu.targets.empty()) {
    return absl::InvalidArgumentError(StrCat(flag, ": ", side.model, " was compiled for ",
                                             opened.plan->target, ", expected --device ",
                                             IsCuda(open) ? "cpu" : "cuda", ", got ", open.device));
  }
  return opened;
}

// Of two plans by different versions of Renga; else empty. What makes a difference is theirs then,
// or the compiler's.
std::string Versions(const plan::Plan& good, const plan::Plan& bad) {
  if (good.producer == bad.producer) return "";
  return StrCat("good is a plan by ", good.producer, ", bad by ", bad.producer);
}

// `versions` receives what is to be said of the plans' versions.
absl::StatusOr<std::unique_ptr<Knobs>> KnobsOf(const Flags& flags, std::string* versions) {
  RENGA_ASSIGN_OR_RETURN(Side bad, ParseSide("--bad", flags.bad, flags.model, flags.threads));
  if (flags.target != "cpu" && (flags.command.empty() || !flags.good)) {
    return absl::InvalidArgumentError(
        StrCat("--target ", flags.target, ": expected --node, or --good and a command of --run ",
               "that takes the plans to a GPU; --device cuda runs them here"));
  }
  // Steps are mixed where the interpreter can stand in for each.
  const auto check_bad = [&]() -> absl::Status {
    if (bad.open.device == "cpu" || IsCuda(bad.open)) return absl::OkStatus();
    return absl::InvalidArgumentError(
        StrCat("--bad: expected --device cpu or cuda, whose steps the interpreter can stand in "
               "for, got ",
               bad.open.device, "; on another device both sides are one GGUF there"));
  };
  if (!flags.good) {
    // Against what the frontend made of the file, on the interpreter.
    RENGA_RETURN_IF_ERROR(check_bad());
    RENGA_ASSIGN_OR_RETURN(OpenedPlan plan, PlanOf("--bad", bad));
    const std::string ir = plan.plan->source_ir.empty() ? plan.plan->ir : plan.plan->source_ir;
    return StepKnobs(plan, bad.open.device, ir, Threads(flags));
  }
  RENGA_ASSIGN_OR_RETURN(Side good, ParseSide("--good", *flags.good, flags.model, flags.threads));
  RENGA_ASSIGN_OR_RETURN(const bool good_is_plan, IsPlan(good.model));
  RENGA_ASSIGN_OR_RETURN(const bool bad_is_plan, IsPlan(bad.model));
  if (!good_is_plan && !bad_is_plan && good.model != bad.model) {
    return absl::InvalidArgumentError(StrCat("--good: expected the model of --bad, got ",
                                             good.model, " and ", bad.model,
                                             "; `renga diff` compares different models"));
  }
  if (!good_is_plan && !bad_is_plan && flags.target != "cpu") {
    good.open.device = bad.open.device = "cuda";
    good.open.compile.target = bad.open.compile.target = flags.target;
  }
  if (!good_is_plan && !bad_is_plan && good.open.device == bad.open.device) {
    return CompiledKnobs(bad.model, good.open, bad.open);
  }
  RENGA_RETURN_IF_ERROR(check_bad());
  if (!good.open.kv_type_given) {
    good.open.kv_type_given = true;  // as the bad side has it, whatever the device
    good.open.compile.k_type = bad.open.compile.k_type;
    good.open.compile.v_type = bad.open.compile.v_type;
  }
  RENGA_ASSIGN_OR_RETURN(const OpenedPlan plan, PlanOf("--bad", bad));
  RENGA_ASSIGN_OR_RETURN(const OpenedPlan other, PlanOf("--good", good));
  *versions = Versions(*other.plan, *plan.plan);
  return StepKnobs(plan, bad.open.device, other.plan->ir, Threads(flags));
}

constexpr size_t kGpuTokens = 5;  // so few that a GPU's kernels need no tensor maps

struct Culprit {
  std::vector<std::string> differences;
  std::vector<KeptNode> nodes;
  std::string repro;  // the first folder; empty: none
};

absl::StatusOr<std::vector<Culprit>> Keep(const Flags& flags, const Question& question,
                                          const BisectReport& report) {
  std::vector<Culprit> culprits;
  for (const Subset& set : report.culprits) {
    Culprit culprit{.differences = report.Names(set)};
    RENGA_ASSIGN_OR_RETURN(const Mixture mixture, report.knobs->Mix(set));
    CulpritNodes nodes = report.knobs->NodesOf(set, *mixture.plan);
    if (!nodes.nodes.empty()) {
      CaptureOptions options;
      options.nodes = std::move(nodes.nodes);
      options.good_ir = std::move(nodes.good_ir);
      options.ids = question.ids;
      options.tokens = question.tokens;
      options.threads = Threads(flags);
      options.cancel = question.cancel;
      const std::string folder =
          StrCat(flags.folder, "/repro",
                 culprits.empty() ? "" : StrCat("-of-culprit-", culprits.size() + 1));
      if (!mixture.plan->gpu.targets.empty()) {
        CudaReproOptions cuda;
        cuda.node = options.nodes[0];
        cuda.good_ir = options.good_ir;
        cuda.ids = options.ids;
        cuda.ids.resize(std::min(cuda.ids.size(), kGpuTokens));
        cuda.threads = options.threads;
        cuda.found = StrCat("found by renga bisect ", flags.model);
        const absl::Status kept = WriteCudaRepro(folder, *mixture.plan, cuda);
        if (kept.ok()) {
          culprit.repro = folder;
        } else {
          fprintf(stderr, "%s\n", EscapeForTerminal(ToStd(kept.message())).c_str());
        }
        culprits.push_back(std::move(culprit));
        continue;
      }
      RENGA_ASSIGN_OR_RETURN(culprit.nodes,
                             KeepNodes(mixture.plan, mixture.plan_path, options, folder,
                                       StrCat("found by renga bisect ", flags.model, ": ",
                                              StrJoin(culprit.differences, " and ")),
                                       kMostKept));
    }
    for (const KeptNode& node : culprit.nodes) {
      if (culprit.repro.empty()) culprit.repro = node.folder;
    }
    culprits.push_back(std::move(culprit));
  }
  return culprits;
}

std::string_view TextOf(Outcome outcome) {
  constexpr std::string_view kTexts[] = {"good", "bad", "unknown"};
  return kTexts[static_cast<size_t>(outcome)];
}

Json ToJson(const BisectReport& report, const Question& question,
            const std::vector<Culprit>& culprits, const std::string& versions,
            const std::string& log) {
  Json found = Json::array();
  for (const Culprit& culprit : culprits) {
    Json nodes = Json::array();
    for (const KeptNode& node : culprit.nodes) {
      nodes.push_back({{"node", node.name},
                       {"op", node.op},
                       {"error", node.error},
                       {"tolerance", node.tolerance},
                       {"at_fault", node.folder.empty()  ? Json()
                                    : node.pass_at_fault ? Json("pass")
                                                         : Json("kernel")},
                       {"repro", node.folder.empty() ? Json() : Json(node.folder)}});
    }
    found.push_back({{"differences", culprit.differences},
                     {"nodes", std::move(nodes)},
                     {"repro", culprit.repro.empty() ? Json() : Json(culprit.repro)}});
  }
  Json runs = Json::array();
  for (const BisectRun& run : report.runs) {
    runs.push_back({{"bad", report.Names(run.bad)},
                    {"outcome", TextOf(run.outcome)},
                    {"answer", run.answer},
                    {"cached", run.cached},
                    {"seconds", run.seconds}});
  }
  return {{"culprit", culprits.empty() ? Json() : Json(culprits[0].differences)},
          {"culprits", std::move(found)},
          {"question", question.Text()},
          {"differences", report.knobs->items().size()},
          {"good", report.good},
          {"bad", report.bad},
          {"runs", std::move(runs)},
          {"note", report.knobs->note()},
          {"versions", versions},
          {"log", log}};
}

std::string Text(const BisectReport& report, const Question& question,
                 const std::vector<Culprit>& culprits, const std::string& versions,
                 const std::string& log) {
  std::string text = StrCat(report.knobs->items().size(), " differences, by ", question.Text(),
                            "\ngood  ", report.good, "\nbad   ", report.bad, "\n");
  for (const Culprit& culprit : culprits) {
    StrAppend(&text, "culprit  ", StrJoin(culprit.differences, "\n     and "), "\n");
    for (const KeptNode& node : culprit.nodes) StrAppend(&text, "         ", KeptText(node), "\n");
    if (culprit.nodes.empty() && !culprit.repro.empty()) {
      StrAppend(&text, "         its step as a program: ", culprit.repro, "\n");
    }
  }
  if (!versions.empty()) StrAppend(&text, versions, "\n");
  if (!report.knobs->note().empty()) StrAppend(&text, report.knobs->note(), "\n");
  StrAppend(&text, report.runs.size(), " runs, ", report.cached(), " of them known before; log ",
            log, "\n");
  return EscapeForTerminal(text);
}

absl::Status MakeFolder(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (!error) return absl::OkStatus();
  return absl::InvalidArgumentError(
      StrCat("-o ", folder, ": cannot create the folder: ", error.message()));
}

// No search: a node that something else has pointed at.
absl::Status KeepOne(const Flags& flags, std::vector<int32_t> ids) {
  RENGA_ASSIGN_OR_RETURN(Side side, ParseSide("--bad", flags.bad, flags.model, flags.threads));
  RENGA_ASSIGN_OR_RETURN(const bool is_plan, IsPlan(side.model));
  OpenedPlan opened;
  if (is_plan || flags.target == "cpu") {
    RENGA_ASSIGN_OR_RETURN(opened, OpenPlan(side.model, side.open));
  } else {
    CompileOptions options = side.open.compile;
    options.target = flags.target;
    options.only_lower = true;  // the program is compiled where it will run
    RENGA_ASSIGN_OR_RETURN(Compilation compiled, Compile(side.model, options));
    opened.plan = std::make_shared<const plan::Plan>(std::move(compiled.plan));
  }
  const std::string folder = StrCat(flags.folder, "/repro");
  const std::string found = StrCat("kept by renga bisect ", flags.model, " --node ", flags.node);
  if (!opened.plan->gpu.targets.empty()) {
    CudaReproOptions options;
    options.node = flags.node;
    ids.resize(std::min(ids.size(), kGpuTokens));
    options.ids = std::move(ids);
    options.plan_path = opened.path;
    options.threads = Threads(flags);
    options.found = found;
    RENGA_RETURN_IF_ERROR(WriteCudaRepro(folder, *opened.plan, options));
    return WriteStdout(flags.json
                           ? JsonText({{"node", flags.node}, {"repro", folder}})
                           : StrCat("node ", EscapeForTerminal(flags.node), ": ", folder, "\n"));
  }
  CaptureOptions options;
  options.nodes = {flags.node};
  options.good_ir = opened.plan->source_ir;
  options.ids = std::move(ids);
  options.tokens = flags.tokens;
  options.threads = Threads(flags);
  RENGA_ASSIGN_OR_RETURN(const std::vector<KeptNode> kept,
                         KeepNodes(opened.plan, opened.path, options, folder, found, 1));
  if (kept.empty()) {
    return absl::NotFoundError(StrCat("--node ", flags.node, ": expected a step of the plan; ",
                                      "`renga dump --stage plan` lists them"));
  }
  const KeptNode& node = kept[0];
  const Json json = {{"node", node.name},
                     {"error", node.error},
                     {"tolerance", node.tolerance},
                     {"repro", node.folder.empty() ? Json() : Json(node.folder)}};
  return WriteStdout(flags.json ? JsonText(json) : StrCat(EscapeForTerminal(KeptText(node)), "\n"));
}

// No search either: a step that a GPU failed at, by itself.
absl::Status RunKept(const Flags& flags) {
  RENGA_ASSIGN_OR_RETURN(const Side side,
                         ParseSide("--bad", flags.bad, flags.model, flags.threads));
  if (!IsCuda(side.open)) {
    return absl::InvalidArgumentError(StrCat("--alone ", flags.alone,
                                             ": expected --bad \"--device cuda\", got --device ",
                                             side.open.device, "; repro.cu there needs no GPU"));
  }
  RENGA_ASSIGN_OR_RETURN(const OpenedPlan opened, PlanOf("--bad", side));
  return PrintAlone(opened, side.open.device, flags.alone, Threads(flags), flags.json);
}

absl::Status Run(const Flags& flags) {
  if (flags.tokens < 1 || flags.most < 1 || (flags.kl && !(*flags.kl >= 0))) {
    return absl::InvalidArgumentError("-n, --most: expected 1 or more; --kl: 0 or more");
  }
  if (!flags.alone.empty()) return RunKept(flags);
  InterruptScope interrupt;
  BisectOptions options;
  Question& question = options.question;
  RENGA_ASSIGN_OR_RETURN(TokenIds tokens, ReadTokenIds(flags.model, flags.prompt, flags.ids));
  if (tokens.ids.empty()) {
    PromptFlags own;
    own.text = std::string(kText);
    RENGA_ASSIGN_OR_RETURN(tokens, ReadTokenIds(flags.model, own, std::nullopt));
  }
  question.ids = std::move(tokens.ids);
  question.tokens = flags.tokens;
  question.kl = flags.kl;
  question.command = flags.command;
  question.cancel = &interrupt.flag();
  options.most = flags.most;
  if (!flags.node.empty()) return KeepOne(flags, question.ids);
  std::string versions;
  RENGA_ASSIGN_OR_RETURN(std::unique_ptr<Knobs> knobs, KnobsOf(flags, &versions));
  RENGA_RETURN_IF_ERROR(MakeFolder(flags.folder));
  options.log_path = StrCat(flags.folder, "/log.tsv");
  if (!question.command.empty()) {
    options.plan_folder = StrCat(flags.folder, "/plans");
    RENGA_RETURN_IF_ERROR(MakeFolder(options.plan_folder));
  }
  const size_t differences = knobs->items().size();
  int number = 0;
  options.on_run = [&](const BisectRun& run) {
    fprintf(stderr, "%3d  %-7s  %zu of %zu  %s%s\n", ++number,
            std::string(TextOf(run.outcome)).c_str(), run.bad.size(), differences,
            EscapeOnOneLine(run.answer).substr(0, 120).c_str(), run.cached ? "  (known)" : "");
  };
  RENGA_ASSIGN_OR_RETURN(const BisectReport report, Bisect(std::move(knobs), options));
  RENGA_ASSIGN_OR_RETURN(const std::vector<Culprit> culprits, Keep(flags, question, report));
  return WriteStdout(flags.json
                         ? JsonText(ToJson(report, question, culprits, versions, options.log_path))
                         : Text(report, question, culprits, versions, options.log_path));
}

RunFn Add(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  AddModelArgument(app, &flags->model);
  app.add_option("--good", flags->good,
                 "what is right, as flags: \"--passes ''\", \"--kv-type k=f32,v=f32\", \"--device "
                 "reference\", or another plan of the model (default: the graph as the frontend "
                 "made it, on the interpreter)");
  app.add_option("--bad", flags->bad,
                 "what is wrong, likewise (default: as the model is compiled)");
  AddPromptFlags(app, &flags->prompt);
  app.add_option("--ids", flags->ids, "token ids instead of a text: 1,403,407; no BOS is added");
  app.add_option("-n,--predict", flags->tokens,
                 "greedy tokens that must be the good side's (default 16)");
  app.add_option(
      "--kl", flags->kl,
      "wrong is a mean KL divergence above this, over the prompt, instead of other tokens");
  app.add_option(
      "--run", flags->command,
      "wrong is an exit code other than 0 of this shell command, which finds the plan in "
      "$RENGA_PLAN; 125: cannot be told");
  app.add_option("--node", flags->node,
                 "no search: keep this step of the plan as a program, for GPUs as repro.cu");
  app.add_option("--alone", flags->alone,
                 "no search: run the step that --repro of `run --check-steps` kept in this folder, "
                 "by itself, on the GPU of --bad \"--device cuda\"; exit code 1 where it gives "
                 "something else, 3 where it fails");
  app.add_option("--target", flags->target,
                 "with --node or --run: GPUs that a GGUF is compiled for; none is needed here");
  app.add_option("--most", flags->most, "culprits to look for, one after another (default 4)");
  app.add_option("-o,--output", flags->folder,
                 "folder for the log and the repros (default renga-bisect); an interrupted bisect "
                 "goes on from its log");
  app.add_option("-t,--threads", flags->threads, "compute threads (default: all cores)");
  app.add_flag("--json", flags->json, "one JSON object: culprit, culprits[], runs[], and more");
  return [flags] { return Run(*flags); };
}

}  // namespace

const Command kBisectCommand = {
    .name = "bisect",
    .summary = "finds which passes, fusions, kernels or types make the difference",
    .examples =
        "  renga bisect model.gguf --good \"--passes ''\" -p \"2 + 2 =\"   # which fusion is "
        "wrong\n"
        "  renga bisect new.plan --good old.plan --kl 1e-3 --json",
    .add = Add,
};

}  // namespace renga
