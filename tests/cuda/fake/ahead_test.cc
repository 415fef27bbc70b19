// Steps on a GPU that are started before the ones before have been read, over a driver whose
// streams act at any moment. Its kernels are played: what follows a sequence depends on all that
// the caches hold of it, so that a token, a cell or a page that comes too early or too late shows.
#include <cstring>
#include <map>
#include <random>

#include "gmock/gmock.h"
#include "ir/base/status.h"
#include "runtime/exec/cuda_runner.h"
#include "runtime/exec/engine.h"
#include "runtime/plan/layout.h"
#include "tests/cuda/fake/fake_gpu.h"
#include "tests/cuda/fake/launch_arguments.h"
#include "tests/runtime/cuda/fake_driver.h"

namespace renga {
namespace {

using testing::HasSubstr;

// What its kernels do, launch by launch.
class PlayedModel {
 public:
  PlayedModel() = default;
  PlayedModel(cuda::FakeDriver* fake, const plan::Plan* plan)
      : fake_(fake), plan_(plan), arguments_(BufferArguments(*plan)) {}

  // What follows `tokens`: at times no token.
  static int32_t Choice(const std::vector<int32_t>& tokens) {
    uint32_t hash = 7;
    for (int32_t token : tokens) {
      if (token < 0 || token >= 512) return -1;
      hash = hash * 1000003 + static_cast<uint32_t>(token) + 1;
    }
    hash >>= 7;
    if (hash % 61 == 0) return hash % 2 == 0 ? -1 : 515;
    return static_cast<int32_t>(hash % 40 + (hash % 7 == 0 ? 0 : 3));
  }

  void Launch(void* function, const void* struct_of_arguments, unsigned grid) {
    std::map<std::string, void*> at;
    char* cache = nullptr;
    for (const BufferArgument& argument : arguments_[fake_->NameOf(function)]) {
      void* pointer = nullptr;
      std::memcpy(&pointer, static_cast<const char*>(struct_of_arguments) + argument.offset,
                  sizeof(pointer));
      at[argument.buffer] = pointer;
      if (argument.space == plan::Space::kCache) cache = static_cast<char*>(pointer);
    }
    const auto take = [&](const char* name, size_t count, std::vector<int32_t>* values) {
      const auto found = at.find(name);
      if (found == at.end()) return;
      const auto* from = static_cast<const int32_t*>(found->second);
      values->assign(from, from + count);
    };
    if (at.count("tokens") > 0) tokens_.resize(grid);
    take("tokens", tokens_.size(), &tokens_);
    take("positions", tokens_.size(), &positions_);
    take("sequences", tokens_.size(), &sequences_);
    if (at.count("rows") > 0) rows_.resize(grid);
    take("rows", rows_.size(), &rows_);
    const size_t wide = static_cast<size_t>(plan::SymbolMax(*plan_, "P", 1));
    if (!sequences_.empty()) {
      take("pages", (static_cast<size_t>(sequences_.back()) + 1) * wide, &pages_);
    }
    if (cache != nullptr) cache_ = cache;
    if (at.count("cells") > 0 && cache != nullptr) {
      take("cells", tokens_.size(), &cells_);
      for (size_t i = 0; i < tokens_.size(); ++i) *Cell(cells_[i]) = tokens_[i];
    }
    if (at.count("next") == 0) return;
    for (size_t row = 0; row < rows_.size(); ++row) {
      const size_t token = static_cast<size_t>(rows_[row]);
      std::vector<int32_t> read;
      for (int32_t i = 0; i <= positions_[token]; ++i) {
        const size_t page = static_cast<size_t>(sequences_[token]) * wide + i / 64;
        read.push_back(*Cell(pages_[page] * 64 + i % 64));
      }
      static_cast<int32_t*>(at["next"])[row] = Choice(read);
    }
  }

 private:
  int32_t* Cell(int32_t cell) {
    return reinterpret_cast<int32_t*>(cache_ + cell * plan_->caches[0].cell_bytes);
  }

