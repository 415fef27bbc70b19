// A GPU's steps one by one, on a driver that runs no kernel: that hooks come around each of them,
// and that values are read and written where kernels would. For that the interpreter computes every
// step into the stand-in's memory, and verify finds all of them right.
#include "tools/step_devices.h"

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "tests/cuda/biased_model.h"
#include "tests/cuda/fake/fake_gpu.h"
#include "tests/cuda/hooked_device.h"
#include "tests/runtime/cuda/fake_driver.h"
#include "tests/support/test_data.h"
#include "tools/file_weights.h"
#include "tools/interpreted_steps.h"
#include "tools/verify_steps.h"

namespace renga {
namespace {

using cuda::FakeDriver;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class FakeSteps : public testing::Test {
 protected:
  FakeSteps() { fake_.SetFresh(0xff); }

  void Compile(const std::string& gguf, DType k_type = DType::kF16, DType v_type = DType::kF16) {
    CompileOptions options;
    options.context = 96;
    options.max_sequences = 3;
    options.max_step_tokens = 96;
    options.max_rows = 16;
    options.k_type = k_type;
    options.v_type = v_type;
    opened_.plan = std::make_shared<const plan::Plan>(FakePlan("sm_90a", options, gguf));
    WeightOptions weights;
    weights.packed = false;
    absl::StatusOr<WeightStore> store = WeightStore::Open(*opened_.plan, weights);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }

  absl::StatusOr<OpenedCudaDevice> Open() {
    RENGA_ASSIGN_OR_RETURN(const auto driver, cuda::Driver::Load(cuda::FakeFile("fake_driver")));
    RENGA_ASSIGN_OR_RETURN(cuda::ContextRef context, cuda::Context::Open(driver, 0));
    return OpenCudaSteps(opened_, {std::move(context), "cuda:0 Fake GPU", "sm_90a"}, 1);
  }

  // Whose steps the interpreter computes; `after` comes behind each.
  absl::StatusOr<std::unique_ptr<StepRecorder>> Interpreted(
      std::function<absl::Status(int step, const StepMemory& memory)> after = nullptr) {
    RENGA_ASSIGN_OR_RETURN(OpenedCudaDevice device, Open());
    const StepMemory* const memory = &device.device->memory();
    RENGA_ASSIGN_OR_RETURN(
        std::shared_ptr<const InterpretedSteps> steps,
        InterpretedSteps::Create(opened_,
                                 std::shared_ptr<const StepMemory>(std::shared_ptr<void>(), memory),
                                 nullptr, 1));
    StepHooks hooks;
    hooks.before = [steps](int step) -> absl::StatusOr<bool> {
      RENGA_RETURN_IF_ERROR(steps->Compute(step));
      return true;
    };
    if (after) hooks.after = [=](int step) { return after(step, *memory); };
    return StepRecorder::Create(
        std::make_unique<HookedDevice>(std::move(device.device), std::move(hooks)), {});
  }

  absl::StatusOr<StepsVerdict> Verify(StepRecorder& recorder, bool quick = false) const {
    VerifyStepsOptions options{{1, 10, 7, 5, 9, 3, 8}, {}, quick, {}};
    options.nodes.threads = 1;
    return VerifySteps(recorder, FileWeights(*opened_.plan, store_), options);
  }

  static std::vector<std::string> Names(const Verdict& verdict) {
    std::vector<std::string> names;
    for (const BadValue& bad : verdict.bad) names.push_back(bad.name);
    return names;
  }

  FakeDriver fake_;
  OpenedPlan opened_;
  WeightStore store_;
};

TEST_F(FakeSteps, ValuesAreReadAndWrittenWhereKernelsWould) {
  struct Case {
    std::string gguf;
    DType k_type, v_type;
    bool wgmma = false;
  };
  TinyModel biased = BiasedModel();
  for (const Case& c : {Case{StoryModel(), DType::kF16, DType::kF16},
                        Case{biased.Write(), DType::kQ8_0, DType::kQ4_0},
                        Case{TestData("tiny/llama-moe.gguf"), DType::kF32, DType::kBF16},
                        Case{WgmmaModel(), DType::kF16, DType::kF16, true}}) {
    SCOPED_TRACE(c.gguf);
    FakeDriver fresh;  // resets
    fresh.SetFresh(0xff);
    Compile(c.gguf, c.k_type, c.v_type);
    const auto recorder = Interpreted();
    ASSERT_TRUE(recorder.ok()) << recorder.status();
    const int launches = fresh.launches();
    const auto verdict = Verify(**recorder);
    ASSERT_TRUE(verdict.ok()) << verdict.status();
    EXPECT_EQ(fresh.launches(), launches) << "no kernel of a step ran";
    EXPECT_THAT(Names(verdict->nodes), IsEmpty());
    EXPECT_THAT(verdict->nodes.skipped, IsEmpty());
    // The interpreter against itself: what numbers are rounded to is stored as it is.
    EXPECT_LT(verdict->nodes.worst_share, 1e-3) << verdict->nodes.worst;
    // One more for each range of tokens that takes kernels of its own.
    std::vector<std::string> more(verdict->steps.begin() + 3, verdict->steps.end());
    std::vector<std::string> expected = {"22 tokens from an empty cache"};
    if (c.wgmma) expected.push_back("70 tokens from an empty cache");
    EXPECT_EQ(more, expected);
    EXPECT_THAT(verdict->not_run, IsEmpty());
    EXPECT_GT(verdict->nodes.values, 3 * static_cast<int64_t>(opened_.plan->steps.size()));
  }
  EXPECT_EQ(fake_.live(), 0);
}

TEST_F(FakeSteps, AStepThatIsWrongIsNamed) {
  Compile(StoryModel());
  const int wrong = StepOf(*opened_.plan, "2.act");
  ASSERT_GE(wrong, 0);
  const auto recorder = Interpreted([wrong](int step, const StepMemory& memory) -> absl::Status {
    return step == wrong ? ScaleResult(memory, step, 1.01f) : absl::OkStatus();
  });
  ASSERT_TRUE(recorder.ok()) << recorder.status();
  const auto verdict = Verify(**recorder);
  ASSERT_TRUE(verdict.ok()) << verdict.status();
  EXPECT_THAT(Names(verdict->nodes), ElementsAre("2.act"));
  ASSERT_FALSE(verdict->nodes.bad.empty());
  EXPECT_EQ(verdict->nodes.bad[0].kind, "scaled");
  EXPECT_THAT(verdict->nodes.bad[0].steps, testing::SizeIs(4));
}

// What a driver that packs nothing has in the weights' place.
TEST_F(FakeSteps, WeightsThatDidNotArriveAreListed) {
  Compile(StoryModel());
  const auto device = Open();
  ASSERT_TRUE(device.ok()) << device.status();
  size_t packed = 0;
  for (const plan::Weight& weight : opened_.plan->weights) packed += !weight.layout.empty();
  EXPECT_THAT(device->differences, testing::SizeIs(packed));
  for (const cuda::WeightDifference& difference : device->differences) {
    EXPECT_FALSE(opened_.plan->weights[static_cast<size_t>(difference.index)].layout.empty());
    EXPECT_THAT(std::string(difference.wrong.message()), HasSubstr("on the GPU"));
  }
}

TEST_F(FakeSteps, HooksComeAroundEachStepAndMayEndARun) {
  Compile(StoryModel());
  auto device = Open();
  ASSERT_TRUE(device.ok()) << device.status();
  const std::vector<int32_t> tokens = {1, 5}, positions = {0, 1}, zeros = {0, 0}, cells = {0, 1},
                             pages = {0}, rows = {1};
  StepInputs inputs;
  inputs.tokens = tokens;
  inputs.positions = positions;
  inputs.sequences = zeros;
  inputs.cells = cells;
  inputs.pages = pages;
  std::vector<std::string> seen;
  const StepHooks hooks = {.before = [&](int step) -> absl::StatusOr<bool> {
                             seen.push_back(StrCat("before ", step));
                             return step % 2 == 0;
                           },
                           .after =
                               [&](int step) {
                                 seen.push_back(StrCat("after ", step));
                                 return absl::OkStatus();
                               }};
  const auto launches_of = [&](bool odd_alone) {
    int launches = 0;
    std::vector<int64_t> sizes(device->device->memory().sizes().begin(),
                               device->device->memory().sizes().end());
    for (size_t i = 0; i < opened_.plan->steps.size(); ++i) {
      if (odd_alone && i % 2 == 0) continue;
      const plan::Variant* variant = plan::ChooseVariant(opened_.plan->steps[i], sizes);
      if (variant != nullptr) launches += static_cast<int>(variant->launches.size());
    }
    return launches;
  };
  // Without rows the last steps have nothing to do, and nobody is asked about them.
  for (const bool with_rows : {true, false}) {
    seen.clear();
    inputs.rows = with_rows ? absl::MakeConstSpan(rows) : absl::Span<const int32_t>();
    const int before = fake_.launches();
    ASSERT_TRUE(device->device->Run(inputs, hooks).ok());
    EXPECT_EQ(fake_.launches() - before, launches_of(true));
    size_t steps = 0;
    for (const plan::Step& step : opened_.plan->steps) {
      steps += plan::ChooseVariant(step, device->device->memory().sizes()) != nullptr;
    }
    EXPECT_EQ(steps == opened_.plan->steps.size(), with_rows);
    ASSERT_EQ(seen.size(), 2 * steps) << testing::PrintToString(seen);
    for (size_t i = 0; i < seen.size(); ++i) {
      EXPECT_EQ(seen[i], StrCat(i % 2 == 0 ? "before " : "after ", i / 2));
    }
  }
  // An error of theirs is the run's, and the GPU is as good as before.
  const absl::Status own = absl::CancelledError("enough");
  EXPECT_EQ(device->device->Run(inputs, {.before = nullptr, .after = [&](int) { return own; }}),
            own);
  EXPECT_EQ(device->device->Run(inputs, {.before = [&](int) { return own; }, .after = nullptr}),
            own);
  EXPECT_TRUE(device->device->Run(inputs, {}).ok());
}

TEST_F(FakeSteps, HooksNeedAnExecutorThatWaits) {
  Compile(StoryModel());
  const auto driver = cuda::Driver::Load(cuda::FakeFile("fake_driver"));
  ASSERT_TRUE(driver.ok()) << driver.status();
  const auto context = cuda::Context::Open(*driver, 0);
  ASSERT_TRUE(context.ok()) << context.status();
  const auto executor = CudaExecutor::Create(opened_.plan, *context, {});
  ASSERT_TRUE(executor.ok()) << executor.status();
  EXPECT_EQ((*executor)->SetHooks({}).code(), absl::StatusCode::kFailedPrecondition);
  uint8_t byte = 0;
  const uint64_t bytes = opened_.plan->buffers[0].bytes;
  EXPECT_TRUE((*executor)->Read(0, bytes - 1, absl::MakeSpan(&byte, 1)).ok());
  EXPECT_EQ((*executor)->Read(0, bytes, absl::MakeSpan(&byte, 1)).code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_EQ((*executor)->Read(-1, 0, absl::MakeSpan(&byte, 1)).code(),
            absl::StatusCode::kOutOfRange);
}

// Any call of a recorded step: Unavailable, naming it, and nothing is left behind.
TEST_F(FakeSteps, ACallThatFails) {
  Compile(StoryModel());
  int begun = 0, calls = 0;
  {
    const auto recorder = Interpreted();
    ASSERT_TRUE(recorder.ok()) << recorder.status();
    begun = fake_.calls();
    ASSERT_TRUE(Verify(**recorder, /*quick=*/true).ok());
    calls = fake_.calls() - begun;
  }
  ASSERT_GT(calls, 200);
  int reads = 0;
  for (int call = 1; call <= calls; call += calls / 8) {
    FakeDriver fresh;  // resets
    fresh.SetFresh(0xff);
    {
      const auto recorder = Interpreted();
      ASSERT_TRUE(recorder.ok()) << recorder.status();
      ASSERT_EQ(fresh.calls(), begun);
      fresh.FailAt(begun + call, 719);
      const absl::Status failed = Verify(**recorder, /*quick=*/true).status();
      EXPECT_EQ(failed.code(), absl::StatusCode::kUnavailable) << failed;
      EXPECT_THAT(std::string(failed.message()), HasSubstr(fresh.failed()));
      reads += fresh.failed() == "cuMemcpyDtoHAsync" ? 1 : 0;
    }
    EXPECT_EQ(fresh.live(), 0);
  }
  EXPECT_GT(reads, 1);
}

// The whole program: kernels that do nothing make a wrong model, node by node; a call that fails is
// the machine's fault.
TEST(FakeVerify, SaysWhatIsWrongOrThatTheGpuFails) {
  const TempFolder folder;
  const std::string plan = WritePlan(folder.File("x.plan"), FakePlan("sm_90a"));
  const std::string report = folder.File("report");
  const std::vector<std::string> args = {"verify", plan,      "--device", "cuda", "--ids",
                                         "1,5,9",  "--quick", "-t",       "1"};
  const ProcessResult wrong = Renga(args, OnFake({{"FAKE_REPORT", report}}));
  EXPECT_EQ(wrong.exit_code, 1) << wrong.Describe();
  EXPECT_THAT(wrong.out, HasSubstr("not ok on cuda:0 Fake GPU"));
  EXPECT_THAT(wrong.out, HasSubstr("BAD  embed  embed  holds zeros"));
  EXPECT_THAT(wrong.out,
              HasSubstr("BAD  @blk.0.ffn_down.weight  the GPU has other bytes than the file"));
  const FakeReport whole = FakeReport::Read(report);
  EXPECT_THAT(whole.alive, IsEmpty());
  for (const double share : {0.3, 0.6, 0.9}) {
    const int call = static_cast<int>(share * whole.calls);
    const ProcessResult failed =
        Renga(args, OnFake({{"FAKE_FAIL_AT", StrCat(call)}, {"FAKE_REPORT", report}}));
    EXPECT_TRUE(failed.IsCleanError(3)) << call << "\n" << failed.Describe();
    EXPECT_THAT(FakeReport::Read(report).failed, Not(IsEmpty()));
    EXPECT_THAT(failed.err, HasSubstr(FakeReport::Read(report).failed));
    EXPECT_THAT(FakeReport::Read(report).alive, IsEmpty());
  }
}

// One end is kernels that do nothing, the other all steps by the interpreter, in the stand-in's
// memory: that one must give what the interpreter gives of the model.
TEST(FakeBisect, MixesStepsOfAGpu) {
  const TempFolder folder;
  const std::string plan = WritePlan(folder.File("x.plan"), FakePlan("sm_90a"));
  const ProcessResult right = Renga({"run", StoryModel(), "--device", "reference", "--ids",
                                     "1,403,407", "-n", "3", "--temp", "0", "-t", "1", "--json"});
  ASSERT_EQ(right.exit_code, 0) << right.Describe();
  const nlohmann::json ids = nlohmann::json::parse(right.out)["ids"];
  const std::vector<std::string> args = {
      "bisect", plan, "--bad", "--device cuda",    "--ids", "1,403,407", "-n", "3", "-t", "1",
      "--most", "1",  "-o",    folder.File("out"), "--json"};
  const ProcessResult found = Renga(args, OnFake());
  ASSERT_EQ(found.exit_code, 0) << found.Describe();
  const nlohmann::json report = nlohmann::json::parse(found.out);
  std::string text;
  for (const nlohmann::json& id : ids) StrAppend(&text, text.empty() ? "" : ",", id.dump());
  EXPECT_EQ(report["good"], StrCat("ids ", text));
  EXPECT_EQ(report["bad"], "ids 0,0,0");
  EXPECT_THAT(report["culprit"], Not(IsEmpty()));
  // A plan for another device than the one asked for.
  const ProcessResult elsewhere = Renga({"bisect", plan, "--ids", "1", "-o", folder.File("no")});
  EXPECT_TRUE(elsewhere.IsCleanError(2)) << elsewhere.Describe();
  EXPECT_THAT(elsewhere.err, HasSubstr("was compiled for sm_90a, expected --device cuda, got cpu"));
}

}  // namespace
}  // namespace renga
