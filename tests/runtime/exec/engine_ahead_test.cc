// On a device that runs ahead each generation gets what it gets alone, and nothing more.
#include <algorithm>
#include <atomic>
#include <limits>
#include <map>

#include "gmock/gmock.h"
#include "tests/runtime/exec/engine_fixture.h"
#include "tests/support/late_runner.h"

namespace renga {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

class EngineAhead : public EngineTest, public ::testing::WithParamInterface<uint32_t> {
 protected:
  EngineAhead() { random_.seed(GetParam()); }

  std::unique_ptr<StepRunner> NewRunner() override { return Late(model_); }

  std::unique_ptr<StepRunner> Late(const SmallModel& model) {
    auto late = std::make_unique<LateRunner>(CpuRunner::Create(model.shared_plan(), {}).value(),
                                             GetParam() + 1);
    late_ = late.get();
    return late;
  }

  // Most of them of the kind that the device chooses for; some stop, some end.
  Job GreedyJob() {
    Job job{RandomPrompt(9), {}};
    job.options.max_tokens = static_cast<int64_t>(random_() % 15) - 1;
    job.options.sampling.temperature = random_() % 10 == 0 ? 1.f : 0.f;
    job.options.sampling.seed = random_();
    if (random_() % 3 == 0) job.options.stop = {"ab", "d", "gh"};
    if (random_() % 12 == 0) job.options.top_logits = 1;
    return job;
  }

