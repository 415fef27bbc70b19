// A sequence on a GPU over a driver that runs no kernel: what reaches the kernels, what is launched
// how often, and what stays after the GPU failed.
#include "tests/cuda/cuda_sequence.h"

#include <cstring>
#include <map>

#include "gmock/gmock.h"
#include "ir/base/status.h"
#include "runtime/plan/layout.h"
#include "tests/cuda/fake/fake_gpu.h"
#include "tests/cuda/fake/launch_arguments.h"
#include "tests/runtime/cuda/fake_driver.h"

namespace renga {
namespace {

using cuda::FakeDriver;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// What the kernels were given, for the function that the driver calls at each launch.
struct Seen {
  FakeDriver* fake = nullptr;
  std::map<std::string, std::vector<BufferArgument>> arguments;     // by kernel
  std::map<std::string, size_t> sizes;                              // values to look at, by input
  std::map<std::string, std::vector<std::vector<int32_t>>> values;  // by input, of each launch
};
Seen& TheSeen() {
  static Seen seen;
  return seen;
}

void Look(void* function, const void* arguments, unsigned) {
  Seen& seen = TheSeen();
  for (const BufferArgument& argument : seen.arguments[seen.fake->NameOf(function)]) {
    const auto looked_at = seen.sizes.find(argument.buffer);
    if (looked_at == seen.sizes.end()) continue;
    const int32_t* at = nullptr;
    std::memcpy(&at, static_cast<const uint8_t*>(arguments) + argument.offset, sizeof(at));
    seen.values[argument.buffer].emplace_back(at, at + looked_at->second);
  }
}

class FakeForward : public testing::Test {
 protected:
  FakeForward() { fake_.SetFresh(0); }

  absl::StatusOr<std::unique_ptr<CudaSequence>> Open(const std::string& target = "sm_90a",
                                                     CudaOptions options = {},
                                                     const std::string& gguf = StoryModel()) {
    RENGA_ASSIGN_OR_RETURN(const auto driver, cuda::Driver::Load(cuda::FakeFile("fake_driver")));
    RENGA_ASSIGN_OR_RETURN(cuda::ContextRef context, cuda::Context::Open(driver, 0));
    plan_ = std::make_shared<const plan::Plan>(FakePlan(target, {}, gguf));
    return CudaSequence::Create(plan_, std::move(context), options, "cuda:0 Fake GPU");
  }

  // From now on the values of inputs that launches point to are noted.
  void Watch(std::map<std::string, size_t> sizes) {
    TheSeen() = {.fake = &fake_, .arguments = BufferArguments(*plan_), .sizes = std::move(sizes)};
    fake_.OnLaunch(Look, plan::kMaxArgumentBytes);
  }
  static const std::vector<std::vector<int32_t>>& Values(const std::string& input) {
    return TheSeen().values[input];
  }

  static std::string Message(const absl::Status& status) { return std::string(status.message()); }

