// What the tests on a real GPU share. Without one they skip, saying so.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "tools/cuda_device.h"
#include "tools/open_model.h"

namespace renga {

class CudaTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto device = OpenCuda(0);
    if (!device.ok()) GTEST_SKIP() << "SKIPPED: no GPU: " << device.status().message();
  }

  // Compiled for the GPU, or for the device named. On an error the model is empty, and the test has
  // failed.
  static OpenedModel Open(const std::string& path, OpenOptions options = {},
                          const std::string& device = "cuda") {
    options.device = device;
    options.use_cache = false;
    auto opened = OpenModel(path, options);
    EXPECT_TRUE(opened.ok()) << path << " on " << device << ": " << opened.status();
    return opened.ok() ? *std::move(opened) : OpenedModel();
  }
};

// Logits of the rows asked for, of all of `tokens` from an empty sequence on: the first `prompt` of
// them in steps of `chunk` tokens, then one by one. `wants` says whether a position's logits are
// asked for.
template <typename Wants>
absl::StatusOr<std::vector<float>> LogitsOf(Forward& forward, absl::Span<const int32_t> tokens,
                                            size_t prompt, size_t chunk, Wants wants) {
  RENGA_RETURN_IF_ERROR(forward.Truncate(0));
  std::vector<float> logits, part;
  std::vector<int32_t> rows;
  size_t begin = 0;
  while (begin < tokens.size()) {
    const auto some = tokens.subspan(begin, begin < prompt ? std::min(chunk, prompt - begin) : 1);
    rows.clear();
    for (size_t i = 0; i < some.size(); ++i) {
      if (wants(begin + i)) rows.push_back(static_cast<int32_t>(i));
    }
    RENGA_RETURN_IF_ERROR(forward.Run(some, rows, &part));
    logits.insert(logits.end(), part.begin(), part.end());
    begin += some.size();
  }
  return logits;
}

}  // namespace renga
