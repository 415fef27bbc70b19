// Every node of a plan on a GPU alone, against the interpreter: right kernels are right, and what
// is wrong on the card is named.
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "tests/cuda/biased_model.h"
#include "tests/cuda/hooked_device.h"
#include "tests/cuda/support.h"
#include "tests/support/test_data.h"
#include "tools/file_weights.h"
#include "tools/step_devices.h"
#include "tools/verify_model.h"
#include "tools/verify_steps.h"

namespace renga {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::StartsWith;

struct Case {
  std::string name, file;  // no file: BiasedModel
  std::optional<DType> k_type, v_type;
};
void PrintTo(const Case& one, std::ostream* os) { *os << one.name; }

class CudaVerifyTest : public CudaTest, public testing::WithParamInterface<Case> {};

TEST_P(CudaVerifyTest, EveryNodeIsRight) {
  const Case& c = GetParam();
  VerifyModelOptions options;
  options.open.device = "cuda";
  options.open.use_cache = false;
  if (c.k_type) {
    options.open.kv_type_given = true;
    options.open.compile.k_type = *c.k_type;
    options.open.compile.v_type = *c.v_type;
  }
  // Odd on purpose, and more than the kernels for few tokens take.
  options.ids = {1, 20, 7, 5, 9, 11, 8, 6, 2, 17, 15, 23, 4};
  options.text_ids = {1,  20, 7,  5,  9,  11, 8,  6,  2,  17, 15, 23, 4,
                      10, 11, 12, 13, 19, 13, 25, 21, 16, 3,  19, 14};
  TinyModel biased = BiasedModel();
  const std::string path = c.file.empty() ? biased.Write() : TestData(c.file);
  const auto report = VerifyModel(path, options);
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_TRUE(report->nodes.has_value());
  for (const BadValue& bad : report->nodes->bad) {
    ADD_FAILURE() << bad.name << " (" << bad.op << "): " << bad.error.relative << " of "
                  << bad.tolerance << "; " << bad.kind << " " << bad.likely;
  }
  EXPECT_THAT(report->nodes->skipped, IsEmpty());
  EXPECT_THAT(report->weights, IsEmpty());
  EXPECT_GE(report->steps.size(), 3u);
  for (const std::string& not_run : report->not_run) {
    EXPECT_THAT(not_run, StartsWith("kernels for steps of")) << "beyond the context";
  }
  EXPECT_TRUE(report->ok());
  EXPECT_GT(report->nodes->values, 30);
  printf("%s: %lld values, worst %.3f of its tolerance (%s), KL %.2g, %.1f s\n", c.name.c_str(),
         static_cast<long long>(report->nodes->values), report->nodes->worst_share,
         report->nodes->worst.c_str(), report->fidelity[0].kl_mean, report->seconds);
}

INSTANTIATE_TEST_SUITE_P(All, CudaVerifyTest,
                         testing::Values(Case{"stories260K", "stories260K.gguf", {}, {}},
                                         Case{"experts", "tiny/llama-moe.gguf", {}, {}},
                                         Case{"yarn", "tiny/llama-yarn.gguf", {}, {}},
                                         Case{"q4_k_m", "tiny/llama-Q4_K_M.gguf", {}, {}},
                                         Case{"biases_q8_0", "", DType::kQ8_0, DType::kQ8_0},
                                         Case{"biases_q4_0", "", DType::kQ8_0, DType::kQ4_0},
                                         Case{"biases_f32", "tiny/qwen2-Q8_0.gguf", DType::kF32,
                                              DType::kBF16}),
                         [](const auto& info) { return info.param.name; });

class CudaFaultTest : public CudaTest {
 protected:
  void SetUp() override {
    CudaTest::SetUp();
    if (IsSkipped()) return;
    const auto device = OpenCuda(0);
    ASSERT_TRUE(device.ok()) << device.status();
    OpenOptions options;
    options.use_cache = false;
    options.compile.target = device->target;
    options.compile.context = 96;
    options.compile.max_sequences = 3;
    auto opened = OpenPlan(TestData("stories260K.gguf"), options);
    ASSERT_TRUE(opened.ok()) << opened.status();
    opened_ = *std::move(opened);
    auto steps = OpenCudaSteps(opened_, *device, 1);
    ASSERT_TRUE(steps.ok()) << steps.status();
    EXPECT_THAT(steps->differences, IsEmpty());
    device_ = std::move(steps->device);
  }

  // Values that are wrong, with what is said of each.
  std::vector<std::string> Wrong(std::unique_ptr<StepDevice> device) const {
    WeightOptions weights;
    weights.packed = false;
    const auto store = WeightStore::Open(*opened_.plan, weights);
    EXPECT_TRUE(store.ok()) << store.status();
    const auto recorder = StepRecorder::Create(std::move(device), {});
    EXPECT_TRUE(recorder.ok()) << recorder.status();
    if (!store.ok() || !recorder.ok()) return {};
    const VerifyStepsOptions options{{1, 40, 77, 5, 9, 31, 8}, {}, false, {}};
    const auto verdict = VerifySteps(**recorder, FileWeights(*opened_.plan, *store), options);
    EXPECT_TRUE(verdict.ok()) << verdict.status();
    std::vector<std::string> names;
    if (verdict.ok()) {
      for (const BadValue& bad : verdict->nodes.bad)
        names.push_back(StrCat(bad.name, " ", bad.kind));
    }
    return names;
  }

  OpenedPlan opened_;
  std::unique_ptr<StepDevice> device_;
};

TEST_F(CudaFaultTest, AStepWhoseOutputIsWrongIsNamed) {
  const int wrong = StepOf(*opened_.plan, "2.act");
  ASSERT_GE(wrong, 0);
  const StepMemory* const memory = &device_->memory();
  StepHooks hooks;
  hooks.after = [=](int step) -> absl::Status {
    return step == wrong ? ScaleResult(*memory, step, 1.01f) : absl::OkStatus();
  };
  EXPECT_THAT(Wrong(std::make_unique<HookedDevice>(std::move(device_), std::move(hooks))),
              ElementsAre("2.act scaled"));
}

TEST_F(CudaFaultTest, AWeightWhoseBytesAreOthersOnTheCardIsNamedByItsNode) {
  for (size_t i = 0; i < opened_.plan->buffers.size(); ++i) {
    const plan::Buffer& buffer = opened_.plan->buffers[i];
    if (buffer.space != plan::Space::kWeight ||
        opened_.plan->weights[static_cast<size_t>(buffer.index)].source.name !=
            "blk.3.attn_norm.weight") {
      continue;
    }
    const std::vector<float> ones(buffer.bytes / sizeof(float), 1.0f);
    ASSERT_TRUE(device_->memory()
                    .Write(static_cast<int32_t>(i), 0,
                           {reinterpret_cast<const uint8_t*>(ones.data()), buffer.bytes})
                    .ok());
  }
  EXPECT_THAT(Wrong(std::move(device_)),
              ElementsAre(StartsWith("3.q "), StartsWith("3.k_cells "), StartsWith("3.v_cells ")));
}

TEST_F(CudaFaultTest, TheRightOneHasNone) { EXPECT_THAT(Wrong(std::move(device_)), IsEmpty()); }

}  // namespace
}  // namespace renga
