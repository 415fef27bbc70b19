// What a kernel that does not compile is told by: its name, what it computes, the target, and the
// line: of the header, or of its own source, which `compile --dump-dir` writes under that name.
#include <algorithm>

#include "codegen/lower/build_kernels.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "tests/support/header_plan.h"
#include "tools/nvrtc.h"

namespace renga {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

class CompileErrors : public testing::Test {
 protected:
  void SetUp() override {
    auto nvrtc = LoadNvrtc();
    if (!nvrtc.ok()) GTEST_SKIP() << "NVRTC ABSENT: " << nvrtc.status().message();
    nvrtc_ = *std::move(nvrtc);
    auto plan = LowerHeader(RENGA_SOURCE_DIR "/tests/data/stories260K.gguf", "sm_90a");
    ASSERT_TRUE(plan.ok()) << plan.status();
    plan_ = *std::move(plan);
    // One kernel is enough.
    const auto kernel = std::find_if(
        plan_.gpu.kernels.begin(), plan_.gpu.kernels.end(),
        [](const plan::GpuKernel& k) { return k.source.find("rows.cuh") != std::string::npos; });
    ASSERT_NE(kernel, plan_.gpu.kernels.end());
    plan_.gpu.kernels = {*kernel};
    plan_.steps.clear();
    plan_.gpu.packers.clear();  // which name others
    plan_.gpu.sampler = {};     // likewise
  }
  plan::GpuKernel& kernel() { return plan_.gpu.kernels[0]; }

  std::string ErrorWith(absl::Span<const codegen::DeviceHeader> headers) {
    codegen::BuildOptions options;
    options.settings.headers = headers;
    const auto built = codegen::BuildPlanKernels(*nvrtc_, options, &plan_);
    EXPECT_EQ(built.status().code(), absl::StatusCode::kInvalidArgument) << built.status();
    return std::string(built.status().message());
  }

  std::shared_ptr<const codegen::NvrtcLibrary> nvrtc_;
  plan::Plan plan_;
};

// Number of the line that holds `text`, from 1.
int64_t LineOf(std::string_view in, std::string_view text) {
  const size_t at = in.find(text);
  EXPECT_NE(at, in.npos) << text;
  return std::count(in.begin(), in.begin() + static_cast<int64_t>(std::min(at, in.size())), '\n') +
         1;
}

TEST_F(CompileErrors, InAHeaderPointThere) {
  std::vector<codegen::DeviceHeader> headers(codegen::EmbeddedHeaders().begin(),
                                             codegen::EmbeddedHeaders().end());
  const std::string name = "codegen/kernels/rows.cuh", good = "args.tokens[blockIdx.x]";
  const auto rows = std::find_if(headers.begin(), headers.end(),
                                 [&](const codegen::DeviceHeader& h) { return h.name == name; });
  ASSERT_NE(rows, headers.end());
  std::string text(rows->text);
  const int64_t line = LineOf(text, good);
  text.replace(text.find(good), good.size(), "args.tokenz[blockIdx.x]");
  rows->text = text;
  EXPECT_THAT(ErrorWith(headers),
              AllOf(StartsWith(StrCat("kernel ", kernel().name, " (", kernel().ir, ") for sm_90a")),
                    HasSubstr(" = embed("), HasSubstr(StrCat(name, "(", line, "): error: ")),
                    HasSubstr("\"tokenz\"")));
}

TEST_F(CompileErrors, InTheGeneratedTextPointThere) {
  std::string& source = kernel().source;
  const std::string good = "static constexpr int kVocabulary = ";
  const int64_t line = LineOf(source, good);
  source.replace(source.find(good), good.size(), "static constexpr int kVocabulary = x");
  EXPECT_THAT(ErrorWith(codegen::EmbeddedHeaders()),
              AllOf(StartsWith(StrCat("kernel ", kernel().name, " (", kernel().ir, ") for sm_90a")),
                    HasSubstr(StrCat("\n", kernel().name, ".cu(", line, "): error: "))));
}

// A template that is asked for what it has not: where it stands, and what asked.
TEST_F(CompileErrors, InATemplateNameTheInstantiationToo) {
  std::string& source = kernel().source;
  const std::string good = "kWidth = ";
  source.replace(source.find(good), good.size(), "kWeight = ");
  EXPECT_THAT(ErrorWith(codegen::EmbeddedHeaders()),
              AllOf(HasSubstr("codegen/kernels/rows.cuh("), HasSubstr("kWidth"),
                    HasSubstr(StrCat("at line ", LineOf(source, "Embed<Config>(args)"), " of ",
                                     kernel().name, ".cu"))));
}

}  // namespace
}  // namespace renga
