// Kernels that read and write caches in q8_0, q4_0 and f8_e4m3, for heads of 128 and of 32, and
// such that add the bias of keys, by the real NVRTC.
#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "codegen/nvrtc/build.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "runtime/plan/launch.h"
#include "tests/support/header_plan.h"
#include "tests/support/llama_8b.h"
#include "tests/support/tiny_record.h"
#include "tools/nvrtc.h"

namespace renga {
namespace {

constexpr std::string_view kElements[] = {"Q8", "Q4", "E4m3"};

TEST(QuantisedCaches, KernelsCompileWithoutSpills) {
  const auto nvrtc = LoadNvrtc();
  if (!nvrtc.ok()) GTEST_SKIP() << "NVRTC ABSENT: " << nvrtc.status().message();
  const TempFolder folder;
  struct Case {
    std::string model, target;
    DType k_type, v_type;
  };
  const std::string large = Llama8b::Write(folder, "llama-8b.gguf");
  const std::string biased = Llama8b::Write(folder, "qwen2-8b.gguf", "qwen2");
  for (const Case& c :
       {Case{large, "sm_80", DType::kQ8_0, DType::kQ8_0},
        Case{large, "sm_90a", DType::kQ8_0, DType::kF16},
        Case{biased, "sm_86", DType::kQ8_0, DType::kQ4_0},
        Case{biased, "sm_120a", DType::kQ4_0, DType::kF16},
        Case{large, "sm_80", DType::kF8_E4M3, DType::kF8_E4M3},
        Case{biased, "sm_120a", DType::kF8_E4M3, DType::kF8_E4M3},
        Case{TinyRecord::Read("llama-Q4_K_M").path, "sm_90a", DType::kF32, DType::kQ8_0}}) {
    SCOPED_TRACE(StrCat(c.model, " ", c.target));
    CompileOptions options;
    options.target = c.target;
    options.k_type = c.k_type;
    options.v_type = c.v_type;
    absl::StatusOr<plan::Plan> plan = LowerHeader(c.model, options);
    ASSERT_TRUE(plan.ok()) << plan.status();
    const codegen::GpuTarget* target = *codegen::FindGpuTarget(c.target);
    const std::vector<int64_t> shared = plan::MaxDynamicShared(*plan);
    std::vector<codegen::KernelRequest> requests;
    for (size_t i = 0; i < plan->gpu.kernels.size(); ++i) {
      const plan::GpuKernel& kernel = plan->gpu.kernels[i];
      // The others do not depend on the caches.
      const bool reads =
          std::any_of(std::begin(kElements), std::end(kElements), [&](std::string_view element) {
            return kernel.source.find(StrCat(" = ", element, ";")) != std::string::npos;
          });
      if (!reads) continue;
      requests.push_back({{.name = kernel.name,
                           .context = kernel.ir,
                           .text = kernel.source,
                           .threads = kernel.threads,
                           .dynamic_shared = shared[i]},
                          target});
    }
    EXPECT_GE(requests.size(), 4u);  // attention twice, qkv_rope, kv_append
    const auto built = codegen::BuildKernels(**nvrtc, requests, {});
    EXPECT_TRUE(built.ok()) << built.status();
  }
}

}  // namespace
}  // namespace renga
