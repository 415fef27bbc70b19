// renga diff A B: what changed between two graphs, plans, GGUFs or traces.
#include "tools/renga/diff.h"

#include <memory>

#include "ir/base/mapped_file.h"
#include "ir/base/status.h"
#include "tools/renga/command.h"
#include "tools/renga/errors.h"
#include "tools/renga/progress.h"

namespace renga {
namespace {

absl::Status CheckFlags(const DiffFlags& flags) {
  if (flags.rtol && !(*flags.rtol >= 0)) {
    return absl::InvalidArgumentError(
        StrCat("--rtol: expected a number of at least 0, got ", *flags.rtol));
  }
  for (const std::string* target : {&flags.html, &flags.output}) {
    if (target->empty()) continue;
    if (SameFile(*target, flags.a) || SameFile(*target, flags.b)) {
      return absl::InvalidArgumentError(
          StrCat(*target, ": is one of the files to compare; name another"));
    }
  }
  return absl::OkStatus();
}

// What a trace or a log of llama.cpp can be compared with.
absl::StatusOr<DiffAnswer> CompareRuns(const DiffFlags& flags, FileKind a, FileKind b) {
  if (a == FileKind::kTrace && b == FileKind::kTrace) return DiffTraceFiles(flags);
  const bool first = a == FileKind::kTrace;
  return absl::InvalidArgumentError(StrCat(
      first ? flags.a : flags.b, " is a trace and ", first ? flags.b : flags.a,
      " is not: expected two traces, or a trace and a log of llama.cpp; `renga trace` makes one"));
}

absl::StatusOr<DiffAnswer> Compare(const DiffFlags& flags) {
  if (IsFolder(flags.a) && IsFolder(flags.b)) {
    if (!flags.values && !flags.time) return DiffFolders(flags);
    return absl::InvalidArgumentError(
        "--values and --time: expected two files, got folders; name one stage's file in each");
  }
  const bool log_a = IsLlamaLog(flags.a), log_b = IsLlamaLog(flags.b);
  if (log_a && log_b) {
    return absl::InvalidArgumentError(
        StrCat(flags.a, " and ", flags.b, " are logs of llama.cpp: expected a trace and one log"));
  }
  if (log_a) return DiffTraceWithLog(flags.b, flags.a);
  if (log_b) return DiffTraceWithLog(flags.a, flags.b);
  RENGA_ASSIGN_OR_RETURN(const FileKind a, SniffFile(flags.a));
  RENGA_ASSIGN_OR_RETURN(const FileKind b, SniffFile(flags.b));
  if (a == FileKind::kTrace || b == FileKind::kTrace) return CompareRuns(flags, a, b);
  const bool ggufs = a == FileKind::kGguf && b == FileKind::kGguf;
  // Of two GGUFs the files are compared, unless a stage of their graphs was asked for.
  RENGA_ASSIGN_OR_RETURN(DiffAnswer answer, ggufs && flags.after.empty()
                                                ? DiffGgufFiles(flags)
                                                : DiffGraphFiles(flags, a, b));
  if (answer.graphs == nullptr && (flags.values || flags.time || !flags.html.empty())) {
    RENGA_ASSIGN_OR_RETURN(answer.graphs, CompareGraphs(flags, a, b));
  }
  if (flags.values) RENGA_RETURN_IF_ERROR(AddValues(flags, a, b, &answer));
  if (flags.time) RENGA_RETURN_IF_ERROR(AddTime(flags, a, b, &answer));
  return answer;
}

absl::Status Run(const DiffFlags& flags) {
  RENGA_RETURN_IF_ERROR(CheckFlags(flags));
  Progress progress(StrCat("comparing ", flags.a, " with ", flags.b));
  RENGA_ASSIGN_OR_RETURN(DiffAnswer answer, Compare(flags));
  progress.Stop();
  if (!flags.html.empty() && answer.graphs == nullptr) {
    return absl::InvalidArgumentError(
        StrCat("--html: expected graphs, plans or GGUFs, got ", flags.a, " and ", flags.b));
  }
  Json json = {{"equal", answer.equal}, {"a", flags.a}, {"b", flags.b}};
  json.update(answer.json);
  if (!flags.html.empty()) {
    RENGA_RETURN_IF_ERROR(WriteResult(flags.html, DiffHtml(flags, *answer.graphs)));
  }
  RENGA_RETURN_IF_ERROR(WriteResult(flags.output, flags.json ? JsonText(json) : answer.text));
  return answer.equal ? absl::OkStatus() : AnswerIsNo();
}

RunFn Add(CLI::App& app) {
  auto flags = std::make_shared<DiffFlags>();
  app.add_option("A", flags->a, "a GGUF, plan, .ir, trace, or a folder of --dump-dir")->required();
  app.add_option("B", flags->b, "what to compare it with; for a trace also a log of llama.cpp")
      ->required();
  app.add_flag("--values", flags->values,
               "run both on the reference interpreter and compare what every node computes");
  app.add_flag("--time", flags->time, "run both on the cpu, in turns, and compare their times");
  app.add_option("--rtol", flags->rtol,
                 "relative error (RMS) that counts as equal (default: by what computed it)");
  app.add_flag("--ignore-names", flags->ignore_names,
               "names neither line nodes up nor count as changes");
  app.add_option("--after", flags->after, "compare GGUFs' graphs after this pass, or `frontend`");
  app.add_option("-m,--model", flags->options.model,
                 "--values of .ir files: the GGUF that has the weights (default: random ones)");
  AddPromptFlags(app, &flags->prompt);
  app.add_option("--ids", flags->ids, "token ids to run instead of a text, separated by commas");
  app.add_option("--html", flags->html, "write the comparison as one page to this file");
  app.add_option("-o,--output", flags->output, "write to this file, all or nothing");
  app.add_flag("--json", flags->json, "one JSON object: equal, groups, nodes");
  AddCompileFlags(app, &flags->options.compile);
  app.add_option("-t,--threads", flags->options.threads, "compute threads (default: all cores)");
  app.add_flag("--no-cache", flags->options.no_cache, "do not use or keep a compiled plan");
  return [flags] { return Run(*flags); };
}

}  // namespace

const Command kDiffCommand = {
    .name = "diff",
    .summary = "what changed between two graphs, plans, GGUFs or traces",
    .examples =
        "  renga diff before.plan after.plan                    # exit 0 equal, 1 different\n"
        "  renga diff a.ir b.ir --values -m model.gguf -p Hello # do they compute the same?",
    .add = Add,
};

}  // namespace renga