  cuda::FakeDriver* fake_ = nullptr;
  const plan::Plan* plan_ = nullptr;
  std::map<std::string, std::vector<BufferArgument>> arguments_;
  std::vector<int32_t> tokens_, positions_, sequences_, cells_, pages_, rows_;
  char* cache_ = nullptr;
};
PlayedModel& TheModel() {
  static PlayedModel model;
  return model;
}

class GpuAhead : public testing::Test {
 protected:
  static constexpr int64_t kSequences = 5;

  GpuAhead() {
    CompileOptions options;
    options.max_sequences = kSequences;
    options.context = 160;
    plan_ = std::make_shared<const plan::Plan>(FakePlan("sm_90a", options));
    tokenizer_ = Tokenizer::Create(plan_->tokenizer).value();
    TokenizerData endless = plan_->tokenizer;
    endless.eos = -1;
    endless.end_of_generation.clear();
    endless_ = Tokenizer::Create(endless).value();
  }

  // On a fresh driver.
  std::unique_ptr<Engine> Open(const Tokenizer& tokenizer, double patience = 60) {
    fake_ = nullptr;
    fake_ = std::make_unique<cuda::FakeDriver>();
    fake_->SetFresh(0);
    const auto driver = cuda::Driver::Load(cuda::FakeFile("fake_driver"));
    EXPECT_TRUE(driver.ok()) << driver.status();
    auto runner = CudaRunner::Create(plan_, cuda::Context::Open(*driver, 0).value(),
                                     {.patience_seconds = patience}, "cuda:0 Fake GPU");
    EXPECT_TRUE(runner.ok()) << runner.status();
    executor_ = &(*runner)->executor();
    TheModel() = PlayedModel(fake_.get(), plan_.get());
    fake_->OnLaunch([](void* function, const void* arguments,
                       unsigned grid) { TheModel().Launch(function, arguments, grid); },
                    plan::kMaxArgumentBytes);
    auto engine = Engine::Create(*std::move(runner), tokenizer, {});
    EXPECT_TRUE(engine.ok()) << engine.status();
    return *std::move(engine);
  }

  std::vector<int32_t> Expected(std::vector<int32_t> tokens, int64_t count,
                                const Tokenizer& tokenizer) const {
    std::vector<int32_t> ids;
    while (static_cast<int64_t>(ids.size()) < count) {
      int32_t id = PlayedModel::Choice(tokens);
      if (id < 0 || id >= 512) id = 0;  // the lowest: all logits are 0
      ids.push_back(id);
      tokens.push_back(id);
      if (tokenizer.IsEndOfGeneration(id) || tokens.size() > 160) break;
    }
    return ids;
  }

