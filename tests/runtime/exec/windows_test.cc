// A model whose layers see all keys, the last 3 and the last 6, with pages of their own for each
// and without: the same numbers bit by bit, far behind the windows too.
#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/windows.h"
#include "runtime/plan/layout.h"
#include "tests/runtime/exec/engine_fixture.h"
#include "tests/support/late_runner.h"

namespace renga {
namespace {

constexpr int64_t kContext = 64, kStep = 9, kPage = 4;

std::string Layer(int layer, const std::string& x, int64_t window, bool apart) {
  const int64_t own = apart ? window : 0;
  const std::string l = StrCat("%", layer, "."), c = WindowSymbol("C", own);
  return StrCat(
      "  ", l, "q: f32[T,3,4], ", l, "keys: f32[", c, ",1,4], ", l, "values: f16[", c,
      ",1,4] = qkv_rope(", x, ", @q, @k, @v, ", l, "k_cache, ", l, "v_cache, %positions, %",
      WindowInput("cells", own),
      ", norm=@norm, q_bias=@q_bias, k_bias=@k_bias, v_bias=@v_bias) {base=10000.0, dims=4, "
      "eps=1e-05, factor=1.0, kv_heads=1, magnitude=1.0, pairing=neox, q_heads=3, scaling=none}\n",
      "  ", l, "attn: f32[T,3,4] = attention(", l, "q, ", l, "keys, ", l,
      "values, %positions, %sequences, %", WindowInput("pages", own),
      ") {causal=true, page_tokens=4, scale=0.5, span=L, window=", window, "}\n", "  ", l,
      "merged: f32[T,12] = merge_heads(", l, "attn)\n", "  ", l, "out: f32[T,12] = linear_add(", x,
      ", ", l, "merged, @o)\n");
}

// Caches for `sequences` of pages of windows, all of `pages` in group 0.
std::string Text(bool apart, int64_t pages, int64_t sequences) {
  const std::vector<int64_t> windows = {0, 3, 6};
  std::string text =
      StrCat("ir 1\ndim T = 1..", kStep, "\ndim S = 1..6\ndim R = 1..7\ndim L = 1..", kContext,
             "\ndim P = 1..", kContext / kPage, "\ndim C = 1..", pages * kPage, "\n");
  std::string caches, params, layers, returns, x = "%embed";
  for (size_t i = 0; i < windows.size(); ++i) {
    const int64_t own = apart ? windows[i] : 0;
    const std::string c = WindowSymbol("C", own);
    if (own > 0) {
      StrAppend(&text, "dim ", c, " = 1..", sequences * WindowPages(own, kStep, kPage) * kPage,
                "\n");
      StrAppend(&params, ", %", WindowInput("cells", own), ": i32[T], %", WindowInput("pages", own),
                ": i32[S,P]");
    }
    StrAppend(&caches, "cache %", i, ".k_cache: f32[", c, ",1,4]\ncache %", i, ".v_cache: f16[", c,
              ",1,4]\n");
    StrAppend(&layers, Layer(static_cast<int>(i), x, windows[i], apart));
    StrAppend(&returns, ", %", i, ".keys, %", i, ".values");
    x = StrCat("%", i, ".out");
  }
  return StrCat(text,
                "weight @embd: f32[11,12]\nweight @norm: f32[12]\nweight @q: f32[12,12]\n"
                "weight @k: f16[4,12]\nweight @v: f32[4,12]\nweight @q_bias: f32[12]\n"
                "weight @k_bias: f32[4]\nweight @v_bias: f32[4]\nweight @o: f32[12,12]\n"
                "weight @out: f16[11,12]\n",
                caches,
                "graph @step(%tokens: i32[T], %positions: i32[T], %sequences: i32[T], %cells: "
                "i32[T], %pages: i32[S,P], %rows: i32[R]",
                params, ") {\n  %embed: f32[T,12] = embed(%tokens, @embd)\n", layers,
                "  %last: f32[R,12] = gather_rows(", x,
                ", %rows)\n  %logits: f32[R,11], %next: i32[R] = head(%last, @out, norm=@norm) "
                "{eps=1e-05}\n  return %logits",
                returns, ", %next\n}\n");
}

TEST(Windows, TakeTheMemoryOfTheirPages) {
  const SmallModel apart(Text(true, 96, 6)), together(Text(false, 96, 6));
  EXPECT_THAT(apart.plan().geometry.windows, testing::ElementsAre(3, 6));
  EXPECT_EQ(plan::CacheCells(apart.plan(), 0), 384);
  EXPECT_EQ(plan::CacheCells(apart.plan(), 1), 6 * 4 * 4);
  EXPECT_EQ(plan::CacheCells(apart.plan(), 2), 6 * 5 * 4);
  EXPECT_EQ(apart.plan().memory.kv, (384u + 96 + 120) * (16 + 8));
  EXPECT_EQ(together.plan().memory.kv, 3 * 384u * (16 + 8));
}

TEST(Windows, LogitsOfOneSequenceAreTheSame) {
  const SmallModel apart(Text(true, 16, 1)), together(Text(false, 16, 1));
  for (const int64_t step : {1, 4, 9}) {
    SequenceForward a(CpuRunner::Create(apart.shared_plan(), {}).value());
    SequenceForward b(CpuRunner::Create(together.shared_plan(), {}).value());
    std::mt19937 random(5);
    while (a.position() < kContext) {
      const int64_t count = std::min(step, kContext - a.position());
      std::vector<int32_t> tokens(static_cast<size_t>(count));
      for (int32_t& id : tokens) id = static_cast<int32_t>(random() % 11);
      const std::vector<int32_t> rows = {0, static_cast<int32_t>(count - 1)};
      std::vector<float> of_a, of_b;
      // A step undone, and the one before it.
      if (a.position() > 0 && random() % 3 == 0) {
        const int64_t back = a.position();
        ASSERT_TRUE(a.Run({1}, {0}, nullptr).ok() || back == kContext);
        ASSERT_TRUE(a.Truncate(back).ok());
      }
      ASSERT_TRUE(a.Run(tokens, rows, &of_a).ok());
      ASSERT_TRUE(b.Run(tokens, rows, &of_b).ok());
      ASSERT_EQ(of_a.size(), of_b.size());
      ASSERT_EQ(std::memcmp(of_a.data(), of_b.data(), of_a.size() * sizeof(float)), 0)
          << "at " << a.position();
    }
  }
}

// Engines over the model with pages apart; each text as it is alone without.
class WindowsEngine : public EngineTest {
 protected:
  std::unique_ptr<Engine> Open(const SmallModel& model, bool late,
                               const EngineOptions& options = {}) {
    std::unique_ptr<StepRunner> runner = CpuRunner::Create(model.shared_plan(), {}).value();
    if (late) runner = std::make_unique<LateRunner>(std::move(runner), 7);
    return Engine::Create(std::move(runner), *tokenizer_, options).value();
  }

