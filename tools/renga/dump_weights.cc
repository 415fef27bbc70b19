// dump --stage weights: every tensor of the file, what uses it, or why nothing does.
#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/str_format.h"
#include "ir/base/status.h"
#include "ir/text/parse.h"
#include "runtime/plan/layout.h"
#include "tools/renga/dump_filter.h"
#include "tools/renga/dump_input.h"
#include "tools/renga/text.h"

namespace renga {
namespace {

using UsesByName = std::map<std::string, std::vector<std::string>>;

// Names of the nodes that read each weight.
UsesByName UsesOf(const Graph& graph) {
  UsesByName uses;
  for (const Node& node : graph.nodes) {
    for (const ValueId id : node.operands) {
      if (id == kNoValue || graph.value(id).kind != ValueKind::kWeight) continue;
      std::vector<std::string>& names = uses[graph.value(id).name];
      const std::string name(NodeName(graph, node));
      if (names.empty() || names.back() != name) names.push_back(name);
    }
  }
  return uses;
}

// Weights of a graph's text: no file, so no places and digests.
absl::StatusOr<std::string> DumpGraphWeights(const DumpFlags& flags) {
  RENGA_ASSIGN_OR_RETURN(const DumpedGraph dumped,
                         GraphOf(flags, FileKind::kIr, /*all_passes=*/false));
  const Graph& graph = dumped.graph;
  const UsesByName uses = UsesOf(graph);
  DumpFilter filter(flags, "tensors");
  Json weights = Json::array();
  std::string text;
  for (const ValueId id : graph.weights) {
    const Value& value = graph.value(id);
    if (!filter.Keeps(value.name, LayerOfTensor(value.name), {})) continue;
    const auto used = uses.find(value.name);
    const std::vector<std::string> by =
        used == uses.end() ? std::vector<std::string>() : used->second;
    if (flags.json) {
      weights.push_back({{"name", value.name},
                         {"type", ToString(value.type)},
                         {"layout", value.packed() ? value.layout : "file"},
                         {"used_by", by}});
    } else {
      StrAppend(&text, RefText(value), ": ", ToString(value.type), "  ",
                by.empty() ? "unused" : StrJoin(by, " "), "\n");
    }
  }
  RENGA_RETURN_IF_ERROR(filter.CheckFound());
  return flags.json ? JsonText({{"weights", std::move(weights)}}) : text;
}

std::string_view LayoutText(const plan::Weight& weight) {
  return weight.layout.empty() ? "file" : std::string_view(weight.layout);
}

Json WeightJson(const plan::Plan& plan, const plan::Weight& weight,
                const std::vector<std::string>& uses) {
  const WeightSource& source = weight.source;
  return {{"name", source.name},
          {"type", std::string(Name(source.dtype))},
          {"shape", source.shape},
          {"file", plan.files[source.file].path},
          {"offset", source.offset},
          {"bytes", source.bytes},
          {"digest", weight.digest.ToHex()},
          {"layout", std::string(LayoutText(weight))},
          {"stored_bytes", plan::StoredBytes(weight)},
          {"embedded", weight.embedded.has_value()},
          {"used_by", uses}};
}

std::string WeightText(const plan::Plan& plan, const plan::Weight& weight,
                       const std::vector<std::string>& uses, size_t width) {
  const WeightSource& source = weight.source;
  const std::string type = StrCat(Name(source.dtype), "[", StrJoin(source.shape, ","), "]");
  return absl::StrFormat("%-*s  %-18s  %11d bytes  at %s0x%09X  %s  %-5s  %s\n",
                         static_cast<int>(width), EscapeForTerminal(source.name), type,
                         source.bytes, plan.files.size() > 1 ? StrCat(source.file + 1, ":") : "",
                         source.offset, weight.digest.ToHex().substr(0, 16),
                         ToAbsl(LayoutText(weight)),
                         uses.empty() ? "unused" : StrCat("-> ", StrJoin(uses, " ")));
}

}  // namespace

absl::StatusOr<std::string> DumpWeights(const DumpFlags& flags, FileKind kind) {
  if (kind == FileKind::kIr) return DumpGraphWeights(flags);
  RENGA_ASSIGN_OR_RETURN(const OpenedPlan opened, PlanOf(flags, kind));
  const plan::Plan& plan = *opened.plan;
  // The graph as the frontend made it: its node names are those of the other stages.
  RENGA_ASSIGN_OR_RETURN(const Graph graph, Parse(plan.source_ir, "the plan's graph"));
  const UsesByName uses = UsesOf(graph);
  DumpFilter filter(flags, "tensors");
  filter.AddLayers(plan.model.layers);
  Json weights = Json::array(), ignored = Json::array();
  std::string text;
  size_t width = 0;
  for (const plan::Weight& weight : plan.weights) {
    width = std::max(width, std::min<size_t>(weight.source.name.size(), 64));
  }
  uint64_t bytes = 0;
  std::set<std::string_view> names;  // a tensor in two layouts has two lines
  for (const plan::Weight& weight : plan.weights) {
    const std::string& name = weight.source.name;
    if (names.insert(name).second) bytes += weight.source.bytes;
    if (!filter.Keeps(name, LayerOfTensor(name), {})) continue;
    const auto used = uses.find(name);
    const std::vector<std::string> by =
        used == uses.end() ? std::vector<std::string>() : used->second;
    if (flags.json) {
      weights.push_back(WeightJson(plan, weight, by));
    } else {
      text += WeightText(plan, weight, by, width);
    }
  }
  for (const IgnoredTensor& tensor : plan.ignored) {
    if (!filter.Keeps(tensor.name, LayerOfTensor(tensor.name), {})) continue;
    if (flags.json) {
      ignored.push_back({{"name", tensor.name}, {"reason", tensor.reason}});
    } else {
      StrAppend(&text,
                absl::StrFormat("%-*s  ignored: %s\n", static_cast<int>(width),
                                EscapeForTerminal(tensor.name), EscapeForTerminal(tensor.reason)));
    }
  }
  RENGA_RETURN_IF_ERROR(filter.CheckFound());
  const size_t total = names.size() + plan.ignored.size();
  if (flags.json) {
    return JsonText({{"weights", std::move(weights)},
                     {"ignored", std::move(ignored)},
                     {"totals",
                      {{"tensors", total},
                       {"used", names.size()},
                       {"ignored", plan.ignored.size()},
                       {"bytes", bytes}}}});
  }
  StrAppend(&text, total, " tensors in the file: ", names.size(), " used, ", plan.ignored.size(),
            " ignored, none left over; ", WithCommas(static_cast<int64_t>(bytes)), " bytes used\n");
  return text;
}

}  // namespace renga
