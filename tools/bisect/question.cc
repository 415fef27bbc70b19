#include "tools/bisect/question.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <utility>

#include "absl/strings/str_format.h"
#include "ir/base/status.h"

namespace renga {
namespace {

constexpr std::string_view kError = "error: ", kKl = "KL ", kExit = "exit ";
constexpr int kExitUnknown = 125, kNoCommand = 127;

double LogSum(absl::Span<const float> logits) {
  const double most = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - most);
  return most + std::log(sum);
}

// KL(p || q) of two rows of logits, in nats; infinite where either has no distribution.
double Divergence(absl::Span<const float> p, absl::Span<const float> q) {
  const double p_sum = LogSum(p), q_sum = LogSum(q);
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    const double log_p = p[i] - p_sum;
    sum += std::exp(log_p) * (log_p - (q[i] - q_sum));
  }
  return std::isnan(sum) ? std::numeric_limits<double>::infinity() : std::max(0.0, sum);
}

absl::Status CheckCancel(const Question& question) {
  if (question.cancel != nullptr && *question.cancel) return absl::CancelledError("interrupted");
  return absl::OkStatus();
}

absl::Status RunPrompt(const Question& question, Forward& forward, bool all_rows,
                       std::vector<float>* logits) {
  const auto ids = absl::MakeConstSpan(question.ids);
  int64_t most = forward.max_step_tokens();
  if (all_rows) most = std::min(most, forward.max_rows());
  std::vector<float> part;
  for (size_t begin = 0; begin < ids.size();) {
    RENGA_RETURN_IF_ERROR(CheckCancel(question));
    const auto piece = ids.subspan(begin, static_cast<size_t>(most));
    begin += piece.size();
    std::vector<int32_t> rows;
    if (all_rows) {
      rows.resize(piece.size());
      std::iota(rows.begin(), rows.end(), 0);
    } else if (begin == ids.size()) {
      rows.push_back(static_cast<int32_t>(piece.size()) - 1);
    }
    RENGA_RETURN_IF_ERROR(forward.Run(piece, rows, &part));
    logits->insert(logits->end(), part.begin(), part.end());
  }
  return absl::OkStatus();
}

absl::StatusOr<Answer> AskForIds(const Question& question, Forward& forward) {
  std::vector<float> logits;
  RENGA_RETURN_IF_ERROR(RunPrompt(question, forward, /*all_rows=*/false, &logits));
  std::vector<int32_t> ids;
  while (true) {
    RENGA_RETURN_IF_ERROR(CheckCancel(question));
    const bool numbers =
        std::none_of(logits.begin(), logits.end(), [](float x) { return std::isnan(x); });
    if (!numbers) return absl::DataLossError("a logit is no number");
    ids.push_back(
        static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
    if (static_cast<int64_t>(ids.size()) >= question.tokens ||
        forward.position() >= forward.context()) {
      break;
    }
    RENGA_RETURN_IF_ERROR(forward.Run(absl::MakeConstSpan(ids).last(1), {0}, &logits));
  }
  return Answer{.text = StrCat("ids ", StrJoin(ids, ","))};
}

absl::StatusOr<Answer> AskForKl(const Question& question, Forward& forward, const Answer* good) {
  Answer answer;
  RENGA_RETURN_IF_ERROR(RunPrompt(question, forward, /*all_rows=*/true, &answer.logits));
  if (good != nullptr) {
    const size_t rows = question.ids.size(), width = answer.logits.size() / rows;
    if (good->logits.size() != answer.logits.size()) {
      return absl::InternalError("expected as many logits as the good configuration's");
    }
    double sum = 0;
    for (size_t row = 0; row < rows; ++row) {
      sum += Divergence(absl::MakeConstSpan(good->logits).subspan(row * width, width),
                        absl::MakeConstSpan(answer.logits).subspan(row * width, width));
    }
    answer.kl = sum / static_cast<double>(rows);
    answer.logits.clear();
  }
  answer.text = StrCat(kKl, absl::StrFormat("%.4g", answer.kl));
  return answer;
}

}  // namespace

std::string Question::Text() const {
  if (!command.empty()) return StrCat("exit code of `", command, "`");
  const std::string prompt = StrCat(ids.size(), " tokens of prompt");
  if (kl) return StrCat("mean KL above ", *kl, " over ", prompt);
  return StrCat(tokens, " greedy tokens behind ", prompt);
}

absl::StatusOr<Answer> Ask(const Question& question, Forward& forward, const Answer* good) {
  absl::StatusOr<Answer> answer =
      question.kl ? AskForKl(question, forward, good) : AskForIds(question, forward);
  if (answer.ok() || absl::IsCancelled(answer.status())) return answer;
  return AnswerOfText(StrCat(kError, ToStd(answer.status().message())));
}

absl::StatusOr<Answer> AskCommand(const Question& question, const std::string& plan_path) {
  RENGA_RETURN_IF_ERROR(CheckCancel(question));
  const pid_t child = fork();
  if (child < 0) return absl::ResourceExhaustedError(StrCat("fork: ", strerror(errno)));
  if (child == 0) {
    setenv("RENGA_PLAN", plan_path.c_str(), 1);
    dup2(2, 1);  // stdout is the result of the verb alone
    execl("/bin/sh", "sh", "-c", question.command.c_str(), nullptr);
    _exit(kNoCommand);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  RENGA_RETURN_IF_ERROR(CheckCancel(question));
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (code == kNoCommand) {
    return absl::InvalidArgumentError(
        StrCat("--run: expected a command that sh finds, got '", question.command, "'"));
  }
  return Answer{.text = StrCat(kExit, code)};
}

Outcome Judge(const Question& question, const Answer& good, const Answer* bad,
              const Answer& answer) {
  if (answer.text == good.text) return Outcome::kGood;
  if (answer.text == StrCat(kExit, kExitUnknown)) return Outcome::kUnknown;
  if (answer.text.starts_with(kError)) {
    const bool wanted = bad == nullptr || bad->text.starts_with(kError);
    return wanted ? Outcome::kBad : Outcome::kUnknown;
  }
  if (bad != nullptr && bad->text.starts_with(kError)) return Outcome::kGood;
  if (question.kl && question.command.empty()) {
    return answer.kl > *question.kl ? Outcome::kBad : Outcome::kGood;
  }
  return Outcome::kBad;
}

Answer AnswerOfText(std::string_view text) {
  Answer answer{.text = std::string(text)};
  std::replace(answer.text.begin(), answer.text.end(), '\n', ' ');
  std::replace(answer.text.begin(), answer.text.end(), '\t', ' ');
  if (text.starts_with(kKl)) answer.kl = strtod(answer.text.c_str() + kKl.size(), nullptr);
  return answer;
}

}  // namespace renga
