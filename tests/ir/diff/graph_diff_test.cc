#include "ir/diff/graph_diff.h"

#include <limits>
#include <string>
#include <string_view>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "ir/ops/ops.h"
#include "tests/ir/diff/llama_text.h"

namespace renga {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// The lines before the summary, runs of spaces as one.
std::string Told(const Graph& a, const Graph& b, const GraphDiffOptions& options = {}) {
  const GraphDiff diff = DiffGraphs(a, b, options);
  std::string text = GraphDiffText(a, b, diff), out;
  for (const char c : text) {
    if (c != ' ' || out.empty() || out.back() != ' ') out += c;
  }
  if (diff.equal()) return out;
  const size_t last = out.rfind('\n', out.size() - 2);
  return last == std::string::npos ? out : out.substr(0, last + 1);
}

std::string Told(const std::string& a, const std::string& b, const GraphDiffOptions& options = {}) {
  return Told(Parsed(a), Parsed(b), options);
}

TEST(GraphDiff, SameGraphIsEqual) {
  EXPECT_EQ(Told(LlamaText(), LlamaText()), "equal: 50 nodes, 22 weights, 4 caches\n");
  EXPECT_EQ(Told(LlamaText(), LlamaText(), {.ignore_names = true}),
            "equal: 50 nodes, 22 weights, 4 caches\n");
}

TEST(GraphDiff, AttributeInAllLayersIsOneLine) {
  EXPECT_EQ(Told(LlamaText(), Replaced(LlamaText(), "pairing=norm", "pairing=neox")),
            "layers 0-1 attribute rope(q, k).pairing: norm -> neox 4 x\n");
}

TEST(GraphDiff, AttributeInOneLayerNamesIt) {
  EXPECT_EQ(Told(LlamaText(4),
                 Replaced(LlamaText(4), "rms_norm(%2.out, @blk.3.attn_norm.weight) {eps=1e-06}",
                          "rms_norm(%2.out, @blk.3.attn_norm.weight) {eps=1e-05}")),
            "layer 3 attribute attn_norm.eps: 1e-06 -> 1e-05\n");
}

TEST(GraphDiff, NanAttributeEqualsItself) {
  Graph graph = Parsed(LlamaText());
  for (Node& node : graph.nodes) {
    for (auto& [name, value] : node.attrs) {
      if (TypeOf(value) == AttrType::kFloat) value = std::numeric_limits<double>::quiet_NaN();
    }
  }
  EXPECT_TRUE(DiffGraphs(graph, graph).equal());
}

// Fused graphs, and what they were before.
Graph Fused(std::string_view name = "q_proj") {
  return Parsed(Replaced(LlamaText(), ".q_proj", StrCat(".", name)));
}
Graph Unfused() { return WithSplitBias(Parsed(LlamaText())); }

TEST(GraphDiff, FusedByProvenance) {
  Graph b = Fused("k_proj_2");
  for (Node& node : b.nodes) {
    const std::string name(NodeName(b, node));
    if (name == "0.k_proj_2") node.provenance = {"0.q_mm", "0.q_proj", "0.k_proj"};
    if (name == "1.k_proj_2") node.provenance = {"1.q_mm", "1.q_proj", "1.k_proj"};
  }
  std::erase_if(b.nodes, [&](const Node& node) { return NodeName(b, node).ends_with(".k_proj"); });
  const GraphDiff diff = DiffGraphs(Unfused(), b);
  ASSERT_EQ(diff.groups[0].kind, ChangeKind::kFused);
  EXPECT_EQ(diff.groups[0].before, "q_mm q_proj k_proj");
  EXPECT_EQ(diff.groups[0].after, "k_proj_2");
  EXPECT_EQ(diff.matches[diff.changes[diff.groups[0].changes[0]].match].by, MatchBy::kProvenance);
}

TEST(GraphDiff, BothSidesCameFromOneGraph) {
  // {q_mm} {q_proj, k_proj} against {q_mm, q_proj} {k_proj}: three sources connect all four.
  Graph a = Unfused(), b = Unfused();
  const auto lists = [](Graph& graph, std::string_view name, std::vector<std::string> sources) {
    for (Node& node : graph.nodes) {
      if (NodeName(graph, node) == name) node.provenance = std::move(sources);
    }
  };
  lists(a, "0.q_proj", {"0.q_proj", "0.k_proj"});
  std::erase_if(a.nodes, [&](const Node& node) { return NodeName(a, node) == "0.k_proj"; });
  lists(b, "0.q_proj", {"0.q_mm", "0.q_proj"});
  std::erase_if(b.nodes, [&](const Node& node) { return NodeName(b, node) == "0.q_mm"; });
  const GraphDiff diff = DiffGraphs(a, b);
  ASSERT_FALSE(diff.groups.empty());
  EXPECT_EQ(diff.groups[0].kind, ChangeKind::kRewritten);
  EXPECT_EQ(diff.groups[0].before, "q_mm q_proj");
  EXPECT_EQ(diff.groups[0].after, "q_proj k_proj");
}

TEST(GraphDiff, FusedWithoutProvenance) {
  EXPECT_EQ(Told(Unfused(), Fused()), "layers 0-1 fused q_mm q_proj -> q_proj 2 x\n");
  EXPECT_EQ(Told(Fused(), Unfused()), "layers 0-1 split q_proj -> q_mm q_proj 2 x\n");
}

TEST(GraphDiff, FusedUnderTheNameOfTheFirst) {
  EXPECT_EQ(Told(Unfused(), Fused("q_mm")), "layers 0-1 fused q_mm q_proj -> q_mm 2 x\n");
  EXPECT_EQ(Told(Fused("q_mm"), Unfused()), "layers 0-1 split q_mm -> q_mm q_proj 2 x\n");
}

TEST(GraphDiff, FusedUnderANewName) {
  EXPECT_EQ(Told(Unfused(), Fused("query")), "layers 0-1 fused q_mm q_proj -> query 2 x\n");
  EXPECT_EQ(Told(Unfused(), Fused("query"), {.ignore_names = true}),
            "layers 0-1 fused q_mm q_proj -> query 2 x\n");
}

// Replaces attn_scores, masked_softmax and attn_values.
Graph WithWholeAttention(Graph graph, double scale, std::string_view name) {
  std::vector<Node> nodes;
  for (const Node& node : graph.nodes) {
    if (node.op == &kAttnScores || node.op == &kMaskedSoftmax) continue;
    nodes.push_back(node);
    if (node.op != &kAttnValues) continue;
    const std::string layer = StrCat(LayerOf(NodeName(graph, node)), ".");
    const auto value = [&](std::string_view role) {
      return graph.FindValue(StrCat(layer, role), /*weight=*/false);
    };
    Node& fused = nodes.back();
    fused.op = &kWholeAttention;
    fused.attrs = {{"scale", scale}};
    fused.operands = {value("q"),
                      value("k_cells"),
                      value("v_cells"),
                      graph.FindValue("positions", false),
                      graph.FindValue("sequences", false),
                      graph.FindValue("pages", false)};
    graph.values[fused.results[0]].name = StrCat(layer, name);
  }
  graph.nodes = std::move(nodes);
  return graph;
}

TEST(GraphDiff, ThreeNodesFusedByHand) {
  const Graph a = Parsed(LlamaText());
  for (const std::string_view name : {"mix", "attention"}) {
    const Graph b = WithWholeAttention(a, 0.25, name);
    const GraphDiff diff = DiffGraphs(a, b);
    ASSERT_EQ(diff.groups.size(), 1u) << GraphDiffText(a, b, diff);
    EXPECT_EQ(diff.groups[0].kind, ChangeKind::kFused);
    EXPECT_EQ(diff.groups[0].before, "scores masked_softmax(probs) attn_values(mix)");
    EXPECT_EQ(diff.groups[0].layers, (std::vector<int>{0, 1}));
    EXPECT_EQ(DiffGraphs(b, a).groups[0].kind, ChangeKind::kSplit);
  }
}

TEST(GraphDiff, FusionThatChangesAnAttributeSaysSo) {
  const Graph a = Parsed(LlamaText());
  const Graph b = WithWholeAttention(a, 0.5, "mix");
  const GraphDiff diff = DiffGraphs(a, b);
  ASSERT_EQ(diff.groups.size(), 2u) << GraphDiffText(a, b, diff);
  EXPECT_EQ(diff.groups[1].kind, ChangeKind::kAttribute);
  EXPECT_EQ(diff.groups[1].what, "scale");
}

TEST(GraphDiff, FusionThatDropsAnInputSaysSo) {
  Graph b = Fused();
  for (Node& node : b.nodes) {
    const std::string_view name = NodeName(b, node);
    if (name == "1.q_proj") {
      node.operands[2] = kNoValue;
      node.provenance = {"1.q_mm", "1.q_proj"};
    }
  }
  EXPECT_EQ(Told(Unfused(), b),
            "layers 0-1 fused q_mm q_proj -> q_proj 2 x\n"
            "layer 1 operand q_proj.inputs: blk.*.attn_q.bias -> none\n");
}

// Three results that were results of three nodes: their users read the same as before.
const OpDef kRopeAppend = {
    .name = "rope_append",
    .operands = {{"q"}, {"k"}, {"v"}, {"positions"}, {"k_cache"}, {"v_cache"}, {"cells"}},
    .results = 3,
};

TEST(GraphDiff, FusedNodeOfSeveralResults) {
  const Graph a = Parsed(LlamaText());
  Graph b = a;
  std::vector<Node> nodes;
  for (Node& node : b.nodes) {
    const std::string_view name = NodeName(b, node);
    const std::string layer = StrCat(LayerOf(name), ".");
    const auto value = [&](std::string_view role) {
      return b.FindValue(StrCat(layer, role), /*weight=*/false);
    };
    if (name.ends_with(".q") || name.ends_with(".k") || name.ends_with(".k_cells")) continue;
    if (name.ends_with(".v_cells")) {
      node = {.op = &kRopeAppend,
              .operands = {value("q_heads"), value("k_heads"), value("v"),
                           b.FindValue("positions", false), value("k_cache"), value("v_cache"),
                           b.FindValue("cells", false)},
              .results = {value("q"), value("k_cells"), value("v_cells")},
              .provenance = {layer + "q", layer + "k", layer + "k_cells", layer + "v_cells"}};
    }
    nodes.push_back(node);
  }
  b.nodes = std::move(nodes);
  const GraphDiff diff = DiffGraphs(a, b);
  ASSERT_EQ(diff.groups.size(), 1u) << GraphDiffText(a, b, diff);
  EXPECT_EQ(diff.groups[0].before, "rope(q, k) kv_append(k_cells, v_cells)");
  EXPECT_EQ(diff.groups[0].after, "rope_append(q)");
  const auto pairs = MatchedValues(a, b, diff);
  for (const std::string_view name : {"1.q", "1.k_cells", "1.v_cells"}) {
    EXPECT_THAT(pairs,
                testing::Contains(std::pair(a.FindValue(name, false), b.FindValue(name, false))));
  }
}

TEST(GraphDiff, OtherWeightsInARewrite) {
  // The feed-forward layer is another one: its weights are told as what it reads.
  std::string b = LlamaText();
  for (const std::string_view layer : {"0", "1"}) {
    b = Replaced(b, StrCat("@blk.", layer, ".ffn_up.weight: q4_0[96,64]"),
                 StrCat("@blk.", layer, ".ffn_lift.weight: q4_0[96,64]"));
    b = Replaced(b, StrCat("@blk.", layer, ".ffn_up.weight)"),
                 StrCat("@blk.", layer, ".ffn_lift.weight)"));
  }
  EXPECT_EQ(Told(LlamaText(), b),
            "layers 0-1 renamed weight blk.*.ffn_up.weight -> blk.*.ffn_lift.weight 2 x\n");
}

TEST(GraphDiff, TypeAndShapeAreTwoChanges) {
  const std::string b = Replaced(LlamaText(), "@output_norm.weight: f32[64]\ncache",
                                 "@output_norm.weight: f32[64]\nweight @x: q8_0[64]\ncache");
  const std::string a = Replaced(LlamaText(), "@output_norm.weight: f32[64]\ncache",
                                 "@output_norm.weight: f32[64]\nweight @x: f32[96]\ncache");
  EXPECT_EQ(Told(a, b),
            "outside layers weight type weight x: f32 -> q8_0\n"
            "outside layers shape weight x: [96] -> [64]\n");
}

TEST(GraphDiff, RenamedByWeightAndByStructure) {
  std::string b = Replaced(LlamaText(), ".k_proj", ".key");
  b = Replaced(b, ".probs", ".weights");
  EXPECT_EQ(Told(LlamaText(), b),
            "layers 0-1 renamed k_proj -> key 2 x\n"
            "layers 0-1 renamed probs -> weights 2 x\n");
  EXPECT_THAT(Told(LlamaText(), b, {.ignore_names = true}), StartsWith("equal"));
}

TEST(GraphDiff, EverythingRenamedLooksAlike) {
  // Weights too: nothing but structure is left. k and v start alike and are told apart by use.
  std::string b = Replaced(LlamaText(3), "@blk.", "@tensor.");
  for (const std::string_view role :
       {"attn_norm:", "q_proj", "k_proj", "v_proj", "k_heads", "k_cells"}) {
    b = Replaced(b, StrCat(".", role), StrCat(".my_", role));
  }
  b = Replaced(b, "(%0.attn_norm,", "(%0.my_attn_norm,");
  b = Replaced(b, "(%1.attn_norm,", "(%1.my_attn_norm,");
  b = Replaced(b, "(%2.attn_norm,", "(%2.my_attn_norm,");
  EXPECT_THAT(Told(LlamaText(3), b, {.ignore_names = true}), StartsWith("equal"));
  const std::string told = Told(LlamaText(3), b);
  EXPECT_THAT(told, HasSubstr("layers 0-2 renamed k_proj -> my_k_proj 3 x\n"));
  EXPECT_THAT(
      told, HasSubstr("layers 0-2 renamed weight blk.*.attn_q.bias -> tensor.*.attn_q.bias 3 x\n"));
  EXPECT_THAT(told, testing::Not(HasSubstr("operand")));
}

TEST(GraphDiff, RenamedAndChangedAtOnce) {
  std::string b = Replaced(LlamaText(), ".probs", ".weights");
  b = Replaced(b, "window=0", "window=128");
  EXPECT_EQ(Told(LlamaText(), b),
            "layers 0-1 renamed probs -> weights 2 x\n"
            "layers 0-1 attribute masked_softmax(weights).window: 0 -> 128 2 x\n");
}

TEST(GraphDiff, MovedNode) {
  const std::string v = "  %0.v_proj: f32[T,32] = linear(%0.attn_norm, @blk.0.attn_v.weight)\n";
  std::string b = Replaced(LlamaText(), v, "");
  const size_t at = b.find("  %0.q_proj");
  b.insert(at, v);
  EXPECT_EQ(Told(LlamaText(), b), "layer 0 order v_proj: after k_proj -> after attn_norm\n");
}

TEST(GraphDiff, OtherOperatorOfTheSameName) {
  const std::string b =
      Replaced(LlamaText(), "glu(%1.gate, %1.up) {activation=silu}", "add(%1.gate, %1.up)");
  EXPECT_EQ(Told(LlamaText(), b), "layer 1 operator act: glu -> add\n");
}

TEST(GraphDiff, Operand) {
  const std::string b =
      Replaced(LlamaText(), "add(%1.attn_res, %1.ffn_out)", "add(%0.out, %1.ffn_out)");
  EXPECT_EQ(Told(LlamaText(), b), "layer 1 operand add(out).a: attn_res -> prev.out\n");
}

TEST(GraphDiff, WeightsCachesSymbolsParameters) {
  std::string b = Replaced(LlamaText(), "q4_0[64,64]", "q8_0[64,64]");
  b = Replaced(b, "dim C = 1..4096", "dim C = 1..8192");
  b = Replaced(b, "f16[C,2,16]", "f32[C,2,16]");
  b = Replaced(b, "weight @output_norm", "weight @unused.weight: f32[8]\nweight @output_norm");
  b = Replaced(b, "%tokens: i32[T], %positions: i32[T]", "%positions: i32[T], %tokens: i32[T]");
  EXPECT_EQ(Told(LlamaText(), b),
            "outside layers shape symbol C: 1..4096 -> 1..8192\n"
            "outside layers order parameter positions: place 2 -> place 1\n"
            "layers 0-1 type cache k_cache, v_cache: f16 -> f32 4 x\n"
            "layers 0-1 weight type weight blk.*.attn_q.weight: q4_0 -> q8_0 2 x\n"
            "outside layers added weight unused.weight: f32[8]\n"
            "layers 0-1 type kv_append(k_cells, v_cells): f16 -> f32 4 x\n");
}

TEST(GraphDiff, ALayoutIsAnAttributeOfTheWeight) {
  constexpr std::string_view kFile = R"(ir 1
weight @blk.0.w: q8_0[8,32]
weight @blk.1.w: q8_0[8,32]
graph @step(%x: f32[3,32]) {
  %0.y: f32[3,8] = linear(%x, @blk.0.w)
  %1.y: f32[3,8] = linear(%x, @blk.1.w)
  return %0.y, %1.y
}
)";
  constexpr std::string_view kPacked = R"(ir 1
weight @blk.0.w: q8_0[8,32]
weight @blk.0.w.packed: q8_0[8,32] = pack(@blk.0.w) {layout=rows8}
weight @blk.1.w: q8_0[8,32]
weight @blk.1.w.packed: q8_0[8,32] = pack(@blk.1.w) {layout=rows8}
graph @step(%x: f32[3,32]) {
  %0.y: f32[3,8] = linear(%x, @blk.0.w.packed)
  %1.y: f32[3,8] = linear(%x, @blk.1.w.packed)
  return %0.y, %1.y
}
)";
  const Graph a = Parse(kFile, "a.ir").value(), b = Parse(kPacked, "b.ir").value();
  EXPECT_TRUE(DiffGraphs(b, b).equal());
  for (const bool packs : {true, false}) {
    const GraphDiff diff = packs ? DiffGraphs(a, b) : DiffGraphs(b, a);
    ASSERT_EQ(diff.changes.size(), 2u);
    for (const Change& change : diff.changes) {
      EXPECT_EQ(change.kind, ChangeKind::kAttribute);
      EXPECT_EQ(change.subject, Subject::kWeight);
      EXPECT_EQ(change.what, "layout");
      EXPECT_EQ(change.before, packs ? "file" : "rows8");
      EXPECT_EQ(change.after, packs ? "rows8" : "file");
    }
    EXPECT_EQ(diff.groups.size(), 1u);
  }
}

