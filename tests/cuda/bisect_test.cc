// Steps of a GPU mixed with steps of the interpreter: the one that differs is found.
#include "tools/bisect/bisect.h"

#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "tests/cuda/support.h"
#include "tests/support/test_data.h"

namespace renga {
namespace {

class CudaBisectTest : public CudaTest {};

// The same text with `to` for `from` in the line of that node.
std::string WithChange(const std::string& ir, const std::string& node, const std::string& from,
                       const std::string& to) {
  const size_t line = ir.find("%" + node + ":");
  const size_t at = line == ir.npos ? ir.npos : ir.find(from, line);
  EXPECT_TRUE(at != ir.npos && at < ir.find('\n', line)) << node << " has no " << from;
  std::string changed = ir;
  if (at != ir.npos) changed.replace(at, from.size(), to);
  return changed;
}

TEST_F(CudaBisectTest, FindsTheStepThatDiffers) {
  const auto device = OpenCuda(0);
  ASSERT_TRUE(device.ok()) << device.status();
  OpenOptions options;
  options.use_cache = false;
  options.compile.target = device->target;
  const auto opened = OpenPlan(TestData("stories260K.gguf"), options);
  ASSERT_TRUE(opened.ok()) << opened.status();
  BisectOptions bisect;
  bisect.question.ids = {1, 403, 407, 261, 378};
  bisect.question.kl = 1e-3;
  // Right kernels are as good as the interpreter, whichever computes what.
  auto same = StepKnobs(*opened, "cuda", opened->plan->ir, 2);
  ASSERT_TRUE(same.ok()) << same.status();
  const absl::Status nothing = Bisect(*std::move(same), bisect).status();
  EXPECT_EQ(nothing.code(), absl::StatusCode::kFailedPrecondition) << nothing;
  // The interpreter is told another model, in which one node sees what comes behind it.
  auto knobs = StepKnobs(*opened, "cuda",
                         WithChange(opened->plan->ir, "2.mix", "causal=true", "causal=false"), 2);
  ASSERT_TRUE(knobs.ok()) << knobs.status();
  const auto report = Bisect(*std::move(knobs), bisect);
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_EQ(report->culprits.size(), 1u);
  EXPECT_THAT(report->Names(report->culprits[0]), testing::ElementsAre("2.mix"));
}

}  // namespace
}  // namespace renga