  LateRunner* late_ = nullptr;  // of the engine opened last
};

INSTANTIATE_TEST_SUITE_P(Moments, EngineAhead, ::testing::Range(1u, 7u));

TEST_P(EngineAhead, EachGetsWhatItGetsAlone) {
  for (const EngineOptions& options :
       {EngineOptions{}, EngineOptions{.max_running = 1},
        EngineOptions{.max_running = 3, .step_tokens = 4}, EngineOptions{.share_prefixes = false},
        EngineOptions{.deterministic = true}}) {
    const std::unique_ptr<Engine> engine = Open(options);
    std::vector<Job> jobs;
    std::vector<int64_t> seen;
    for (int i = 0; i < 60; ++i) {
      jobs.push_back(GreedyJob());
      ASSERT_EQ(engine->Add(jobs.back().prompt, jobs.back().options).value(), i);
    }
    RunAll(*engine);
    int64_t generated = 0, computed = 0;
    for (size_t i = 0; i < jobs.size(); ++i) {
      SCOPED_TRACE(i);
      const auto result = engine->Take(static_cast<RequestId>(i));
      ASSERT_TRUE(result.ok()) << result.status();
      ExpectSame(*result, Alone(jobs[i]));
      generated += static_cast<int64_t>(result->ids.size());
      computed += result->timings.prompt_tokens + result->timings.decode_tokens;
    }
    const EngineCounters& counters = engine->counters();
    // Deterministic ones only where a step holds all that run.
    if (!options.deterministic) {
      EXPECT_GT(counters.steps_ahead, 0);
    }
    EXPECT_EQ(late_->started_ahead, counters.steps_ahead);
    // What ends where nobody could know it was computed one token too far; nothing else was.
    EXPECT_EQ(counters.tokens - counters.dropped_tokens, computed);
    EXPECT_LT(counters.dropped_tokens, generated / 4);
    EXPECT_EQ(engine->pages().free_pages(), 24);
    const absl::Status pages = engine->pages().CheckInvariants();
    EXPECT_TRUE(pages.ok()) << pages;
  }
}

// Arrivals, cancels and forks at any moment, a context that shifts, beginnings saved and read.
TEST_P(EngineAhead, ManyComeAndGo) {
  const std::unique_ptr<Engine> engine = Open();
  std::map<RequestId, Job> jobs;
  int cancelled = 0, compared = 0, saved = 0, steps = 0;
  while (jobs.size() < 160 || engine->running() + engine->waiting() > 0) {
    if (jobs.size() < 160 && random_() % 5 == 0) {
      Job job = GreedyJob();
      if (!jobs.empty() && random_() % 3 == 0) {
        const auto& other = std::next(jobs.begin(), random_() % jobs.size())->second.prompt;
        job.prompt.insert(job.prompt.begin(), other.begin(), other.end());
        job.prompt.resize(std::min<size_t>(job.prompt.size(), 14));
      }
      const RequestId id = engine->Add(job.prompt, job.options).value();
      jobs[id] = std::move(job);
    }
    if (!jobs.empty() && jobs.size() < 160 && random_() % 20 == 0) {
      // Goes on as its parent does: with some of the tokens that are there.
      const RequestId parent = std::next(jobs.begin(), random_() % jobs.size())->first;
      const Job job = jobs[parent];
      const auto there = engine->Look(parent);
      ASSERT_TRUE(there.ok()) << there.status();
      const int64_t all = static_cast<int64_t>((*there)->ids.size());
      const int64_t kept = static_cast<int64_t>(random_()) % (all + 1);
      const auto child = engine->Fork(parent, std::abs(kept), job.options);
      ASSERT_TRUE(child.ok()) << child.status();
      jobs[*child] = job;
    }
    if (jobs.size() > 6 && random_() % 30 == 0) {
      ASSERT_TRUE(engine->Cancel(jobs.rbegin()->first - static_cast<int>(random_() % 6)).ok());
    }
    if (!jobs.empty() && random_() % 30 == 0 && engine->running() < engine->max_running()) {
      const auto bytes = engine->SavePrefix(jobs.rbegin()->second.prompt);
      ASSERT_TRUE(bytes.ok()) << bytes.status();
      if (engine->RestorePrefix(*bytes).ok()) ++saved;
    }
    const auto more = engine->Step();
    ASSERT_TRUE(more.ok()) << more.status();
    const absl::Status pages = engine->pages().CheckInvariants();
    ASSERT_TRUE(pages.ok()) << pages;
    ASSERT_LT(++steps, 5000) << "no end";
  }
  for (const auto& [id, job] : jobs) {
    SCOPED_TRACE(id);
    const GenerateResult result = engine->Take(id).value(), expected = Alone(job);
    if (result.finish_reason == FinishReason::kInterrupted) {
      ++cancelled;
      ASSERT_LE(result.ids.size(), expected.ids.size());
      EXPECT_TRUE(std::equal(result.ids.begin(), result.ids.end(), expected.ids.begin()));
    } else {
      ++compared;
      // A fork reports no logits of tokens that its parent chose.
      EXPECT_EQ(result.ids, expected.ids);
      EXPECT_EQ(result.text, expected.text);
      EXPECT_EQ(result.finish_reason, expected.finish_reason);
    }
  }
  EXPECT_GT(engine->counters().steps_ahead, 50);
  EXPECT_GT(engine->counters().reused_tokens, 0);
  EXPECT_GT(compared, 100);
  EXPECT_GT(cancelled, 1);
  EXPECT_GT(saved, 1);
  EXPECT_EQ(engine->pages().free_pages(), 24);
}

TEST_P(EngineAhead, WherePagesRunOutTheYoungestGivesWay) {
  for (const int count : {4, 5, 7, 10}) {
    const SmallModel few(ForMany(count));
    auto engine = Engine::Create(Late(few), *tokenizer_, {});
    ASSERT_TRUE(engine.ok()) << engine.status();
    std::vector<Job> jobs;
    for (int i = 0; i < 40; ++i) {
      jobs.push_back(GreedyJob());
      ASSERT_TRUE((*engine)->Add(jobs.back().prompt, jobs.back().options).ok());
    }
    RunAll(**engine);
    for (size_t i = 0; i < jobs.size(); ++i) {
      SCOPED_TRACE(i);
      ExpectSame((*engine)->Take(static_cast<RequestId>(i)).value(), Alone(jobs[i]));
    }
    EXPECT_EQ((*engine)->pages().free_pages(), count);
    EXPECT_GT((*engine)->counters().steps_ahead, 0);
    if (count > 4) {
      EXPECT_GT((*engine)->counters().preemptions, 0);
    }
  }
}

TEST_P(EngineAhead, AShiftedContextIsThatOfWhatIsLeft) {
  GenerateOptions options;
  options.sampling.temperature = 0;
  options.shift = true;
  options.max_tokens = 31;
  std::vector<GenerateResult> results[2];
  for (const bool ahead : {false, true}) {
    const std::unique_ptr<Engine> engine = Open({.run_ahead = ahead});
    for (int32_t i = 0; i < 6; ++i) ASSERT_TRUE(engine->Add({i, 2, 3}, options).ok());
    RunAll(*engine);
    for (int32_t i = 0; i < 6; ++i) results[ahead].push_back(engine->Take(i).value());
    EXPECT_EQ(engine->counters().steps_ahead > 0, ahead);
  }
  int64_t shifts = 0;
  for (int32_t i = 0; i < 6; ++i) {
    ExpectSame(results[1][i], results[0][i]);
    EXPECT_EQ(results[1][i].timings.shifts, results[0][i].timings.shifts);
    shifts += results[0][i].timings.shifts;
  }
  EXPECT_GT(shifts, 0);
}

// Six that write ten tokens: but for the first step each is started while the one before it runs,
// and none beyond the last.
TEST_P(EngineAhead, NothingIsStartedBeyondAKnownEnd) {
  TokenizerData endless = Letters();
  endless.eos = -1;
  endless.end_of_generation.clear();
  tokenizer_ = Tokenizer::Create(endless).value();
  const std::unique_ptr<Engine> engine = Open();
  GenerateOptions options;
  options.sampling.temperature = 0;
  options.max_tokens = 10;
  for (int32_t i = 0; i < 6; ++i) ASSERT_TRUE(engine->Add({i}, options).ok());
  for (int step = 1; step <= 10; ++step) {
    ASSERT_TRUE(engine->Step().value());
    for (RequestId id = 0; id < 6; ++id) EXPECT_THAT(engine->Poll(id).value(), SizeIs(1));
  }
  EXPECT_FALSE(engine->Step().value());
  EXPECT_EQ(engine->counters().steps, 10);
  EXPECT_EQ(engine->counters().steps_ahead, 9);
  EXPECT_EQ(engine->counters().tokens, 60);
  EXPECT_EQ(engine->counters().dropped_tokens, 0);
}

TEST_P(EngineAhead, AnEngineGoesWithAStepUnderWay) {
  std::atomic<bool> cancel = false;
  Job job{{1, 2}, {}};
  job.options.sampling.temperature = 0;
  job.options.cancel = &cancel;
  const std::unique_ptr<Engine> engine = Open();
  const RequestId id = engine->Add(job.prompt, job.options).value();
  ASSERT_TRUE(engine->Step().value());
  cancel = true;
  EXPECT_FALSE(engine->Step().value());
  EXPECT_EQ(engine->Take(id)->finish_reason, FinishReason::kInterrupted);
  // Another one: the step under way is of no harm to it.
  cancel = false;
  ASSERT_TRUE(engine->Add(job.prompt, job.options).ok());
  ASSERT_TRUE(engine->Step().value());
}

// Chooses no token for some of the sequences, which it knows by a token in the last place.
class Spoiled : public StepRunner {
 public:
  Spoiled(std::unique_ptr<StepRunner> runner, bool padded)
      : runner_(std::move(runner)), padded_(padded) {}
  absl::Status Run(const StepInputs& inputs) override {
    RENGA_RETURN_IF_ERROR(runner_->Run(inputs));
    next_.assign(runner_->next().begin(), runner_->next().end());
    nan_.assign(next_.size(), false);
    for (size_t row = 0; row < next_.size(); ++row) {
      if (!Spoils(inputs.tokens[static_cast<size_t>(inputs.rows[row])])) continue;
      ++spoiled;
      nan_[row] = !padded_;
      next_[row] = padded_ ? 11 : -1;
    }
    return absl::OkStatus();
  }
  absl::Status Logits(std::vector<float>* logits) const override {
    const absl::Status status = runner_->Logits(logits);
    for (size_t row = 0; row < nan_.size(); ++row) {
      if (nan_[row]) (*logits)[row * 11 + 3] = std::numeric_limits<float>::quiet_NaN();
    }
    return status;
  }
  absl::Span<const int32_t> next() const override { return next_; }
  absl::Status CopyPages(absl::Span<const PageCopy> copies) override {
    return runner_->CopyPages(copies);
  }
  const plan::Plan& plan() const override { return runner_->plan(); }
  std::string_view device() const override { return "spoiled"; }
  static bool Spoils(int32_t token) { return token % 5 == 2; }
  int spoiled = 0;

