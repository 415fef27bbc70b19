// The executor itself on a GPU: graphs, counters, memory.
#include "runtime/exec/cuda_executor.h"

#include <chrono>
#include <cstdio>

#include "gmock/gmock.h"
#include "runtime/exec/cuda_runner.h"
#include "runtime/exec/engine.h"
#include "tests/cuda/cuda_sequence.h"
#include "tests/cuda/support.h"
#include "tests/support/samples_on_host.h"
#include "tests/support/test_data.h"

namespace renga {
namespace {

class CudaExecutorTest : public CudaTest {
 protected:
  static absl::StatusOr<std::unique_ptr<CudaSequence>> OpenWith(const CudaOptions& cuda_options,
                                                                const OpenOptions& open = {}) {
    RENGA_ASSIGN_OR_RETURN(const CudaDevice device, OpenCuda(0));
    OpenOptions options = open;
    options.use_cache = false;
    options.compile.target = device.target;
    RENGA_ASSIGN_OR_RETURN(const OpenedPlan plan, OpenPlan(TestData("stories260K.gguf"), options));
    return CudaSequence::Create(plan.plan, device.context, cuda_options, device.name);
  }

  // Greedy from a start token on; the logits of every step.
  static std::vector<float> Decode(Forward& forward, int steps) {
    EXPECT_TRUE(forward.Truncate(0).ok());
    std::vector<float> all, logits;
    int32_t token = 1;
    for (int i = 0; i < steps; ++i) {
      const absl::Status status = forward.Run({token}, {0}, &logits);
      EXPECT_TRUE(status.ok()) << status;
      if (!status.ok()) break;
      all.insert(all.end(), logits.begin(), logits.end());
      token = forward.next()[0];
    }
    return all;
  }
};

TEST_F(CudaExecutorTest, GraphsGiveWhatLaunchesGive) {
  const auto with = OpenWith({}), without = OpenWith({.graphs = false}),
             checked = OpenWith({.check_steps = true});
  ASSERT_TRUE(with.ok() && without.ok() && checked.ok()) << with.status();
  // A graph rounds the length up, which a longer text's split of the keys must not show before the
  // text is as long.
  const std::vector<float> expected = Decode(**without, 60);
  EXPECT_TRUE(Decode(**with, 60) == expected);
  EXPECT_TRUE(Decode(**checked, 60) == expected);
  EXPECT_EQ((*without)->executor().counters().graphs, 0);
  EXPECT_EQ((*with)->executor().counters().graphs, 2);  // one for each place of inputs
  EXPECT_EQ((*with)->executor().counters().graph_runs, 60);
}

TEST_F(CudaExecutorTest, ALongTextTakesFewGraphsAndNoMemory) {
  const auto forward = OpenWith({});
  ASSERT_TRUE(forward.ok()) << forward.status();
  const CudaCounters before = (*forward)->executor().counters();
  EXPECT_EQ(before.kernels_compiled, 0);
  const std::vector<float> once = Decode(**forward, 700), again = Decode(**forward, 700);
  EXPECT_TRUE(once == again);
  const CudaCounters after = (*forward)->executor().counters();
  EXPECT_EQ(after.allocations, before.allocations);
  // Up to 64, 128, 256, 512 and 1024 positions, for each place of inputs.
  EXPECT_EQ(after.graphs, 10);
}

// The same steps, started before what the one before chose has been read or after.
TEST_F(CudaExecutorTest, StepsAheadChooseTheSameTokens) {
  constexpr int32_t kTexts = 4;
  std::vector<std::vector<int32_t>> texts[2];
  for (const bool ahead : {false, true}) {
    const absl::StatusOr<CudaDevice> found = OpenCuda(0);
    ASSERT_TRUE(found.ok()) << found.status();
    const CudaDevice& device = *found;
    OpenOptions options;
    options.use_cache = false;
    options.compile.target = device.target;
    options.compile.max_sequences = kTexts;
    const auto opened = OpenPlan(TestData("stories260K.gguf"), options);
    ASSERT_TRUE(opened.ok()) << opened.status();
    auto runner = CudaRunner::Create(opened->plan, device.context, {}, device.name);
    ASSERT_TRUE(runner.ok()) << runner.status();
    const CudaExecutor& executor = (*runner)->executor();
    const auto tokenizer = Tokenizer::Create(opened->plan->tokenizer);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    auto engine = Engine::Create(*std::move(runner), **tokenizer, {.run_ahead = ahead});
    ASSERT_TRUE(engine.ok()) << engine.status();
    GenerateOptions greedy;
    greedy.sampling.temperature = 0;
    greedy.max_tokens = 300;
    for (int32_t i = 0; i < kTexts; ++i) {
      ASSERT_TRUE((*engine)->Add({1, 403 + 7 * i}, greedy).ok());
    }
    const auto start = std::chrono::steady_clock::now();
    for (bool more = true; more;) {
      const auto step = (*engine)->Step();
      ASSERT_TRUE(step.ok()) << step.status();
      more = *step;
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    for (RequestId id = 0; id < kTexts; ++id) texts[ahead].push_back((*engine)->Take(id)->ids);
    const EngineCounters& counters = (*engine)->counters();
    EXPECT_EQ(executor.counters().runs_ahead, counters.steps_ahead);
    EXPECT_EQ(counters.steps_ahead > counters.steps / 2, ahead);
    printf("%s: %.1f us a step, %lld of %lld ahead, %lld waits with nothing behind\n",
           ahead ? "ahead" : "one by one", took.count() / static_cast<double>(counters.steps) * 1e6,
           static_cast<long long>(counters.steps_ahead), static_cast<long long>(counters.steps),
           static_cast<long long>(executor.counters().waits));
  }
  EXPECT_EQ(texts[1], texts[0]);
}

// The same GPU gives the same logits, so tokens and what is said of them must be equal.
TEST_F(CudaExecutorTest, SamplesTheHostsTokens) {
  std::vector<GenerateOptions> all(4);
  all[1].sampling.temperature = 1.4f;
  all[1].sampling.typical_p = 0.9f;
  all[2].sampling.penalties.repeat = 1.3f;
  all[2].ignore_eos = true;
  all[3].sampling.top_k = 0;
  all[3].sampling.top_p = 0.6f;
  all[3].top_logits = 20;
  std::vector<GenerateResult> expected;
  for (const bool on_host : {true, false}) {
    OpenOptions options;
    options.device = "cuda";
    options.use_cache = false;
    options.compile.max_sequences = 4;
    auto model = OpenToRun(TestData("stories260K.gguf"), options);
    ASSERT_TRUE(model.ok()) << model.status();
    std::unique_ptr<StepRunner> runner = std::move(model->runner);
    EXPECT_TRUE(runner->samples());
    if (on_host) runner = std::make_unique<SamplesOnHost>(std::move(runner));
    auto engine = Engine::Create(std::move(runner), *model->tokenizer, {});
    ASSERT_TRUE(engine.ok()) << engine.status();
    for (size_t i = 0; i < all.size(); ++i) {
      all[i].max_tokens = 60;
      all[i].sampling.seed = i;
      ASSERT_TRUE((*engine)->Add({1, 403}, all[i]).ok());
    }
    for (bool more = true; more;) {
      const auto step = (*engine)->Step();
      ASSERT_TRUE(step.ok()) << step.status();
      more = *step;
    }
    EXPECT_EQ((*engine)->counters().device_tokens > 0, !on_host);
    for (size_t i = 0; i < all.size(); ++i) {
      const auto result = (*engine)->Take(static_cast<RequestId>(i));
      ASSERT_TRUE(result.ok()) << result.status();
      if (on_host) {
        expected.push_back(*result);
        continue;
      }
      EXPECT_EQ(result->ids, expected[i].ids) << i;
      ASSERT_EQ(result->tokens.size(), expected[i].tokens.size());
      for (size_t t = 0; t < result->tokens.size(); ++t) {
        EXPECT_EQ(result->tokens[t].logprob, expected[i].tokens[t].logprob);
        EXPECT_EQ(result->tokens[t].top, expected[i].tokens[t].top);
      }
    }
  }
}

TEST_F(CudaExecutorTest, RefusesWhatNoKernelMaySee) {
  const auto forward = OpenWith({});
  ASSERT_TRUE(forward.ok()) << forward.status();
  EXPECT_EQ((*forward)->Run({-1}, {0}, nullptr).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ((*forward)->Run({512}, {0}, nullptr).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ((*forward)->Run({1}, {1}, nullptr).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ((*forward)->position(), 0);
  EXPECT_TRUE((*forward)->Run({1}, {0}, nullptr).ok());
}

TEST_F(CudaExecutorTest, SaysWhatDoesNotFit) {
  OpenOptions options;
  options.compile.context = int64_t{1} << 24;  // keys and values of 10 GB each
  options.compile.max_sequences = 64;
  const auto forward = OpenWith({}, options);
  ASSERT_EQ(forward.status().code(), absl::StatusCode::kResourceExhausted) << forward.status();
  EXPECT_THAT(
      std::string(forward.status().message()),
      testing::AllOf(testing::HasSubstr("no memory for keys and values: the plan takes "),
                     testing::HasSubstr(" GB of keys and values"),
                     testing::HasSubstr("tokens a step"), testing::HasSubstr("are free"),
                     testing::HasSubstr("use a smaller context (-c), fewer tokens a step "
                                        "(--max-step), smaller keys and values (--kv-type)")));
  EXPECT_TRUE(OpenWith({}).ok());  // nothing was left behind
}

}  // namespace
}  // namespace renga
