// Models for every GPU there is a target for, from their headers, by the real NVRTC: each model for
// two targets and each target with two models, as more would take minutes; all/ has the rest.
// Skipped loudly without NVRTC; no GPU is needed.
#include "tests/gpu_live/portability.h"

namespace renga {
namespace {

INSTANTIATE_TEST_SUITE_P(
    Some, PortabilityTest,
    testing::Values(ModelOnTarget{"SmolLm2", "sm_86"}, ModelOnTarget{"SmolLm2", "sm_100a"},
                    ModelOnTarget{"QwenCoder", "sm_80"}, ModelOnTarget{"QwenCoder", "sm_90a"},
                    ModelOnTarget{"Llama8b", "sm_89"}, ModelOnTarget{"Llama8b", "sm_120a"}),
    [](const auto& info) { return info.param.Name(); });

}  // namespace
}  // namespace renga
