// What the tests of the device share: models compiled for a GPU, their kernels compiled for the
// emulator, and generating.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "ir/base/strings.h"
#include "tests/emulator/device/emulator_forward.h"
#include "tests/emulator/device/plan_kernels.h"
#include "tests/support/logits.h"
#include "tools/compiler.h"

namespace renga::emulator {

using SharedPlan = std::shared_ptr<const plan::Plan>;

inline emulator::CompileOptions KernelOptions(const std::string& root = RENGA_SOURCE_DIR) {
  return {.compiler = RENGA_CXX_COMPILER,
          .root = root,
          .cache_folder = StrCat(RENGA_BINARY_DIR, "/emulator_cache"),
          .flags = {}};
}

// Small figures: as many cells and tokens as a test needs, so that a page is full now and then.
inline renga::CompileOptions GpuOptions(int64_t context) {
  renga::CompileOptions options;
  options.target = "sm_90a";
  options.context = context;
  options.max_step_tokens = 40;
  options.page_tokens = 16;
  options.threads = 1;
  options.only_lower = true;
  return options;
}

inline absl::StatusOr<SharedPlan> PlanFor(const std::string& model,
                                          const renga::CompileOptions& options) {
  RENGA_ASSIGN_OR_RETURN(Compilation compilation, Compile(model, options));
  return std::make_shared<const plan::Plan>(std::move(compilation.plan));
}

inline absl::StatusOr<std::unique_ptr<EmulatorForward>> OpenOnEmulator(const SharedPlan& plan,
                                                                       DeviceOptions options = {}) {
  if (options.kernels.empty()) {
    const plan::Plan* const plans[] = {plan.get()};
    RENGA_ASSIGN_OR_RETURN(auto kernels, CompilePlans(plans, KernelOptions()));
    options.kernels.push_back(std::move(kernels));
  }
  return EmulatorForward::Create(plan, std::move(options));
}

// Greedy from an empty sequence, the prompt in steps of `chunk` tokens. The plan's own choice of
// the next token must be that of its logits.
inline absl::StatusOr<std::vector<int32_t>> GenerateIds(EmulatorForward& forward,
                                                        absl::Span<const int32_t> prompt,
                                                        int64_t count, size_t chunk) {
  RENGA_RETURN_IF_ERROR(forward.Truncate(0));
  std::vector<float> logits;
  for (size_t begin = 0; begin < prompt.size(); begin += chunk) {
    const auto part = prompt.subspan(begin, chunk);
    std::vector<int32_t> rows;
    if (begin + part.size() == prompt.size()) rows = {static_cast<int32_t>(part.size()) - 1};
    RENGA_RETURN_IF_ERROR(forward.Run(part, rows, &logits));
  }
  std::vector<int32_t> ids;
  while (true) {
    ids.push_back(ArgMaxOf(logits));
    if (!forward.next().empty() && forward.next()[0] != ids.back()) {
      return absl::InternalError(
          StrCat("next: expected ", ids.back(), ", got ", forward.next()[0]));
    }
    if (static_cast<int64_t>(ids.size()) == count) return ids;
    RENGA_RETURN_IF_ERROR(forward.Run({ids.back()}, {0}, &logits));
  }
}

// Names of kernels of the plan's steps that were never launched. Weights come packed to the
// emulator's device; kernels_test runs the packers, and the sampler runs where somebody samples.
inline std::vector<std::string> NeverLaunched(const EmulatorDevice& device) {
  std::vector<std::string> names;
  const plan::Gpu& gpu = device.plan().gpu;
  for (size_t i = 0; i < gpu.kernels.size(); ++i) {
    const auto packs = [i](const plan::GpuPacker& packer) {
      return packer.kernel == static_cast<int32_t>(i);
    };
    if (std::any_of(gpu.packers.begin(), gpu.packers.end(), packs)) continue;
    if (static_cast<int32_t>(i) == gpu.sampler.kernel) continue;
    if (!device.launches().contains(gpu.kernels[i].name)) names.push_back(gpu.kernels[i].name);
  }
  return names;
}

}  // namespace renga::emulator
