// Kernels that somebody asked for: what there is to ask for, that a plan then has it, and errors.
#include "codegen/emit/kernel_requests.h"

#include <map>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "tests/support/test_data.h"
#include "tools/compiler.h"

namespace renga {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

CompileOptions Options(const std::string& target, std::vector<std::string> kernels) {
  CompileOptions options;
  options.target = target;
  options.only_lower = target != "cpu";
  options.max_step_tokens = 300;
  options.max_rows = 40;
  options.context = 512;
  options.threads = 1;
  options.kernels = std::move(kernels);
  return options;
}

absl::StatusOr<plan::Plan> Lower(const std::string& target, std::vector<std::string> kernels) {
  RENGA_ASSIGN_OR_RETURN(Compilation compiled, Compile(TestData("tiny/qwen2-F16.gguf"),
                                                       Options(target, std::move(kernels))));
  return std::move(compiled.plan);
}

std::string ErrorOf(const std::string& target, std::vector<std::string> kernels) {
  const auto plan = Lower(target, std::move(kernels));
  EXPECT_TRUE(absl::IsInvalidArgument(plan.status())) << plan.status();
  return std::string(plan.status().message());
}

const plan::Choice* ChoiceOf(const plan::Plan& plan, std::string_view node) {
  for (const plan::Choice& choice : plan.choices) {
    if (choice.what == "kernel" && choice.subject == node) return &choice;
  }
  return nullptr;
}

// Of each variant of a step the last number of rows and the kernels' names up to the first digit.
std::vector<std::string> NamesOfVariants(const plan::Plan& plan, std::string_view node) {
  std::vector<std::string> variants;
  for (const plan::Step& step : plan.steps) {
    if (step.name != node) continue;
    for (const plan::Variant& variant : step.variants) {
      std::string text = StrCat(variant.last, ":");
      for (const plan::Launch& launch : variant.launches) {
        const std::string& name = plan.gpu.kernels[launch.kernel].name;
        StrAppend(&text, " ", name.substr(0, name.find_first_of("0123456789")));
      }
      variants.push_back(text);
    }
  }
  return variants;
}

TEST(KernelRequests, WhatThereIsToAskFor) {
  const auto plan = Lower("sm_90a", {});
  ASSERT_TRUE(plan.ok()) << plan.status();
  for (const char* node : {"0.q", "0.attn_res", "0.act", "logits"}) {
    const plan::Choice* choice = ChoiceOf(*plan, node);
    ASSERT_NE(choice, nullptr) << node;
    EXPECT_EQ(choice->chosen, "auto");
    EXPECT_THAT(choice->considered, ElementsAre("auto", "few", "mma", "wgmma"));
  }
  EXPECT_THAT(ChoiceOf(*plan, "0.out")->considered, ElementsAre("auto", "few", "mma"));
  EXPECT_THAT(ChoiceOf(*plan, "0.out")->reason, HasSubstr("of which 96 is no multiple"));
  ASSERT_NE(ChoiceOf(*plan, "0.mix"), nullptr);
  EXPECT_THAT(ChoiceOf(*plan, "0.mix")->considered, ElementsAre("auto", "unsplit", "tiles"));
  EXPECT_EQ(ChoiceOf(*plan, "embed"), nullptr) << "one kernel has no name";
  const auto older = Lower("sm_80", {});
  ASSERT_TRUE(older.ok()) << older.status();
  EXPECT_THAT(ChoiceOf(*older, "0.act")->considered, ElementsAre("auto", "few", "mma"));
  EXPECT_THAT(ChoiceOf(*older, "0.act")->reason, HasSubstr("sm_80 has no wgmma"));
}

TEST(KernelRequests, ProductsInEachWay) {
  const auto usual = Lower("sm_90a", {});
  ASSERT_TRUE(usual.ok()) << usual.status();
  const std::string wgmma = ": half_rows_ wgmma_f";
  EXPECT_THAT(NamesOfVariants(*usual, "0.attn_res"),
              ElementsAre("8: linear_add_f", "16: half_rows_ matmul_f", "64" + wgmma, "128" + wgmma,
                          "256" + wgmma, "300" + wgmma));
  const std::map<std::string, std::vector<std::string>> ways = {
      {"few",
       {"16: half_rows_ matmul_f", "64" + wgmma, "128" + wgmma, "256" + wgmma, "300" + wgmma}},
      {"mma", {"300: half_rows_ matmul_f"}},
      {"wgmma", {"64" + wgmma, "128" + wgmma, "256" + wgmma, "300" + wgmma}},
      {"auto", NamesOfVariants(*usual, "0.attn_res")}};
  for (const auto& [way, variants] : ways) {
    const auto plan = Lower("sm_90a", {"0.attn_res=" + way});
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_EQ(NamesOfVariants(*plan, "0.attn_res"), variants) << way;
    EXPECT_EQ(NamesOfVariants(*plan, "0.act"), NamesOfVariants(*usual, "0.act")) << way;
    EXPECT_EQ(ChoiceOf(*plan, "0.attn_res")->chosen, way);
    EXPECT_THAT(ChoiceOf(*plan, "0.attn_res")->reason, HasSubstr("asked for; usually auto"));
  }
}

TEST(KernelRequests, AttentionInEachWay) {
  for (const auto& [way, count] : std::map<std::string, size_t>{{"unsplit", 2}, {"tiles", 1}}) {
    const auto plan = Lower("sm_90a", {"0.mix=" + way});
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_THAT(NamesOfVariants(*plan, "0.mix"), SizeIs(count)) << way;
    EXPECT_EQ(ChoiceOf(*plan, "0.mix")->chosen, way);
  }
}

// Only kernels for a few tokens, which the emulator holds to it, are said to keep tokens apart.
TEST(KernelRequests, OthersAreNotSaidToBeInvariant) {
  const auto usual = Lower("sm_90a", {});
  ASSERT_TRUE(usual.ok()) << usual.status();
  EXPECT_GE(usual->geometry.invariant_tokens, 4);
  EXPECT_LE(usual->geometry.invariant_tokens, 8);
  for (const char* request : {"0.act=mma", "0.attn_res=few", "logits=wgmma", "0.mix=tiles"}) {
    const auto plan = Lower("sm_90a", {request});
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_EQ(plan->geometry.invariant_tokens, 1) << request;
  }
}

// All that it is a choice of, but for one that is named.
TEST(KernelRequests, AllNodes) {
  const auto plan = Lower("sm_90a", {"*=mma", "0.act=wgmma"});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(ChoiceOf(*plan, "0.act")->chosen, "wgmma");
  for (const char* node : {"0.q", "0.attn_res", "0.out", "logits"}) {
    EXPECT_EQ(ChoiceOf(*plan, node)->chosen, "mma") << node;
  }
  EXPECT_EQ(ChoiceOf(*plan, "0.mix")->chosen, "auto");
}

TEST(KernelRequests, OnTheCpu) {
  for (const char* kernel : {"attention", "attention_direct"}) {
    const auto plan = Lower("cpu", {StrCat("0.mix=", kernel)});
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_EQ(ChoiceOf(*plan, "0.mix")->chosen, kernel);
    for (const plan::Step& step : plan->steps) {
      if (step.name != "0.mix") continue;
      EXPECT_EQ(plan->kernels[step.kernel].name, kernel);
    }
  }
}

TEST(KernelRequests, WhatCannotBeHad) {
  EXPECT_THAT(ErrorOf("sm_90a", {"0.act=tiles"}),
              AllOf(HasSubstr("node 0.act (gate_up)"),
                    HasSubstr("--kernel 0.act=tiles: expected one of auto, few, mma, wgmma")));
  EXPECT_THAT(ErrorOf("sm_80", {"0.act=wgmma"}), HasSubstr("expected one of auto, few, mma,"));
  EXPECT_THAT(ErrorOf("sm_90a", {"7.act=mma"}), HasSubstr("got no node of that name"));
  EXPECT_THAT(ErrorOf("sm_90a", {"embed=mma"}), HasSubstr("got embed, which one alone can"));
  EXPECT_THAT(ErrorOf("cpu", {"*=mma"}), HasSubstr("got none that this is a choice of"));
  EXPECT_THAT(ErrorOf("cpu", {"0.mix"}), HasSubstr("--kernel 0.mix: expected NODE=KERNEL"));
  EXPECT_THAT(ErrorOf("cpu", {"0.mix=attention", "0.mix=attention_direct"}),
              HasSubstr("expected one kernel a node, got attention for 0.mix before"));
  CompileOptions options = Options("sm_90a", {"7.act=mma"});
  options.kernels_may_be_gone = true;
  EXPECT_TRUE(Compile(TestData("tiny/qwen2-F16.gguf"), options).ok());
}

}  // namespace
}  // namespace renga
