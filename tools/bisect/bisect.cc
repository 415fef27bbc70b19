#include "tools/bisect/bisect.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <numeric>
#include <optional>
#include <utility>

#include "ir/base/digest.h"
#include "ir/base/mapped_file.h"
#include "ir/base/output_file.h"
#include "ir/base/status.h"
#include "runtime/plan/serialize.h"
#include "tools/bisect/run_log.h"
#include "tools/own_file.h"

namespace renga {
namespace {

// Another build may have other kernels under the same plan.
std::string ProgramDigest() {
  const auto self = MappedFile::Open(OwnFile());
  return self.ok() ? DigestOf(self->bytes()).ToHex() : "unknown";
}

class Bisecter {
 public:
  Bisecter(std::unique_ptr<Knobs> knobs, const BisectOptions& options, RunLog log)
      : options_(options), log_(std::move(log)), program_(ProgramDigest()) {
    report_.knobs = std::move(knobs);
  }

  absl::StatusOr<BisectReport> Run() {
    Subset all(report_.knobs->items().size());
    std::iota(all.begin(), all.end(), 0);
    if (all.empty()) {
      return absl::FailedPreconditionError(
          "expected two configurations that differ, got two that compile to the same");
    }
    RENGA_ASSIGN_OR_RETURN(good_, AnswerOf({}));
    RENGA_ASSIGN_OR_RETURN(const Answer bad, AnswerOf(all));
    report_.good = good_.text;
    report_.bad = bad.text;
    if (Judge(options_.question, good_, nullptr, bad) != Outcome::kBad) {
      return absl::FailedPreconditionError(
          StrCat("expected an outcome that differs (", options_.question.Text(),
                 "), got the same of the good and the bad configuration: ", bad.text,
                 report_.knobs->note().empty() ? "" : "; ", report_.knobs->note()));
    }
    bad_ = bad;
    const SubsetTest test = [this](const Subset& set) -> absl::StatusOr<Outcome> {
      RENGA_ASSIGN_OR_RETURN(const Answer answer, AnswerOf(set));
      return Judge(options_.question, good_, &*bad_, answer);
    };
    RENGA_ASSIGN_OR_RETURN(report_.culprits, AllMinimalBad(all, options_.most, test));
    return std::move(report_);
  }

 private:
  absl::StatusOr<Answer> AnswerOf(const Subset& set) {
    const auto start = std::chrono::steady_clock::now();
    if (const auto known = known_.find(set); known != known_.end()) return known->second;
    BisectRun run{.bad = set};
    Answer answer;
    absl::StatusOr<Mixture> mixture = report_.knobs->Mix(set);
    if (mixture.ok()) {
      const std::string key = KeyOf(*mixture);
      const std::string* const logged = log_.Find(key);
      // Without the good one's logits no other run can be compared.
      run.cached = logged != nullptr && !(set.empty() && NeedsLogits());
      if (run.cached) {
        answer = AnswerOfText(*logged);
      } else {
        RENGA_ASSIGN_OR_RETURN(answer, Measure(*mixture, key, set.empty()));
        run.seconds =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        RENGA_RETURN_IF_ERROR(log_.Add(key, run.seconds, AnswerOfText(answer.text).text,
                                       StrJoin(report_.Names(set), " ")));
      }
    } else if (absl::IsCancelled(mixture.status()) || set.empty()) {
      return mixture.status();
    } else {
      answer = AnswerOfText(StrCat("error: ", ToStd(mixture.status().message())));
    }
    run.answer = answer.text;
    run.outcome = set.empty() ? Outcome::kGood
                              : Judge(options_.question, good_, bad_ ? &*bad_ : nullptr, answer);
    if (options_.on_run) options_.on_run(run);
    report_.runs.push_back(std::move(run));
    return known_[set] = std::move(answer);
  }

  bool NeedsLogits() const {
    return options_.question.kl.has_value() && options_.question.command.empty();
  }

  std::string KeyOf(const Mixture& mixture) const {
    const Question& question = options_.question;
    return DigestOf(StrCat(mixture.digest.ToHex(), "\n", question.Text(), "\n",
                           StrJoin(question.ids, ","), "\n", program_))
        .ToHex();
  }

  absl::StatusOr<Answer> Measure(const Mixture& mixture, const std::string& key, bool is_good) {
    if (!options_.question.command.empty()) {
      const std::string path = StrCat(options_.plan_folder, "/", key.substr(0, 16), ".plan");
      RENGA_ASSIGN_OR_RETURN(const std::string bytes, plan::Serialize(*mixture.plan));
      RENGA_RETURN_IF_ERROR(WriteFileAtomically(path, {std::string_view(bytes)}));
      return AskCommand(options_.question, path);
    }
    absl::StatusOr<std::unique_ptr<Forward>> forward = mixture.open();
    if (!forward.ok() && !is_good) {
      return AnswerOfText(StrCat("error: ", ToStd(forward.status().message())));
    }
    RENGA_RETURN_IF_ERROR(forward.status());
    return Ask(options_.question, **forward, is_good ? nullptr : &good_);
  }

  const BisectOptions& options_;
  RunLog log_;
  const std::string program_;
  BisectReport report_;
  std::map<Subset, Answer> known_;
  Answer good_;
  std::optional<Answer> bad_;
};

}  // namespace

int64_t BisectReport::cached() const {
  return std::count_if(runs.begin(), runs.end(), [](const BisectRun& run) { return run.cached; });
}

std::vector<std::string> BisectReport::Names(const Subset& set) const {
  std::vector<std::string> names;
  for (const int i : set) names.push_back(knobs->items()[static_cast<size_t>(i)]);
  return names;
}

absl::StatusOr<BisectReport> Bisect(std::unique_ptr<Knobs> knobs, const BisectOptions& options) {
  if (!options.question.command.empty() && options.plan_folder.empty()) {
    return absl::InvalidArgumentError("a command needs a folder for the plans it is given");
  }
  RENGA_ASSIGN_OR_RETURN(RunLog log, RunLog::Open(options.log_path));
  return Bisecter(std::move(knobs), options, std::move(log)).Run();
}

}  // namespace renga
