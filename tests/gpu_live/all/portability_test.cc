// Every model, and a layer of an 8B in every type of weights, for every GPU, by the real NVRTC:
// minutes. See tests/gpu_live/portability_test.cc.
#include "tests/gpu_live/portability.h"
#include "ir/base/mma_layout.h"

namespace renga {
namespace {

std::vector<ModelOnTarget> All() {
  std::vector<ModelOnTarget> all;
  std::vector<std::string> models = {"Stories260K", "SmolLm2", "QwenCoder", "Llama8b"};
  for (uint32_t id = 0; id < 256; ++id) {
    const std::optional<DType> type = DTypeFromGgml(id);
    if (type && HasMmaLayout(*type)) models.emplace_back(Name(*type));
  }
  for (const std::string& model : models) {
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
