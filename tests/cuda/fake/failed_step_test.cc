// A step that fails or hangs on a GPU, over a driver that runs no kernel: that it is kept with what
// it was given, computed by the interpreter, and run again alone.
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "ir/base/status.h"
#include "ir/text/parse.h"
#include "ir/trace/trace_graph.h"
#include "runtime/exec/sequence_forward.h"
#include "runtime/plan/layout.h"
#include "tests/cuda/biased_model.h"
#include "tests/cuda/fake/fake_gpu.h"
#include "tests/cuda/fake/launch_arguments.h"
#include "tests/runtime/cuda/fake_driver.h"
#include "tools/open_on_cuda.h"
#include "tools/repro/keep_failed_step.h"
#include "tools/repro/kept_step.h"
#include "tools/step_alone.h"

namespace renga {
namespace {

using cuda::FakeDriver;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

std::string ReadFile(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

// Stands in for a kernel: writes what is expected of it.
struct Writing {
  FakeDriver* fake = nullptr;
  std::string kernel;  // part of its name
  size_t offset = 0;   // of the pointer in its arguments
  std::vector<float> values;
};
Writing& TheWriting() {
  static Writing writing;
  return writing;
}
void Write(void* function, const void* arguments, unsigned) {
  const Writing& writing = TheWriting();
  if (writing.fake->NameOf(function).find(writing.kernel) == std::string::npos) return;
  float* to = nullptr;
  std::memcpy(&to, static_cast<const uint8_t*>(arguments) + writing.offset, sizeof(to));
  std::memcpy(to, writing.values.data(), writing.values.size() * sizeof(float));
}

class FailedStep : public testing::Test {
 protected:
  FailedStep() { fake_.SetFresh(0); }

  void Compile(const std::string& gguf, CompileOptions options = {}) {
    options.threads = 1;
    opened_.plan = std::make_shared<const plan::Plan>(FakePlan("sm_90a", options, gguf));
  }

  static absl::StatusOr<CudaDevice> Device() {
    RENGA_ASSIGN_OR_RETURN(const auto driver, cuda::Driver::Load(cuda::FakeFile("fake_driver")));
    RENGA_ASSIGN_OR_RETURN(cuda::ContextRef context, cuda::Context::Open(driver, 0));
    return CudaDevice{std::move(context), "cuda:0 Fake GPU", "sm_90a"};
  }

  absl::StatusOr<std::unique_ptr<StepRunner>> Open() {
    RENGA_ASSIGN_OR_RETURN(const CudaDevice device, Device());
    OpenOptions options;
    options.check_steps = true;
    options.given = &given_;
    options.patience_seconds = 0.03;
    std::optional<int64_t> compiled;
    return OpenOnCuda(opened_, device, 1, options, &compiled);
  }

  absl::StatusOr<KeptFailure> Keep() {
    return KeepFailedStep(given_, folder_.File("kept"), {.found = "found by a test"});
  }

  FakeDriver fake_;
  OpenedPlan opened_;
  GivenSteps given_;
  TempFolder folder_;
};

TEST_F(FailedStep, HangsAndIsKeptWithWhatItWasGiven) {
  Compile(StoryModel());
  {
    auto runner = Open();
    ASSERT_TRUE(runner.ok()) << runner.status();
    SequenceForward forward(*std::move(runner));
    ASSERT_TRUE(forward.Run({1, 403, 407}, {2}, nullptr).ok());
    EXPECT_EQ(given_.failed_step, -1);
    fake_.HangKernel("gate_up");
    const absl::Status hung = forward.Run({261}, {0}, nullptr);
    EXPECT_TRUE(absl::IsUnavailable(hung)) << hung;
    EXPECT_THAT(std::string(hung.message()), HasSubstr("(0.act), T = 1: Fake GPU: it has not"));
  }
  ASSERT_GE(given_.failed_step, 0);
  EXPECT_EQ(opened_.plan->steps[static_cast<size_t>(given_.failed_step)].name, "0.act");
  const auto kept = Keep();
  ASSERT_TRUE(kept.ok()) << kept.status();
  EXPECT_EQ(kept->node, "0.act");
  EXPECT_EQ(kept->without, "");
  EXPECT_THAT(ReadFile(folder_.File("kept/README.txt")),
              AllOf(HasSubstr("found by a test"), HasSubstr("renga bisect"), HasSubstr("--alone")));
  EXPECT_TRUE(std::filesystem::exists(folder_.File("kept/repro.cu")));
  // The plan was in no file.
  ASSERT_FALSE(kept->alone.empty());
  EXPECT_EQ(kept->alone[0], folder_.File("kept/step.plan"));
  EXPECT_TRUE(plan::LoadPlan(kept->alone[0]).ok());

  // The same by another way: the whole text at once.
  const auto step = ReadKeptStep(folder_.File("kept"));
  ASSERT_TRUE(step.ok()) << step.status();
  EXPECT_THAT(step->run.tokens, ElementsAre(261));
  EXPECT_THAT(step->run.positions, ElementsAre(3));
  ASSERT_EQ(step->reads.size(), 1u);
  ASSERT_EQ(step->expected.size(), 1u);
  auto graph = Parse(opened_.plan->ir, "the plan");
  ASSERT_TRUE(graph.ok()) << graph.status();
  RemovePacking(*graph);
  const auto weights = PlanWeights::Open(opened_.plan, "", 1);
  ASSERT_TRUE(weights.ok()) << weights.status();
  TraceGraphOptions options;
  options.ids = {1, 403, 407, 261};
  options.threads = 1;
  const auto trace = TraceGraph(*graph, (*weights)->bytes(), options);
  ASSERT_TRUE(trace.ok()) << trace.status();
  for (const KeptStep::Tensor& tensor : {step->reads[0], step->expected[0]}) {
    const TracedValue* const whole = trace->Find(tensor.name);
    ASSERT_NE(whole, nullptr) << tensor.name;
    const std::vector<float> rows = AsFloats(*whole);
    const size_t width = tensor.tensor.f.size();
    ASSERT_EQ(rows.size(), 4 * width);
    for (size_t k = 0; k < width; ++k) {
      // Sums over the same numbers in another grouping, in double.
      EXPECT_NEAR(tensor.tensor.f[k], rows[3 * width + k], 1e-6 * (1 + std::abs(rows[k])));
    }
  }
}

TEST_F(FailedStep, AloneItFailsOrNot) {
  Compile(StoryModel());
  {
    auto runner = Open();
    ASSERT_TRUE(runner.ok()) << runner.status();
    SequenceForward forward(*std::move(runner));
    fake_.FailKernel("gate_up", 700);
    EXPECT_TRUE(absl::IsUnavailable(forward.Run({1, 403}, {1}, nullptr)));
  }
  ASSERT_TRUE(Keep().ok());
  const auto step = ReadKeptStep(folder_.File("kept"));
  ASSERT_TRUE(step.ok()) << step.status();
  const auto alone = [&](const std::function<void(FakeDriver&)>& prepare) {
    FakeDriver fresh;  // resets
    fresh.SetFresh(0);
    prepare(fresh);
    const auto device = Device();
    EXPECT_TRUE(device.ok()) << device.status();
    return RunStepAlone(opened_, *device, *step, {.patience_seconds = 0.03});
  };
  const auto fails = alone([](FakeDriver& fake) { fake.FailKernel("gate_up", 700); });
  EXPECT_TRUE(absl::IsUnavailable(fails.status())) << fails.status();
  EXPECT_THAT(std::string(fails.status().message()), HasSubstr("(0.act), T = 2: "));
  const auto hangs = alone([](FakeDriver& fake) { fake.HangKernel("gate_up"); });
  EXPECT_THAT(std::string(hangs.status().message()), HasSubstr("has not ended after 0.03 s"));

  const auto nothing = alone([](FakeDriver&) {});
  ASSERT_TRUE(nothing.ok()) << nothing.status();
  EXPECT_FALSE(nothing->right());

  int launched = 0;
  const auto right = alone([&](FakeDriver& fake) {
    launched = fake.launches();
    TheWriting() = {&fake, "gate_up", 0, step->expected[0].tensor.f};
    for (const auto& [kernel, arguments] : BufferArguments(*opened_.plan)) {
      if (kernel.find("gate_up") == std::string::npos) continue;
      for (const BufferArgument& argument : arguments) {
        if (argument.buffer.ends_with(".act")) TheWriting().offset = argument.offset;
      }
    }
    fake.OnLaunch(Write, plan::kMaxArgumentBytes);
  });
  ASSERT_TRUE(right.ok()) << right.status();
  ASSERT_EQ(right->values.size(), 1u);
  EXPECT_EQ(right->values[0].error, 0);
  EXPECT_TRUE(right->right());
}

// Two sequences that share a beginning, in pages that one of them got by a copy.
TEST_F(FailedStep, OfManySequences) {
  CompileOptions options;
  options.max_sequences = 2;
  options.context = 64;
  options.page_tokens = 16;
  Compile(StoryModel(), options);
  const auto inputs_of = [](const GivenRun& run) { return run.inputs(); };
  {
    auto runner = Open();
    ASSERT_TRUE(runner.ok()) << runner.status();
    GivenRun first{{1, 403, 407}, {0, 1, 2}, {0, 0, 0}, {0, 1, 2}, {0}, {2}};
    ASSERT_TRUE((*runner)->Run(inputs_of(first)).ok());
    ASSERT_TRUE((*runner)->CopyPages({{.from = 0, .to = 2}}).ok());
    fake_.FailKernel("attention", 700);
    GivenRun second{{261, 378}, {3, 3}, {0, 1}, {3, 35}, {0, 2}, {0, 1}};
    second.sequence_count = 2;
    EXPECT_TRUE(absl::IsUnavailable((*runner)->Run(inputs_of(second))));
  }
  const auto kept = Keep();
  ASSERT_TRUE(kept.ok()) << kept.status();
  EXPECT_EQ(kept->node, "0.mix");
  const auto step = ReadKeptStep(folder_.File("kept"));
  ASSERT_TRUE(step.ok()) << step.status();
  EXPECT_EQ(step->run.sequence_count, 2);
  for (const KeptStep::Tensor& read : step->reads) {
    if (!read.name.ends_with("_cells")) continue;
    const HostTensor& cells = read.tensor;
    EXPECT_EQ(cells.shape[0], 48) << "up to the last page that is known";
    const int64_t width = cells.elements() / cells.shape[0];
    for (int64_t k = 0; k < 3 * width; ++k) EXPECT_EQ(cells.f[k], cells.f[32 * width + k]);
    EXPECT_NE(cells.f[3 * width], cells.f[35 * width]);
    EXPECT_NE(cells.f[0], 0);
  }
}

// What is kept is a program that runs the step's kernels, here thread by thread: on caches in
// blocks, whose scales lie apart, and of eight bits; of two sequences, behind what a run before has
// put there.
struct ProgramCase {
  const char *kernel, *result;
  DType k_type, v_type;
};
void PrintTo(const ProgramCase& one, std::ostream* os) { *os << one.kernel; }

class FailedStepProgram : public FailedStep, public testing::WithParamInterface<ProgramCase> {};

TEST_P(FailedStepProgram, GivesWhatTheInterpreterGives) {
  TinyModel model = BiasedModel();
  CompileOptions options;
  options.k_type = GetParam().k_type;
  options.v_type = GetParam().v_type;
  options.max_sequences = 2;
  options.context = 64;
  options.page_tokens = 16;
  Compile(model.Write(), options);
  ASSERT_GT(plan::SymbolMax(*opened_.plan, "P", 0), 1) << "tables are wider than these";
  {
    auto runner = Open();
    ASSERT_TRUE(runner.ok()) << runner.status();
    const GivenRun first{{1, 4, 2}, {0, 1, 2}, {0, 0, 0}, {16, 17, 18}, {1}, {2}};
    ASSERT_TRUE((*runner)->Run(first.inputs()).ok());
    fake_.FailKernel(GetParam().kernel, 700);
    GivenRun second{{3, 5, 6}, {3, 0, 1}, {0, 1, 1}, {19, 0, 1}, {1, 0}, {0, 2}};
    second.sequence_count = 2;
    EXPECT_TRUE(absl::IsUnavailable((*runner)->Run(second.inputs())));
  }
  const auto kept = Keep();
  ASSERT_TRUE(kept.ok()) << kept.status();
  const std::string folder = folder_.File("kept");
  const ProcessResult built =
      RunProcess("/bin/sh", {"-c", StrCat("g++ -O0 -std=c++20 -x c++ '", folder, "/repro.cu' -o '",
                                          folder, "/program'")});
  ASSERT_EQ(built.exit_code, 0) << built.Describe();
  const ProcessResult ran = RunProcess(folder + "/program", {folder});
  EXPECT_EQ(ran.exit_code, 0) << ran.Describe();
  EXPECT_THAT(ran.out, HasSubstr(StrCat(GetParam().result, ": as expected")));
}

INSTANTIATE_TEST_SUITE_P(
    All, FailedStepProgram,
    testing::Values(ProgramCase{"attention", "0.mix", DType::kQ8_0, DType::kQ4_0},
                    ProgramCase{"qkv_rope", "0.k_cache", DType::kQ4_0, DType::kF8_E4M3},
                    ProgramCase{"qkv_rope", "0.v_cache", DType::kF8_E4M3, DType::kQ8_0}));

// Only the driver makes tensor maps, so there is no program without it; alone the step runs.
TEST_F(FailedStep, OfLaunchesWithTensorMaps) {
  Compile(WgmmaModel());
  const std::vector<int32_t> tokens(70, 1);
  std::string kernel;  // with a map
  for (const plan::Step& step : opened_.plan->steps) {
    for (const plan::Variant& variant : step.variants) {
      for (const plan::Launch& launch : variant.launches) {
        for (const plan::Arg& arg : launch.args) {
          if (step.name != "0.act" || arg.kind != plan::ArgKind::kTensorMap) continue;
          kernel = opened_.plan->gpu.kernels[static_cast<size_t>(launch.kernel)].name;
        }
      }
    }
  }
  ASSERT_NE(kernel, "");
  {
    auto runner = Open();
    ASSERT_TRUE(runner.ok()) << runner.status();
    SequenceForward forward(*std::move(runner));
    fake_.FailKernel(kernel.c_str(), 700);
    EXPECT_TRUE(absl::IsUnavailable(forward.Run(tokens, {69}, nullptr)));
  }
  const auto kept = Keep();
  ASSERT_TRUE(kept.ok()) << kept.status();
  EXPECT_EQ(kept->node, "0.act");
  EXPECT_THAT(kept->without, HasSubstr("tensor map"));
  EXPECT_FALSE(std::filesystem::exists(folder_.File("kept/repro.cu")));
  EXPECT_THAT(ReadFile(folder_.File("kept/README.txt")), HasSubstr("--alone"));
  FakeDriver fresh;  // resets
  const auto device = Device();
  ASSERT_TRUE(device.ok()) << device.status();
  const auto step = ReadKeptStep(folder_.File("kept"));
  ASSERT_TRUE(step.ok()) << step.status();
  const auto alone = RunStepAlone(opened_, *device, *step, {});
  ASSERT_TRUE(alone.ok()) << alone.status();
  EXPECT_GT(fresh.Count("cuTensorMapEncodeTiled"), 0);
}

TEST_F(FailedStep, WhatCameFromAFileIsNotKnown) {
  Compile(StoryModel());
  {
    auto runner = Open();
    ASSERT_TRUE(runner.ok()) << runner.status();
    std::string page;
    ASSERT_TRUE((*runner)->ReadPage(0, 0, &page).ok());
    ASSERT_TRUE((*runner)->WritePage(0, 0, page).ok());
    fake_.FailKernel("gate_up", 700);
    const GivenRun run{{261}, {3}, {0}, {3}, {0}, {0}};
    EXPECT_TRUE(absl::IsUnavailable((*runner)->Run(run.inputs())));
  }
  const absl::Status kept = Keep().status();
  EXPECT_TRUE(absl::IsFailedPrecondition(kept)) << kept;
  EXPECT_THAT(std::string(kept.message()), HasSubstr("run without --prompt-cache"));
}

TEST_F(FailedStep, AFolderOfSomethingElse) {
  EXPECT_FALSE(ReadKeptStep(folder_.File("none")).ok());
  Compile(StoryModel());
  auto graph = Parse(opened_.plan->ir, "the plan");
  ASSERT_TRUE(graph.ok()) << graph.status();
  const auto device = Device();
  ASSERT_TRUE(device.ok()) << device.status();
  KeptStep step;
  step.run = {{1}, {0}, {0}, {0}, {0}, {0}};
  step.expected.push_back({"no.such", {}});
  const absl::Status refused = RunStepAlone(opened_, *device, step, {}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("expected a step that gives no.such"));
}

class FailedStepVerb : public testing::Test {
 protected:
  std::vector<std::string> Args(std::vector<std::string> more) const {
    std::vector<std::string> args = {"run", plan_, "--device", "cuda",   "--ids", "1,403,407", "-n",
                                     "9",   "-t",  "1",        "--temp", "0",     "--json"};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }

  TempFolder folder_;
  const std::string plan_ = WritePlan(folder_.File("x.plan"), FakePlan("sm_90a"));
  const std::string kept_ = folder_.File("kept");
};

TEST_F(FailedStepVerb, FailsAloneToo) {
  for (const char* check : {"--check-steps", "--check"}) {
    // Under --check kernels that write nothing are found before any fails.
    const std::string kernel = std::string(check) == "--check" ? "embed" : "gate_up";
    const ProcessOptions machine = OnFake({{"FAKE_FAIL_KERNEL", kernel}});
    const ProcessResult failed = Renga(Args({check, "--repro", kept_}), machine);
    EXPECT_TRUE(failed.IsCleanError(3)) << failed.Describe();
    EXPECT_THAT(failed.err, HasSubstr("), T = 3: "));
    EXPECT_THAT(failed.err, HasSubstr("\n  kept in " + kept_));
    EXPECT_THAT(failed.err, HasSubstr("\n  fails alone too: step "));
    EXPECT_TRUE(std::filesystem::exists(kept_ + "/repro.cu"));
    // As a user runs it again.
    const ProcessResult again =
        Renga({"bisect", plan_, "--bad", "--device cuda:0", "--alone", kept_, "-t", "1"}, machine);
    EXPECT_TRUE(again.IsCleanError(3)) << again.Describe();
    std::filesystem::remove_all(kept_);
  }
}

TEST_F(FailedStepVerb, DoesNotFailAlone) {
  const std::string report = folder_.File("report");
  const ProcessResult whole = Renga(Args({"--check-steps"}), OnFake({{"FAKE_REPORT", report}}));
  ASSERT_EQ(whole.exit_code, 0) << whole.Describe();
  // So late that a process that launches one step has not as many calls.
  const FakeReport calls = FakeReport::Read(report);
  size_t call = calls.trace.size() * 9 / 10;
  while (call > 0 && calls.trace[call - 1] != "cuStreamQuery") --call;
  const ProcessResult failed =
      Renga(Args({"--check-steps", "--repro", kept_}), OnFake({{"FAKE_FAIL_AT", StrCat(call)}}));
  EXPECT_TRUE(failed.IsCleanError(3)) << failed.Describe();
  EXPECT_THAT(failed.err, HasSubstr("cuStreamQuery fails"));
  EXPECT_THAT(failed.err, HasSubstr("\n  does not fail alone, but gives something else: step "));
  const ProcessResult again = Renga(
      {"bisect", plan_, "--bad", "--device cuda", "--alone", kept_, "-t", "1", "--json"}, OnFake());
  EXPECT_EQ(again.exit_code, 1) << again.Describe();
  const nlohmann::json json = nlohmann::json::parse(again.out);
  EXPECT_EQ(json["right"], false);
  EXPECT_THAT(json["values"], Not(IsEmpty()));
}

TEST_F(FailedStepVerb, WhatCannotBeRunAlone) {
  const ProcessResult nothing =
      Renga({"bisect", plan_, "--bad", "--device cuda", "--alone", kept_}, OnFake());
  EXPECT_TRUE(nothing.IsCleanError(2)) << nothing.Describe();
  const ProcessResult cpu = Renga({"bisect", plan_, "--alone", kept_}, OnFake());
  EXPECT_TRUE(cpu.IsCleanError(2)) << cpu.Describe();
  EXPECT_THAT(cpu.err, HasSubstr("expected --bad \"--device cuda\""));
}

}  // namespace
}  // namespace renga