  GenerateResult Together(const Job& job) {
    EXPECT_TRUE(together_.Truncate(0).ok());
    auto result = Generate(together_, *tokenizer_, job.prompt, job.options);
    EXPECT_TRUE(result.ok()) << result.status();
    return *std::move(result);
  }

  Job LongJob() {
    Job job = RandomJob();
    const size_t common = random_() % 3 == 0 ? random_() % 30 : 0;
    std::vector<int32_t> prompt;
    for (size_t i = 0; i < common; ++i) prompt.push_back(static_cast<int32_t>(i * i % 10));
    const std::vector<int32_t> rest = RandomPrompt(25);
    prompt.insert(prompt.end(), rest.begin(), rest.end());
    job.prompt = std::move(prompt);
    job.options.max_tokens = static_cast<int>(random_() % 40);
    return job;
  }

  SmallModel model_without_{Text(false, 16, 1)};
  SequenceForward together_{CpuRunner::Create(model_without_.shared_plan(), {}).value()};
};

TEST_F(WindowsEngine, ManySequencesAreWhatTheyAreAlone) {
  struct Case {
    int64_t pages, sequences;
    bool late;
  };
  // Enough for all; so few in group 0, or in those of windows, that some have to go again.
  for (const auto& [pages, sequences, late] :
       {Case{96, 6, false}, Case{20, 6, false}, Case{96, 1, false}, Case{60, 3, true}}) {
    SCOPED_TRACE(StrCat(pages, " pages, windows of ", sequences, late ? ", ahead" : ""));
    const SmallModel model(Text(true, pages, sequences));
    auto engine = Open(model, late);
    std::vector<Job> jobs;
    for (int i = 0; i < 40; ++i) {
      jobs.push_back(LongJob());
      if (!late) continue;
      // The device chooses.
      jobs.back().options.sampling = {};
      jobs.back().options.sampling.temperature = 0;
      jobs.back().options.top_logits = 0;
      jobs.back().options.prompt_top = false;
    }
    for (const Job& job : jobs) ASSERT_TRUE(engine->Add(job.prompt, job.options).ok());
    RunAll(*engine);
    if (testing::Test::HasFatalFailure()) return;
    for (size_t i = 0; i < jobs.size(); ++i) {
      SCOPED_TRACE(i);
      const auto got = engine->Take(static_cast<RequestId>(i));
      ASSERT_TRUE(got.ok()) << got.status();
      ExpectSame(*got, Together(jobs[i]));
    }
    if (sequences > 1) {
      EXPECT_GT(engine->counters().reused_tokens, 0);
    }
    if (pages == 20) {
      EXPECT_GT(engine->counters().preemptions, 0);
    }
    if (late) {
      EXPECT_GT(engine->counters().steps_ahead, 0);
    }
  }
}

TEST_F(WindowsEngine, ForksGoOnFromWhereTheyBegin) {
  const SmallModel model(Text(true, 96, 6));
  auto engine = Open(model, false);
  Job job{{1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3}, {}};
  job.options.max_tokens = 30;
  job.options.ignore_eos = true;
  const RequestId parent = engine->Add(job.prompt, job.options).value();
  while (engine->Look(parent).value()->ids.size() < 20) ASSERT_TRUE(engine->Step().ok());
  const std::vector<int32_t> so_far = engine->Look(parent).value()->ids;
  GenerateOptions options = job.options;
  options.sampling.temperature = 1;
  options.sampling.seed = 3;
  // From the last token, and from one so early that windows have moved on.
  const RequestId late = engine->Fork(parent, 19, options).value();
  EXPECT_GT(engine->counters().reused_tokens, 0);
  const int64_t reused = engine->counters().reused_tokens;
  const RequestId early = engine->Fork(parent, 2, options).value();
  EXPECT_EQ(engine->counters().reused_tokens, reused);
  RunAll(*engine);
  for (const auto& [child, kept] : {std::pair(late, 19), std::pair(early, 2)}) {
    const auto got = engine->Take(child);
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_EQ(got->ids.size(), 30u);
    EXPECT_TRUE(std::equal(so_far.begin(), so_far.begin() + kept, got->ids.begin()));
    // The same fork of a parent whose layers keep all.
    const SmallModel without(Text(false, 96, 6));
    auto other = Open(without, false);
    const RequestId again = other->Add(job.prompt, job.options).value();
    while (other->Look(again).value()->ids.size() < 20) ASSERT_TRUE(other->Step().ok());
    const RequestId fork = other->Fork(again, kept, options).value();
    RunAll(*other);
    ExpectSame(*got, other->Take(fork).value());
  }
  ExpectSame(engine->Take(parent).value(), Together(job));
}

TEST_F(WindowsEngine, WhatWasSavedGoesOn) {
  const SmallModel model(Text(true, 96, 6));
  Job job{{}, {}};
  for (int i = 0; i < 37; ++i) job.prompt.push_back(i * i % 10);
  job.options.max_tokens = 10;
  std::string saved;
  {
    auto engine = Open(model, false);
    ASSERT_TRUE(engine->Add(job.prompt, job.options).ok());
    RunAll(*engine);
    auto bytes = engine->SavePrefix(job.prompt);
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    saved = *std::move(bytes);
  }
  auto engine = Open(model, false);
  const auto tokens = engine->RestorePrefix(saved);
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_EQ(tokens->size(), 36u);
  const RequestId id = engine->Add(job.prompt, job.options).value();
  RunAll(*engine);
  EXPECT_EQ(engine->counters().reused_tokens, 36);
  ExpectSame(engine->Take(id).value(), Together(job));
  // Of it the pages of windows are those that the next token sees: page 8 for 3 keys, 7 and 8
  // for 6.
  const size_t of_pages = 9 * 4 * (16 + 8), of_windows = (1 + 2) * 4 * (16 + 8);
  EXPECT_EQ(saved.size(), 48 + 36 * 4 + of_pages + 2 * 8 + of_windows + 16);
  std::string cut = saved;
  cut.resize(cut.size() - 40);
  EXPECT_FALSE(engine->RestorePrefix(cut).ok());
}

TEST_F(WindowsEngine, ATextThatShiftsGoesOn) {
  const SmallModel model(Text(true, 96, 6));
  auto engine = Open(model, false);
  Job job{{1, 2, 3}, {}};
  job.options.max_tokens = 150;
  job.options.ignore_eos = true;
  job.options.shift = true;
  const RequestId id = engine->Add(job.prompt, job.options).value();
  RunAll(*engine);
  const GenerateResult got = engine->Take(id).value();
  EXPECT_EQ(got.ids.size(), 150u);
  EXPECT_GT(got.timings.shifts, 0);
}

TEST(Windows, InputsOfEachAreChecked) {
  const SmallModel model(Text(true, 16, 1));
  auto runner = CpuRunner::Create(model.shared_plan(), {}).value();
  const std::vector<int32_t> one = {0}, far = {16}, table = {0};
  StepInputs inputs;
  inputs.tokens = inputs.positions = inputs.sequences = inputs.cells = one;
  inputs.pages = table;
  EXPECT_THAT(std::string(runner->Run(inputs).message()),
              testing::HasSubstr("windows: expected page tables of 2, got those of 0"));
  std::vector<WindowInputs> windows = {{3, one, table}, {6, one, table}};
  inputs.windows = windows;
  EXPECT_TRUE(runner->Run(inputs).ok());
  const auto expect = [&](const WindowInputs& second, std::string_view message) {
    windows[1] = second;
    inputs.windows = windows;
    EXPECT_THAT(std::string(runner->Run(inputs).message()), testing::HasSubstr(message));
  };
  const std::vector<int32_t> cell = {20}, page = {5}, none;
  expect({6, cell, table}, "cells.w6[0]: expected 0..19, got 20");
  expect({6, one, page}, "pages.w6[0]: expected 0..4, got 5");
  expect({6, none, table}, "cells.w6: expected 1 values");
  expect({6, one, none}, "pages.w6: expected 1 entries");
  expect({5, one, table}, "windows: expected page tables of 6 keys, got those of 5");
}

}  // namespace
}  // namespace renga
