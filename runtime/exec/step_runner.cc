#include "runtime/exec/step_runner.h"

#include "ir/base/status.h"
#include "runtime/plan/layout.h"

namespace renga {

int64_t MaxRows(const plan::Plan& plan) {
  return plan::SymbolMax(plan, "R", plan.geometry.max_step_tokens);
}

absl::Status StepRunner::Start(const StepInputs& inputs) {
  if (inputs.fed_back) {
    return absl::UnimplementedError(
        StrCat("device ", device(), ": does not go on from what it chose by itself"));
  }
  if (started_) return absl::FailedPreconditionError("a step is under way, expected none");
  RENGA_RETURN_IF_ERROR(Run(inputs));
  started_ = true;
  return absl::OkStatus();
}

absl::Status StepRunner::Finish() {
  if (!started_) return absl::FailedPreconditionError("no step is under way");
  started_ = false;
  return absl::OkStatus();
}

absl::Status StepRunner::ReadPage(int, int32_t, std::string*) const {
  return absl::UnimplementedError(
      StrCat("device ", device(), ": keys and values cannot be read from it"));
}

absl::Status StepRunner::WritePage(int, int32_t, std::string_view) {
  return absl::UnimplementedError(
      StrCat("device ", device(), ": keys and values cannot be written to it"));
}

absl::Status CheckPageBytes(size_t expected, size_t got) {
  if (expected == got) return absl::OkStatus();
  return absl::InvalidArgumentError(
      StrCat("a page of keys and values: expected ", expected, " bytes, got ", got));
}

}  // namespace renga
