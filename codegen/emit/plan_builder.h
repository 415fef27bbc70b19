// The part of a plan that emitters write: buffers, kernels and steps.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ir/core/graph.h"
#include "runtime/plan/plan.h"

namespace renga::codegen {

// Borrows graph and plan. Arena buffers get their offset later (lower/memory_plan.h).
class PlanBuilder {
 public:
  PlanBuilder(const Graph& graph, plan::Plan& plan)
      : graph_(graph), plan_(plan), buffers_(graph.values.size(), -1) {}

  const Graph& graph() const { return graph_; }

  // The value's type in the plan's terms. InvalidArgument for an undeclared symbol.
  absl::StatusOr<plan::TensorType> TypeOf(ValueId value) const;

  // Buffer of `value`: -1 before it has one, and for kNoValue.
  int32_t buffer(ValueId value) const { return value == kNoValue ? -1 : buffers_[value]; }

  // A new buffer for `value`, of the type it has. Errors as TypeOf and MaxBytes.
  absl::Status AddBuffer(ValueId value, plan::Space space, int32_t index);

  // `value` shows the bytes of `of` in its own shape.
  absl::Status AddView(ValueId value, ValueId of);

  // `value` is another name of `of`: the same buffer.
  void Alias(ValueId value, ValueId of) { buffers_[value] = buffers_[of]; }

  // A step of `node` by the kernel of that name. Its operands and results must have buffers.
  void AddStep(const Node& node, std::string_view kernel, std::vector<plan::Attr> attrs);

  // Notes in the plan a choice made for `node`.
  void Choose(const Node& node, std::string_view what, std::string_view chosen,
              std::vector<std::string> considered, std::string reason);

 private:
  int32_t KernelIndex(std::string_view name);

  const Graph& graph_;
  plan::Plan& plan_;
  std::vector<int32_t> buffers_;  // by value
  absl::flat_hash_map<std::string, int32_t> kernels_;
};

}  // namespace renga::codegen
