// Every model for every GPU there is a target for, from their headers, by the real NVRTC. Each
// model for two targets and each target with one model as users compile it; the others with steps
// of few tokens, whose kernels are half of all, as more would take minutes; all/ has it all.
// stories260K is compiled for all targets by compile_models_test. Skipped loudly without NVRTC; no
// GPU is needed.
#include <algorithm>

#include "tests/gpu_live/portability.h"

namespace renga {
namespace {

// Steps of single tokens and of a few: the kernels that stream weights.
constexpr int64_t kFewTokens = 8;

const std::vector<ModelOnTarget>& Whole() {
  static const auto& whole = *new std::vector<ModelOnTarget>{
      {"SmolLm2", "sm_86"},    {"SmolLm2", "sm_100a"}, {"QwenCoder", "sm_80"},
      {"QwenCoder", "sm_90a"}, {"Llama8b", "sm_89"},   {"Llama8b", "sm_120a"}};
  return whole;
}

std::vector<ModelOnTarget> Others() {
  std::vector<ModelOnTarget> others;
  for (const std::string model : {"SmolLm2", "QwenCoder", "Llama8b"}) {
    for (const codegen::GpuTarget& target : codegen::GpuTargets()) {
      const std::string name(target.name);
      const bool is_whole = std::any_of(Whole().begin(), Whole().end(), [&](const auto& of) {
        return of.model == model && of.target == name;
      });
      if (!is_whole) others.push_back({model, name, kFewTokens});
    }
  }
  return others;
}

// Where two blocks of gate and up for a few tokens leave a thread too few registers.
INSTANTIATE_TEST_SUITE_P(Spills, PortabilityTest,
                         testing::Values(ModelOnTarget{"f16", "sm_80", kFewTokens, true}),
                         [](const auto& info) { return info.param.Name(); });
INSTANTIATE_TEST_SUITE_P(Whole, PortabilityTest, testing::ValuesIn(Whole()),
                         [](const auto& info) { return info.param.Name(); });
INSTANTIATE_TEST_SUITE_P(Others, PortabilityTest, testing::ValuesIn(Others()),
                         [](const auto& info) { return info.param.Name(); });

}  // namespace
}  // namespace renga
