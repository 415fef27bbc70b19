// A plan as text, for people: `renga dump X.plan --stage plan` and `--stage memory`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "runtime/plan/plan.h"

namespace renga::plan {

// Which steps to print; the default is all.
struct StepFilter {
  std::optional<int32_t> layer;
  std::string node;  // name of a step, or of a source node it computes
  bool Keeps(const Step& step) const;
};

// Header, symbols, buffers and steps. Valid plans only (Validate).
std::string PrintPlan(const Plan& plan, const StepFilter& filter = {});

// One step without line break:
//   step 4 linear 0.q_proj (%0.attn_norm, @blk.0.attn_q.weight, -) -> %0.q_proj: f32[T,896]
// On a GPU followed by a line for each launch of each variant:
//     T 1..8      linear_q5_0_896x896_8_1f2e3d4c<<<(56), 256, 2048 + 1832 * T>>>(x=%0.attn_norm,
//     ...)
std::string PrintStep(const Plan& plan, size_t step);

// The lines of a step's variants, each with a line break before it; "" without variants.
std::string PrintVariants(const Plan& plan, const Step& step);

// What the device must hold: a line each for arena, inputs, caches and weights, and the sums.
std::string PrintMemory(const Plan& plan);

std::string_view ToString(Space space);        // "input", "weight", "cache", "arena", "persistent"
std::string_view ToString(StepKind kind);      // "kernel", "gemm", "copy", "set"
std::string ToString(const AttrValue& value);  // 12, 1e-06, true, neox

}  // namespace renga::plan
