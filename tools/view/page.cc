#include "tools/view/page.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "ir/base/strings.h"
#include "ir/text/print.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/lifetime.h"
#include "runtime/plan/print.h"
#include "tools/view/graph_data.h"
#include "tools/view/html.h"

namespace renga {
namespace {

using view::GraphData;
using view::Json;
using view::ValueRef;

using IndexByName = absl::flat_hash_map<std::string, int>;

// What is not a weight, by name.
IndexByName ValuesByName(const Graph& graph) {
  IndexByName values;
  for (size_t id = 0; id < graph.values.size(); ++id) {
    const Value& value = graph.values[id];
    if (value.kind != ValueKind::kWeight) values.emplace(value.name, static_cast<int>(id));
  }
  return values;
}

// By reference, the lines of source nodes that some node's provenance names.
Json SourceJson(const Graph& graph, const Graph& source) {
  absl::flat_hash_map<std::string, const Node*> nodes;
  for (const Node& node : source.nodes) nodes.emplace(NodeName(source, node), &node);
  Json lines = Json::object();
  for (const Node& node : graph.nodes) {
    for (const std::string& name : node.provenance) {
      const auto found = nodes.find(name);
      if (found != nodes.end()) lines[ValueRef(name)] = PrintNode(source, *found->second);
    }
  }
  return lines;
}

// [text, kernel, [value it writes]] a step.
Json StepsJson(const plan::Plan& plan, const IndexByName& values) {
  Json steps = Json::array();
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const plan::Step& step = plan.steps[i];
    Json written = Json::array();
    const auto add = [&](const std::string& name) {
      const auto found = values.find(name);
      if (found != values.end() &&
          std::find(written.begin(), written.end(), Json(found->second)) == written.end()) {
        written.push_back(found->second);
      }
    };
    add(step.name);
    for (const int32_t buffer : step.outputs) {
      if (buffer >= 0) add(plan.buffers[buffer].name);
    }
    steps.push_back(Json::array({plan::PrintStep(plan, i),
                                 step.kernel < 0 ? Json(std::string(plan::ToString(step.kind)))
                                                 : Json(plan.kernels[step.kernel].name),
                                 std::move(written), step.layer}));
  }
  return steps;
}

// [reference, value or -1, offset, bytes, first step, last step, type] a buffer of the arena;
// views as [value, buffer's row].
Json MemoryJson(const plan::Plan& plan, const IndexByName& values) {
  const std::vector<plan::Lifetime> lives = plan::Lifetimes(plan);
  std::vector<int> rows(plan.buffers.size(), -1);
  Json buffers = Json::array(), views = Json::array();
  const auto value_of = [&](const std::string& name) {
    const auto found = values.find(name);
    return found == values.end() ? -1 : found->second;
  };
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    const plan::Buffer& buffer = plan.buffers[i];
    if (buffer.space != plan::Space::kArena || buffer.view_of >= 0) continue;
    rows[i] = static_cast<int>(buffers.size());
    buffers.push_back(
        Json::array({ValueRef(buffer.name), value_of(buffer.name), buffer.offset, buffer.bytes,
                     lives[i].first, lives[i].last, plan::ToString(buffer.type, plan.symbols)}));
  }
  for (const plan::Buffer& buffer : plan.buffers) {
    if (buffer.view_of < 0 || rows[buffer.view_of] < 0) continue;
    const int value = value_of(buffer.name);
    if (value >= 0) views.push_back(Json::array({value, rows[buffer.view_of]}));
  }
  return {{"weights", plan.memory.weights},         {"kv", plan.memory.kv},
          {"activations", plan.memory.activations}, {"arena", plan::ArenaBytes(plan)},
          {"buffers", std::move(buffers)},          {"views", std::move(views)}};
}

// [value or -1, name, type, file, offset, bytes] a tensor.
Json WeightsJson(const GraphPage& page) {
  IndexByName ids;
  for (const ValueId id : page.graph->weights) {
    const Value& value = page.graph->value(id);
    // A tensor stands for what nodes read: its packed form where there is one.
    ids[value.packed() ? page.graph->value(value.source).name : value.name] = id;
  }
  Json weights = Json::array();
  for (const WeightSource& source : page.weights) {
    const auto found = ids.find(source.name);
    weights.push_back(Json::array({found == ids.end() ? -1 : found->second,
                                   RefText(Value{source.name, {}, ValueKind::kWeight}),
                                   StrCat(Name(source.dtype), "[", StrJoin(source.shape, ","), "]"),
                                   source.file, source.offset, source.bytes}));
  }
  return weights;
}

