#include "tools/compare/time_plans.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <numeric>
#include <thread>
#include <utility>

#include "ir/base/status.h"
#include "runtime/exec/executor.h"
#include "runtime/exec/step_batch.h"

namespace renga {
namespace {

using Clock = std::chrono::steady_clock;

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

// One plan ready to run, and what its rounds took.
class Contestant {
 public:
  static absl::StatusOr<std::unique_ptr<Contestant>> Create(const OpenedPlan& opened, int threads) {
    ExecutorOptions options;
    options.threads = threads;
    options.plan_path = opened.path;
    std::unique_ptr<Contestant> self(new Contestant);
    RENGA_ASSIGN_OR_RETURN(self->executor_, Executor::Create(opened.plan, options));
    RENGA_ASSIGN_OR_RETURN(self->sequence_, self->executor_->kv().NewSequence());
    self->steps_.resize(opened.plan->steps.size());
    return self;
  }

  absl::Status Round(const TimePlansOptions& options, int64_t prefill) {
    RENGA_RETURN_IF_ERROR(executor_->kv().Truncate(sequence_, 0));
    Clock::time_point last;
    const auto start = Clock::now();
    RENGA_RETURN_IF_ERROR(Step(prefill, [&](int step) {
      const auto now = Clock::now();
      const auto since = step == 0 ? start : last;
      steps_[step].push_back(std::chrono::duration<double, std::micro>(now - since).count());
      last = Clock::now();
      return Check(options);
    }));
    const auto filled = Clock::now();
    for (int64_t i = 0; i < options.decode; ++i) {
      RENGA_RETURN_IF_ERROR(Step(1, [&](int) { return Check(options); }));
    }
    const std::chrono::duration<double, std::milli> first = filled - start,
                                                    rest = Clock::now() - filled;
    prefill_.push_back(first.count());
    decode_.push_back(rest.count() / static_cast<double>(std::max<int64_t>(options.decode, 1)));
    return absl::OkStatus();
  }

  PlanTime Result() const {
    PlanTime time{Median(prefill_), Median(decode_), {}};
    for (const std::vector<double>& step : steps_) time.prefill_step_us.push_back(Median(step));
    return time;
  }
  const std::vector<double>& prefill() const { return prefill_; }
  const std::vector<double>& decode() const { return decode_; }

 private:
  Contestant() = default;

  static absl::Status Check(const TimePlansOptions& options) {
    const bool stop = options.cancel != nullptr && *options.cancel;
    return stop ? absl::CancelledError("interrupted") : absl::OkStatus();
  }

  absl::Status Step(int64_t tokens, const StepObserver& observer) {
    KvArena& kv = executor_->kv();
    const int64_t begin = kv.position(sequence_);
    std::vector<int32_t> cells, ids(tokens), positions(tokens), sequences(tokens, 0);
    RENGA_RETURN_IF_ERROR(kv.Append(sequence_, tokens, &cells));
    std::iota(positions.begin(), positions.end(), static_cast<int32_t>(begin));
    // Any ids do: no step's time depends on which.
    const int64_t vocab = executor_->plan().model.vocab;
    for (int64_t i = 0; i < tokens; ++i) {
      ids[i] = static_cast<int32_t>((begin + i + 1) * 7919 % vocab);
    }
    const int32_t last = static_cast<int32_t>(tokens - 1);
    StepInputs inputs;
    inputs.tokens = ids;
    inputs.positions = positions;
    inputs.sequences = sequences;
    inputs.cells = absl::MakeConstSpan(cells).first(ids.size());
    inputs.pages = kv.pages(sequence_);
    const std::vector<WindowInputs> windows = WindowsOf(kv, sequence_, ids.size(), cells);
    inputs.windows = windows;
    inputs.rows = absl::MakeConstSpan(&last, 1);
    return executor_->Run(inputs, observer);
  }

  std::unique_ptr<Executor> executor_;
  int sequence_ = 0;
  std::vector<double> prefill_, decode_;    // by round, ms
  std::vector<std::vector<double>> steps_;  // by step and round, us
};

double Speedup(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> ratios;
  for (size_t i = 0; i < a.size(); ++i) ratios.push_back(b[i] > 0 ? a[i] / b[i] : 0);
  return Median(std::move(ratios));
}

}  // namespace

absl::StatusOr<TimeReport> TimePlans(const OpenedPlan& a, const OpenedPlan& b,
                                     const TimePlansOptions& options) {
  TimeReport report;
  report.rounds = std::max(options.rounds, 1);
  report.threads = options.threads > 0
                       ? options.threads
                       : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  report.prefill = options.prefill;
  for (const OpenedPlan* side : {&a, &b}) {
    const plan::Geometry& geometry = side->plan->geometry;
    report.prefill = std::min({report.prefill, geometry.max_step_tokens,
                               std::max<int64_t>(geometry.context - options.decode, 1)});
  }
  RENGA_ASSIGN_OR_RETURN(const auto first, Contestant::Create(a, report.threads));
  RENGA_ASSIGN_OR_RETURN(const auto second, Contestant::Create(b, report.threads));
  TimePlansOptions fitting = options;
  fitting.decode =
      std::min(options.decode,
               std::min(a.plan->geometry.context, b.plan->geometry.context) - report.prefill);
  for (int round = 0; round < report.rounds; ++round) {
    // Who goes first changes: the second finds the machine as the first left it.
    Contestant* order[] = {first.get(), second.get()};
    if (round % 2 == 1) std::swap(order[0], order[1]);
    for (Contestant* side : order) RENGA_RETURN_IF_ERROR(side->Round(fitting, report.prefill));
  }
  report.a = first->Result();
  report.b = second->Result();
  report.prefill_speedup = Speedup(first->prefill(), second->prefill());
  report.decode_speedup = Speedup(first->decode(), second->decode());
  return report;
}

}  // namespace renga
