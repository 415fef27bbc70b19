// Tokens sampled on the emulated GPU: the same as the host samples from its logits, and what is
// said of them.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "runtime/exec/engine.h"
#include "runtime/exec/sequence_forward.h"
#include "tests/emulator/device/emulator_runner.h"
#include "tests/emulator/device/tests/support.h"
#include "tests/support/late_runner.h"
#include "tests/support/samples_on_host.h"

namespace renga::emulator {
namespace {

class SamplingOnEmulator : public testing::Test {
 protected:
  void SetUp() override {
    renga::CompileOptions options = GpuOptions(72);
    options.max_sequences = 8;
    const auto plan = PlanFor(RENGA_SOURCE_DIR "/tests/data/stories260K.gguf", options);
    ASSERT_TRUE(plan.ok()) << plan.status();
    plan_ = *plan;
    ASSERT_GE(plan_->gpu.sampler.kernel, 0);
    const plan::Plan* const plans[] = {plan_.get()};
    auto kernels = CompilePlans(plans, KernelOptions());
    ASSERT_TRUE(kernels.ok()) << kernels.status();
    kernels_ = *std::move(kernels);
    auto tokenizer = Tokenizer::Create(plan_->tokenizer);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    tokenizer_ = *std::move(tokenizer);
  }

  std::unique_ptr<StepRunner> Device(bool samples) {
    DeviceOptions options;
    options.kernels.push_back(kernels_);
    auto runner = EmulatorRunner::Create(plan_, options);
    EXPECT_TRUE(runner.ok()) << runner.status();
    if (samples) return *std::move(runner);
    return std::make_unique<SamplesOnHost>(*std::move(runner));
  }

  struct Results {
    std::vector<GenerateResult> texts;
    EngineCounters counters;
  };
  using Texts = std::vector<std::pair<std::vector<int32_t>, GenerateOptions>>;
  Results InEngine(bool samples, const Texts& all) { return InEngine(Device(samples), all); }
  Results InEngine(std::unique_ptr<StepRunner> runner, const Texts& all) {
    Results results;
    auto engine = Engine::Create(std::move(runner), *tokenizer_, {});
    EXPECT_TRUE(engine.ok()) << engine.status();
    for (const auto& [prompt, options] : all) {
      EXPECT_TRUE((*engine)->Add(prompt, options).ok());
    }
    for (bool more = true; more;) {
      const auto step = (*engine)->Step();
      EXPECT_TRUE(step.ok()) << step.status();
      more = step.ok() && *step;
    }
    for (size_t i = 0; i < all.size(); ++i) {
      auto result = (*engine)->Take(static_cast<RequestId>(i));
      EXPECT_TRUE(result.ok()) << result.status();
      if (result.ok()) results.texts.push_back(*std::move(result));
    }
    results.counters = (*engine)->counters();
    return results;
  }