 private:
  std::unique_ptr<StepRunner> runner_;
  const bool padded_;
  std::vector<int32_t> next_;
  std::vector<bool> nan_;
};

// By the time the host reads that, the step after it has begun on what is no token.
TEST_P(EngineAhead, WhatIsNoTokenIsAnErrorOfItsRequestAlone) {
  for (const bool padded : {false, true}) {
    auto spoiled =
        std::make_unique<Spoiled>(CpuRunner::Create(model_.shared_plan(), {}).value(), padded);
    const int& times = spoiled->spoiled;
    auto engine = Engine::Create(std::make_unique<LateRunner>(std::move(spoiled), GetParam()),
                                 *tokenizer_, {.max_running = 2});
    ASSERT_TRUE(engine.ok()) << engine.status();
    std::vector<Job> jobs;
    for (int i = 0; i < 40; ++i) {
      jobs.push_back(GreedyJob());
      jobs.back().options.sampling.temperature = 0;
      ASSERT_TRUE((*engine)->Add(jobs.back().prompt, jobs.back().options).ok());
    }
    RunAll(**engine);
    int failed = 0;
    for (size_t i = 0; i < jobs.size(); ++i) {
      SCOPED_TRACE(i);
      const GenerateResult expected = Alone(jobs[i]);
      std::vector<int32_t> last_read = {jobs[i].prompt.back()};
      if (!expected.ids.empty()) {
        last_read.insert(last_read.end(), expected.ids.begin(), expected.ids.end() - 1);
      } else {
        last_read.clear();
      }
      const bool fails =
          !padded && std::any_of(last_read.begin(), last_read.end(), &Spoiled::Spoils);
      const auto result = (*engine)->Take(static_cast<RequestId>(i));
      ASSERT_EQ(result.ok(), !fails) << result.status();
      if (fails) {
        ++failed;
        EXPECT_EQ(result.status().code(), absl::StatusCode::kDataLoss);
        EXPECT_THAT(std::string(result.status().message()),
                    HasSubstr("the logit of token 3 is nan"));
      } else {
        ExpectSame(*result, expected);
      }
    }
    EXPECT_GT(times, 2);
    EXPECT_EQ(failed > 1, !padded);
    EXPECT_GT((*engine)->counters().steps_ahead, 0);
    EXPECT_EQ((*engine)->pages().free_pages(), 24);
  }
}

}  // namespace
}  // namespace renga