TEST(GraphDiff, Returns) {
  const std::string a = LlamaText();
  const std::string more = Replaced(a, "return %logits,", "return %logits, %1.out,");
  EXPECT_EQ(Told(a, more), "layer 1 added return out\n");
  EXPECT_EQ(Told(more, a), "layer 1 removed return out\n");
  EXPECT_EQ(Told(a, Replaced(a, "return %logits,", "return %output_norm,")),
            "outside layers operand return 0: logits -> output_norm\n");
  EXPECT_EQ(Told(a, Replaced(a, "return %logits, %0.k_cells", "return %0.k_cells, %logits")),
            "layer 0 order return k_cells: place 2 -> place 1\n");
}

TEST(GraphDiff, RemovedNodesShareALine) {
  // %0.attn_res bypassed, and a dead end.
  std::string a = Replaced(LlamaText(), "  %1.attn_norm",
                           "  %0.dead: f32[T,64] = add(%0.out, %0.out)\n  %1.attn_norm");
  EXPECT_EQ(Told(a, LlamaText()), "layer 0 removed add(dead)\n");
  EXPECT_EQ(Told(LlamaText(), a), "layer 0 added add(dead)\n");
}

TEST(GraphDiff, ResultsOfOneFusedNodeAreReturnedUnderTheirOwnNames) {
  constexpr std::string_view kFrame = R"(ir 1
dim T = 1..8
dim R = 1..4
weight @w: f32[16,4]
graph @step(%x: f32[T,4], %rows: i32[R]) {
)";
  const std::string a = StrCat(kFrame, R"(  %all: f32[T,16] = linear(%x, @w)
  %logits: f32[R,16] = gather_rows(%all, %rows)
  %next: i32[R] = arg_max(%logits)
  return %logits, %next
}
)");
  const std::string b = StrCat(kFrame, R"(  %rows.x: f32[R,4] = gather_rows(%x, %rows) from(%logits)
  %logits: f32[R,16], %next: i32[R] = head(%rows.x, @w) from(%all, %next)
  return %logits, %next
}
)");
  for (const auto& [from, to] : {std::pair(a, b), std::pair(b, a)}) {
    for (const Change& change : DiffGraphs(Parsed(from), Parsed(to)).changes) {
      EXPECT_NE(change.subject, Subject::kReturn) << change.a_name << " " << change.b_name;
    }
  }
}

