#include "tools/view/dot.h"

#include <map>
#include <vector>

#include "ir/base/strings.h"
#include "ir/core/type.h"

namespace renga {
namespace {

// A double-quoted string whose backslashes mean themselves; `\n` of ours separates label lines.
std::string Quote(const std::vector<std::string>& lines) {
  std::string text = "\"";
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) text += "\\n";
    for (const char c : lines[i]) {
      if (c == '"' || c == '\\') text += '\\';
      text += c;
    }
  }
  return text + "\"";
}

std::string OpText(const Node& node) {
  std::string text(node.op->name);
  const char* separator = " {";
  for (const auto& [name, value] : node.attrs) {
    StrAppend(&text, separator, name, "=", ToString(value));
    separator = ", ";
  }
  return node.attrs.empty() ? text : text + "}";
}

std::string_view ShapeOf(ValueKind kind) {
  switch (kind) {
    case ValueKind::kWeight:
      return "shape=note, style=filled, fillcolor=\"#f1efe6\"";
    case ValueKind::kCache:
      return "shape=cylinder";
    case ValueKind::kParam:
      return "shape=ellipse";
    case ValueKind::kResult:  // of a node that was filtered out
      return "shape=plaintext";
  }
  return "shape=plaintext";
}

// Statements by layer; -1 outside layers, and so is what several layers share.
class Writer {
 public:
  Writer(const Graph& graph, const std::function<bool(const Node&)>& keep)
      : graph_(graph), source_(graph.values.size(), -1), layer_(graph.values.size(), kUnused) {
    for (size_t i = 0; i < graph.nodes.size(); ++i) {
      const Node& node = graph.nodes[i];
      if (keep && !keep(node)) continue;
      kept_.push_back(static_cast<int>(i));
      for (const ValueId id : node.results) source_[id] = static_cast<int>(i);
      const int layer = LayerOf(NodeName(graph, node));
      for (const ValueId id : node.operands) {
        if (id == kNoValue) continue;
        layer_[id] = layer_[id] == kUnused || layer_[id] == layer ? layer : -1;
      }
    }
  }

  std::string Text() {
    for (ValueId id = 0; id < static_cast<ValueId>(graph_.values.size()); ++id) {
      if (layer_[id] != kUnused && source_[id] < 0) AddValue(id);
    }
    for (const int index : kept_) AddNode(index);
    std::string text = StrCat("digraph ", Quote({graph_.name}),
                              " {\n  rankdir=TB;\n  node [shape=box, fontname=\"monospace\", "
                              "fontsize=10];\n");
    for (const auto& [layer, statements] : layers_) {
      if (layer < 0) {
        text += statements;
        continue;
      }
      StrAppend(&text, "  subgraph cluster_layer_", layer, " {\n  label=\"layer ", layer, "\";\n",
                statements, "  }\n");
    }
    return text + edges_ + "}\n";
  }

 private:
  static constexpr int kUnused = -2;

  void AddValue(ValueId id) {
    const Value& value = graph_.value(id);
    std::vector<std::string> lines = {RefText(value), ToString(value.type)};
    if (value.packed()) lines.push_back(StrCat("layout ", value.layout));
    StrAppend(&layers_[layer_[id]], "  v", id, " [label=", Quote(lines), ", ", ShapeOf(value.kind),
              "];\n");
  }

  void AddNode(int index) {
    const Node& node = graph_.nodes[index];
    std::vector<std::string> lines = {RefText(graph_.value(node.results[0])), OpText(node)};
    for (const ValueId id : node.results) lines.push_back(ToString(graph_.value(id).type));
    StrAppend(&layers_[LayerOf(NodeName(graph_, node))], "  n", index, " [label=", Quote(lines),
              "];\n");
    for (const ValueId id : node.operands) {
      if (id == kNoValue) continue;
      StrAppend(&edges_, "  ", source_[id] < 0 ? "v" : "n", source_[id] < 0 ? id : source_[id],
                " -> n", index, ";\n");
    }
  }

  const Graph& graph_;
  std::vector<int> kept_;
  std::vector<int> source_;  // by value: the kept node that produces it, or -1
  std::vector<int> layer_;   // by value: that of its kept users
  std::map<int, std::string> layers_;
  std::string edges_;
};

}  // namespace

std::string GraphDot(const Graph& graph, const std::function<bool(const Node&)>& keep) {
  return Writer(graph, keep).Text();
}

}  // namespace renga