  SharedPlan plan_;
  std::shared_ptr<const KernelLibrary> kernels_;
  std::unique_ptr<Tokenizer> tokenizer_;
};

void ExpectSame(const GenerateResult& device, const GenerateResult& host) {
  EXPECT_EQ(device.ids, host.ids);
  EXPECT_EQ(device.prompt_top, host.prompt_top);
  ASSERT_EQ(device.tokens.size(), host.tokens.size());
  for (size_t i = 0; i < host.tokens.size(); ++i) {
    EXPECT_EQ(device.tokens[i].logprob, host.tokens[i].logprob) << i;
    EXPECT_EQ(device.tokens[i].top, host.tokens[i].top) << i;
  }
}

TEST_F(SamplingOnEmulator, ManySequencesHaveTheHostsTokens) {
  std::vector<std::pair<std::vector<int32_t>, GenerateOptions>> all;
  const auto add = [&](SamplingParams sampling) -> GenerateOptions& {
    GenerateOptions options;
    options.sampling = std::move(sampling);
    options.sampling.seed = all.size() + 1;
    options.max_tokens = 4;
    const int32_t id = static_cast<int32_t>(all.size());
    all.push_back({{1, 400 + id, 300, 260 + 3 * id, 270}, options});
    return all.back().second;
  };
  add({});
  add({.temperature = 1.5f, .top_k = 100, .top_p = 1, .min_p = 0, .typical_p = 0.9f});
  add({.temperature = 1, .penalties = {.repeat = 1.5f, .frequency = 0.3f, .presence = 0.2f}})
      .ignore_eos = true;
  add({.temperature = 0}).top_logits = 7;
  add({.temperature = 0.4f, .top_k = 0, .top_p = 0.4f, .min_p = 0}).top_logits = 128;
  GenerateOptions& prompt_too = add({.temperature = 1.2f});
  prompt_too.top_logits = 3;
  prompt_too.prompt_top = true;
  add({.temperature = 0});  // which nobody samples
  const Results device = InEngine(true, all), host = InEngine(false, all);
  ASSERT_EQ(device.texts.size(), host.texts.size());
  for (size_t i = 0; i < all.size(); ++i) {
    SCOPED_TRACE("text " + std::to_string(i));
    ExpectSame(device.texts[i], host.texts[i]);
  }
  EXPECT_EQ(host.counters.device_tokens, 0);
  EXPECT_EQ(host.counters.host_tokens, 24);
  EXPECT_EQ(device.counters.device_tokens, 24);
  EXPECT_EQ(device.counters.host_tokens, 0);
  EXPECT_EQ(device.texts[0].timings.device_tokens, 4);
}

// Where the device does not decide, the host does, and says so.
TEST_F(SamplingOnEmulator, UndecidedRowsAreTheHosts) {
  GenerateOptions all_of_it, many_logits;
  all_of_it.sampling = {.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0, .seed = 3};
  all_of_it.max_tokens = 3;
  many_logits = all_of_it;
  many_logits.sampling = {};
  many_logits.top_logits = 129;
  const std::vector<std::pair<std::vector<int32_t>, GenerateOptions>> all = {
      {{1, 403, 300}, all_of_it}, {{1, 404}, many_logits}};
  const Results device = InEngine(true, all), host = InEngine(false, all);
  for (size_t i = 0; i < all.size(); ++i) ExpectSame(device.texts[i], host.texts[i]);
  EXPECT_EQ(device.counters.device_tokens, 0);
  EXPECT_EQ(device.counters.host_tokens, 6);
}

// Steps are started before the tokens that they go on with have been read, with the random numbers
// of the tokens behind those.
TEST_F(SamplingOnEmulator, StepsAheadHaveTheHostsTokens) {
  Texts all;
  for (const SamplingParams& sampling :
       {SamplingParams{.seed = 5},
        SamplingParams{.temperature = 1.4f, .typical_p = 0.9f, .seed = 6},
        SamplingParams{.temperature = 0.9f, .logit_bias = {{403, 3.0f}}, .seed = 7}}) {
    GenerateOptions options;
    options.sampling = sampling;
    options.max_tokens = 6;
    options.ignore_eos = true;
    all.push_back({{1, 403, static_cast<int32_t>(300 + all.size())}, options});
  }
  all[1].second.top_logits = 3;
  const Results host = InEngine(false, all);
  for (uint32_t seed = 0; seed < 3; ++seed) {
    SCOPED_TRACE(seed);
    const Results device = InEngine(std::make_unique<LateRunner>(Device(true), seed), all);
    ASSERT_EQ(device.texts.size(), host.texts.size());
    for (size_t i = 0; i < all.size(); ++i) ExpectSame(device.texts[i], host.texts[i]);
    EXPECT_GE(device.counters.steps_ahead, 4);
    EXPECT_EQ(device.counters.device_tokens, 18);
  }
}

// What was computed ahead of a row that the device did not decide is dropped, once.
TEST_F(SamplingOnEmulator, UndecidedRowsAreNotGoneAheadOf) {
  GenerateOptions options;
  options.sampling = {.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0, .seed = 3};
  options.max_tokens = 4;
  options.ignore_eos = true;
  const Texts all = {{{1, 403, 300}, options}};
  const Results host = InEngine(false, all);
  const Results device = InEngine(std::make_unique<LateRunner>(Device(true), 1), all);
  ASSERT_EQ(device.texts.size(), 1u);
  ExpectSame(device.texts[0], host.texts[0]);
  EXPECT_EQ(device.counters.host_tokens, 4);
  EXPECT_EQ(device.counters.steps_ahead, 1);
}

TEST_F(SamplingOnEmulator, OneSequenceHasTheHostsTokens) {
  GenerateOptions options;
  options.sampling.penalties.repeat = 1.2f;
  options.max_tokens = 4;
  options.top_logits = 2;
  options.prompt_top = true;
  std::vector<GenerateResult> results;
  for (const bool samples : {true, false}) {
    SequenceForward forward(Device(samples));
    auto result = Generate(forward, *tokenizer_, {1, 403, 300, 290}, options);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->timings.device_tokens, samples ? 4 : 0);
    results.push_back(*std::move(result));
  }
  ExpectSame(results[0], results[1]);
}

}  // namespace
}  // namespace renga::emulator
