#include "tools/renga/run_many.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "ir/base/status.h"
#include "runtime/exec/engine.h"
#include "tools/open_model.h"
#include "tools/renga/interrupt.h"
#include "tools/renga/progress.h"
#include "tools/renga/prompt_lines.h"
#include "tools/renga/run_report.h"
#include "tools/renga/text.h"
#include "tools/renga/timeline_report.h"

namespace renga {
namespace {

constexpr int64_t kMostAtATime = 4096;  // as --max-seqs

// One text to write: a prompt, or one of the --n-best of it.
struct Task {
  int line = 0;    // 0: of the command line
  int branch = 0;  // of n_best
  std::string prompt_text;
  std::vector<int32_t> prompt_ids;
  GenerateOptions options;
  int logits = 0;
  size_t trunk = 0;  // task whose prompt it shares: its own number where that is branch 0
  std::optional<RequestId> request;
};

absl::StatusOr<std::vector<PromptLine>> ReadLines(const RunFlags& flags) {
  RENGA_RETURN_IF_ERROR(CheckTokenCount(flags.tokens, "-n"));
  if (flags.n_best < 1 || flags.n_best > kMostAtATime) {
    return absl::InvalidArgumentError(
        StrCat("--n-best: expected 1..", kMostAtATime, ", got ", flags.n_best));
  }
  if (!flags.prompt_cache.empty()) {
    return absl::InvalidArgumentError(
        "--prompt-cache: expected one prompt and one text, got flags for many");
  }
  if (flags.parallel && (*flags.parallel < 1 || *flags.parallel > kMostAtATime)) {
    return absl::InvalidArgumentError(
        StrCat("--parallel: expected 1..", kMostAtATime, ", got ", *flags.parallel));
  }
  PromptLine one{0, {}, flags};
  if (flags.ids) {
    if (flags.prompt.text || flags.prompt.file) {
      return absl::InvalidArgumentError("--ids excludes -p and -f");
    }
    RENGA_ASSIGN_OR_RETURN(one.prompt.ids, ParseIds(*flags.ids, "--ids"));
    if (one.prompt.ids.empty()) {
      return absl::InvalidArgumentError("--ids: expected at least one token id, got none");
    }
    return std::vector<PromptLine>{std::move(one)};
  }
  RENGA_ASSIGN_OR_RETURN(one.prompt.text, ReadPrompt(flags.prompt));
  if (!one.prompt.text) {
    return absl::InvalidArgumentError("no prompt: give -f prompts.jsonl, -p TEXT or --ids 1,2,3");
  }
  if (!flags.prompt.file) return std::vector<PromptLine>{std::move(one)};
  const std::string name = *flags.prompt.file == "-" ? "stdin" : *flags.prompt.file;
  return ReadPromptLines(*one.prompt.text, name, flags);
}

int64_t AtATime(const RunFlags& flags) { return flags.parallel.value_or(flags.n_best); }

class Many {
 public:
  // `timeline` may be null.
  Many(const RunFlags& flags, RunnableModel model, Timeline* timeline)
      : flags_(flags), model_(std::move(model)), timeline_(timeline) {}

  absl::Status Prepare(const std::vector<PromptLine>& lines) {
    const plan::Plan& plan = model_.runner->plan();
    RENGA_ASSIGN_OR_RETURN(const int64_t context, flags_.model.Context(plan));
    for (const PromptLine& line : lines) {
      const absl::Status status = AddTasks(line, context, plan.model.vocab);
      RENGA_RETURN_IF_ERROR(line.number == 0 ? status
                                             : Annotate(status, StrCat("line ", line.number)));
    }
    EngineOptions options;
    options.max_running = AtATime(flags_);
    options.timeline = timeline_;
    // Elsewhere a result never depends on what else is in the step.
    options.deterministic =
        flags_.deterministic && plan.geometry.invariant_tokens < plan.geometry.max_step_tokens;
    RENGA_ASSIGN_OR_RETURN(engine_,
                           Engine::Create(std::move(model_.runner), *model_.tokenizer, options));
    for (size_t i = 0; i < tasks_.size(); ++i) {
      if (tasks_[i].trunk == i) RENGA_RETURN_IF_ERROR(Start(tasks_[i]));
    }
    return absl::OkStatus();
  }

