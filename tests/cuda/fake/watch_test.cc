// run --check on a GPU, over a driver that runs no kernel: what is not written, and, where the
// interpreter computes the steps in the kernels' place, what no right step gives.
#include <cmath>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "runtime/exec/cuda_executor.h"
#include "tests/cuda/biased_model.h"
#include "tests/cuda/fake/fake_gpu.h"
#include "tests/cuda/hooked_device.h"
#include "tests/runtime/cuda/fake_driver.h"
#include "tools/interpreted_steps.h"
#include "tools/step_watch.h"

namespace renga {
namespace {

using cuda::FakeDriver;
using testing::HasSubstr;
using testing::Not;

// Copies, each of which is waited for.
struct Copies {
  int64_t writes = 0, reads = 0;
  uint64_t bytes_written = 0, bytes_read = 0;
};

class CountingMemory final : public StepMemory {
 public:
  CountingMemory(std::shared_ptr<const StepMemory> memory, Copies* copies)
      : memory_(std::move(memory)), copies_(*copies) {}
  const plan::Plan& plan() const override { return memory_->plan(); }
  absl::Span<const int64_t> sizes() const override { return memory_->sizes(); }
  absl::Status Read(int32_t buffer, uint64_t offset, absl::Span<uint8_t> to) const override {
    ++copies_.reads;
    copies_.bytes_read += to.size();
    return memory_->Read(buffer, offset, to);
  }
  absl::Status Write(int32_t buffer, uint64_t offset,
                     absl::Span<const uint8_t> from) const override {
    ++copies_.writes;
    copies_.bytes_written += from.size();
    return memory_->Write(buffer, offset, from);
  }

 private:
  const std::shared_ptr<const StepMemory> memory_;
  Copies& copies_;
};

class FakeWatch : public testing::Test {
 protected:
  FakeWatch() {
    fake_.SetFresh(0xff);
    watch_.folder = folder_.File("kept");
    compile_.context = 64;
    compile_.threads = 1;
  }

  // What a test does to a step: after the interpreter has computed it.
  using Change = std::function<absl::Status(int step, const StepMemory& memory)>;

  // A prompt of three tokens and one behind it; every step is computed by the interpreter but that
  // named `left_out`.
  absl::Status Run(const std::string& gguf, const std::string& left_out = "",
                   const Change& change = nullptr) {
    opened_.plan = std::make_shared<const plan::Plan>(FakePlan("sm_90a", compile_, gguf));
    RENGA_ASSIGN_OR_RETURN(const auto driver, cuda::Driver::Load(cuda::FakeFile("fake_driver")));
    RENGA_ASSIGN_OR_RETURN(cuda::ContextRef context, cuda::Context::Open(driver, 0));
    CudaOptions options;
    options.check_steps = true;
    RENGA_ASSIGN_OR_RETURN(const std::unique_ptr<CudaExecutor> executor,
                           CudaExecutor::Create(opened_.plan, context, options));
    const auto memory = std::make_shared<CudaMemory>(*executor);
    RENGA_ASSIGN_OR_RETURN(
        const StepHooks watch,
        StepWatch::Hooks(std::make_shared<CountingMemory>(memory, &copies_), watch_));
    RENGA_ASSIGN_OR_RETURN(const auto steps, InterpretedSteps::Create(opened_, memory, nullptr, 1));
    RENGA_RETURN_IF_ERROR(
        executor->SetHooks({.before = [&](int step) -> absl::StatusOr<bool> {
                              RENGA_RETURN_IF_ERROR(watch.before(step).status());
                              if (opened_.plan->steps[static_cast<size_t>(step)].name == left_out)
                                return true;
                              RENGA_RETURN_IF_ERROR(steps->Compute(step));
                              if (change) RENGA_RETURN_IF_ERROR(change(step, *memory));
                              return true;
                            },
                            .after = watch.after}));
    const std::vector<int32_t> tokens = {1, 4, 2, 3}, numbers = {0, 1, 2, 3}, zeros(4, 0),
                               pages = {0}, rows = {0, 2};
    for (const size_t begin : {size_t{0}, size_t{3}}) {
      const size_t count = begin == 0 ? 3 : 1;
      copies_ = {};
      StepInputs inputs;
      inputs.tokens = absl::MakeConstSpan(tokens).subspan(begin, count);
      inputs.positions = absl::MakeConstSpan(numbers).subspan(begin, count);
      inputs.sequences = absl::MakeConstSpan(zeros).subspan(begin, count);
      inputs.cells = inputs.positions;
      inputs.pages = pages;
      inputs.rows = absl::MakeConstSpan(rows).subspan(begin == 0 ? 1 : 0, 1);
      RENGA_RETURN_IF_ERROR(executor->Run(inputs));
    }
    return absl::OkStatus();
  }