constexpr std::string_view kRowsAfter =
    "  %output_norm: f32[T,64] = rms_norm(%1.out, @output_norm.weight) {eps=1e-06}\n"
    "  %logits_all: f32[T,1000] = linear(%output_norm, @token_embd.weight)\n"
    "  %logits: f32[R,1000] = gather_rows(%logits_all, %rows)\n";
constexpr std::string_view kRowsBefore =
    "  %rows.1.out: f32[R,64] = gather_rows(%1.out, %rows) from(%logits)\n"
    "  %output_norm: f32[R,64] = rms_norm(%rows.1.out, @output_norm.weight) {eps=1e-06}\n"
    "  %logits: f32[R,1000] = linear(%output_norm, @token_embd.weight) from(%logits_all)\n";

TEST(GraphDiff, NodesThatTradeNamesMeetByProvenance) {
  const std::string b = Replaced(LlamaText(), kRowsAfter, kRowsBefore);
  const Graph graph_a = Parsed(LlamaText()), graph_b = Parsed(b);
  const GraphDiff diff = DiffGraphs(graph_a, graph_b);
  const auto node = [](const Graph& graph, std::string_view name) {
    for (size_t n = 0; n < graph.nodes.size(); ++n) {
      if (NodeName(graph, graph.nodes[n]) == name) return static_cast<int>(n);
    }
    return -1;
  };
  EXPECT_EQ(diff.match_of_a[node(graph_a, "logits_all")], diff.match_of_b[node(graph_b, "logits")]);
  EXPECT_EQ(diff.match_of_a[node(graph_a, "logits")], diff.match_of_b[node(graph_b, "rows.1.out")]);
  for (const Change& change : diff.changes) {
    EXPECT_NE(change.subject, Subject::kReturn) << "what is returned goes by the same name";
  }
  // The logits themselves are comparable although another node computes them.
  const auto pairs = MatchedValues(graph_a, graph_b, diff);
  EXPECT_THAT(pairs, testing::Contains(std::pair(graph_a.FindValue("logits", false),
                                                 graph_b.FindValue("logits", false))));
  for (const auto& [id_a, id_b] : pairs) {
    EXPECT_EQ(graph_a.value(id_a).type.shape, graph_b.value(id_b).type.shape);
  }
}

