#include "codegen/emit/plan_builder.h"

#include <algorithm>

#include "ir/base/status.h"
#include "runtime/plan/layout.h"

namespace renga::codegen {

absl::StatusOr<plan::TensorType> PlanBuilder::TypeOf(ValueId value) const {
  const TensorType& type = graph_.value(value).type;
  plan::TensorType result = {type.dtype, {}, graph_.value(value).layout};
  for (const Dim& dim : type.shape) {
    if (!dim.is_symbol()) {
      result.shape.push_back({-1, dim.value});
      continue;
    }
    const int32_t symbol = plan::FindSymbol(plan_, dim.symbol);
    if (symbol < 0) {
      return absl::InvalidArgumentError(StrCat(RefText(graph_.value(value)), ": ", ToString(type),
                                               ": symbol ", dim.symbol, " is not declared"));
    }
    result.shape.push_back({symbol, 1});
  }
  return result;
}

absl::Status PlanBuilder::AddBuffer(ValueId value, plan::Space space, int32_t index) {
  plan::Buffer buffer;
  buffer.name = graph_.value(value).name;
  RENGA_ASSIGN_OR_RETURN(buffer.type, TypeOf(value));
  buffer.space = space;
  buffer.index = index;
  const absl::StatusOr<uint64_t> bytes = plan::MaxBytes(buffer.type, plan_.symbols);
  if (!bytes.ok()) return Annotate(bytes.status(), RefText(graph_.value(value)));
  buffer.bytes = *bytes;
  buffers_[value] = static_cast<int32_t>(plan_.buffers.size());
  plan_.buffers.push_back(std::move(buffer));
  return absl::OkStatus();
}

absl::Status PlanBuilder::AddView(ValueId value, ValueId of) {
  const int32_t shown = buffer(of);
  const plan::Buffer& base = plan_.buffers[shown];
  const int32_t root = base.view_of >= 0 ? base.view_of : shown;
  const plan::Space space = base.space;
  const int32_t index = base.index;
  RENGA_RETURN_IF_ERROR(AddBuffer(value, space, index));
  plan_.buffers.back().view_of = root;
  return absl::OkStatus();
}

plan::Step& PlanBuilder::AddStep(const Node& node, std::string_view kernel,
                                 std::vector<plan::Attr> attrs) {
  plan::Step step;
  step.name = std::string(NodeName(graph_, node));
  step.layer = LayerOf(step.name);
  step.kernel = KernelIndex(kernel);
  for (ValueId operand : node.operands) step.inputs.push_back(buffer(operand));
  for (ValueId result : node.results) step.outputs.push_back(buffer(result));
  step.attrs = std::move(attrs);
  step.provenance = node.provenance;
  if (step.provenance.empty()) step.provenance.push_back(step.name);
  return plan_.steps.emplace_back(std::move(step));
}

absl::StatusOr<int32_t> PlanBuilder::AddScratch(std::string_view name, plan::TensorType type) {
  plan::Buffer buffer{.name = std::string(name), .type = std::move(type)};
  const absl::StatusOr<uint64_t> bytes = plan::MaxBytes(buffer.type, plan_.symbols);
  if (!bytes.ok()) return Annotate(bytes.status(), buffer.name);
  buffer.bytes = *bytes;
  const int32_t index = static_cast<int32_t>(plan_.buffers.size());
  plan_.buffers.push_back(std::move(buffer));
  return index;
}

int32_t PlanBuilder::Persistent(std::string_view name, int64_t bytes) {
  const auto [found, added] =
      persistent_.try_emplace(std::string(name), static_cast<int32_t>(plan_.buffers.size()));
  if (added) {
    plan_.buffers.push_back({.name = std::string(name),
                             .type = {DType::kI32, {{-1, 1}}},
                             .space = plan::Space::kPersistent});
  }
  plan::Buffer& buffer = plan_.buffers[found->second];
  int64_t& words = buffer.type.shape[0].value;
  words = std::max(words, (bytes + 3) / 4);
  buffer.bytes = static_cast<uint64_t>(words) * 4;
  return found->second;
}

int32_t PlanBuilder::AddGpuKernel(plan::GpuKernel kernel) {
  const auto [found, added] =
      gpu_kernels_.try_emplace(kernel.name, static_cast<int32_t>(plan_.gpu.kernels.size()));
  if (added) plan_.gpu.kernels.push_back(std::move(kernel));
  return found->second;
}

absl::StatusOr<std::string> PlanBuilder::ChooseKernel(const Node& node, std::string_view usual,
                                                      const std::vector<std::string>& possible,
                                                      std::vector<std::string> considered,
                                                      std::string reason) {
  const std::string name(NodeName(graph_, node));
  std::string chosen(usual);
  RENGA_ASSIGN_OR_RETURN(const std::optional<std::string> asked, requests_.For(name, possible));
  if (asked.has_value()) {
    chosen = *asked;
    reason = StrCat("asked for; usually ", usual);
  }
  plan_.choices.push_back({name, "kernel", chosen, std::move(considered), std::move(reason)});
  return chosen;
}

int32_t PlanBuilder::KernelIndex(std::string_view name) {
  const auto [found, added] =
      kernels_.try_emplace(std::string(name), static_cast<int32_t>(plan_.kernels.size()));
  if (added) plan_.kernels.push_back({std::string(name)});
  return found->second;
}

}  // namespace renga::codegen
