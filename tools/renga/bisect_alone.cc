#include "tools/renga/bisect_alone.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "ir/base/status.h"
#include "tools/cuda_device.h"
#include "tools/renga/errors.h"
#include "tools/renga/output.h"
#include "tools/renga/text.h"
#include "tools/step_alone.h"

namespace renga {
namespace {

std::string Text(const AloneResult& result, const std::string& step, const std::string& device) {
  const AloneResult::Value& worst = *std::max_element(
      result.values.begin(), result.values.end(),
      [](const auto& a, const auto& b) { return a.error / a.tolerance < b.error / b.tolerance; });
  return StrCat(
      "step ", result.step, " (", EscapeOnOneLine(step), ") alone on ", device, ": ",
      result.right() ? "as expected, " : StrCat("WRONG, ", EscapeOnOneLine(worst.name), " "),
      absl::StrFormat("relative error %.3g (allowed %.3g)", worst.error, worst.tolerance), "\n");
}

}  // namespace

absl::Status PrintAlone(const OpenedPlan& opened, const std::string& device,
                        const std::string& folder, int threads, bool json) {
  RENGA_ASSIGN_OR_RETURN(const KeptStep step, ReadKeptStep(folder));
  RENGA_ASSIGN_OR_RETURN(const int ordinal, CudaOrdinal(device));
  RENGA_ASSIGN_OR_RETURN(const CudaDevice cuda, OpenCuda(ordinal));
  AloneOptions options;
  options.threads = threads;
  RENGA_ASSIGN_OR_RETURN(const AloneResult result, RunStepAlone(opened, cuda, step, options));
  const std::string& name = opened.plan->steps[static_cast<size_t>(result.step)].name;
  std::string text = Text(result, name, cuda.name);
  if (json) {
    Json values = Json::array();
    for (const AloneResult::Value& value : result.values) {
      values.push_back(
          {{"name", value.name}, {"error", value.error}, {"tolerance", value.tolerance}});
    }
    text = JsonText({{"node", name}, {"right", result.right()}, {"values", std::move(values)}});
  }
  RENGA_RETURN_IF_ERROR(WriteStdout(text));
  return result.right() ? absl::OkStatus() : AnswerIsNo();
}

}  // namespace renga