  std::unique_ptr<cuda::FakeDriver> fake_;
  std::shared_ptr<const plan::Plan> plan_;
  std::unique_ptr<Tokenizer> tokenizer_, endless_;
  const CudaExecutor* executor_ = nullptr;
};

GenerateOptions Greedy(int64_t tokens) {
  GenerateOptions options;
  options.sampling.temperature = 0;
  options.max_tokens = tokens;
  return options;
}

TEST_F(GpuAhead, EachGetsWhatFollows) {
  for (unsigned seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const std::unique_ptr<Engine> engine = Open(*tokenizer_);
    fake_->ActByChance(seed);
    struct Job {
      std::vector<int32_t> prompt;
      int64_t tokens;
      bool cancelled = false;
    };
    std::map<RequestId, Job> jobs;
    while (jobs.size() < 16 || engine->running() + engine->waiting() > 0) {
      if (jobs.size() < 16 && random() % 12 == 0) {
        Job job{std::vector<int32_t>(1 + random() % 70), static_cast<int64_t>(random() % 100)};
        for (int32_t& id : job.prompt) id = static_cast<int32_t>(3 + random() % 5);
        jobs[engine->Add(job.prompt, Greedy(job.tokens)).value()] = job;
      }
      if (!jobs.empty() && random() % 60 == 0) {
        const RequestId parent = std::next(jobs.begin(), random() % jobs.size())->first;
        const size_t there = engine->Look(parent).value()->ids.size();
        const Job job{jobs[parent].prompt, 100};
        jobs[engine->Fork(parent, random() % (there + 1), Greedy(job.tokens)).value()] = job;
      }
      if (!jobs.empty() && random() % 100 == 0) {
        const RequestId id = jobs.rbegin()->first;
        jobs[id].cancelled |= !engine->finished(id);
        ASSERT_TRUE(engine->Cancel(id).ok());
      }
      const auto more = engine->Step();
      ASSERT_TRUE(more.ok()) << more.status();
    }
    for (const auto& [id, job] : jobs) {
      std::vector<int32_t> expected = Expected(job.prompt, job.tokens, *tokenizer_);
      const auto result = engine->Take(id);
      ASSERT_TRUE(result.ok()) << result.status();
      if (job.cancelled) expected.resize(std::min(expected.size(), result->ids.size()));
      EXPECT_EQ(result->ids, expected) << id;
    }
    EXPECT_GT(executor_->counters().runs_ahead, 20);
    EXPECT_EQ(executor_->counters().runs_ahead, engine->counters().steps_ahead);
  }
  EXPECT_EQ(fake_->live(), 0);
}

// No memory, no capture, no wait but for what a started step has superseded.
TEST_F(GpuAhead, TheSteadyLoopWaitsForNothing) {
  const std::unique_ptr<Engine> engine = Open(*endless_);
  fake_->BeLate();
  int sequences = 0;
  for (int32_t i = 0; sequences < kSequences; ++i) {
    const std::vector<int32_t> prompt = {3, 4 + i};
    // Those that always go on with a token.
    std::vector<int32_t> tokens = prompt;
    while (tokens.size() < 100 && PlayedModel::Choice(tokens) >= 0 &&
           PlayedModel::Choice(tokens) < 512) {
      tokens.push_back(PlayedModel::Choice(tokens));
    }
    if (tokens.size() < 100) continue;
    ++sequences;
    ASSERT_TRUE(engine->Add(prompt, Greedy(100)).ok());
  }
  // Behind 64 tokens a graph for the next length is captured, one for each place of inputs.
  for (int i = 0; i < 66; ++i) ASSERT_TRUE(engine->Step().value());
  const std::vector<const char*> never = {
      "cuMemAlloc",         "cuMemHostAlloc", "cuStreamBeginCapture", "cuStreamSynchronize",
      "cuEventSynchronize", "cuStreamQuery",  "cuLaunchKernelEx",     "cuMemcpyDtoDAsync",
      "cuStreamCreate",     "cuEventCreate"};
  std::map<std::string, int> before;
  for (const char* call : never) before[call] = fake_->Count(call);
  const CudaCounters counters = executor_->counters();
  const int64_t ahead = engine->counters().steps_ahead, calls = fake_->calls();
  for (int i = 0; i < 25; ++i) ASSERT_TRUE(engine->Step().value());
  for (const char* call : never) EXPECT_EQ(fake_->Count(call), before[call]) << call;
  EXPECT_EQ(executor_->counters().allocations, counters.allocations);
  EXPECT_EQ(executor_->counters().graphs, counters.graphs);
  EXPECT_EQ(executor_->counters().waits, counters.waits);
  EXPECT_EQ(executor_->counters().runs_ahead, counters.runs_ahead + 25);
  EXPECT_EQ(executor_->counters().graph_runs, counters.graph_runs + 25);
  EXPECT_EQ(engine->counters().steps_ahead, ahead + 25);
  EXPECT_EQ((fake_->calls() - calls) / 25, 9);
}

// Two steps are under way at each of these calls.
TEST_F(GpuAhead, EveryCallFailingInTurn) {
  const auto start = [&] {
    std::unique_ptr<Engine> engine = Open(*endless_);
    for (int32_t i = 0; i < 2; ++i) EXPECT_TRUE(engine->Add({3, 4 + i}, Greedy(100)).ok());
    for (int i = 0; i < 6; ++i) EXPECT_TRUE(engine->Step().value());
    return engine;
  };
  int begin = 0, end = 0;
  {
    const std::unique_ptr<Engine> engine = start();
    begin = fake_->calls();
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(engine->Step().value());
    end = fake_->calls();
  }
  ASSERT_GE(end - begin, 3 * 9);
  for (int call = begin + 1; call <= end; ++call) {
    std::unique_ptr<Engine> engine = start();
    fake_->BeLate();
    fake_->FailAt(call, 719);
    absl::Status failed;
    for (int i = 0; i < 3 && failed.ok(); ++i) failed = engine->Step().status();
    ASSERT_NE(fake_->failed(), "") << call;
    EXPECT_EQ(failed.code(), absl::StatusCode::kUnavailable) << failed;
    EXPECT_THAT(std::string(failed.message()), HasSubstr(fake_->failed()));
    EXPECT_EQ(engine->Step().status(), failed);
    engine = nullptr;
    EXPECT_EQ(fake_->live(), 0) << fake_->failed();
  }
}

TEST_F(GpuAhead, AKernelThatNeverEnds) {
  std::unique_ptr<Engine> engine = Open(*endless_, /*patience=*/0.03);
  ASSERT_TRUE(engine->Add({3, 4}, Greedy(100)).ok());
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(engine->Step().value());
  fake_->Hang();
  const absl::Status failed = engine->Step().status();
  EXPECT_EQ(failed.code(), absl::StatusCode::kUnavailable) << failed;
  EXPECT_THAT(std::string(failed.message()), HasSubstr("a run has not ended after 0.03 s"));
  const int calls = fake_->calls();
  engine = nullptr;
  EXPECT_EQ(fake_->blocked(), "");
  EXPECT_EQ(fake_->calls(), calls);
}

// Whoever uses the halves otherwise than an engine does.
class GpuAheadAtAnyMoment : public GpuAhead, public testing::WithParamInterface<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Seeds, GpuAheadAtAnyMoment, testing::Range(1u, 17u));

TEST_P(GpuAheadAtAnyMoment, TakesTwoStepsAndWhatWasChosen) {
  Open(*endless_) = nullptr;
  const auto driver = cuda::Driver::Load(cuda::FakeFile("fake_driver"));
  auto runner = CudaRunner::Create(plan_, cuda::Context::Open(*driver, 0).value(), {}, "cuda:0");
  ASSERT_TRUE(runner.ok()) << runner.status();
  fake_->ActByChance(GetParam());
  const std::vector<int32_t> tokens = {3, 4}, positions = {0, 1}, sequences = {0, 0},
                             cells = {0, 1}, pages = {0}, rows = {1};
  StepInputs inputs{tokens, positions, sequences, cells, pages, 1, rows};
  EXPECT_EQ((*runner)->Finish().message(), "no run is under way");
  const std::vector<int32_t> one = {0}, third = {2}, fourth = {3};
  StepInputs next{one, third, one, third, pages, 1, one};
  next.fed_back = true;
  EXPECT_THAT(std::string((*runner)->Start(next).message()), HasSubstr("tokens: expected as many"));
  ASSERT_TRUE((*runner)->Start(inputs).ok());
  // Known tokens may be started ahead too: they come after what the step before chose.
  StepInputs known{one, third, one, third, pages, 1, one};
  const std::vector<int32_t> five = {5};
  known.tokens = five;
  ASSERT_TRUE((*runner)->Start(known).ok());
  EXPECT_EQ((*runner)->Run(known).message(), "a run is under way");
  EXPECT_EQ((*runner)->Start(known).message(), "two runs are under way, expected one at most");
  ASSERT_TRUE((*runner)->Finish().ok());
  EXPECT_THAT((*runner)->next(), testing::ElementsAre(PlayedModel::Choice({3, 4})));
  next.positions = next.cells = fourth;
  ASSERT_TRUE((*runner)->Start(next).ok());
  ASSERT_TRUE((*runner)->Finish().ok());
  const int32_t chosen = PlayedModel::Choice({3, 4, 5});
  EXPECT_THAT((*runner)->next(), testing::ElementsAre(chosen));
  ASSERT_TRUE((*runner)->Finish().ok());
  EXPECT_THAT((*runner)->next(), testing::ElementsAre(PlayedModel::Choice({3, 4, 5, chosen})));
}

}  // namespace
}  // namespace renga