  absl::Status Run() {
    InterruptScope interrupt;
    fprintf(stderr, "%s\n", model_.device_note.c_str());
    Progress progress(StrCat("writing ", tasks_.size(), " texts"));
    const auto start = std::chrono::steady_clock::now();
    if (timeline_ != nullptr) timeline_->Begin();
    while (shown_ < tasks_.size()) {
      RENGA_RETURN_IF_ERROR(engine_->Step().status());
      RENGA_RETURN_IF_ERROR(Branch());
      if (interrupt.flag().load()) {
        RENGA_RETURN_IF_ERROR(CancelAll());
        progress.Stop();
        RENGA_RETURN_IF_ERROR(ShowFinished());
        LeaveInterrupted();
      }
      RENGA_RETURN_IF_ERROR(ShowFinished());
      progress.Update(static_cast<int64_t>(shown_), static_cast<int64_t>(tasks_.size()));
    }
    progress.Stop();
    if (timeline_ != nullptr) timeline_->End();
    PrintTotals(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    RENGA_RETURN_IF_ERROR(first_error_);
    if (timeline_ == nullptr) return absl::OkStatus();
    const std::string device(engine_->runner().device());
    engine_ = nullptr;  // the device then says what it did
    fputs(ToText(Summarize(*timeline_)).c_str(), stderr);
    return WriteTimeline(flags_.timeline, *timeline_, device);
  }

 private:
  absl::Status AddTasks(const PromptLine& line, int64_t context, int64_t vocab) {
    Task task;
    task.line = line.number;
    RENGA_ASSIGN_OR_RETURN(task.prompt_ids, PromptIds(line.prompt, flags_.no_special,
                                                      *model_.tokenizer, context, vocab));
    RENGA_ASSIGN_OR_RETURN(
        task.options,
        OptionsOf(line.flags, context, static_cast<int64_t>(task.prompt_ids.size()), vocab));
    task.options.timeline = timeline_;
    task.logits = line.flags.logits;
    if (line.prompt.text) {
      task.prompt_text = *line.prompt.text;
    } else {
      RENGA_ASSIGN_OR_RETURN(task.prompt_text, model_.tokenizer->Decode(task.prompt_ids));
    }
    task.trunk = tasks_.size();
    for (int64_t branch = 0; branch < flags_.n_best; ++branch) {
      task.branch = static_cast<int>(branch);
      tasks_.push_back(task);
      ++task.options.sampling.seed;
    }
    return absl::OkStatus();
  }

  absl::Status Start(Task& task) {
    RENGA_ASSIGN_OR_RETURN(task.request, engine_->Add(task.prompt_ids, task.options));
    return absl::OkStatus();
  }

  // The other texts of a prompt begin when it has been read.
  absl::Status Branch() {
    for (; branched_ < tasks_.size(); ++branched_) {
      Task& task = tasks_[branched_];
      if (task.request) continue;
      const RequestId trunk = *tasks_[task.trunk].request;
      if (!engine_->finished(trunk) && engine_->Poll(trunk)->empty()) return absl::OkStatus();
      // Where the trunk failed, its error comes again.
      RENGA_ASSIGN_OR_RETURN(task.request, engine_->Fork(trunk, 0, task.options));
      while (branched_ + 1 < tasks_.size() && tasks_[branched_ + 1].trunk == task.trunk) {
        Task& next = tasks_[++branched_];
        RENGA_ASSIGN_OR_RETURN(next.request, engine_->Fork(trunk, 0, next.options));
      }
    }
    return absl::OkStatus();
  }

  absl::Status CancelAll() {
    for (size_t i = shown_; i < tasks_.size(); ++i) {
      if (tasks_[i].request) RENGA_RETURN_IF_ERROR(engine_->Cancel(*tasks_[i].request));
    }
    return absl::OkStatus();
  }

  absl::Status ShowFinished() {
    for (; shown_ < tasks_.size(); ++shown_) {
      Task& task = tasks_[shown_];
      if (!task.request || !engine_->finished(*task.request)) return absl::OkStatus();
      // Its branches go on from it.
      if (shown_ >= branched_) return absl::OkStatus();
      RENGA_RETURN_IF_ERROR(Show(task, engine_->Take(*task.request)));
    }
    return absl::OkStatus();
  }

  absl::Status Show(const Task& task, const absl::StatusOr<GenerateResult>& result) {
    if (!result.ok()) {
      if (first_error_.ok()) first_error_ = Annotate(result.status(), Name(task));
      if (flags_.json) {
        return WriteStdout(JsonText({{"error", ToStd(result.status().message())}}));
      }
      return WriteStdout(
          StrCat("--- ", Name(task), ": error: ", ToStd(result.status().message()), "\n"));
    }
    RunReport report{.device = std::string(engine_->runner().device()),
                     .kernels_compiled = model_.kernels_compiled,
                     .load_seconds = model_.load_seconds};
    report.seed = task.options.sampling.seed;
    report.sampled = task.options.sampling.temperature > 0;
    report.logits = task.logits;
    report.prompt_ids = task.prompt_ids;
    report.result = *result;
    tokens_ += static_cast<int64_t>(result->ids.size());
    if (flags_.json) return WriteStdout(JsonText(ToJson(report)));
    return WriteStdout(StrCat("--- ", Name(task), " (", ToString(result->finish_reason), ")\n",
                              task.prompt_text, result->text, "\n", LogitsText(report)));
  }

  std::string Name(const Task& task) const {
    const std::string line = task.line == 0 ? "" : StrCat("line ", task.line);
    if (flags_.n_best == 1) return line.empty() ? "prompt" : line;
    return StrCat(line, line.empty() ? "" : ", ", "text ", task.branch + 1);
  }

  void PrintTotals(double seconds) const {
    const EngineCounters& counters = engine_->counters();
    const double rate = seconds > 0 ? static_cast<double>(tokens_) / seconds : 0;
    fprintf(stderr,
            "%zu texts, %lld at a time: %s tokens in %.2f s, %.1f tok/s; %s tokens computed in %s "
            "steps, %s of prompts reused\n",
            tasks_.size(), static_cast<long long>(engine_->max_running()),
            WithCommas(tokens_).c_str(), seconds, rate, WithCommas(counters.tokens).c_str(),
            WithCommas(counters.steps).c_str(), WithCommas(counters.reused_tokens).c_str());
    if (engine_->runner().samples() && counters.host_tokens > 0) {
      fprintf(stderr, "%s tokens were sampled on the host, %s on the GPU (docs/sampling.md)\n",
              WithCommas(counters.host_tokens).c_str(), WithCommas(counters.device_tokens).c_str());
    }
  }

  const RunFlags& flags_;
  RunnableModel model_;
  Timeline* timeline_;
  std::unique_ptr<Engine> engine_;
  std::vector<Task> tasks_;
  size_t branched_ = 0;  // tasks before have a request
  size_t shown_ = 0;     // tasks before are done and printed
  int64_t tokens_ = 0;   // generated, of those
  absl::Status first_error_;
};

}  // namespace

bool AsksForMany(const RunFlags& flags) {
  return flags.parallel || flags.n_best != 1 ||
         (flags.prompt.file && flags.prompt.file->ends_with(".jsonl"));
}

absl::Status RunMany(const RunFlags& flags) {
  RENGA_ASSIGN_OR_RETURN(OpenOptions open, flags.model.Options());
  RENGA_ASSIGN_OR_RETURN(const std::vector<PromptLine> lines, ReadLines(flags));
  RENGA_ASSIGN_OR_RETURN(const bool is_plan, IsPlan(flags.model.model));
  if (!is_plan && !flags.model.compile.max_sequences) open.compile.max_sequences = AtATime(flags);
  Timeline timeline;
  if (!flags.timeline.empty()) open.timeline = &timeline;
  Progress loading(StrCat("loading ", flags.model.model));
  open.progress = [&loading](int64_t done, int64_t total) { loading.Update(done, total); };
  RENGA_ASSIGN_OR_RETURN(RunnableModel model, OpenToRun(flags.model.model, open));
  loading.Stop();
  Many many(flags, std::move(model), open.timeline);
  RENGA_RETURN_IF_ERROR(many.Prepare(lines));
  return many.Run();
}

}  // namespace renga