  static std::string Message(const absl::Status& status) { return std::string(status.message()); }
  bool Kept(const std::string& file) const {
    return std::filesystem::exists(folder_.File("kept/" + file));
  }

  FakeDriver fake_;
  CompileOptions compile_;
  StepWatchOptions watch_;
  OpenedPlan opened_;
  Copies copies_;  // of the last run
  TempFolder folder_;
};

TEST_F(FakeWatch, OfARightModelNothingIsSaid) {
  TinyModel biased = BiasedModel();
  const std::string gguf = biased.Write();
  struct Types {
    DType k, v;
  };
  for (const Types& types : {Types{DType::kF16, DType::kF16}, Types{DType::kF32, DType::kBF16},
                             Types{DType::kQ8_0, DType::kQ4_0}}) {
    FakeDriver fresh;  // resets
    fresh.SetFresh(0xff);
    compile_.k_type = types.k;
    compile_.v_type = types.v;
    const absl::Status status = Run(gguf);
    EXPECT_TRUE(status.ok()) << Name(types.k) << " " << status;
  }
  EXPECT_FALSE(Kept(""));
}

// In the words in which the cpu says it.
TEST_F(FakeWatch, ABrokenWeightIsTheModels) {
  TinyModel model = BiasedModel();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(model.Tensor("blk.1.ffn_gate.weight").data.data() + (96 * 3 + 5) * sizeof(float),
              &nan, sizeof(nan));
  const std::string gguf = model.Write();
  const absl::Status status = Run(gguf);
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  const std::string message = Message(status);
  EXPECT_THAT(message, HasSubstr("(1.act), result 1.act: NaN at token 0, dim 3"));
  EXPECT_THAT(message, HasSubstr("the model's own weight @blk.1.ffn_gate.weight is broken: row 3"));
  EXPECT_THAT(message, HasSubstr(StrCat("; kept in ", watch_.folder, ", its kernels in ",
                                        watch_.folder, "/cuda")));
  EXPECT_TRUE(Kept("repro.cc") && Kept("cuda/repro.cu"));

  OpenOptions open;
  open.device = "cpu";
  open.threads = 1;
  open.use_cache = false;
  open.check = true;
  open.check_folder = folder_.File("cpu");
  open.compile = compile_;
  auto opened = OpenModel(gguf, open);
  ASSERT_TRUE(opened.ok()) << opened.status();
  const std::string on_cpu = Message(opened->forward->Run({1, 4, 2}, {2}, nullptr));
  const auto finding = [](const std::string& text) {
    const size_t from = text.find("result ");
    return text.substr(from, text.find("; kept") - from);
  };
  EXPECT_EQ(finding(message), finding(on_cpu));
}

TEST_F(FakeWatch, AnElementIsTheSteps) {
  TinyModel model = BiasedModel();
  const Change change = [&](int step, const StepMemory& memory) -> absl::Status {
    if (memory.plan().steps[static_cast<size_t>(step)].name != "1.act") return absl::OkStatus();
    const float inf = -std::numeric_limits<float>::infinity();
    const int32_t output = memory.plan().steps[static_cast<size_t>(step)].outputs[0];
    return memory.Write(output, (80 * 1 + 7) * sizeof(float),
                        {reinterpret_cast<const uint8_t*>(&inf), sizeof(inf)});
  };
  const std::string message = Message(Run(model.Write(), "", change));
  EXPECT_THAT(message, HasSubstr("result 1.act: -inf at token 1, dim 7; 1 of 240"));
  EXPECT_THAT(message, HasSubstr("all that it reads is finite"));
}

TEST_F(FakeWatch, WhatIsNotWritten) {
  TinyModel model = BiasedModel();
  const std::string gguf = model.Write();
  EXPECT_THAT(Message(Run(gguf, "1.act")),
              HasSubstr("result 1.act: 240 of 240 elements were not written, the first at token "
                        "0, dim 0"));
  // The plan's choice, which a step writes to where the next one reads it.
  EXPECT_THAT(Message(Run(gguf, "logits")), HasSubstr("elements were not written"));
  // Cells of caches, without the other results of the step.
  const Change only_q = [&](int step, const StepMemory& memory) -> absl::Status {
    const plan::Step& of = memory.plan().steps[static_cast<size_t>(step)];
    if (of.name != "0.q") return absl::OkStatus();
    const plan::Buffer& cells = memory.plan().buffers[static_cast<size_t>(of.outputs[2])];
    const plan::Cache& cache = memory.plan().caches[static_cast<size_t>(cells.index)];
    const std::vector<uint8_t> poison = Poisoned(*FindPoison(cache.dtype), 5);
    return memory.Write(of.outputs[2], cache.cell_bytes, poison);
  };
  EXPECT_THAT(Message(Run(gguf, "", only_q)),
              HasSubstr("result 0.v_cells: 5 of 96 elements were not written, the first at cell "
                        "1, head 0, dim 0"));
}

// What docs/bisect.md says that it costs.
TEST_F(FakeWatch, EachResultIsCopiedThereAndBack) {
  ASSERT_TRUE(Run(StoryModel()).ok());
  int64_t results = 0, steps_with_cells = 0;
  uint64_t bytes = 0;
  const plan::Plan& plan = *opened_.plan;
  for (const plan::Step& step : plan.steps) {
    bool cells = false;
    for (const int32_t output : step.outputs) {
      const plan::Buffer& buffer = plan.buffers[static_cast<size_t>(output)];
      ++results;
      if (buffer.space == plan::Space::kCache) {
        bytes += plan.caches[static_cast<size_t>(buffer.index)].cell_bytes;
        cells = true;
        continue;
      }
      int64_t elements = 1;  // of one token, sequence and row
      for (const plan::Dim& dim : buffer.type.shape) elements *= dim.symbol < 0 ? dim.value : 1;
      bytes += static_cast<uint64_t>(elements * FindPoison(buffer.type.dtype)->bytes);
    }
    steps_with_cells += cells;
  }
  EXPECT_EQ(copies_.writes, results);
  EXPECT_EQ(copies_.bytes_written, bytes);
  EXPECT_EQ(copies_.reads, results + steps_with_cells) << "which cells";
  EXPECT_EQ(copies_.bytes_read, bytes + 4 * static_cast<uint64_t>(steps_with_cells));
}

// A driver's error is no finding.
TEST_F(FakeWatch, ACallThatFailsIsTheMachines) {
  TinyModel model = BiasedModel();
  const std::string gguf = model.Write();
  const int begun = fake_.calls();
  ASSERT_TRUE(Run(gguf).ok());
  const int calls = fake_.calls() - begun;
  int of_the_watch = 0;
  for (int tenth = 5; tenth < 15; ++tenth) {
    FakeDriver fresh;  // resets
    fresh.SetFresh(0xff);
    fresh.FailAt(tenth * calls / 15, 719);
    const absl::Status failed = Run(gguf);
    EXPECT_TRUE(absl::IsUnavailable(failed)) << failed;
    EXPECT_THAT(Message(failed), HasSubstr(fresh.failed()));
    of_the_watch += Message(failed).starts_with("step ") ? 1 : 0;
  }
  EXPECT_GT(of_the_watch, 0) << "which names the step";
}

TEST(FakeWatchVerb, KernelsThatWriteNothing) {
  const TempFolder folder;
  const std::string plan = WritePlan(folder.File("x.plan"), FakePlan("sm_90a"));
  const std::vector<std::string> args = {"run",    plan, "--device", "cuda", "--ids", "1,403,407",
                                         "--temp", "0",  "-n",       "2",    "-t",    "1"};
  std::vector<std::string> checked = args;
  checked.insert(checked.end(), {"--check", "--repro", folder.File("kept"), "--json"});
  const ProcessResult found = Renga(checked, OnFake());
  EXPECT_EQ(found.exit_code, 1) << found.Describe();
  EXPECT_THAT(found.err, HasSubstr("check: step 0 (embed), result embed: 192 of 192 elements were "
                                   "not written, the first at token 0, dim 0"));
  EXPECT_THAT(found.err, Not(HasSubstr("error: ")));
  EXPECT_TRUE(std::filesystem::exists(folder.File("kept/repro.cc")));
  // What is kept needs something to be found.
  std::vector<std::string> nothing = args;
  nothing.insert(nothing.end(), {"--repro", folder.File("kept")});
  const ProcessResult refused = Renga(nothing, OnFake());
  EXPECT_TRUE(refused.IsCleanError(2)) << refused.Describe();
  EXPECT_THAT(refused.err, HasSubstr("expected --check or --check-steps"));
}

}  // namespace
}  // namespace renga
