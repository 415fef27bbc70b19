// Many generations at once give each what it gets alone.
#include "runtime/exec/engine.h"

#include <limits>
#include <map>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/runtime/exec/engine_fixture.h"

namespace renga {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class EngineSizes : public EngineTest, public ::testing::WithParamInterface<EngineOptions> {};

TEST_P(EngineSizes, EachGetsWhatItGetsAlone) {
  const std::unique_ptr<Engine> engine = Open(GetParam());
  std::vector<Job> jobs;
  for (int i = 0; i < 60; ++i) {
    jobs.push_back(RandomJob());
    ASSERT_EQ(engine->Add(jobs.back().prompt, jobs.back().options).value(), i);
  }
  RunAll(*engine);
  for (size_t i = 0; i < jobs.size(); ++i) {
    SCOPED_TRACE(i);
    const auto result = engine->Take(static_cast<RequestId>(i));
    ASSERT_TRUE(result.ok()) << result.status();
    ExpectSame(*result, Alone(jobs[i]));
  }
  EXPECT_EQ(engine->pages().free_pages(), 24);
  EXPECT_EQ(engine->counters().preemptions, 0);
}

INSTANTIATE_TEST_SUITE_P(All, EngineSizes,
                         ::testing::Values(EngineOptions{}, EngineOptions{.max_running = 1},
                                           EngineOptions{.max_running = 3, .step_tokens = 4},
                                           EngineOptions{.share_prefixes = false},
                                           EngineOptions{.deterministic = true}));

TEST_F(EngineTest, ManyAreFewSteps) {
  const std::unique_ptr<Engine> engine = Open();
  GenerateOptions options;
  options.max_tokens = 10;
  options.ignore_eos = true;
  for (int32_t i = 0; i < 6; ++i) ASSERT_TRUE(engine->Add({i}, options).ok());
  RunAll(*engine);
  EXPECT_EQ(engine->counters().steps, 10);
  EXPECT_EQ(engine->counters().tokens, 60);
}

// Prompts come piece by piece beside those that have begun to write, which get a token each step.
TEST_F(EngineTest, ALongPromptHoldsNobodyUp) {
  const std::unique_ptr<Engine> engine = Open({.step_tokens = 3});
  GenerateOptions options;
  options.max_tokens = 8;
  options.ignore_eos = true;
  ASSERT_TRUE(engine->Add({1}, options).ok());
  ASSERT_TRUE(engine->Step().value());
  EXPECT_THAT(engine->Poll(0).value(), SizeIs(1));
  ASSERT_TRUE(engine->Add({1, 2, 3, 4, 5, 6}, options).ok());
  for (int step = 0; step < 3; ++step) {
    ASSERT_TRUE(engine->Step().value());
    EXPECT_THAT(engine->Poll(0).value(), SizeIs(1));
    EXPECT_THAT(engine->Poll(1).value(), SizeIs(step == 2 ? 1 : 0));
  }
}

TEST_F(EngineTest, WhatThereIsCanBeLookedAtBeforeAndAfterTheEnd) {
  const std::unique_ptr<Engine> engine = Open();
  GenerateOptions options;
  options.max_tokens = 3;
  options.ignore_eos = true;
  const RequestId id = engine->Add({1, 2}, options).value();
  EXPECT_THAT(engine->Look(id).value()->ids, SizeIs(0));
  ASSERT_TRUE(engine->Step().value());
  const GenerateResult one = *engine->Look(id).value();
  EXPECT_THAT(one.ids, SizeIs(1));
  RunAll(*engine);
  const GenerateResult all = *engine->Look(id).value();
  EXPECT_THAT(all.ids, SizeIs(3));
  EXPECT_EQ(all.ids[0], one.ids[0]);
  EXPECT_TRUE(all.text.starts_with(one.text));
  ExpectSame(engine->Take(id).value(), all);
  EXPECT_EQ(engine->Look(id).status().message(), "request 0: was taken");
}

class FewPages : public EngineTest, public ::testing::WithParamInterface<int> {
 protected:
  FewPages() : few_(ForMany(GetParam())) {}
  SmallModel few_;
};

// A sequence of 14 tokens takes 4 pages: alone each has room, together they have not.
TEST_P(FewPages, TheYoungestGivesWayAndComesBack) {
  auto engine = Engine::Create(CpuRunner::Create(few_.shared_plan(), {}).value(), *tokenizer_, {});
  ASSERT_TRUE(engine.ok()) << engine.status();
  std::vector<Job> jobs;
  for (int i = 0; i < 40; ++i) {
    jobs.push_back(RandomJob());
    ASSERT_TRUE((*engine)->Add(jobs.back().prompt, jobs.back().options).ok());
  }
  RunAll(**engine);
  for (size_t i = 0; i < jobs.size(); ++i) {
    SCOPED_TRACE(i);
    ExpectSame((*engine)->Take(static_cast<RequestId>(i)).value(), Alone(jobs[i]));
  }
  EXPECT_EQ((*engine)->pages().free_pages(), GetParam());
  if (GetParam() > 4 && GetParam() < 12) {
    EXPECT_GT((*engine)->counters().preemptions, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(All, FewPages, ::testing::Values(4, 5, 6, 7, 8, 10, 16));

// Notes what each step was given.
class Noting : public StepRunner {
 public:
  explicit Noting(std::unique_ptr<StepRunner> runner) : runner_(std::move(runner)) {}
  absl::Status Run(const StepInputs& inputs) override {
    steps.emplace_back(inputs.tokens.size(), inputs.sequence_count);
    return runner_->Run(inputs);
  }
  absl::Status Logits(std::vector<float>* logits) const override { return runner_->Logits(logits); }
  absl::Status CopyPages(absl::Span<const PageCopy> copies) override {
    return runner_->CopyPages(copies);
  }
  const plan::Plan& plan() const override { return runner_->plan(); }
  std::string_view device() const override { return "noting"; }
  std::vector<std::pair<size_t, int64_t>> steps;  // tokens, sequences

 private:
  std::unique_ptr<StepRunner> runner_;
};

// A plan whose results depend on what else is in a step beyond so many tokens.
std::unique_ptr<Noting> OpenInvariant(const SmallModel& model, int64_t tokens) {
  auto plan = std::make_shared<plan::Plan>(*model.shared_plan());
  plan->geometry.invariant_tokens = tokens;
  return std::make_unique<Noting>(CpuRunner::Create(std::move(plan), {}).value());
}

// Pieces are those that each would have alone, whatever the pages: 9 tokens, then one by one.
TEST_F(EngineTest, DeterministicStepsAreThoseOfEachAlone) {
  const SmallModel few(ForMany(7));
  auto runner = OpenInvariant(few, 1);
  const auto& steps = runner->steps;
  auto engine = Engine::Create(std::move(runner), *tokenizer_, {.deterministic = true});
  ASSERT_TRUE(engine.ok()) << engine.status();
  GenerateOptions options;
  options.max_tokens = 3;
  options.ignore_eos = true;
  const std::vector<int32_t> prompt = {1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1};
  for (int i = 0; i < 4; ++i) ASSERT_TRUE((*engine)->Add(prompt, options).ok());
  ASSERT_TRUE((*engine)->Step().ok());
  ASSERT_TRUE((*engine)->Fork(0, 0, options).ok());
  RunAll(**engine);
  std::vector<std::pair<size_t, int64_t>> each = {{9, 1}, {2, 1}, {1, 1}, {1, 1}}, all;
  for (int i = 0; i < 5; ++i) all.insert(all.end(), each.begin(), each.end());
  EXPECT_THAT(steps, testing::UnorderedElementsAreArray(all));
  EXPECT_EQ((*engine)->counters().preemptions, 0);
  EXPECT_EQ((*engine)->counters().reused_tokens, 0);
}

// Single tokens of as many as change nothing of each other, pieces of prompts by themselves; in
// turn, so that a prompt that comes later is begun while others write.
TEST_F(EngineTest, DeterministicStepsTakeSingleTokensTogether) {
  const SmallModel model(ForMany(24));
  auto runner = OpenInvariant(model, 3);
  const auto& steps = runner->steps;
  auto engine = Engine::Create(std::move(runner), *tokenizer_, {.deterministic = true});
  ASSERT_TRUE(engine.ok()) << engine.status();
  GenerateOptions options;
  options.max_tokens = 4;
  options.ignore_eos = true;
  const std::vector<int32_t> prompt = {1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1};
  const int running = static_cast<int>((*engine)->max_running());
  ASSERT_GE(running, 4);
  for (int i = 0; i < running; ++i) ASSERT_TRUE((*engine)->Add(prompt, options).ok());
  RunAll(**engine);
  int64_t most = 0, in_prompts = 0, alone = 0;
  for (const auto& [tokens, sequences] : steps) {
    if (sequences == 1 && tokens > 1) {
      in_prompts += static_cast<int64_t>(tokens);
      continue;
    }
    EXPECT_EQ(static_cast<int64_t>(tokens), sequences);
    most = std::max(most, sequences);
    alone += sequences;
  }
  EXPECT_EQ(most, 3);
  EXPECT_EQ(in_prompts, 11 * running);
  EXPECT_EQ(alone, 3 * running);
  // As full as can be but where the round of those that write comes to one that reads or its end.
  EXPECT_LE(static_cast<int64_t>(steps.size()), 3 * running + 3);
}

TEST_F(EngineTest, AKnownBeginningIsNotComputedAgain) {
  const std::unique_ptr<Engine> engine = Open();
  Job job{{1, 2, 3, 4, 5, 6, 7, 8, 9, 1}, {}};
  job.options.max_tokens = 3;
  job.options.ignore_eos = true;
  ASSERT_TRUE(engine->Add(job.prompt, job.options).ok());
  RunAll(*engine);
  EXPECT_EQ(engine->counters().tokens, 12);
  ASSERT_TRUE(engine->Add(job.prompt, job.options).ok());
  job.prompt.back() = 5;
  ASSERT_TRUE(engine->Add(job.prompt, job.options).ok());
  RunAll(*engine);
  EXPECT_EQ(engine->counters().reused_tokens, 16);
  EXPECT_EQ(engine->counters().tokens, 12 + 2 * 4);
  const GenerateResult again = engine->Take(1).value(), other = engine->Take(2).value();
  EXPECT_EQ(again.ids, engine->Take(0)->ids);
  EXPECT_EQ(again.timings.prompt_tokens, 2);
  EXPECT_EQ(again.timings.reused_tokens, 8);
  ExpectSame(other, Alone(job));
}

TEST_F(EngineTest, WhatBeginsAlikeAtTheSameTimeIsComputedOnce) {
  const std::unique_ptr<Engine> engine = Open({.step_tokens = 6});
  Job job{{1, 2, 3, 4, 5, 6, 7, 8, 9, 1}, {}};
  job.options.max_tokens = 3;
  job.options.ignore_eos = true;
  for (int32_t i = 0; i < 5; ++i) {
    job.prompt.back() = i;
    ASSERT_TRUE(engine->Add(job.prompt, job.options).ok());
  }
  RunAll(*engine);
  EXPECT_EQ(engine->counters().reused_tokens, 4 * 8);
  for (int32_t i = 0; i < 5; ++i) {
    job.prompt.back() = i;
    ExpectSame(engine->Take(i).value(), Alone(job));
  }
}

TEST_F(EngineTest, AForkGoesOnAsItsParentOrElsewhere) {
  const std::unique_ptr<Engine> engine = Open();
  Job job{{1, 2, 3, 4, 5}, {}};
  job.options.max_tokens = 8;
  job.options.ignore_eos = true;
  job.options.sampling.seed = 5;
  const RequestId parent = engine->Add(job.prompt, job.options).value();
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(engine->Step().value());
  // Its prompt has been computed: the fork computes the last token of what it keeps.
  const int64_t before = engine->counters().tokens;
  const RequestId same = engine->Fork(parent, 4, job.options).value();
  Job other = job;
  other.options.sampling.seed = 6;
  const RequestId from_prompt = engine->Fork(parent, 0, other.options).value();
  ASSERT_TRUE(engine->Step().value());
  EXPECT_EQ(engine->counters().tokens - before, 3);
  RunAll(*engine);
  const GenerateResult expected = Alone(job);
  ExpectSame(engine->Take(same).value(), expected);
  ExpectSame(engine->Take(parent).value(), expected);
  const GenerateResult branch = engine->Take(from_prompt).value();
  ExpectSame(branch, Alone(other));
  EXPECT_NE(branch.ids, expected.ids);
  EXPECT_EQ(branch.timings.prompt_tokens, 1);
  EXPECT_EQ(branch.timings.reused_tokens, 4);
  EXPECT_EQ(engine->pages().free_pages(), 24);
}

TEST_F(EngineTest, AForkOfWhatHasEndedOrWaits) {
  const std::unique_ptr<Engine> engine = Open({.max_running = 1});
  Job job{{1, 2, 3, 4, 5}, {}};
  job.options.max_tokens = 4;
  job.options.ignore_eos = true;
  const RequestId first = engine->Add(job.prompt, job.options).value();
  const RequestId waiting = engine->Fork(first, 0, job.options).value();
  RunAll(*engine);
  job.options.max_tokens = 6;
  const RequestId ended = engine->Fork(first, 4, job.options).value();
  const RequestId all_there = [&] {
    GenerateOptions four = job.options;
    four.max_tokens = 4;
    return engine->Fork(first, 4, four).value();
  }();
  EXPECT_TRUE(engine->finished(all_there));
  EXPECT_EQ(engine->Fork(first, 5, job.options).status().code(), absl::StatusCode::kOutOfRange);
  RunAll(*engine);
  const GenerateResult expected = Alone(job);
  ExpectSame(engine->Take(ended).value(), expected);
  const std::vector<int32_t> four(expected.ids.begin(), expected.ids.begin() + 4);
  for (const RequestId id : {first, waiting, all_there}) {
    const GenerateResult result = engine->Take(id).value();
    EXPECT_EQ(result.ids, four);
    EXPECT_EQ(result.finish_reason, FinishReason::kLength);
  }
}

TEST_F(EngineTest, ABeginningOutlivesTheProcess) {
  Job job{{1, 2, 3, 4, 5, 6, 7, 8, 9, 1}, {}};
  job.options.max_tokens = 3;
  job.options.ignore_eos = true;
  std::string saved;
  {
    const std::unique_ptr<Engine> engine = Open();
    ASSERT_TRUE(engine->Add(job.prompt, job.options).ok());
    RunAll(*engine);
    saved = engine->SavePrefix(job.prompt).value();
    EXPECT_EQ(engine->pages().free_pages(), 24);
  }
  const std::unique_ptr<Engine> engine = Open();
  // Pages elsewhere than they were.
  ASSERT_TRUE(engine->Add({9, 9, 9, 9, 9}, job.options).ok());
  ASSERT_TRUE(engine->Step().ok());
  EXPECT_EQ(engine->RestorePrefix(saved).value(),
            std::vector<int32_t>(job.prompt.begin(), job.prompt.begin() + 8));
  EXPECT_TRUE(engine->RestorePrefix(saved).ok());  // known already
  ASSERT_TRUE(engine->Add(job.prompt, job.options).ok());
  RunAll(*engine);
  EXPECT_EQ(engine->counters().reused_tokens, 8);
  ExpectSame(engine->Take(1).value(), Alone(job));
  EXPECT_EQ(engine->pages().free_pages(), 24);

  const SmallModel other;
  auto another =
      Engine::Create(CpuRunner::Create(other.shared_plan(), {}).value(), *tokenizer_, {});
  EXPECT_THAT(std::string((*another)->RestorePrefix(saved).status().message()),
              HasSubstr("of another model"));
  saved[60] ^= 1;
  EXPECT_THAT(std::string(engine->RestorePrefix(saved).status().message()), HasSubstr("damaged"));
}

// Pages whose cells have a byte a number are shared, given back, saved and restored like others.
class EngineOfE4M3 : public EngineTest {
 protected:
  EngineOfE4M3() : EngineTest(Text()) {}

  static std::string Text() {
    std::string text = ForMany();
    const std::pair<std::string_view, std::string_view> caches[] = {{"k_cache", "f32"},
                                                                    {"v_cache", "f16"}};
    for (const auto& [cache, type] : caches) {
      text = Replaced(text, StrCat("%0.", cache, ": ", type), StrCat("%0.", cache, ": f8_e4m3"));
    }
    text = Replaced(text, "%0.keys: f32", "%0.keys: f8_e4m3");
    return Replaced(text, "%0.values: f16", "%0.values: f8_e4m3");
  }
};

TEST_F(EngineOfE4M3, SharesSavesAndRestores) {
  std::string saved;
  const std::vector<int32_t> prompt = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1};
  for (const bool restore : {false, true}) {
    SCOPED_TRACE(restore);
    const std::unique_ptr<Engine> engine = Open();
    if (restore) {
      EXPECT_EQ(engine->RestorePrefix(saved).value(),
                std::vector<int32_t>(prompt.begin(), prompt.begin() + 8));
    }
    std::vector<Job> jobs;
    for (int i = 0; i < 12; ++i) {
      jobs.push_back(RandomJob());
      jobs.back().prompt = prompt;
      jobs.back().options.prompt_top = false;
      jobs.back().options.max_tokens = 3;
      ASSERT_TRUE(engine->Add(prompt, jobs.back().options).ok());
    }
    RunAll(*engine);
    for (size_t i = 0; i < jobs.size(); ++i) {
      ExpectSame(engine->Take(static_cast<RequestId>(i)).value(), Alone(jobs[i]));
    }
    EXPECT_GE(engine->counters().reused_tokens, restore ? 96 : 8);
    EXPECT_EQ(engine->pages().free_pages(), 24);
    if (!restore) saved = engine->SavePrefix(prompt).value();
  }
  // Not for a model that keeps other types.
  const SmallModel other{ForMany()};
  auto another =
      Engine::Create(CpuRunner::Create(other.shared_plan(), {}).value(), *tokenizer_, {});
  EXPECT_THAT(std::string((*another)->RestorePrefix(saved).status().message()),
              HasSubstr("of another model"));
}

// Arrivals, cancels and forks at any moment, against one by one.
TEST_F(EngineTest, ManyComeAndGo) {
  const std::unique_ptr<Engine> engine = Open();
  std::map<RequestId, Job> jobs;
  int cancelled = 0, compared = 0;
  while (jobs.size() < 160 || engine->running() + engine->waiting() > 0) {
    if (jobs.size() < 160 && random_() % 2 == 0) {
      Job job = RandomJob();
      if (!jobs.empty() && random_() % 3 == 0) {
        // Often the beginning of another's prompt, and always its end.
        const auto& other = std::next(jobs.begin(), random_() % jobs.size())->second.prompt;
        job.prompt.insert(job.prompt.begin(), other.begin(), other.end());
        job.prompt.resize(std::min<size_t>(job.prompt.size(), 14));
      }
      const RequestId id = engine->Add(job.prompt, job.options).value();
      jobs[id] = std::move(job);
    }
    if (!jobs.empty() && random_() % 8 == 0) {
      const RequestId parent = std::next(jobs.begin(), random_() % jobs.size())->first;
      Job job = RandomJob();
      job.prompt = jobs[parent].prompt;
      const auto child = engine->Fork(parent, 0, job.options);
      ASSERT_TRUE(child.ok()) << child.status();
      jobs[*child] = std::move(job);
    }
    if (jobs.size() > 6 && random_() % 8 == 0) {
      ASSERT_TRUE(engine->Cancel(jobs.rbegin()->first - static_cast<int>(random_() % 6)).ok());
    }
    const auto more = engine->Step();
    ASSERT_TRUE(more.ok()) << more.status();
    const absl::Status pages = engine->pages().CheckInvariants();
    ASSERT_TRUE(pages.ok()) << pages;
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
      ExpectSame(result, expected);
    }
  }
  EXPECT_GT(cancelled, 3);
  EXPECT_GT(compared, 100);
  EXPECT_EQ(engine->pages().free_pages(), 24);
}

TEST_F(EngineTest, TheContextIsFilledToItsLastToken) {
  const std::unique_ptr<Engine> engine = Open();
  Job job{{1, 2, 3}, {}};
  job.options.ignore_eos = true;
  ASSERT_TRUE(engine->Add(job.prompt, job.options).ok());
  job.prompt = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5};
  ASSERT_TRUE(engine->Add(job.prompt, job.options).ok());
  RunAll(*engine);
  const GenerateResult first = engine->Take(0).value(), full = engine->Take(1).value();
  EXPECT_THAT(first.ids, SizeIs(12));  // the last one is never fed back
  EXPECT_THAT(full.ids, SizeIs(1));
  EXPECT_EQ(full.finish_reason, FinishReason::kLength);
}

// The last token that a full context gives has no place in it.
TEST_F(EngineTest, AForkOfAFullContextHasEnded) {
  const std::unique_ptr<Engine> engine = Open();
  GenerateOptions options;
  options.ignore_eos = true;
  options.sampling.temperature = 0;
  const RequestId full = engine->Add({1, 2, 3}, options).value();
  RunAll(*engine);
  const RequestId fork = engine->Fork(full, 12, options).value();
  EXPECT_TRUE(engine->finished(fork));
  options.shift = true;
  options.max_tokens = 20;
  const RequestId shifted = engine->Fork(full, 12, options).value();
  RunAll(*engine);
  const GenerateResult result = engine->Take(full).value();
  ASSERT_THAT(result.ids, SizeIs(12));
  ExpectSame(engine->Take(fork).value(), result);
  const GenerateResult longer = engine->Take(shifted).value();
  EXPECT_THAT(longer.ids, SizeIs(20));
  EXPECT_EQ(longer.timings.shifts, 2);
  const RequestId same = engine->Add({1, 2, 3}, options).value();
  RunAll(*engine);
  EXPECT_EQ(engine->Take(same)->ids, longer.ids);
}

// Where the context of 14 is full: 3 tokens of prompt, 12 generated, of which the older 6 go.
TEST_F(EngineTest, AShiftedContextIsThatOfWhatIsLeft) {
  const std::unique_ptr<Engine> engine = Open();
  const std::vector<int32_t> prompt = {1, 2, 3};
  GenerateOptions options;
  options.sampling.temperature = 0;
  options.ignore_eos = true;
  options.shift = true;
  options.max_tokens = 31;
  const RequestId id = engine->Add(prompt, options).value();
  // Others beside it do not mind.
  ASSERT_TRUE(engine->Add({4, 5}, options).ok());
  RunAll(*engine);
  const GenerateResult result = engine->Take(id).value();
  EXPECT_EQ(result.finish_reason, FinishReason::kLength);
  ASSERT_THAT(result.ids, SizeIs(31));
  EXPECT_EQ(result.timings.shifts, 4);
  EXPECT_EQ(result.timings.prompt_tokens, 3);
  options.shift = false;
  options.max_tokens = -1;
  std::vector<int32_t> kept = prompt, expected;
  while (expected.size() < 31) {
    const std::vector<int32_t> more = Alone({kept, options}).ids;
    expected.insert(expected.end(), more.begin(), more.end());
    kept.insert(kept.end(), more.begin(), more.end());
    ASSERT_EQ(kept.size(), 15u);
    kept.erase(kept.begin() + 3, kept.begin() + 3 + 6);
  }
  expected.resize(31);
  EXPECT_EQ(result.ids, expected);
  EXPECT_EQ(engine->pages().free_pages(), 24);
}

TEST_F(EngineTest, SaysWhatItDoesNotTake) {
  const std::unique_ptr<Engine> engine = Open();
  const auto message = [&](std::vector<int32_t> prompt, const GenerateOptions& options = {}) {
    return std::string(engine->Add(std::move(prompt), options).status().message());
  };
  EXPECT_EQ(message({}), "prompt: expected at least one token, got none");
  EXPECT_EQ(message({3, 11}), "prompt: token 1: expected an id 0..10, got 11");
  EXPECT_EQ(message(std::vector<int32_t>(15, 1)),
            "prompt: 15 tokens do not fit the context of 14; shorten it or use a larger context "
            "(-c 15 or more)");
  GenerateOptions options;
  options.sampling.top_p = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(message({1}, options), "sampling: top_p: expected a finite number, got nan");
  options = {};
  options.shift = true;
  EXPECT_EQ(message(std::vector<int32_t>(8, 1), options),
            "shift: expected a prompt of at most half the context, 7 tokens, got 8; use a larger "
            "context (-c)");
  EXPECT_EQ(engine->Take(0).status().message(), "request 0: there is none");
  EXPECT_EQ(engine->Add({1}, {}).value(), 0);
  EXPECT_EQ(engine->Take(0).status().message(), "request 0 has not ended yet");
  EXPECT_TRUE(engine->Cancel(0).ok());
  EXPECT_TRUE(engine->Take(0).ok());
  EXPECT_EQ(engine->Poll(0).status().message(), "request 0: was taken");
  EXPECT_FALSE(engine->Step().value());

  const auto open = [&](const EngineOptions& engine_options) {
    return std::string(Engine::Create(CpuRunner::Create(model_.shared_plan(), {}).value(),
                                      *tokenizer_, engine_options)
                           .status()
                           .message());
  };
  EXPECT_EQ(open({.max_running = 7}),
            "sequences at a time: expected 1..6, got 7; compile for more with --max-seqs");
  EXPECT_EQ(open({.step_tokens = -1}),
            "tokens of a step: expected 1..9, got -1; compile for more with --max-step");
}

// Gives NaN to one of the sequences, which it knows by a token.
class Spoiled : public StepRunner {
 public:
  explicit Spoiled(std::unique_ptr<StepRunner> runner) : runner_(std::move(runner)) {}
  absl::Status Run(const StepInputs& inputs) override {
    if (broken) return absl::UnavailableError("the device broke");
    spoiled_.clear();
    for (int32_t row : inputs.rows) spoiled_.push_back(inputs.tokens[row] == 7);
    return runner_->Run(inputs);
  }
  absl::Status Logits(std::vector<float>* logits) const override {
    const absl::Status status = runner_->Logits(logits);
    for (size_t row = 0; row < spoiled_.size(); ++row) {
      if (spoiled_[row]) (*logits)[row * 11 + 3] = std::numeric_limits<float>::quiet_NaN();
    }
    return status;
  }
  absl::Status CopyPages(absl::Span<const PageCopy> copies) override {
    return runner_->CopyPages(copies);
  }
  const plan::Plan& plan() const override { return runner_->plan(); }
  std::string_view device() const override { return "spoiled"; }
  bool broken = false;