// [value, shape, axes, elements, min, max, mean, rms, zeros, nans, infs] a traced value.
Json StatsJson(const Trace& trace, const IndexByName& values) {
  Json stats = Json::array();
  for (const TracedValue& value : trace.values) {
    const auto found = values.find(value.name);
    if (found == values.end()) continue;
    const ValueStats& s = value.stats;
    stats.push_back(Json::array({found->second, value.shape, value.axes, value.elements(), s.min,
                                 s.max, s.mean, s.rms, s.zeros, s.nans, s.infs}));
  }
  return stats;
}

Json RunJson(const TraceRun& run) {
  return Json::array({Json::array({"traced on", run.device}), Json::array({"prompt", run.prompt}),
                      Json::array({"tokens", StrCat(run.ids.size())})});
}

Json LedgerJson(const std::vector<plan::LedgerEntry>& ledger) {
  Json entries = Json::array();
  for (const plan::LedgerEntry& entry : ledger) {
    entries.push_back(Json::array({entry.pass, ValueRef(entry.node), entry.layer,
                                   entry.result == plan::LedgerResult::kMatched, entry.reason}));
  }
  return entries;
}

Json PageData(const GraphPage& page) {
  const IndexByName values = ValuesByName(*page.graph);
  Json data = {{"title", page.title},
               {"producer", page.producer},
               {"stage", page.stage},
               {"facts", page.facts},
               {"graph", GraphData(*page.graph)},
               {"weights", WeightsJson(page)},
               {"ledger", LedgerJson(page.ledger)}};
  Json files = Json::array(), ignored = Json::array(), passes = Json::array();
  for (const ModelFile& file : page.files) files.push_back(Json::array({file.path, file.bytes}));
  for (const IgnoredTensor& tensor : page.ignored) {
    ignored.push_back(Json::array({tensor.name, tensor.reason}));
  }
  for (const plan::PassRecord& pass : page.passes) {
    passes.push_back(Json::array(
        {pass.name, pass.changed, pass.nodes_before, pass.nodes_after, pass.milliseconds}));
  }
  data["files"] = std::move(files);
  data["ignored"] = std::move(ignored);
  data["passes"] = std::move(passes);
  data["kernels"] = page.kernel_sources;
  if (page.source != nullptr) data["source"] = SourceJson(*page.graph, *page.source);
  if (page.plan != nullptr) {
    data["target"] = page.plan->target;
    data["steps"] = StepsJson(*page.plan, values);
    data["memory"] = MemoryJson(*page.plan, values);
  }
  if (page.trace != nullptr) {
    data["stats"] = StatsJson(*page.trace, values);
    data["run"] = RunJson(page.trace->run);
  }
  return data;
}

}  // namespace

void DescribePlan(const plan::Plan& plan, GraphPage* page) {
  const ModelInfo& model = plan.model;
  const auto fact = [page](std::string name, std::string value) {
    if (!value.empty()) page->facts.emplace_back(std::move(name), std::move(value));
  };
  fact("architecture", model.architecture);
  fact("name", model.name);
  fact("type", model.file_type);
  fact("layers", StrCat(model.layers));
  fact("width", StrCat(model.embedding));
  fact("heads", StrCat(model.heads, "/", model.kv_heads, " x ", model.head_dim));
  fact("feed-forward", StrCat(model.feed_forward));
  fact("vocabulary", StrCat(model.vocab));
  fact("target", plan.target);
  fact("context", StrCat(plan.geometry.context));
  page->files = plan.files;
  for (const plan::Weight& weight : plan.weights) page->weights.push_back(weight.source);
  page->ignored = plan.ignored;
  page->passes = plan.passes;
  page->ledger = plan.ledger;
}

std::string GraphPageHtml(const GraphPage& page) {
  return view::Page({.skeleton = &view::kDumpHtml,
                     .title = page.title,
                     .styles = {&view::kViewCss, &view::kDumpCss},
                     .scripts = {&view::kModelJs, &view::kViewJs, &view::kPanelJs, &view::kMemoryJs,
                                 &view::kDumpJs}},
                    PageData(page));
}

}  // namespace renga
