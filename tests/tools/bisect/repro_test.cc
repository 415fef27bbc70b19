// Repro folders: a program that g++ alone builds shows the fault, and shows none when there is
// none; the case of tests/ops says the same.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "tests/ir/golden_file.h"
#include "tests/ir/op_case.h"
#include "tests/support/tiny_model.h"
#include "tests/tools/bisect/wrong_fusion.h"
#include "tests/tools/process.h"
#include "tools/compiler.h"
#include "tools/repro/cuda_repro.h"
#include "tools/repro/keep_nodes.h"
#include "tools/repro/write_repro.h"

namespace renga {
namespace {

using testing::HasSubstr;

class ReproTest : public testing::Test {
 protected:
  ReproTest() {
    model_.architecture = "qwen2";
    model_.layers = 2;
    model_.embedding = 24;
    model_.heads = 3;
    model_.head_dim = 8;
    model_.vocab = 23;
    model_.Fill();
  }

  std::shared_ptr<plan::Plan> Plan(CompileOptions options) {
    options.context = 64;
    options.threads = 1;
    auto compiled = Compile(model_.Write(), options);
    EXPECT_TRUE(compiled.ok()) << compiled.status();
    return std::make_shared<plan::Plan>(std::move(compiled->plan));
  }

  std::vector<KeptNode> Keep(const std::shared_ptr<const plan::Plan>& plan,
                             const std::vector<std::string>& nodes) {
    CaptureOptions options;
    options.nodes = nodes;
    options.good_ir = plan->source_ir;
    options.ids = {1, 4, 2, 6, 3, 5};
    options.tokens = 3;
    auto kept = KeepNodes(plan, "", options, folder_.File("repro"), "found by a test", 4);
    EXPECT_TRUE(kept.ok()) << kept.status();
    return kept.ok() ? *std::move(kept) : std::vector<KeptNode>();
  }

  // Builds the program of a folder as its README says, without optimisation for the test's time.
  std::string Build(const std::string& folder) {
    const std::string program = folder + "/program";
    const ProcessResult built =
        RunProcess("/bin/sh", {"-c", "g++ -O0 -std=c++17 -Wall -Wextra -Werror '" + folder +
                                         "/repro.cc' -o '" + program + "'"});
    EXPECT_EQ(built.exit_code, 0) << built.Describe();
    return program;
  }

  // How far the interpreter is from what the folder's case expects.
  static double CaseError(const std::string& folder) {
    const OpCase op_case = ReadCase(ReadTestFile(folder + "/repro.ir"));
    EXPECT_TRUE(op_case.title.starts_with("Tests that "));
    CaseRun run(op_case);
    const auto results = run.Run();
    EXPECT_TRUE(results.ok()) << results.status();
    if (!results.ok()) return std::numeric_limits<double>::quiet_NaN();
    double worst = 0;
    for (const auto& [ref, want] : op_case.expect) {
      const HostTensor& got = results->at(ref);
      EXPECT_EQ(static_cast<size_t>(got.elements()), want.values.size());
      for (size_t k = 0; k < got.f.size(); ++k) {
        worst = std::max(worst, std::abs(got.f[k] - want.values[k]));
      }
    }
    return worst;
  }

