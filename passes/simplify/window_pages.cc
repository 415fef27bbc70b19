#include "passes/simplify/window_pages.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "ir/base/status.h"
#include "ir/base/windows.h"
#include "passes/core/readers.h"

namespace renga {
namespace {

// Numbers of operands.
constexpr int kAppendCache = 0, kAppendCells = 2;
constexpr int kScoresKeys = 1, kScoresPages = 3;
constexpr int kSoftmaxScores = 0, kSoftmaxPositions = 1;
constexpr int kValuesProbs = 0, kValuesValues = 1, kValuesPages = 3;

constexpr std::string_view kCells = "cells", kPages = "pages", kAllCells = "C";

// The nodes of a layer's attention, as indices into Graph::nodes.
struct Layer {
  int scores = -1, values = -1;
  int appends[2] = {-1, -1};  // of keys and values
  int64_t window = 0;
};

int64_t IntOf(const Node& node, std::string_view attr) {
  const auto found = node.attrs.find(std::string(attr));
  const int64_t* value = found == node.attrs.end() ? nullptr : std::get_if<int64_t>(&found->second);
  return value == nullptr ? 0 : *value;
}

class Finder {
 public:
  explicit Finder(const Graph& graph)
      : graph_(graph), uses_(ComputeUses(graph)), readers_(ReadersOf(graph)) {}

  // The window that masks the scores of that node, 0: none. Only then Find has something to find.
  int64_t WindowOf(int scores) const {
    int64_t widest = 0;
    for (const int reader : readers_[graph_.nodes[scores].results[0]]) {
      if (graph_.nodes[reader].op->name != "masked_softmax") continue;
      widest = std::max(widest, IntOf(graph_.nodes[reader], "window"));
    }
    return widest;
  }

  // The rest of the layer, of which `scores` and `window` are given; why it cannot have pages of
  // its own otherwise.
  std::string Find(Layer& layer) const {
    const ValueId scores = graph_.nodes[layer.scores].results[0];
    int softmax = -1;
    if (std::string why = OnlyReader(scores, "masked_softmax", kSoftmaxScores, &softmax);
        !why.empty()) {
      return why;
    }
    const auto causal = graph_.nodes[softmax].attrs.find("causal");
    const bool* is_causal =
        causal == graph_.nodes[softmax].attrs.end() ? nullptr : std::get_if<bool>(&causal->second);
    if (is_causal == nullptr || !*is_causal) return "later keys are seen too";
    const ValueId positions = graph_.nodes[softmax].operands[kSoftmaxPositions];
    if (!IsParam(positions, "positions")) return StrCat("masked by ", Ref(positions));
    const ValueId probs = graph_.nodes[softmax].results[0];
    if (std::string why = OnlyReader(probs, "attn_values", kValuesProbs, &layer.values);
        !why.empty()) {
      return why;
    }
    const Node& of_keys = graph_.nodes[layer.scores];
    const Node& of_values = graph_.nodes[layer.values];
    for (const ValueId pages : {of_keys.operands[kScoresPages], of_values.operands[kValuesPages]}) {
      if (!IsParam(pages, kPages)) return StrCat("read through ", Ref(pages));
    }
    if (std::string why = FindAppend(of_keys.operands[kScoresKeys], &layer.appends[0]);
        !why.empty()) {
      return why;
    }
    return FindAppend(of_values.operands[kValuesValues], &layer.appends[1]);
  }

 private:
  std::string Ref(ValueId id) const { return RefText(graph_.value(id)); }

  bool IsParam(ValueId id, std::string_view name) const {
    return graph_.value(id).kind == ValueKind::kParam && graph_.value(id).name == name;
  }

  std::string OnlyReader(ValueId id, std::string_view op, int operand, int* reader) const {
    if (uses_.count[id] != 1 || readers_[id].size() != 1) {
      return StrCat(Ref(id), " has ", uses_.count[id], " users");
    }
    const Node& node = graph_.nodes[readers_[id][0]];
    if (node.op->name != op || node.operands[operand] != id) {
      return StrCat(Ref(id), " is read by ", node.op->name, ", expected ", op);
    }
    *reader = readers_[id][0];
    return "";
  }

