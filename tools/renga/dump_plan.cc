// dump --stage plan: what the device is told to do.
#include "ir/base/status.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/print.h"
#include "tools/renga/dump_filter.h"
#include "tools/renga/dump_input.h"

namespace renga {
namespace {

Json BufferNames(const plan::Plan& plan, const std::vector<int32_t>& buffers) {
  Json names = Json::array();
  for (const int32_t index : buffers) {
    names.push_back(index < 0 ? Json(nullptr) : Json(plan.buffers[index].name));
  }
  return names;
}

Json AttrsJson(const std::vector<plan::Attr>& attrs) {
  Json json = Json::object();
  for (const plan::Attr& attr : attrs) {
    std::visit([&](const auto& value) { json[attr.name] = value; }, attr.value);
  }
  return json;
}

Json VariantsJson(const plan::Plan& plan, const plan::Step& step) {
  std::vector<std::string> symbols;
  for (const plan::Symbol& symbol : plan.symbols) symbols.push_back(symbol.name);
  Json variants = Json::array();
  for (const plan::Variant& variant : step.variants) {
    Json launches = Json::array();
    for (const plan::Launch& launch : variant.launches) {
      Json grid = Json::array();
      for (const plan::Expr& size : launch.grid) grid.push_back(plan::ToString(size, symbols));
      launches.push_back({{"kernel", plan.gpu.kernels[launch.kernel].name},
                          {"grid", std::move(grid)},
                          {"threads", plan.gpu.kernels[launch.kernel].threads},
                          {"dynamic_shared", plan::ToString(launch.dynamic_shared, symbols)}});
    }
    variants.push_back({{"symbol", symbols[step.chosen_by]},
                        {"last", variant.last},
                        {"reason", variant.reason},
                        {"launches", std::move(launches)}});
  }
  return variants;
}

Json StepJson(const plan::Plan& plan, const plan::Step& step) {
  return {{"variants", VariantsJson(plan, step)},
          {"name", step.name},
          {"kind", std::string(plan::ToString(step.kind))},
          {"layer", LayerJson(step.layer)},
          {"kernel", step.kernel < 0 ? Json(nullptr) : Json(plan.kernels[step.kernel].name)},
          {"inputs", BufferNames(plan, step.inputs)},
          {"outputs", BufferNames(plan, step.outputs)},
          {"attrs", AttrsJson(step.attrs)},
          {"provenance", step.provenance}};
}

Json BufferJson(const plan::Plan& plan, const plan::Buffer& buffer) {
  Json json = {{"name", buffer.name},
               {"type", plan::ToString(buffer.type, plan.symbols)},
               {"space", std::string(plan::ToString(buffer.space))},
               {"bytes", buffer.bytes}};
  json["offset"] = buffer.space == plan::Space::kArena ? Json(buffer.offset) : Json(nullptr);
  json["view_of"] = buffer.view_of < 0 ? Json(nullptr) : Json(plan.buffers[buffer.view_of].name);
  return json;
}

// Indices of the steps that the filters keep.
absl::StatusOr<std::vector<size_t>> FilteredSteps(const DumpFlags& flags, const plan::Plan& plan) {
  DumpFilter filter(flags, "steps");
  filter.AddLayers(plan.model.layers);
  std::vector<size_t> kept;
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const plan::Step& step = plan.steps[i];
    if (filter.Keeps(plan, step)) kept.push_back(i);
  }
  RENGA_RETURN_IF_ERROR(filter.CheckFound());
  return kept;
}

Json PlanJson(const plan::Plan& plan, const std::vector<size_t>& kept) {
  Json files = Json::array(), symbols = Json::array(), kernels = Json::array();
  Json buffers = Json::array(), steps = Json::array();
  for (const ModelFile& file : plan.files) {
    files.push_back({{"path", file.path}, {"bytes", file.bytes}});
  }
  for (const plan::Symbol& symbol : plan.symbols) {
    symbols.push_back({{"name", symbol.name}, {"max", symbol.max}});
  }
  for (const plan::Kernel& kernel : plan.kernels) kernels.push_back(kernel.name);
  for (const plan::Buffer& buffer : plan.buffers) buffers.push_back(BufferJson(plan, buffer));
  for (const size_t step : kept) steps.push_back(StepJson(plan, plan.steps[step]));
  const ModelInfo& model = plan.model;
  return {{"target", plan.target},
          {"producer", plan.producer},
          {"model",
           {{"architecture", model.architecture},
            {"name", model.name},
            {"file_type", model.file_type},
            {"layers", model.layers},
            {"embedding", model.embedding},
            {"heads", model.heads},
            {"kv_heads", model.kv_heads},
            {"head_dim", model.head_dim},
            {"feed_forward", model.feed_forward},
            {"vocab", model.vocab},
            {"context_length", model.context_length}}},
          {"geometry",
           {{"context", plan.geometry.context},
            {"page_tokens", plan.geometry.page_tokens},
            {"max_sequences", plan.geometry.max_sequences},
            {"max_step_tokens", plan.geometry.max_step_tokens}}},
          {"files", std::move(files)},
          {"symbols", std::move(symbols)},
          {"inputs", plan.inputs},
          {"outputs", plan.outputs},
          {"kernels", std::move(kernels)},
          {"buffers", std::move(buffers)},
          {"steps", std::move(steps)}};
}

}  // namespace

absl::StatusOr<std::string> DumpPlan(const DumpFlags& flags, FileKind kind) {
  RENGA_ASSIGN_OR_RETURN(const OpenedPlan opened, PlanOf(flags, kind));
  const plan::Plan& plan = *opened.plan;
  RENGA_ASSIGN_OR_RETURN(const std::vector<size_t> kept, FilteredSteps(flags, plan));
  if (flags.json) return JsonText(PlanJson(plan, kept));
  if (!flags.filtered()) return plan::PrintPlan(plan);
  std::string text;
  for (const size_t step : kept) StrAppend(&text, plan::PrintStep(plan, step), "\n");
  return text;
}

}  // namespace renga
