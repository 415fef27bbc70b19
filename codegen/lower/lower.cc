#include "codegen/lower/lower.h"

#include <algorithm>
#include <set>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "codegen/emit/cuda_pack.h"
#include "codegen/emit/cuda_sample.h"
#include "codegen/emit/emitter.h"
#include "codegen/lower/memory_plan.h"
#include "ir/base/status.h"
#include "ir/base/windows.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/validate.h"

namespace renga::codegen {
namespace {

std::string NamesOf(absl::Span<const Emitter> emitters) {
  std::vector<std::string_view> names;
  for (const Emitter& emitter : emitters) names.push_back(emitter.op);
  return StrJoin(names, " ");
}

// "q8_0[896,896]"
std::string TypeText(const WeightSource& source) {
  return StrCat(Name(source.dtype), "[", StrJoin(source.shape, ","), "]");
}

// Plan weights in the graph's order: those that steps read. A weight that is only packed has no
// bytes of its own on the device.
absl::Status AddWeights(const Graph& graph, std::vector<plan::Weight> weights, PlanBuilder& builder,
                        plan::Plan& plan) {
  absl::flat_hash_map<std::string, plan::Weight*> by_name;
  for (plan::Weight& weight : weights) {
    if (!by_name.emplace(weight.source.name, &weight).second) {
      return absl::InvalidArgumentError(
          StrCat("weight @", weight.source.name, ": expected one source, got two"));
    }
  }
  const Uses uses = ComputeUses(graph);
  std::vector<bool> packed(graph.values.size(), false);
  for (ValueId id : graph.weights) {
    if (graph.value(id).packed()) packed[graph.value(id).source] = true;
  }
  absl::flat_hash_map<ValueId, plan::Weight> sources;  // by weight that is not packed
  for (ValueId id : graph.weights) {
    const Value& value = graph.value(id);
    plan::Weight weight;
    if (value.packed()) {
      weight = sources.at(value.source);  // declared before, as the verifier sees to
      weight.layout = value.layout;
    } else {
      const auto found = by_name.find(value.name);
      if (found == by_name.end()) {
        return absl::InvalidArgumentError(
            StrCat("weight ", RefText(value), ": expected a tensor of the model, got none"));
      }
      weight = std::move(*found->second);
      if (TypeText(weight.source) != ToString(value.type)) {
        return absl::InvalidArgumentError(StrCat("weight ", RefText(value), ": expected ",
                                                 ToString(value.type), ", the model has ",
                                                 TypeText(weight.source)));
      }
      by_name.erase(found);
      sources[id] = weight;
      if (packed[id] && uses.count[id] == 0) continue;
    }
    const int32_t index = static_cast<int32_t>(plan.weights.size());
    plan.weights.push_back(std::move(weight));
    RENGA_RETURN_IF_ERROR(builder.AddBuffer(id, plan::Space::kWeight, index));
  }
  if (by_name.empty()) return absl::OkStatus();
  std::vector<std::string> left;
  for (const auto& [name, weight] : by_name) left.push_back(name);
  std::sort(left.begin(), left.end());
  return absl::InvalidArgumentError(StrCat("weights: expected every one in the graph, ",
                                           left.size(), " are not: ", StrJoin(left, " ")));
}

// Windows of groups of caches: those that sizes of caches name.
std::vector<int64_t> WindowsOf(const Graph& graph) {
  std::set<int64_t> windows;
  for (ValueId id : graph.caches) {
    const std::vector<Dim>& shape = graph.value(id).type.shape;
    const WindowName cells = SplitWindow(shape.empty() ? std::string_view() : shape[0].symbol);
    if (cells.base == "C" && cells.window > 0) windows.insert(cells.window);
  }
  return {windows.begin(), windows.end()};
}

absl::Status AddCaches(const Graph& graph, PlanBuilder& builder, plan::Plan& plan) {
  const std::vector<int64_t>& windows = plan.geometry.windows = WindowsOf(graph);
  for (ValueId id : graph.caches) {
    const Value& value = graph.value(id);
    const std::vector<Dim>& shape = value.type.shape;
    const WindowName cells = SplitWindow(shape.empty() ? std::string_view() : shape[0].symbol);
    if (shape.size() != 3 || cells.base != "C" || shape[1].is_symbol() || shape[2].is_symbol()) {
      return absl::InvalidArgumentError(StrCat(
          "cache ", RefText(value), ": expected [C,heads,head_dim], got ", ToString(value.type)));
    }
    plan::Cache cache;
    cache.name = value.name;
    cache.layer = LayerOf(value.name);
    cache.dtype = value.type.dtype;
    cache.heads = shape[1].value;
    cache.head_dim = shape[2].value;
    const plan::TensorType cell = {cache.dtype, {{-1, cache.heads}, {-1, cache.head_dim}}};
    const absl::StatusOr<uint64_t> bytes = plan::MaxBytes(cell, plan.symbols);
    if (!bytes.ok()) return Annotate(bytes.status(), StrCat("cache ", RefText(value)));
    cache.cell_bytes = *bytes;
    if (cells.window > 0) {
      const auto at = std::find(windows.begin(), windows.end(), cells.window);
      cache.group = static_cast<int32_t>(1 + (at - windows.begin()));
    }
    const int32_t index = static_cast<int32_t>(plan.caches.size());
    plan.caches.push_back(std::move(cache));
    RENGA_RETURN_IF_ERROR(builder.AddBuffer(id, plan::Space::kCache, index));
  }
  return absl::OkStatus();
}

absl::Status AddNode(const Node& node, std::string_view target, PlanBuilder& builder) {
  const Graph& graph = builder.graph();
  const Emitter* emitter = FindEmitter(target, node.op->name);
  if (emitter == nullptr) {
    return absl::UnimplementedError(StrCat("node ", NodeName(graph, node), ": target ", target,
                                           " has no emitter for ", node.op->name, "; it has ",
                                           NamesOf(EmittersOf(target))));
  }
  return Annotate(emitter->emit(node, emitter->kernel, builder),
                  StrCat("node ", NodeName(graph, node), " (", node.op->name, ")"));
}

absl::StatusOr<GpuLimits> LimitsOf(std::string_view target) {
  GpuLimits limits;
  RENGA_ASSIGN_OR_RETURN(limits.targets, GpusOf(target));
  if (limits.targets.empty()) return limits;
  limits.shared_per_block = limits.targets[0]->shared_per_block;
  limits.wgmma = true;
  for (const GpuTarget* gpu : limits.targets) {
    limits.shared_per_block = std::min(limits.shared_per_block, gpu->shared_per_block);
    limits.multiprocessors = std::max(limits.multiprocessors, gpu->multiprocessors);
    limits.wgmma = limits.wgmma && gpu->wgmma;
  }
  return limits;
}

// What the caller may read: results in the arena. A returned cache needs no mention, it is where it
// always is.
void AddOutputs(const Graph& graph, const PlanBuilder& builder, plan::Plan& plan) {
  absl::flat_hash_set<int32_t> seen;
  for (ValueId id : graph.returns) {
    const int32_t index = builder.buffer(id);
    if (plan.buffers[index].space == plan::Space::kCache) continue;
    if (!seen.insert(index).second) continue;
    plan.outputs.push_back(plan.buffers[index].name);
  }
}

}  // namespace

absl::StatusOr<plan::Plan> Lower(LowerInput input) {
  const Graph& graph = input.graph;
  RENGA_ASSIGN_OR_RETURN(GpuLimits gpu, LimitsOf(input.target));
  plan::Plan plan;
  for (const GpuTarget* target : gpu.targets) {
    plan.gpu.targets.push_back({.name = std::string(target->name),
                                .sm = target->sm,
                                .shared_per_block = target->shared_per_block,
                                .only_this = !target->ptx_runs_on_newer});
  }
  plan.target = input.target;
  plan.producer = std::string(kProducer);
  plan.model = std::move(input.model);
  plan.tokenizer = std::move(input.tokenizer);
  plan.files = std::move(input.files);
  plan.ignored = std::move(input.ignored);
  plan.geometry = input.geometry;
  plan.geometry.invariant_tokens = plan.geometry.max_step_tokens;  // steps lower it
  plan.source_ir = std::move(input.source_ir);
  plan.ir = std::move(input.ir);
  plan.passes = std::move(input.passes);
  plan.ledger = std::move(input.ledger);
  plan.choices = std::move(input.choices);
  for (const SymbolDef& symbol : graph.symbols) plan.symbols.push_back({symbol.name, symbol.max});

  RENGA_ASSIGN_OR_RETURN(KernelRequests requests,
                         KernelRequests::Parse(input.kernels, input.kernels_may_be_gone));
  PlanBuilder builder(graph, plan, std::move(gpu), std::move(requests));
  for (ValueId id : graph.params) {
    RENGA_RETURN_IF_ERROR(
        builder.AddBuffer(id, plan::Space::kInput, static_cast<int32_t>(plan.inputs.size())));
    plan.inputs.push_back(graph.value(id).name);
  }
  RENGA_RETURN_IF_ERROR(AddWeights(graph, std::move(input.weights), builder, plan));
  RENGA_RETURN_IF_ERROR(AddCaches(graph, builder, plan));
  for (const Node& node : graph.nodes) {
    RENGA_RETURN_IF_ERROR(AddNode(node, input.target, builder));
  }
  RENGA_RETURN_IF_ERROR(builder.CheckRequests());
  AddPackers(builder, plan);
  AddOutputs(graph, builder, plan);
  AddSampler(builder, plan);
  PlaceBuffers(plan);
  PlacePersistent(plan);
  plan.memory = plan::ComputeMemory(plan);
  RENGA_RETURN_IF_ERROR(plan::Validate(plan));
  return plan;
}

}  // namespace renga::codegen
