// What the tests share in which a stand-in for libcuda plays the GPU: plans whose code is none, for
// a driver that runs none, and the renga binary on such a machine.
#pragma once

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "ir/base/output_file.h"
#include "ir/base/strings.h"
#include "runtime/plan/serialize.h"
#include "tests/support/temp_folder.h"
#include "tests/tools/process.h"
#include "tools/compiler.h"

namespace renga {

// A model whose products of many rows take wgmma where there is one.
inline std::string WgmmaModel() { return RENGA_SOURCE_DIR "/tests/data/tiny/llama-Q4_K.gguf"; }

// Of stories260K, as `renga compile --target` gives it, but for the kernels' code.
inline plan::Plan FakePlan(const std::string& target, CompileOptions options = {},
                           const std::string& gguf = StoryModel()) {
  options.target = target;
  options.only_lower = true;
  auto compilation = Compile(gguf, options);
  EXPECT_TRUE(compilation.ok()) << compilation.status();
  if (!compilation.ok()) return {};
  plan::Plan plan = std::move(compilation->plan);
  for (plan::GpuKernel& kernel : plan.gpu.kernels) {
    for (size_t i = 0; i < plan.gpu.targets.size(); ++i) {
      kernel.images.push_back({.target = static_cast<int32_t>(i),
                               .cubin = "code",
                               .ptx = plan.gpu.targets[i].only_this ? "" : "ptx"});
    }
  }
  return plan;
}

inline std::string WritePlan(const std::string& path, const plan::Plan& plan) {
  const auto bytes = plan::Serialize(plan);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  if (!bytes.ok()) return path;
  EXPECT_TRUE(WriteFileAtomically(path, {std::string_view(*bytes)}).ok());
  return path;
}

// A machine with that driver, of tests/runtime/cuda/CMakeLists.txt, told what FAKE_... say. As
// no kernel writes anything, the choices are all token 0, or that of the prompt's beginning: where
// choices come to, tokens were before.
inline ProcessOptions OnFake(std::vector<std::pair<std::string, std::string>> variables = {},
                             const std::string& driver = "fake_driver") {
  ProcessOptions options;
  options.environment = std::move(variables);
  options.environment.emplace_back("LD_LIBRARY_PATH",
                                   StrCat(RENGA_BINARY_DIR, "/fake_cuda/", driver));
  options.environment.emplace_back("FAKE_FRESH", "0");
  return options;
}

// What the stand-in wrote as the process ended.
struct FakeReport {
  int calls = -1;
  std::string failed, alive;
  std::vector<std::string> trace;  // names of all calls

  static FakeReport Read(const std::string& path) {
    FakeReport report;
    std::ifstream in(path);
    std::string line;
    const auto after = [&](std::string_view key) {
      if (!std::getline(in, line) || !line.starts_with(key)) return std::string("no report");
      return line.size() > key.size() + 1 ? line.substr(key.size() + 1) : std::string();
    };
    report.calls = std::atoi(after("calls").c_str());
    report.failed = after("failed");
    report.alive = after("alive");
    while (std::getline(in, line)) report.trace.push_back(line);
    return report;
  }
};

}  // namespace renga