 private:
  std::unique_ptr<StepRunner> runner_;
  std::vector<bool> spoiled_;
};

TEST_F(EngineTest, AnErrorEndsItsRequestAlone) {
  auto runner = std::make_unique<Spoiled>(CpuRunner::Create(model_.shared_plan(), {}).value());
  Spoiled& device = *runner;
  auto engine = Engine::Create(std::move(runner), *tokenizer_, {});
  ASSERT_TRUE(engine.ok()) << engine.status();
  Job job{{1, 2}, {}};
  job.options.max_tokens = 3;
  job.options.sampling.logit_bias = {{7, -std::numeric_limits<float>::infinity()}};
  ASSERT_TRUE((*engine)->Add({1, 7}, job.options).ok());
  ASSERT_TRUE((*engine)->Add(job.prompt, job.options).ok());
  RunAll(**engine);
  EXPECT_EQ((*engine)->Look(0).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string((*engine)->Take(0).status().message()),
              HasSubstr("the logit of token 3 is nan"));
  ExpectSame((*engine)->Take(1).value(), Alone(job));
  EXPECT_EQ((*engine)->pages().free_pages(), 24);

  device.broken = true;
  ASSERT_TRUE((*engine)->Add({1, 2}, job.options).ok());
  EXPECT_EQ((*engine)->Step().status().message(), "the device broke");
  device.broken = false;
  EXPECT_EQ((*engine)->Step().status().message(), "the device broke");
}

}  // namespace
}  // namespace renga
