#include "tools/measure_speed.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>

#include "ir/base/status.h"

namespace renga {
namespace {

// The same ids in every run; that they mean nothing costs no less.
std::vector<int32_t> RandomIds(int64_t count, int64_t vocab) {
  std::mt19937_64 bits(20240229);
  std::vector<int32_t> ids(static_cast<size_t>(count));
  for (int32_t& id : ids) id = static_cast<int32_t>(bits() % static_cast<uint64_t>(vocab));
  return ids;
}

absl::Status CheckRoom(const Forward& forward, int64_t tokens) {
  if (tokens <= forward.context()) return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat("context: expected room for ", tokens, " tokens, got ",
                                           forward.context(), "; use fewer or a larger context"));
}

// The token that the last run chose. Reading it waits for the run.
class GreedyChoice {
 public:
  explicit GreedyChoice(const Forward& forward) : forward_(forward) {}

  absl::StatusOr<int32_t> Read() {
    const absl::Span<const int32_t> next = forward_.next();
    if (!next.empty() && next.back() >= 0 && next.back() < forward_.vocab()) return next.back();
    RENGA_RETURN_IF_ERROR(forward_.Logits(&logits_));
    const size_t vocab = static_cast<size_t>(forward_.vocab());
    const absl::Span<const float> row = absl::MakeConstSpan(logits_).last(vocab);
    const auto largest = std::max_element(row.begin(), row.end());
    if (std::all_of(row.begin(), row.end(), [](float x) { return std::isfinite(x); })) {
      return static_cast<int32_t>(largest - row.begin());
    }
    return absl::DataLossError(StrCat("logits after ", forward_.position(),
                                      " tokens: expected finite numbers, got others; check the "
                                      "model's file, its speed would mean nothing"));
  }

 private:
  const Forward& forward_;
  std::vector<float> logits_;
};

// Appends the ids in steps; with `choose`, the last one's logits are asked for.
absl::Status Append(Forward& forward, absl::Span<const int32_t> ids, bool choose) {
  const size_t step_tokens = static_cast<size_t>(forward.max_step_tokens());
  for (size_t begin = 0; begin < ids.size(); begin += step_tokens) {
    const absl::Span<const int32_t> chunk = ids.subspan(begin, step_tokens);
    const int32_t last = static_cast<int32_t>(chunk.size() - 1);
    const bool asks = choose && begin + chunk.size() == ids.size();
    RENGA_RETURN_IF_ERROR(
        forward.Run(chunk, absl::MakeConstSpan(&last, asks ? 1 : 0), /*logits=*/nullptr));
  }
  return absl::OkStatus();
}

// Times `run`, which works through `tokens` tokens behind the first `depth` of the sequence.
absl::StatusOr<Speed> Repeat(Forward& forward, int64_t depth, int64_t tokens,
                             const SpeedOptions& options,
                             const std::function<absl::Status()>& run) {
  std::vector<double> rates;
  for (int i = 0; i <= options.repetitions; ++i) {
    RENGA_RETURN_IF_ERROR(forward.Truncate(depth));
    const auto start = std::chrono::steady_clock::now();
    RENGA_RETURN_IF_ERROR(run());
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    // The first one warms up caches and clocks.
    if (i > 0) rates.push_back(static_cast<double>(tokens) / std::max(seconds.count(), 1e-9));
    if (options.on_repetition) options.on_repetition(i + 1, options.repetitions + 1);
  }
  return SummarizeSpeed(std::move(rates));
}

}  // namespace

Speed SummarizeSpeed(std::vector<double> rates) {
  std::sort(rates.begin(), rates.end());
  const size_t n = rates.size();
  Speed speed;
  speed.median = n % 2 == 1 ? rates[n / 2] : (rates[n / 2 - 1] + rates[n / 2]) / 2;
  if (n < 2) return speed;
  double mean = 0, squares = 0;
  for (double rate : rates) mean += rate / static_cast<double>(n);
  for (double rate : rates) squares += (rate - mean) * (rate - mean);
  speed.deviation = std::sqrt(squares / static_cast<double>(n - 1));
  return speed;
}

absl::StatusOr<Speed> MeasurePrompt(Forward& forward, int64_t tokens, const SpeedOptions& options) {
  RENGA_RETURN_IF_ERROR(CheckRoom(forward, tokens));
  const std::vector<int32_t> ids = RandomIds(tokens, forward.vocab());
  GreedyChoice choice(forward);
  return Repeat(forward, 0, tokens, options, [&]() -> absl::Status {
    RENGA_RETURN_IF_ERROR(Append(forward, ids, /*choose=*/true));
    return choice.Read().status();
  });
}

absl::StatusOr<Speed> MeasureDecode(Forward& forward, int64_t depth, int64_t tokens,
                                    const SpeedOptions& options) {
  RENGA_RETURN_IF_ERROR(CheckRoom(forward, depth + tokens));
  const std::vector<int32_t> ids = RandomIds(depth + 1, forward.vocab());
  RENGA_RETURN_IF_ERROR(forward.Truncate(0));
  RENGA_RETURN_IF_ERROR(
      Append(forward, absl::MakeConstSpan(ids).first(ids.size() - 1), /*choose=*/false));
  GreedyChoice choice(forward);
  const int32_t row = 0;
  return Repeat(forward, depth, tokens, options, [&]() -> absl::Status {
    int32_t id = ids.back();
    for (int64_t i = 0; i < tokens; ++i) {
      RENGA_RETURN_IF_ERROR(forward.Run(absl::MakeConstSpan(&id, 1), absl::MakeConstSpan(&row, 1),
                                        /*logits=*/nullptr));
      RENGA_ASSIGN_OR_RETURN(id, choice.Read());
    }
    return absl::OkStatus();
  });
}

}  // namespace renga