  // The kv_append that makes these cells, which one node reads, out of a cache.
  std::string FindAppend(ValueId cells, int* append) const {
    *append = uses_.producer[cells];
    if (*append < 0 || graph_.nodes[*append].op->name != "kv_append") {
      return StrCat(Ref(cells), " comes from no kv_append");
    }
    if (readers_[cells].size() != 1) {
      return StrCat(Ref(cells), " is read by ", readers_[cells].size(), " nodes");
    }
    const Node& node = graph_.nodes[*append];
    if (!IsParam(node.operands[kAppendCells], kCells)) {
      return StrCat("written through ", Ref(node.operands[kAppendCells]));
    }
    const ValueId cache = node.operands[kAppendCache];
    if (graph_.value(cache).kind != ValueKind::kCache) {
      return StrCat(Ref(cells), " is not all of a cache");
    }
    if (uses_.count[cache] != 1) return StrCat(Ref(cache), " has ", uses_.count[cache], " users");
    return "";
  }

  const Graph& graph_;
  Uses uses_;
  std::vector<std::vector<int>> readers_;  // by value
};

// Pages of a sequence, and of all.
struct Sizes {
  int64_t page_tokens = 0, context = 0, each = 0, all = 0;
};

// All zero where the graph does not have the sizes of the runtime's steps.
Sizes SizesOf(const Graph& graph, const Layer& layer) {
  const int64_t page_tokens = IntOf(graph.nodes[layer.scores], "page_tokens");
  const SymbolDef* const of[] = {graph.FindSymbol("T"), graph.FindSymbol("S"),
                                 graph.FindSymbol("P"), graph.FindSymbol(kAllCells)};
  for (const SymbolDef* symbol : of) {
    if (symbol == nullptr || page_tokens < 1) return {};
  }
  Sizes sizes;
  sizes.page_tokens = page_tokens;
  sizes.context = of[2]->max;
  sizes.each = std::min(sizes.context, WindowPages(layer.window, of[0]->max, page_tokens));
  sizes.all = std::min(of[1]->max * sizes.each, of[3]->max / page_tokens);
  return sizes;
}

// Of the layers with one window.
struct Params {
  ValueId cells = kNoValue, pages = kNoValue;
};

// Of the type of the one that all layers have.
ValueId ParamOf(Graph& graph, std::string_view name, int64_t window) {
  const ValueId known = graph.FindValue(WindowInput(name, window), /*weight=*/false);
  if (known != kNoValue) return known;
  const TensorType type = graph.value(graph.FindValue(name, /*weight=*/false)).type;
  return graph.AddValue(WindowInput(name, window), type, ValueKind::kParam);
}

void Rewrite(Graph& graph, const Layer& layer, const Sizes& sizes, Params& params) {
  const std::string symbol = WindowSymbol(kAllCells, layer.window);
  if (params.cells == kNoValue) {
    if (graph.FindSymbol(symbol) == nullptr) {
      graph.symbols.push_back({symbol, 1, sizes.all * sizes.page_tokens});
    }
    params = {ParamOf(graph, kCells, layer.window), ParamOf(graph, kPages, layer.window)};
  }
  const auto [cells, pages] = params;
  for (const int append : layer.appends) {
    Node& node = graph.nodes[append];
    node.operands[kAppendCells] = cells;
    for (const ValueId id : {node.operands[kAppendCache], node.results[0]}) {
      graph.values[id].type.shape[0] = Dim::Symbol(symbol);
    }
  }
  graph.nodes[layer.scores].operands[kScoresPages] = pages;
  graph.nodes[layer.values].operands[kValuesPages] = pages;
}

}  // namespace

absl::StatusOr<bool> PagesOfWindows(Graph& graph, Ledger& ledger) {
  std::vector<Layer> found;  // no two share a node: the caches have one reader
  const Finder finder(graph);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    if (graph.nodes[n].op->name != "attn_scores") continue;
    Layer layer;
    layer.scores = static_cast<int>(n);
    layer.window = finder.WindowOf(layer.scores);
    if (layer.window == 0) continue;
    const std::string name(NodeName(graph, graph.nodes[n]));
    if (std::string why = finder.Find(layer); !why.empty()) {
      ledger.Rejected(name, std::move(why));
      continue;
    }
    const Sizes sizes = SizesOf(graph, layer);
    if (sizes.each >= sizes.context) {
      ledger.Rejected(name, sizes.context == 0
                                ? std::string("the graph has not the sizes T, S, P and C")
                                : StrCat("a window of ", layer.window, " keys and a step need all ",
                                         sizes.context, " pages of the context"));
      continue;
    }
    if (!ledger.Allows(name)) continue;
    ledger.Matched(name, StrCat("a window of ", layer.window, " keys and a step need ", sizes.each,
                                " of ", sizes.context, " pages"));
    found.push_back(layer);
  }
  std::map<int64_t, Params> params;  // by window
  for (const Layer& layer : found) {
    Rewrite(graph, layer, SizesOf(graph, layer), params[layer.window]);
  }
  return !found.empty();
}

}  // namespace renga
