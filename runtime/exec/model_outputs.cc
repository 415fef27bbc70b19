#include "runtime/exec/model_outputs.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "ir/base/status.h"
#include "runtime/plan/layout.h"

namespace renga {
namespace {

// f32[R,n] with n >= vocab: Run reads row by row what the executor has bound R to.
absl::Status CheckLogits(const plan::Plan& plan) {
  for (const plan::Buffer& buffer : plan.buffers) {
    if (buffer.space == plan::Space::kWeight || buffer.name != "logits") continue;
    const std::vector<plan::Dim>& shape = buffer.type.shape;
    if (buffer.type.dtype == DType::kF32 && shape.size() == 2 && shape[0].symbol >= 0 &&
        plan.symbols[shape[0].symbol].name == "R" && shape[1].symbol < 0 &&
        shape[1].value >= plan.model.vocab) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(StrCat("output logits: expected f32[R,", plan.model.vocab,
                                             "] or wider, got ",
                                             plan::ToString(buffer.type, plan.symbols)));
  }
  return absl::InternalError("output logits has no buffer");  // Validate: every output has one
}

// i32[R], where there is one.
absl::Status CheckNext(const plan::Plan& plan) {
  for (const plan::Buffer& buffer : plan.buffers) {
    if (buffer.space == plan::Space::kWeight || buffer.name != "next") continue;
    const std::string type = plan::ToString(buffer.type, plan.symbols);
    if (type == "i32[R]") return absl::OkStatus();
    return absl::InvalidArgumentError(StrCat("output next: expected i32[R], got ", type));
  }
  return absl::InternalError("output next has no buffer");  // Validate: every output has one
}

bool HasOutput(const plan::Plan& plan, std::string_view name) {
  return std::find(plan.outputs.begin(), plan.outputs.end(), name) != plan.outputs.end();
}

}  // namespace

absl::Status CheckModelOutputs(const plan::Plan& plan) {
  if (!HasOutput(plan, "logits")) {
    return absl::InvalidArgumentError(
        StrCat("plan: expected an output logits, got ", StrJoin(plan.outputs, " ")));
  }
  RENGA_RETURN_IF_ERROR(CheckLogits(plan));
  return HasOutput(plan, "next") ? CheckNext(plan) : absl::OkStatus();
}

}  // namespace renga
