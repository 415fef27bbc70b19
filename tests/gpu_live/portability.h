// A model's kernels compiled for one GPU, from the model's header.
#pragma once

#include <fstream>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "codegen/lower/build_kernels.h"
#include "codegen/nvrtc/target.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "tests/support/header_plan.h"
#include "tests/support/llama_8b.h"
#include "tests/support/real_model.h"
#include "tests/support/temp_folder.h"
#include "tools/nvrtc.h"

namespace renga {

struct ModelOnTarget {
  std::string model, target;
  int64_t step_tokens = 0;  // 0: the default
  bool spills = false;      // whether a kernel is known to want more registers there
  std::string Name() const {
    return StrCat(model, "_", target, step_tokens > 0 ? "_decoding" : "");
  }
  friend std::ostream& operator<<(std::ostream& out, const ModelOnTarget& of) {
    return out << of.Name();
  }
};

class PortabilityTest : public testing::TestWithParam<ModelOnTarget> {
 protected:
  // The model's file: with a hole for weights, or a real one. Empty where it is absent. A type's
  // name is a layer of an 8B.
  std::string ModelPath(const TempFolder& folder) const {
    const std::string& model = GetParam().model;
    if (const std::optional<DType> type = DTypeFromName(model)) {
      return Llama8b::WriteLayer(folder, "layer.gguf", *type);
    }
    if (model == "Llama8b") return Llama8b::Write(folder, "llama-8b.gguf");
    if (model == "Stories260K") return RENGA_SOURCE_DIR "/tests/data/stories260K.gguf";
    const std::string path = model == "SmolLm2" ? SmolLm2() : QwenCoder();
    return std::ifstream(path) ? path : "";
  }
};

TEST_P(PortabilityTest, EveryKernelCompilesWithoutSpills) {
  const auto nvrtc = LoadNvrtc();
  if (!nvrtc.ok()) GTEST_SKIP() << "NVRTC ABSENT: " << nvrtc.status().message();
  const auto target = codegen::FindGpuTarget(GetParam().target);
  ASSERT_TRUE(target.ok()) << target.status();
  if (!(*nvrtc)->Supports(**target)) {
    GTEST_SKIP() << "NVRTC TOO OLD for " << GetParam().target;
  }
  const TempFolder folder;
  const std::string path = ModelPath(folder);
  if (path.empty()) GTEST_SKIP() << "MODEL ABSENT: tools/fetch-models gets it";
  CompileOptions options;
  options.target = GetParam().target;
  if (GetParam().step_tokens > 0) options.max_step_tokens = GetParam().step_tokens;
  absl::StatusOr<plan::Plan> plan = LowerHeader(path, options);
  ASSERT_TRUE(plan.ok()) << plan.status();
  // Spills and too much of anything are errors of it.
  const auto built = codegen::BuildPlanKernels(**nvrtc, {}, &*plan);
  ASSERT_TRUE(built.ok()) << built.status();
  EXPECT_EQ(built->compiled, built->kernels);
  if (GetParam().spills) {
    EXPECT_GT(built->relaxed, 0);
  }
  EXPECT_LE(built->kernels, 60);
  for (const plan::GpuKernel& kernel : plan->gpu.kernels) {
    EXPECT_EQ(kernel.images.size(), 1u) << kernel.name;
  }
  std::cout << built->kernels << " kernels in " << built->seconds << " s\n";
}

}  // namespace renga
