// renga lint MODEL: what is suspicious in a GGUF before anything runs.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <thread>
#include <tuple>

#include "frontend/gguf/gguf.h"
#include "frontend/models/model.h"
#include "ir/base/status.h"
#include "ir/diff/graph_diff.h"
#include "runtime/plan/serialize.h"
#include "tools/compare/tensor_role.h"
#include "tools/lint/check.h"
#include "tools/lint/lint.h"
#include "tools/open_model.h"
#include "tools/renga/command.h"
#include "tools/renga/errors.h"
#include "tools/renga/interrupt.h"
#include "tools/renga/model_flags.h"
#include "tools/renga/output.h"
#include "tools/renga/progress.h"
#include "tools/renga/text.h"

namespace renga {
namespace {

struct Flags {
  std::string model;
  bool strict = false;
  bool json = false;
  int threads = 0;
};

// The GGUF that a plan was made of: where the plan says, or beside the plan.
absl::StatusOr<std::string> GgufOfPlan(const std::string& path) {
  RENGA_ASSIGN_OR_RETURN(const plan::Plan plan, plan::LoadPlan(path));
  if (plan.files.empty()) {
    return absl::InvalidArgumentError(StrCat(path, ": the plan names no GGUF to look at"));
  }
  const std::filesystem::path named = plan.files[0].path;
  const std::filesystem::path beside = std::filesystem::path(path).parent_path() / named.filename();
  std::error_code error;
  for (const std::filesystem::path& candidate : {named, beside}) {
    if (std::filesystem::is_regular_file(candidate, error)) return candidate.string();
  }
  return absl::NotFoundError(StrCat(path, ": the plan's GGUF ", named.string(),
                                    " is neither there nor beside the plan; lint looks at GGUFs, "
                                    "so name one, or put it there"));
}

int64_t Count(const std::vector<Finding>& findings, Sureness sureness) {
  return std::count_if(findings.begin(), findings.end(),
                       [sureness](const Finding& f) { return f.sureness == sureness; });
}

// Findings of one kind about the same tensor of many layers are told once.
struct Group {
  const Finding* first;
  std::vector<int> layers;
  int64_t count = 0;
};

std::vector<Group> GroupFindings(const std::vector<Finding>& findings) {
  std::vector<Group> groups;
  std::map<std::tuple<std::string, Sureness, std::string, std::string>, size_t> places;
  for (const Finding& finding : findings) {
    // A key is its own role, and so is "layer 3".
    const std::string role = RoleOfTensor(finding.where).role;
    const auto [at, added] =
        places.try_emplace({finding.check, finding.sureness, finding.meaning, role}, groups.size());
    if (added) groups.push_back({&finding, {}, 0});
    Group& group = groups[at->second];
    ++group.count;
    if (finding.layer >= 0) group.layers.push_back(finding.layer);
  }
  for (Group& group : groups) std::sort(group.layers.begin(), group.layers.end());
  return groups;
}

std::string FindingsText(const std::vector<Finding>& findings) {
  std::string text;
  for (const Group& group : GroupFindings(findings)) {
    const Finding& finding = *group.first;
    StrAppend(&text, Name(finding.sureness), "  ", finding.check, "  ",
              EscapeOnOneLine(finding.where), "  ", EscapeOnOneLine(finding.what), "\n");
    if (group.count > 1) {
      StrAppend(&text, "    also    ", WithCommas(group.count - 1), " more like it, all in ",
                LayersText(group.layers), "\n");
    }
    StrAppend(&text, "    means   ", EscapeOnOneLine(finding.meaning), "\n    advice  ",
              EscapeOnOneLine(finding.advice), "\n");
  }
  return text;
}

std::string SummaryText(const std::vector<Finding>& findings, const GgufFile& file) {
  const std::string looked =
      StrCat(AllChecks().size(), " checks of ", WithCommas(file.tensors().size()), " tensors, ",
             BytesText(file.total_bytes()));
  if (findings.empty()) return StrCat("nothing suspicious: ", looked, "\n");
  return StrCat(Count(findings, Sureness::kCertain), " certain, ",
                Count(findings, Sureness::kLikely), " likely, ", Count(findings, Sureness::kMaybe),
                " maybe: ", looked, "\n");
}

Json LintJson(const std::vector<Finding>& findings, const GgufFile& file, bool ok) {
  Json list = Json::array();
  for (const Finding& finding : findings) {
    list.push_back({{"check", finding.check},
                    {"sureness", std::string(Name(finding.sureness))},
                    {"where", finding.where},
                    {"layer", finding.layer < 0 ? Json(nullptr) : Json(finding.layer)},
                    {"what", finding.what},
                    {"meaning", finding.meaning},
                    {"advice", finding.advice}});
  }
  Json checks = Json::array();
  for (const Check* check : AllChecks()) checks.push_back(std::string(check->name));
  return {{"ok", ok},
          {"model", file.path()},
          {"findings", std::move(list)},
          {"counts",
           {{"certain", Count(findings, Sureness::kCertain)},
            {"likely", Count(findings, Sureness::kLikely)},
            {"maybe", Count(findings, Sureness::kMaybe)}}},
          {"checks", std::move(checks)},
          {"tensors", file.tensors().size()},
          {"bytes", file.total_bytes()}};
}

absl::Status Run(const Flags& flags) {
  if (flags.threads < 0 || flags.threads > 1024) {
    return absl::InvalidArgumentError(
        StrCat("--threads: expected 1..1024, or 0 for all cores, got ", flags.threads));
  }
  RENGA_ASSIGN_OR_RETURN(const bool is_plan, IsPlan(flags.model));
  std::string path = flags.model;
  if (is_plan) {
    RENGA_ASSIGN_OR_RETURN(path, GgufOfPlan(flags.model));
  }
  RENGA_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(path));
  GraphOptions graph;
  RENGA_ASSIGN_OR_RETURN(graph.context, DefaultContext(file));
  RENGA_ASSIGN_OR_RETURN(const Model model, BuildModel(file, graph));

