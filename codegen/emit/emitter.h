// How each operator lowers for a target: one table row an operator, never a switch.
#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "codegen/emit/plan_builder.h"

namespace renga::codegen {

// Adds to the plan what computes `node`: steps, or only a view. Every result must have a buffer
// afterwards. Errors need not name the node; the caller does.
using Emit = absl::Status (*)(const Node& node, std::string_view kernel, PlanBuilder& builder);

struct Emitter {
  std::string_view op;  // OpDef::name
  Emit emit;
  std::string_view kernel;  // of the target; empty where none is needed
};

// All emitters of `target` ("cpu", or GPUs as in plan::Plan::target), sorted by op; empty for an
// unknown target.
absl::Span<const Emitter> EmittersOf(std::string_view target);

// Those of all GPUs.
absl::Span<const Emitter> CudaEmitters();

// The GPUs in a target: their names, separated by commas. Empty for "cpu"; InvalidArgument for an
// unknown or repeated name.
absl::StatusOr<std::vector<const GpuTarget*>> GpusOf(std::string_view target);

// nullptr when the target has none for that operator.
const Emitter* FindEmitter(std::string_view target, std::string_view op);

}  // namespace renga::codegen