  FakeDriver fake_;
  std::shared_ptr<const plan::Plan> plan_;
};

TEST_F(FakeForward, InputsComeToWhereKernelsReadThem) {
  auto forward = Open();
  ASSERT_TRUE(forward.ok()) << forward.status();
  ASSERT_EQ(plan::SymbolMax(*plan_, "P", 0), 32);
  fake_.BeLate();  // what is queued must be there when its turn comes
  Watch({{"tokens", 3},
         {"positions", 3},
         {"cells", 3},
         {"sequences", 3},
         {"pages", 32},
         {"rows", 2}});
  ASSERT_TRUE((*forward)->Run({5, 6, 7}, {0, 2}, nullptr).ok());
  EXPECT_THAT(Values("tokens"), Not(testing::IsEmpty()));
  EXPECT_THAT(Values("tokens"), Each(ElementsAre(5, 6, 7)));
  EXPECT_THAT(Values("positions"), Not(testing::IsEmpty()));
  EXPECT_THAT(Values("positions"), Each(ElementsAre(0, 1, 2)));
  EXPECT_THAT(Values("cells"), Not(testing::IsEmpty()));
  EXPECT_THAT(Values("cells"), Each(ElementsAre(0, 1, 2)));
  // Tables are as wide as they can get, -1 behind the sequence's pages.
  EXPECT_THAT(Values("pages"), Not(testing::IsEmpty()));
  std::vector<int32_t> table(32, -1);
  table[0] = 0;
  EXPECT_THAT(Values("pages"), Each(table));
  EXPECT_THAT(Values("rows"), Not(testing::IsEmpty()));
  EXPECT_THAT(Values("rows"), Each(ElementsAre(0, 2)));
  EXPECT_THAT((*forward)->next(), ElementsAre(0, 0));
  EXPECT_EQ((*forward)->position(), 3);
}

// Steps of one token are one graph as long as the length rounds to the same; each start of it reads
// the inputs of then.
TEST_F(FakeForward, OneGraphForEachRoundedLength) {
  auto forward = Open();
  ASSERT_TRUE(forward.ok()) << forward.status();
  fake_.BeLate();
  Watch({{"tokens", 1}, {"positions", 1}});
  for (int i = 0; i < 130; ++i) {
    TheSeen().values.clear();
    ASSERT_TRUE((*forward)->Run({i}, {0}, nullptr).ok());
    EXPECT_THAT(Values("tokens"), Not(testing::IsEmpty()));
    EXPECT_THAT(Values("tokens"), Each(ElementsAre(i)));
    EXPECT_THAT(Values("positions"), Not(testing::IsEmpty()));
    EXPECT_THAT(Values("positions"), Each(ElementsAre(i)));
  }
  // Up to 64, 128 and 256 positions, for each of the two places of inputs.
  EXPECT_EQ(fake_.Count("cuStreamBeginCapture"), 6);
  EXPECT_EQ(fake_.Count("cuGraphLaunch"), 130);
  EXPECT_EQ((*forward)->executor().counters().graphs, 6);
  EXPECT_EQ((*forward)->executor().counters().graph_runs, 130);
  const int launches = fake_.launches();
  ASSERT_TRUE((*forward)->Run({1, 2}, {1}, nullptr).ok());
  EXPECT_GT(fake_.launches(), launches) << "several tokens are launched one by one";
  EXPECT_EQ(fake_.Count("cuGraphLaunch"), 130);
}

// Programmatic dependent launch is asked for where the GPU has it, whatever the plan is for.
TEST_F(FakeForward, LaunchesOverlapFromNinetyOn) {
  struct Case {
    const char* target;
    int sm;
    bool overlaps;
  };
  for (const Case& c : {Case{"sm_80", 80, false}, Case{"sm_80", 89, false}, Case{"sm_80", 90, true},
                        Case{"sm_90a", 90, true}}) {
    SCOPED_TRACE(StrCat(c.target, " on ", c.sm));
    FakeDriver fresh;  // resets
    fresh.SetFresh(0);
    fresh.SetSm(c.sm);
    auto forward = Open(c.target);
    ASSERT_TRUE(forward.ok()) << forward.status();
    const int before = fresh.launches();
    EXPECT_EQ(fresh.overlapping(), 0) << "packing kernels wait for nothing";
    ASSERT_TRUE((*forward)->Run({1, 2, 3}, {2}, nullptr).ok());
    EXPECT_GT(fresh.launches(), before);
    EXPECT_EQ(fresh.overlapping() > 0, c.overlaps);
  }
}

TEST_F(FakeForward, TensorMapsAreEncodedForTheProductsOfManyRows) {
  auto forward = Open("sm_90a", {}, WgmmaModel());
  ASSERT_TRUE(forward.ok()) << forward.status();
  ASSERT_TRUE((*forward)->Run({1, 2, 3}, {2}, nullptr).ok());
  EXPECT_EQ(fake_.Count("cuTensorMapEncodeTiled"), 0);
  const std::vector<int32_t> tokens(70, 1);
  const absl::Status status = (*forward)->Run(tokens, {2}, nullptr);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_GT(fake_.Count("cuTensorMapEncodeTiled"), 0);
}

TEST_F(FakeForward, ADriversErrorStays) {
  auto forward = Open();
  ASSERT_TRUE(forward.ok()) << forward.status();
  ASSERT_TRUE((*forward)->Run({1, 2, 3}, {2}, nullptr).ok());
  fake_.FailAt(fake_.calls() + 4, 719);
  const absl::Status failed = (*forward)->Run({4, 5}, {1}, nullptr);
  ASSERT_NE(fake_.failed(), "");
  EXPECT_EQ(failed.code(), absl::StatusCode::kUnavailable) << failed;
  EXPECT_THAT(Message(failed), HasSubstr(fake_.failed()));
  EXPECT_EQ((*forward)->position(), 3) << "the sequence is as it was";
  const int calls = fake_.calls();
  std::vector<float> logits;
  EXPECT_EQ((*forward)->Run({4, 5}, {1}, nullptr), failed);
  EXPECT_EQ((*forward)->Run({4}, {0}, nullptr), failed);
  EXPECT_EQ((*forward)->Logits(&logits), failed);
  EXPECT_EQ(fake_.calls(), calls) << "the GPU is not asked again";
  forward->reset();
  EXPECT_EQ(fake_.live(), 0);
}

// Freeing would wait for the kernel for ever: nothing is freed, and nothing else waits either.
TEST_F(FakeForward, AKernelThatNeverEnds) {
  for (const bool check_steps : {false, true}) {
    for (const size_t tokens : {size_t{1}, size_t{3}}) {
      SCOPED_TRACE(StrCat(check_steps, " ", tokens));
      FakeDriver fresh;  // resets
      auto forward = Open("sm_90a", {.check_steps = check_steps, .patience_seconds = 0.03});
      ASSERT_TRUE(forward.ok()) << forward.status();
      fresh.Hang();
      const std::vector<int32_t> ids(tokens, 1);
      const absl::Status failed = (*forward)->Run(ids, {0}, nullptr);
      EXPECT_EQ(failed.code(), absl::StatusCode::kUnavailable) << failed;
      EXPECT_THAT(Message(failed), HasSubstr("has not ended after 0.03 s"));
      if (check_steps) {
        EXPECT_THAT(Message(failed), StartsWith(StrCat("step 0 (", plan_->steps[0].name,
                                                       "), T = ", tokens, ": Fake GPU: it has")));
        EXPECT_THAT(Message(failed), HasSubstr(", grid "));
        EXPECT_THAT(Message(failed), HasSubstr(" bytes of shared memory, "));
        EXPECT_THAT(Message(failed), HasSubstr(StrCat("--node ", plan_->steps[0].name, "`")));
      } else {
        EXPECT_THAT(Message(failed), HasSubstr("--check-steps names the step"));
      }
      const int calls = fresh.calls();
      EXPECT_EQ((*forward)->Run(ids, {0}, nullptr), failed);
      forward->reset();
      EXPECT_EQ(fresh.blocked(), "");
      EXPECT_EQ(fresh.calls(), calls);
    }
  }
}

TEST_F(FakeForward, NothingStaysBehind) {
  {
    auto forward = Open();
    ASSERT_TRUE(forward.ok()) << forward.status();
    ASSERT_TRUE((*forward)->Run({1, 2, 3}, {2}, nullptr).ok());
    ASSERT_TRUE((*forward)->Run({1}, {0}, nullptr).ok());
    EXPECT_GT(fake_.live(), 10);
  }
  EXPECT_EQ(fake_.live(), 0);
}

}  // namespace
}  // namespace renga