  Progress progress(StrCat("reading the weights of ", path));
  InterruptScope interrupt;
  WeightFactsOptions options;
  options.threads = flags.threads > 0
                        ? flags.threads
                        : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  options.progress = [&](int64_t done, int64_t total) {
    progress.Update(done, total);
    return !interrupt.flag();
  };
  RENGA_ASSIGN_OR_RETURN(const std::vector<Finding> findings, Lint(file, model, options));
  progress.Stop();
  const bool ok = std::all_of(findings.begin(), findings.end(), [&](const Finding& finding) {
    return finding.sureness == Sureness::kMaybe && !flags.strict;
  });
  RENGA_RETURN_IF_ERROR(
      WriteStdout(flags.json ? JsonText(LintJson(findings, file, ok))
                             : StrCat(FindingsText(findings), SummaryText(findings, file))));
  return ok ? absl::OkStatus() : AnswerIsNo();
}

RunFn Add(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  app.add_option("-m,--model,MODEL", flags->model,
                 "a GGUF (first part of a split one), or a plan, whose GGUF is looked at")
      ->required();
  app.add_flag("--strict", flags->strict,
               "exit 1 for findings of `maybe` too, not only `certain` and `likely`");
  app.add_option("-t,--threads", flags->threads, "threads (default: all cores)");
  app.add_flag("--json", flags->json, "one JSON object: ok, findings, counts, checks");
  return [flags] { return Run(*flags); };
}

}  // namespace

const Command kLintCommand = {
    .name = "lint",
    .summary = "says what is suspicious in a GGUF before anything runs",
    .examples =
        "  renga lint model.gguf             # exit 1 where something is certainly or likely "
        "wrong\n"
        "  renga lint model.gguf --strict    # also where something is only unusual",
    .add = Add,
};

}  // namespace renga