  TinyModel model_;
  TempFolder folder_;
};

TEST_F(ReproTest, AWrongFusion) {
  CompileOptions options;
  const std::vector<Pass> pipeline = PipelineWithAWrongFusion();
  options.pipeline = pipeline;
  const std::vector<KeptNode> kept = Keep(Plan(options), {"0.act", "1.act"});
  ASSERT_EQ(kept.size(), 2u);
  EXPECT_EQ(kept[0].folder, "") << "right alone";
  EXPECT_EQ(kept[1].folder, folder_.File("repro"));
  EXPECT_TRUE(kept[1].pass_at_fault);
  EXPECT_THAT(KeptText(kept[1]), HasSubstr("node 1.act (gate_up): a pass is at fault"));
  EXPECT_GT(CaseError(kept[1].folder), 1e-3) << "the fused node does something else";

  const std::string program = Build(kept[1].folder);
  const ProcessResult wrong = RunProcess(program, {kept[1].folder});
  EXPECT_EQ(wrong.exit_code, 1) << wrong.Describe();
  EXPECT_THAT(wrong.out, HasSubstr("formulas and interpreter, %1.act: as expected"));
  EXPECT_THAT(wrong.out, HasSubstr("the device, %1.act: WRONG"));
  EXPECT_THAT(wrong.out, HasSubstr("a pass is at fault"));
  std::filesystem::copy_file(kept[1].folder + "/expected-0.bin", kept[1].folder + "/got-0.bin",
                             std::filesystem::copy_options::overwrite_existing);
  const ProcessResult right = RunProcess(program, {kept[1].folder});
  EXPECT_EQ(right.exit_code, 0) << right.Describe();
}

TEST_F(ReproTest, AWrongKernelOfThreeResults) {
  const auto plan = Plan({});
  for (plan::Step& step : plan->steps) {
    for (plan::Attr& attr : step.attrs) {
      if (step.name == "1.q" && attr.name == "pairing") attr.value = std::string("norm");
    }
  }
  const std::vector<KeptNode> kept = Keep(plan, {"0.k_cells", "0.mix", "1.k_cells"});
  ASSERT_EQ(kept.size(), 3u);
  EXPECT_EQ(kept[0].name, "0.q") << "the step that gives the value";
  EXPECT_EQ(kept[0].folder, "");
  EXPECT_EQ(kept[1].folder, "") << kept[1].error;
  EXPECT_FALSE(kept[2].pass_at_fault);
  const ProcessResult run = RunProcess(Build(kept[2].folder), {kept[2].folder});
  EXPECT_EQ(run.exit_code, 1) << run.Describe();
  EXPECT_THAT(run.out, HasSubstr("the device, %1.q: WRONG"));
  EXPECT_THAT(run.out, HasSubstr("the device, %1.k_cells: WRONG"));
  EXPECT_THAT(run.out, HasSubstr("the device, %1.v_cells: as expected"));
  EXPECT_THAT(run.out, HasSubstr("the kernel is at fault"));
  EXPECT_LT(CaseError(kept[2].folder), 1e-4) << "the interpreter does what is expected";
}

// The same text is for nvcc; g++ runs the kernels thread by thread.
TEST_F(ReproTest, AKernelOfAPlanForGpus) {
  CompileOptions options;
  options.target = "sm_80";
  options.only_lower = true;
  const auto plan = Plan(options);
  CudaReproOptions repro;
  repro.node = "1.act";
  repro.ids = {1, 4, 2};
  const std::string folder = folder_.File("cuda");
  const absl::Status status = WriteCudaRepro(folder, *plan, repro);
  ASSERT_TRUE(status.ok()) << status;
  const ProcessResult built = RunProcess(
      "/bin/sh",
      {"-c", "g++ -O0 -std=c++20 -x c++ '" + folder + "/repro.cu' -o '" + folder + "/program'"});
  ASSERT_EQ(built.exit_code, 0) << built.Describe();
  const ProcessResult right = RunProcess(folder + "/program", {folder});
  EXPECT_EQ(right.exit_code, 0) << right.Describe();
  EXPECT_THAT(right.out, HasSubstr("1.act: as expected"));
  EXPECT_LT(CaseError(folder), 1e-4);
  const std::string program = ReadTestFile(folder + "/repro.cu");
  EXPECT_EQ(program.find("#include \""), std::string::npos) << "it needs no other file";
  EXPECT_THAT(program, HasSubstr("nvcc -O2 -std=c++20 -arch=sm_80 repro.cu"));
  // A kernel that gives something else.
  std::string expected = ReadTestFile(folder + "/expected-0.bin");
  std::fill(expected.begin(), expected.begin() + 4, '\x40');
  std::ofstream(folder + "/expected-0.bin", std::ios::binary) << expected;
  const ProcessResult wrong = RunProcess(folder + "/program", {folder});
  EXPECT_EQ(wrong.exit_code, 1) << wrong.Describe();
  EXPECT_THAT(wrong.out, HasSubstr("1.act: WRONG"));
  repro.node = "no.such";
  EXPECT_TRUE(absl::IsNotFound(WriteCudaRepro(folder, *plan, repro)));
}

TEST_F(ReproTest, AWrongFusionOfAPlanForGpus) {
  CompileOptions options;
  const std::vector<Pass> pipeline = PipelineWithAWrongFusion(GpuPipeline());
  options.pipeline = pipeline;
  options.target = "sm_80";
  options.only_lower = true;
  const auto plan = Plan(options);
  CudaReproOptions repro;
  repro.node = "1.act";
  repro.ids = {1, 4, 2};
  ASSERT_TRUE(WriteCudaRepro(folder_.File("own"), *plan, repro).ok());
  EXPECT_LT(CaseError(folder_.File("own")), 1e-4) << "the kernel's task, as the plan has it";
  repro.good_ir = plan->source_ir;
  ASSERT_TRUE(WriteCudaRepro(folder_.File("good"), *plan, repro).ok());
  EXPECT_GT(CaseError(folder_.File("good")), 1e-3) << "what should have been its task";
}

}  // namespace
}  // namespace renga