TEST(GraphDiff, ListsDroppedOnOneSideChangeNothing) {
  const std::string with = Replaced(LlamaText(), kRowsAfter, kRowsBefore);
  std::string without = Replaced(with, " from(%logits)", "");
  without = Replaced(without, " from(%logits_all)", "");
  EXPECT_THAT(Told(with, without), StartsWith("equal"));
  EXPECT_THAT(Told(without, with), StartsWith("equal"));
}

TEST(GraphDiff, MatchedValuesOfEqualGraphsAreAllValues) {
  const Graph graph = Parsed(LlamaText());
  const auto pairs = MatchedValues(graph, graph, DiffGraphs(graph, graph));
  EXPECT_EQ(pairs.size(), graph.values.size());
  for (const auto& [a, b] : pairs) EXPECT_EQ(a, b);
}

TEST(GraphDiff, MatchedValuesOfAFusionAreItsLast) {
  const Graph a = Parsed(LlamaText());
  const Graph b = WithWholeAttention(a, 0.25, "attention");
  const auto pairs = MatchedValues(a, b, DiffGraphs(a, b));
  EXPECT_THAT(pairs, testing::Contains(std::pair(a.FindValue("1.mix", false),
                                                 b.FindValue("1.attention", false))));
  EXPECT_EQ(pairs.size(), a.values.size() - 4);  // scores and probs of two layers
}

