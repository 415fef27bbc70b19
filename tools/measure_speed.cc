#include "tools/measure_speed.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <random>
#include <utility>

#include "ir/base/status.h"
#include "runtime/exec/engine.h"
#include "tools/sequence_group.h"

namespace renga {
namespace {

// The same ids in every run; that they mean nothing costs no less.
std::vector<int32_t> RandomIds(int64_t count, int64_t vocab) {
  std::mt19937_64 bits(20240229);
  std::vector<int32_t> ids(static_cast<size_t>(count));
  for (int32_t& id : ids) id = static_cast<int32_t>(bits() % static_cast<uint64_t>(vocab));
  return ids;
}

// Times `run`, which works through `tokens` tokens on a StepMeter that counts in `tally`, each time
// after `prepare`.
absl::StatusOr<Measured> Repeat(int64_t tokens, const SpeedOptions& options, StepTally& tally,
                                const std::function<absl::Status()>& prepare,
                                const std::function<absl::Status()>& run) {
  Measured measured;
  std::vector<double> rates, host_shares;
  for (int i = 0; i <= options.repetitions; ++i) {
    RENGA_RETURN_IF_ERROR(prepare());
    tally = {.costs = i == 0 ? options.costs : nullptr};
    const auto start = std::chrono::steady_clock::now();
    RENGA_RETURN_IF_ERROR(run());
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    const double seconds = std::max(elapsed.count(), 1e-9);
    // The first one warms up caches and clocks, and is the one that is counted.
    if (i == 0) {
      measured.cost = tally.cost;
      measured.steps = tally.steps;
      measured.computed_tokens = tally.tokens;
    } else {
      rates.push_back(static_cast<double>(tokens) / seconds);
      host_shares.push_back(std::max(0.0, 1 - tally.seconds / seconds));
    }
    if (options.on_repetition) options.on_repetition(i + 1, options.repetitions + 1);
  }
  measured.speed = SummarizeSpeed(std::move(rates));
  measured.host_share = SummarizeSpeed(std::move(host_shares)).median;
  return measured;
}

// The model's, without tokens that end a text.
absl::StatusOr<std::unique_ptr<Tokenizer>> EndlessTokenizer(const plan::Plan& plan) {
  TokenizerData data = plan.tokenizer;
  data.eos = -1;
  data.end_of_generation.clear();
  return Tokenizer::Create(data);
}

// All requests at once; `ids` [sequences, prompt].
absl::Status Serve(Engine& engine, absl::Span<const int32_t> ids, int64_t prompt, int64_t tokens,
                   Timeline* timeline) {
  GenerateOptions options;
  options.timeline = timeline;
  options.max_tokens = tokens;
  options.sampling.temperature = 0;
  std::vector<RequestId> requests;
  for (; !ids.empty(); ids.remove_prefix(static_cast<size_t>(prompt))) {
    RENGA_ASSIGN_OR_RETURN(requests.emplace_back(),
                           engine.Add({ids.begin(), ids.begin() + prompt}, options));
  }
  for (bool more = true; more;) {
    RENGA_ASSIGN_OR_RETURN(more, engine.Step());
  }
  for (RequestId request : requests) {
    RENGA_ASSIGN_OR_RETURN(const GenerateResult result, engine.Take(request));
    const int64_t generated = static_cast<int64_t>(result.ids.size());
    if (generated == tokens) continue;
    return absl::InternalError(StrCat("request ", request, ": expected ", tokens,
                                      " generated tokens, got ", generated, " (",
                                      ToString(result.finish_reason), ")"));
  }
  return absl::OkStatus();
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

absl::StatusOr<Measured> MeasurePrompt(StepRunner& runner, int64_t sequences, int64_t tokens,
                                       const SpeedOptions& options) {
  RENGA_RETURN_IF_ERROR(CheckGroupFits(runner.plan(), sequences, tokens));
  const std::vector<int32_t> ids = RandomIds(sequences * tokens, runner.plan().model.vocab);
  StepTally tally;
  StepMeter meter(runner, tally);
  RENGA_ASSIGN_OR_RETURN(SequenceGroup group, SequenceGroup::Create(meter, sequences));
  return Repeat(
      sequences * tokens, options, tally, [&] { return group.Truncate(0); },
      [&] { return group.Read(ids, /*choose=*/true); });
}

absl::StatusOr<Measured> MeasureDecode(StepRunner& runner, int64_t sequences, int64_t depth,
                                       int64_t tokens, const SpeedOptions& options) {
  RENGA_RETURN_IF_ERROR(CheckGroupFits(runner.plan(), sequences, depth + tokens));
  const std::vector<int32_t> ids = RandomIds(depth + sequences, runner.plan().model.vocab);
  const absl::Span<const int32_t> all = ids;
  StepTally tally;
  StepMeter meter(runner, tally);
  RENGA_ASSIGN_OR_RETURN(SequenceGroup group, SequenceGroup::Create(meter, sequences));
  RENGA_RETURN_IF_ERROR(group.ReadAlike(all.first(static_cast<size_t>(depth))));
  if (options.sampling) RENGA_RETURN_IF_ERROR(group.Sample(*options.sampling));
  return Repeat(
      sequences * tokens, options, tally, [&] { return group.Truncate(depth); },
      [&] { return group.Decode(all.last(static_cast<size_t>(sequences)), tokens); });
}

absl::StatusOr<Measured> MeasureServing(StepRunner& runner, int64_t sequences, int64_t prompt,
                                        int64_t tokens, const SpeedOptions& options) {
  RENGA_RETURN_IF_ERROR(CheckStepTakes(runner.plan(), sequences, prompt + tokens));
  const std::vector<int32_t> ids = RandomIds(sequences * prompt, runner.plan().model.vocab);
  RENGA_ASSIGN_OR_RETURN(const auto tokenizer, EndlessTokenizer(runner.plan()));
  StepTally tally;
  std::unique_ptr<Engine> engine;
  return Repeat(
      sequences * tokens, options, tally,
      [&]() -> absl::Status {
        // A new one each time: this one would know the prompts.
        RENGA_ASSIGN_OR_RETURN(
            engine, Engine::Create(std::make_unique<StepMeter>(runner, tally), *tokenizer,
                                   {.max_running = sequences, .timeline = options.timeline}));
        return absl::OkStatus();
      },
      [&] { return Serve(*engine, ids, prompt, tokens, options.timeline); });
}

}  // namespace renga
