// Every model for every GPU, by the real NVRTC: minutes. See tests/gpu_live/portability_test.cc.
#include "tests/gpu_live/portability.h"

namespace renga {
namespace {

std::vector<ModelOnTarget> All() {
  std::vector<ModelOnTarget> all;
  for (const std::string model : {"Stories260K", "SmolLm2", "QwenCoder", "Llama8b"}) {
    for (const codegen::GpuTarget& target : codegen::GpuTargets()) {
      all.push_back({model, std::string(target.name)});
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(All, PortabilityTest, testing::ValuesIn(All()),
                         [](const auto& info) { return info.param.Name(); });

}  // namespace
}  // namespace renga