TEST(GraphDiff, GraphsWithNothingInCommon) {
  const std::string tiny =
      "ir 1\ngraph @g(%x: f32[4]) {\n  %y: f32[4] = add(%x, %x)\n  return %y\n}\n";
  const Graph a = Parsed(LlamaText(8)), b = Parsed(tiny);
  const GraphDiff diff = DiffGraphs(a, b);
  size_t seen_a = 0, seen_b = 0;
  for (const NodeMatch& match : diff.matches) {
    seen_a += match.a.size();
    seen_b += match.b.size();
  }
  EXPECT_EQ(seen_a, a.nodes.size());
  EXPECT_EQ(seen_b, b.nodes.size());
  EXPECT_LT(diff.groups.size(), 60u) << GraphDiffText(a, b, diff);
  const std::string empty = "ir 1\ngraph @g() {\n  return\n}\n";
  EXPECT_EQ(Told(empty, empty), "equal: 0 nodes, 0 weights\n");
}

TEST(GraphDiff, NamesCannotCommandTheTerminal) {
  const std::string b = Replaced(LlamaText(), "%1.act", "%\"1.\\x1b[31mred\\n\"");
  const std::string told = Told(LlamaText(), b);
  EXPECT_EQ(told, "layer 1 renamed act -> \\x1b[31mred\\x0a\n");
}

