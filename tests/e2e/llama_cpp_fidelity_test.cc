// What is known of llama.cpp's fidelity is known of these very files.
#include "tools/llama_cpp_fidelity.h"

#include <filesystem>

#include "gtest/gtest.h"
#include "tests/support/real_model.h"
#include "tools/open_model.h"
#include "tools/trace_model.h"

namespace renga {
namespace {

TEST(LlamaCppFidelity, IsThatOfTheRealModels) {
  for (const auto& [path, kl_mean] :
       {std::pair{SmolLm2(), 0.0032}, std::pair{QwenCoder(), 0.0014}}) {
    if (!std::filesystem::exists(path)) {
      GTEST_SKIP() << "SKIPPED: " << path << " is absent; tools/fetch-models gets it";
    }
    OpenOptions options;
    options.use_cache = false;
    const auto opened = OpenPlan(path, options);
    ASSERT_TRUE(opened.ok()) << opened.status();
    const auto known = LlamaCppFidelityOf(DigestOfWeights(*opened->plan));
    ASSERT_TRUE(known.has_value()) << path << ": " << DigestOfWeights(*opened->plan);
    EXPECT_EQ(known->kl_mean, kl_mean);
  }
  EXPECT_FALSE(LlamaCppFidelityOf("0123").has_value());
}

}  // namespace
}  // namespace renga
