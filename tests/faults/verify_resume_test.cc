// A verify that is interrupted goes on where it was, and finds what it would have found.
#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/output_file.h"
#include "runtime/plan/serialize.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_model.h"
#include "tools/verify_model.h"

namespace renga {
namespace {

using testing::HasSubstr;

class VerifyResume : public testing::Test {
 protected:
  VerifyResume() {
    model_.Fill();
    options_.open.device = "cpu";
    options_.open.threads = 1;
    options_.ids = {1, 4, 2, 6, 3, 5};
    options_.text_ids = {1, 4, 2, 6, 3, 5, 1, 3, 6, 2};
    options_.nodes.threads = 1;
    if (const char* old = getenv("XDG_CACHE_HOME")) old_ = old;
    setenv("XDG_CACHE_HOME", folder_.path().c_str(), 1);
  }
  ~VerifyResume() override {
    if (old_.empty()) {
      unsetenv("XDG_CACHE_HOME");
    } else {
      setenv("XDG_CACHE_HOME", old_.c_str(), 1);
    }
  }

  // Interrupted when that share of it is done.
  void Interrupt(const std::string& model, double share) {
    std::atomic<bool> cancel = false;
    VerifyModelOptions options = options_;
    options.nodes.cancel = &cancel;
    options.nodes.progress = [&](int64_t done, int64_t of) {
      if (static_cast<double>(done) > share * static_cast<double>(of)) cancel = true;
    };
    const absl::Status status = VerifyModel(model, options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kCancelled) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("--fresh"));
    EXPECT_EQ(Logs(), 1);
  }

  int Logs() const {
    int count = 0;
    std::error_code error;
    for (const auto& entry :
         std::filesystem::directory_iterator(folder_.path() + "/renga/verify", error)) {
      count += entry.is_regular_file() ? 1 : 0;
    }
    return count;
  }

  static void ExpectSame(const VerifyReport& a, const VerifyReport& b) {
    ASSERT_TRUE(a.nodes && b.nodes);
    EXPECT_EQ(a.nodes->values, b.nodes->values);
    EXPECT_EQ(a.nodes->worst, b.nodes->worst);
    EXPECT_EQ(a.nodes->worst_share, b.nodes->worst_share);
    ASSERT_EQ(a.nodes->bad.size(), b.nodes->bad.size());
    for (size_t i = 0; i < a.nodes->bad.size(); ++i) {
      EXPECT_EQ(a.nodes->bad[i].name, b.nodes->bad[i].name);
      EXPECT_EQ(a.nodes->bad[i].likely, b.nodes->bad[i].likely);
      EXPECT_EQ(a.nodes->bad[i].steps, b.nodes->bad[i].steps);
    }
    ASSERT_EQ(a.fidelity.size(), b.fidelity.size());
    for (size_t i = 0; i < a.fidelity.size(); ++i) {
      EXPECT_EQ(a.fidelity[i].steps, b.fidelity[i].steps);
      EXPECT_EQ(a.fidelity[i].positions, b.fidelity[i].positions);
      EXPECT_EQ(a.fidelity[i].kl_mean, b.fidelity[i].kl_mean);
      EXPECT_EQ(a.fidelity[i].kl_max, b.fidelity[i].kl_max);
      EXPECT_EQ(a.fidelity[i].top1, b.fidelity[i].top1);
    }
  }

  const TempFolder folder_;
  std::string old_;
  TinyModel model_;
  VerifyModelOptions options_;
};

TEST_F(VerifyResume, GoesOnWhereItWas) {
  const std::string path = model_.Write();
  const auto whole = VerifyModel(path, options_);
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_TRUE(whole->ok());
  EXPECT_EQ(whole->nodes->known, 0);
  EXPECT_EQ(whole->known_ways, 0);
  EXPECT_EQ(Logs(), 0);
  struct Case {
    double share;
    bool all_ways, nodes;
  };
  for (const Case& c : {Case{0.3, false, false}, Case{0.7, true, true}, Case{0.95, true, true}}) {
    SCOPED_TRACE(c.share);
    Interrupt(path, c.share);
    const auto rest = VerifyModel(path, options_);
    ASSERT_TRUE(rest.ok()) << rest.status();
    ExpectSame(*rest, *whole);
    EXPECT_EQ(rest->known_ways == static_cast<int64_t>(whole->fidelity.size()), c.all_ways);
    EXPECT_EQ(rest->nodes->known > 0, c.nodes);
    EXPECT_LT(rest->nodes->known, rest->nodes->values);
    EXPECT_EQ(Logs(), 0) << "the next one starts over";
  }
  // Others are nothing to it: other tokens, another model of the same name, --fresh.
  Interrupt(path, 0.9);
  VerifyModelOptions other = options_;
  other.ids = {1, 4, 2, 6, 3, 2};
  EXPECT_EQ(VerifyModel(path, other)->nodes->known, 0);
  other = options_;
  other.fresh = true;
  EXPECT_EQ(VerifyModel(path, other)->nodes->known, 0);
}

TEST_F(VerifyResume, WhatIsWrongIsToldAgain) {
  CompileOptions compile;
  compile.context = 32;
  compile.max_rows = 16;
  auto compiled = Compile(model_.Write(), compile);
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  for (plan::Step& step : compiled->plan.steps) {
    if (step.name != "0.q") continue;
    for (plan::Attr& attr : step.attrs) {
      if (attr.name == "pairing") attr.value = std::string("neox");  // llama pairs neighbours
    }
  }
  const auto bytes = plan::Serialize(compiled->plan);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  const std::string path = folder_.File("wrong.plan");
  ASSERT_TRUE(WriteFileAtomically(path, {std::string_view(*bytes)}).ok());
  const auto whole = VerifyModel(path, options_);
  ASSERT_TRUE(whole.ok()) << whole.status();
  ASSERT_FALSE(whole->nodes->bad.empty());
  EXPECT_EQ(whole->nodes->bad[0].name, "0.q");
  Interrupt(path, 0.95);
  const auto rest = VerifyModel(path, options_);
  ASSERT_TRUE(rest.ok()) << rest.status();
  EXPECT_GT(rest->nodes->known, 0);
  ExpectSame(*rest, *whole);
}

}  // namespace
}  // namespace renga