TEST(GraphDiff, TextIsAligned) {
  std::string b = Replaced(LlamaText(), "pairing=norm", "pairing=neox");
  b = Replaced(b, ".probs", ".weights");
  b = Replaced(b, "dim C = 1..4096", "dim C = 1..8192");
  const Graph graph_a = Parsed(LlamaText()), graph_b = Parsed(b);
  EXPECT_EQ(GraphDiffText(graph_a, graph_b, DiffGraphs(graph_a, graph_b)),
            "outside layers  shape      symbol C: 1..4096 -> 1..8192\n"
            "layers 0-1      attribute  rope(q, k).pairing: norm -> neox  4 x\n"
            "layers 0-1      renamed    probs -> weights                  2 x\n"
            "3 kinds of change in 50 nodes; 2 lined up by structure alone.\n");
}

TEST(LayersText, Ranges) {
  EXPECT_EQ(LayersText({}), "outside layers");
  EXPECT_EQ(LayersText({5}), "layer 5");
  EXPECT_EQ(LayersText({0, 1}), "layers 0-1");
  EXPECT_EQ(LayersText({0, 1, 2, 3, 7}), "layers 0-3,7");
  EXPECT_EQ(LayersText({0, 2, 3}), "layers 0,2,3");
}

}  // namespace
}  // namespace renga
