// Random edits of a graph are reported as exactly those edits, in both directions.
#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "ir/core/verify.h"
#include "ir/diff/graph_diff.h"
#include "ir/text/print.h"
#include "tests/ir/diff/llama_text.h"

namespace renga {
namespace {

// What a change says, without texts: kind, subject, names in a and b, what.
using Said = std::tuple<std::string, std::string, std::string, std::string, std::string>;

Said Say(ChangeKind kind, Subject subject, std::string a, std::string b, std::string what = "") {
  return {std::string(ToString(kind)), std::string(ToString(subject)), std::move(a), std::move(b),
          std::move(what)};
}

// All but moved nodes, of which a swap lets either be the one that moved.
std::multiset<Said> SaidBy(const GraphDiff& diff) {
  std::multiset<Said> said;
  for (const Change& c : diff.changes) {
    if (c.kind != ChangeKind::kOrder) {
      said.insert(Say(c.kind, c.subject, c.a_name, c.b_name, c.what));
    }
  }
  return said;
}

class Edits {
 public:
  explicit Edits(uint32_t seed) : random_(seed) {
    Graph base = Parsed(LlamaText(1 + Pick(5)));
    split_ = Pick(2) == 0;
    if (split_) base = WithSplitBias(std::move(base));
    AddDeadEnds(&base);
    a_ = base;
    b_ = std::move(base);
  }

  const Graph& a() const { return a_; }
  const Graph& b() const { return b_; }

  void MakeSome() {
    using Edit = void (Edits::*)();
    static constexpr Edit kEdits[] = {
        &Edits::Rename,        &Edits::Rename,       &Edits::ChangeAttribute, &Edits::Swap,
        &Edits::DropDead,      &Edits::DropReturn,   &Edits::ChangeWeight,    &Edits::ChangeCache,
        &Edits::ChangeDim,     &Edits::RenameWeight, &Edits::Insert,          &Edits::Fuse,
        &Edits::FuseAttention,
    };
    const int count = 1 + Pick(6);
    for (int i = 0; i < count; ++i) (this->*kEdits[Pick(std::size(kEdits))])();
  }

  // Everything gets another name, nodes and weights.
  void RenameAll() {
    for (Value& value : b_.values) {
      if (value.kind == ValueKind::kResult || value.kind == ValueKind::kWeight) {
        value.name = StrCat("n", Pick(1 << 28), ".", ++fresh_);
      }
    }
  }

  // Another order that is as legal: by depth, what is free to move at random.
  void Shuffle() {
    std::vector<std::pair<std::pair<int, int>, Node>> ordered;
    std::map<ValueId, int> depth;
    for (const Node& node : b_.nodes) {
      int deepest = 0;
      for (const ValueId id : node.operands) deepest = std::max(deepest, depth[id]);
      for (const ValueId id : node.results) depth[id] = deepest + 1;
      ordered.push_back({{deepest, Pick(1000)}, node});
    }
    std::stable_sort(ordered.begin(), ordered.end(),
                     [](const auto& x, const auto& y) { return x.first < y.first; });
    for (size_t i = 0; i < ordered.size(); ++i) b_.nodes[i] = ordered[i].second;
  }

  std::multiset<Said> Expected() const {
    std::multiset<Said> said = said_;
    // Names as they are in the end: a node may have been renamed after it was changed.
    for (const auto& [kind, id, what] : of_nodes_) {
      said.insert(Say(kind, Subject::kNode, a_.value(id).name, b_.value(id).name, what));
    }
    return said;
  }
  const std::vector<std::pair<std::string, std::string>>& swapped() const { return swapped_; }
  std::string Tell() const { return StrJoin(log_, "\n"); }

 private:
  int Pick(size_t count) { return static_cast<int>(random_() % count); }
  std::string FreshName() { return StrCat(Pick(6), ".fresh", ++fresh_); }

  // A node that no edit has touched, or nullptr; touched from now on.
  Node* Untouched(bool (*fits)(const Graph& graph, const Node& node)) {
    std::vector<Node*> nodes;
    for (Node& node : b_.nodes) {
      if (!touched_.contains(node.results[0]) && fits(b_, node)) nodes.push_back(&node);
    }
    if (nodes.empty()) return nullptr;
    Node* node = nodes[Pick(nodes.size())];
    touched_.insert(node->results[0]);
    log_.push_back(StrCat("  at ", PrintNode(b_, *node)));
    return node;
  }

  static bool IsDead(const Graph& graph, const Node& node) {
    return NodeName(graph, node).find("dead") != std::string_view::npos;
  }

  // Values of both graphs' own that nothing reads, or that are returned besides.
  void AddDeadEnds(Graph* graph) {
    const OpDef* add = FindOp("add");
    std::vector<Node> nodes;
    for (const Node& node : graph->nodes) {
      nodes.push_back(node);
      if (Pick(10) != 0 || node.op->name == "kv_append") continue;
      const Value value = graph->value(node.results[0]);
      const ValueId dead = graph->AddValue(StrCat(LayerOf(value.name), ".dead", ++fresh_),
                                           value.type, ValueKind::kResult);
      nodes.push_back(
          {.op = add, .operands = {node.results[0], node.results[0]}, .results = {dead}});
      if (Pick(2) == 0) graph->returns.push_back(node.results[0]);
    }
    graph->nodes = std::move(nodes);
  }

  void Rename() {
    log_.push_back("rename");
    Node* node = Untouched([](const Graph&, const Node&) { return true; });
    if (node == nullptr || !renamed_.insert(node->results[0]).second) return;
    b_.values[node->results[0]].name = FreshName();
    of_nodes_.push_back({ChangeKind::kRenamed, node->results[0], ""});
    // Another edit may change its attribute as well.
    if (!node->attrs.empty() && Pick(3) == 0) touched_.erase(node->results[0]);
  }

  void ChangeAttribute() {
    log_.push_back("attribute");
    Node* node = Untouched([](const Graph&, const Node& n) {
      return std::any_of(n.attrs.begin(), n.attrs.end(),
                         [](const auto& attr) { return TypeOf(attr.second) == AttrType::kFloat; });
    });
    if (node == nullptr) return;
    for (auto& [name, value] : node->attrs) {
      if (TypeOf(value) != AttrType::kFloat) continue;
      value = std::get<double>(value) * 2;
      of_nodes_.push_back({ChangeKind::kAttribute, node->results[0], name});
      return;
    }
  }

  // Two nodes that follow one another and do not read one another.
  void Swap() {
    log_.push_back("swap");
    const size_t n = Pick(b_.nodes.size() - 1);
    Node& first = b_.nodes[n];
    Node& second = b_.nodes[n + 1];
    for (const ValueId id : second.operands) {
      if (id == first.results[0]) return;
    }
    for (const ValueId id : {first.results[0], second.results[0]}) {
      if (!moved_.insert(id).second) return;
    }
    swapped_.emplace_back(NodeName(a_, first), NodeName(a_, second));
    std::swap(first, second);
  }

  void DropDead() {
    log_.push_back("drop dead end");
    Node* node = Untouched(IsDead);
    if (node == nullptr) return;
    const ValueId id = node->results[0];
    if (moved_.contains(id) || renamed_.contains(id)) return;
    moved_.insert(id);
    said_.insert(Say(ChangeKind::kRemoved, Subject::kNode, a_.value(id).name, ""));
    b_.nodes.erase(b_.nodes.begin() + (node - b_.nodes.data()));
  }

  void DropReturn() {
    log_.push_back("drop return");
    // Caches have to be returned; what AddDeadEnds returned comes last.
    if (b_.returns.size() <= 1 + b_.caches.size()) return;
    said_.insert(Say(ChangeKind::kRemoved, Subject::kReturn, a_.value(b_.returns.back()).name, ""));
    b_.returns.pop_back();
  }

  void ChangeWeight() {
    log_.push_back("weight type");
    const ValueId id = b_.weights[Pick(b_.weights.size())];
    Value& weight = b_.values[id];
    if (weight.type.dtype != DType::kQ4_0) return;
    weight.type.dtype = DType::kQ8_0;
    weight_types_.insert(id);
    ExpectOfWeight(ChangeKind::kWeightType, id);
  }

  void RenameWeight() {
    log_.push_back("rename weight");
    const ValueId id = b_.weights[Pick(b_.weights.size())];
    Value& weight = b_.values[id];
    // What reads it is known by its name, or by the rest of what it does.
    if (weight.name != a_.value(id).name || weight_types_.contains(id)) return;
    for (const Node& node : b_.nodes) {
      if (std::count(node.operands.begin(), node.operands.end(), id) == 0) continue;
      if (!touched_.insert(node.results[0]).second) return;
    }
    weight.name = StrCat("other.", ++fresh_);
    weight_types_.insert(id);
    ExpectOfWeight(ChangeKind::kRenamed, id);
  }

  void ExpectOfWeight(ChangeKind kind, ValueId id) {
    said_.insert(Say(kind, Subject::kWeight, a_.value(id).name, b_.value(id).name));
  }

  void ChangeCache() {
    log_.push_back("cache type");
    const ValueId id = b_.caches[Pick(b_.caches.size())];
    if (b_.value(id).type.dtype != DType::kF16) return;
    b_.values[id].type.dtype = DType::kF32;
    said_.insert(Say(ChangeKind::kType, Subject::kCache, a_.value(id).name, b_.value(id).name));
    for (const Node& node : b_.nodes) {
      if (node.op->name != "kv_append" || node.operands[0] != id) continue;
      b_.values[node.results[0]].type.dtype = DType::kF32;
      of_nodes_.push_back({ChangeKind::kType, node.results[0], ""});
    }
  }

  void ChangeDim() {
    log_.push_back("bounds");
    SymbolDef& symbol = b_.symbols[Pick(b_.symbols.size())];
    if (symbol.max != a_.FindSymbol(symbol.name)->max) return;
    symbol.max *= 2;
    said_.insert(Say(ChangeKind::kShape, Subject::kSymbol, symbol.name, symbol.name));
  }

  // A node between one that reads a value and that value.
  void Insert() {
    log_.push_back("insert");
    Node* reader = Untouched(
        [](const Graph& g, const Node& n) { return n.op->name == "add" && !IsDead(g, n); });
    if (reader == nullptr || renamed_.contains(reader->results[0])) return;
    // Where a dead end of the same form was dropped, it would be that one under another name.
    for (const Node& node : a_.nodes) {
      if (IsDead(a_, node) && node.operands[0] == reader->operands[1]) return;
    }
    const Value read = b_.value(reader->operands[1]);
    const ValueId id = b_.AddValue(FreshName(), read.type, ValueKind::kResult);
    a_.values.push_back(b_.values.back());  // so that ids mean the same; nothing refers to it
    Node node{.op = FindOp("add"),
              .operands = {reader->operands[1], reader->operands[1]},
              .results = {id}};
    reader->operands[1] = id;
    of_nodes_.push_back({ChangeKind::kOperand, reader->results[0], "b"});
    said_.insert(Say(ChangeKind::kAdded, Subject::kNode, "", b_.value(id).name));
    touched_.insert(id);
    moved_.insert(id);
    b_.nodes.insert(b_.nodes.begin() + (reader - b_.nodes.data()), node);
  }

  // The linear before it and the add_bias become one, with or without saying so.
  void Fuse() {
    log_.push_back("fuse");
    Node* add = Untouched([](const Graph&, const Node& n) { return n.op == &kAddBias; });
    if (add == nullptr) return;
    const ValueId product = add->operands[0];
    const bool used_by_others = std::count_if(b_.nodes.begin(), b_.nodes.end(), [&](const Node& n) {
                                  return std::count(n.operands.begin(), n.operands.end(), product);
                                }) > 1;
    if (renamed_.contains(add->results[0]) || used_by_others || !touched_.insert(product).second ||
        moved_.contains(product) || moved_.contains(add->results[0]) ||
        std::count(b_.returns.begin(), b_.returns.end(), product) > 0) {
      return;
    }
    const auto linear = std::find_if(b_.nodes.begin(), b_.nodes.end(),
                                     [&](const Node& node) { return node.results[0] == product; });
    moved_.insert(product);
    moved_.insert(add->results[0]);
    const ValueId bias = add->operands[1];
    add->op = linear->op;
    add->operands = {linear->operands[0], linear->operands[1], bias};
    if (Pick(2) == 0) {
      add->provenance = {a_.value(product).name, a_.value(add->results[0]).name};
    }
    of_nodes_.push_back({ChangeKind::kFused, add->results[0], ""});
    b_.nodes.erase(linear);
  }

  // attn_scores, masked_softmax and attn_values of a layer become one, under their last name or a
  // new one, with or without saying so.
  void FuseAttention() {
    log_.push_back("fuse attention");
    Node* mix = Untouched([](const Graph&, const Node& n) { return n.op->name == "attn_values"; });
    if (mix == nullptr) return;
    const auto producer = [&](ValueId id) {
      return std::find_if(b_.nodes.begin(), b_.nodes.end(),
                          [&](const Node& node) { return node.results[0] == id; });
    };
    const ValueId probs = mix->operands[0];
    const ValueId scores = producer(probs)->operands[0];
    for (const ValueId id : {probs, scores}) {
      if (!touched_.insert(id).second || renamed_.contains(id) || moved_.contains(id)) return;
      int uses = 0;
      for (const Node& node : b_.nodes) {
        uses += std::count(node.operands.begin(), node.operands.end(), id) > 0 ? 1 : 0;
      }
      if (uses + std::count(b_.returns.begin(), b_.returns.end(), id) > 1) return;
    }
    const ValueId result = mix->results[0];
    if (renamed_.contains(result) || !moved_.insert(result).second) return;
    moved_.insert({probs, scores});
    const Node& first = *producer(scores);
    mix->op = &kWholeAttention;
    mix->attrs = {{"scale", first.attrs.at("scale")}};
    mix->operands = {first.operands[0], first.operands[1],
                     mix->operands[1],  producer(probs)->operands[1],
                     first.operands[2], first.operands[3]};
    if (Pick(2) == 0) {
      for (const ValueId id : {scores, probs, result}) {
        mix->provenance.push_back(a_.value(id).name);
      }
    }
    if (Pick(2) == 0) b_.values[result].name = FreshName();
    of_nodes_.push_back({ChangeKind::kFused, result, ""});
    b_.nodes.erase(producer(scores));
    b_.nodes.erase(producer(probs));
  }

  struct OfNode {
    ChangeKind kind;
    ValueId id;
    std::string what;
  };

  std::mt19937 random_;
  Graph a_, b_;
  bool split_ = false;
  int fresh_ = 0;
  std::set<ValueId> touched_, renamed_, moved_, weight_types_;
  std::multiset<Said> said_;
  std::vector<OfNode> of_nodes_;
  std::vector<std::pair<std::string, std::string>> swapped_;
  std::vector<std::string> log_;
};

void CheckWhole(const Graph& a, const Graph& b, const GraphDiff& diff) {
  std::vector<int> seen_a(a.nodes.size(), 0), seen_b(b.nodes.size(), 0);
  int last = -1;
  for (size_t m = 0; m < diff.matches.size(); ++m) {
    for (const int n : diff.matches[m].a) {
      ++seen_a[n];
      EXPECT_EQ(diff.match_of_a[n], static_cast<int>(m));
    }
    for (const int n : diff.matches[m].b) {
      ++seen_b[n];
      EXPECT_EQ(diff.match_of_b[n], static_cast<int>(m));
    }
    if (diff.matches[m].b.empty()) continue;
    EXPECT_GT(diff.matches[m].b.back(), last);
    last = diff.matches[m].b.back();
  }
  EXPECT_THAT(seen_a, testing::Each(1));
  EXPECT_THAT(seen_b, testing::Each(1));
  std::vector<int> grouped;
  for (const ChangeGroup& group : diff.groups) {
    grouped.insert(grouped.end(), group.changes.begin(), group.changes.end());
  }
  std::sort(grouped.begin(), grouped.end());
  ASSERT_EQ(grouped.size(), diff.changes.size());
  for (size_t i = 0; i < grouped.size(); ++i) EXPECT_EQ(grouped[i], static_cast<int>(i));
}

std::multiset<Said> Mirrored(const std::multiset<Said>& said) {
  static const std::map<std::string, std::string> kOther = {
      {"added", "removed"}, {"removed", "added"}, {"fused", "split"}, {"split", "fused"}};
  std::multiset<Said> mirrored;
  for (const auto& [kind, subject, a, b, what] : said) {
    const auto other = kOther.find(kind);
    mirrored.insert({other == kOther.end() ? kind : other->second, subject, b, a, what});
  }
  return mirrored;
}

TEST(GraphDiffProperty, RandomEditsAreReportedExactly) {
  for (uint32_t seed = 0; seed < 500; ++seed) {
    Edits edits(seed);
    edits.MakeSome();
    const GraphDiff diff = DiffGraphs(edits.a(), edits.b());
    SCOPED_TRACE(
        StrCat("seed ", seed, "\n", edits.Tell(), "\n", GraphDiffText(edits.a(), edits.b(), diff)));
    CheckWhole(edits.a(), edits.b(), diff);
    EXPECT_EQ(SaidBy(diff), edits.Expected());
    size_t moved = 0;
    for (const Change& c : diff.changes) {
      if (c.kind != ChangeKind::kOrder) continue;
      ++moved;
      EXPECT_TRUE(std::any_of(
          edits.swapped().begin(), edits.swapped().end(),
          [&](const auto& pair) { return c.a_name == pair.first || c.a_name == pair.second; }))
          << c.a_name;
    }
    EXPECT_EQ(moved, edits.swapped().size());

    const GraphDiff back = DiffGraphs(edits.b(), edits.a());
    CheckWhole(edits.b(), edits.a(), back);
    EXPECT_EQ(SaidBy(back), Mirrored(SaidBy(diff)));
    EXPECT_TRUE(DiffGraphs(edits.b(), edits.b()).equal());
    EXPECT_TRUE(DiffGraphs(edits.b(), edits.b(), {.ignore_names = true}).equal());
    if (testing::Test::HasFailure()) return;
  }
}

TEST(GraphDiffProperty, EditedGraphsAreLegal) {
  // Else the test above would be about graphs that nobody has.
  int checked = 0;
  for (uint32_t seed = 0; seed < 100; ++seed) {
    Edits edits(seed);
    edits.MakeSome();
    const bool own_operator = std::any_of(
        edits.b().nodes.begin(), edits.b().nodes.end(),
        [](const Node& node) { return node.op == &kAddBias || node.op == &kWholeAttention; });
    if (own_operator) continue;
    ++checked;
    EXPECT_TRUE(Verify(edits.b()).ok()) << Verify(edits.b()) << edits.Tell();
  }
  EXPECT_GT(checked, 20);
}

TEST(GraphDiffProperty, OtherNamesInAnotherOrder) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    Edits edits(seed);
    edits.RenameAll();
    if (seed % 2 == 0) edits.Shuffle();
    SCOPED_TRACE(StrCat("seed ", seed));
    const GraphDiff ignoring = DiffGraphs(edits.a(), edits.b(), {.ignore_names = true});
    CheckWhole(edits.a(), edits.b(), ignoring);
    EXPECT_TRUE(SaidBy(ignoring).empty()) << GraphDiffText(edits.a(), edits.b(), ignoring);
    const GraphDiff diff = DiffGraphs(edits.a(), edits.b());
    EXPECT_EQ(SaidBy(diff).size(), edits.a().nodes.size() + edits.a().weights.size());
    for (const Said& said : SaidBy(diff)) EXPECT_EQ(std::get<0>(said), "renamed");
    if (testing::Test::HasFailure()) return;
  }
}

// Nodes of few operators that read anything before them, under few names, with lists of sources
// that may overlap: much that looks alike, and nothing that has to.
Graph AnyGraph(std::mt19937* random) {
  const auto pick = [random](int count) { return static_cast<int>((*random)() % count); };
  Graph graph;
  const TensorType type{DType::kF32, {Dim(4)}};
  std::vector<ValueId> values;
  const int leaves = 1 + pick(3);
  for (int i = 0; i < leaves; ++i) {
    values.push_back(graph.AddValue(StrCat("x", pick(3), ".", i), type,
                                    pick(2) == 0 ? ValueKind::kParam : ValueKind::kCache));
  }
  const ValueId weight = graph.AddValue(StrCat("w", pick(3)), type, ValueKind::kWeight);
  std::set<std::string> names;
  const int nodes = pick(40);
  for (int n = 0; n < nodes; ++n) {
    std::string name = StrCat(pick(3), ".n", pick(30));
    if (!names.insert(name).second) name = StrCat(name, "_", n);
    const auto any = [&] { return values[pick(static_cast<int>(values.size()))]; };
    Node node;
    if (pick(3) == 0) {
      node = {.op = &kAddBias, .operands = {any(), weight}};
    } else {
      node = {.op = FindOp("add"), .operands = {any(), any()}};
    }
    if (pick(4) == 0) node.attrs["n"] = static_cast<int64_t>(pick(2));
    while (pick(4) == 0) node.provenance.push_back(StrCat(pick(3), ".n", pick(30)));
    node.results = {graph.AddValue(std::move(name), type, ValueKind::kResult)};
    values.push_back(node.results[0]);
    graph.nodes.push_back(std::move(node));
  }
  while (pick(3) != 0) graph.returns.push_back(values[pick(static_cast<int>(values.size()))]);
  return graph;
}

TEST(GraphDiffProperty, AnyTwoGraphsCompare) {
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {
    SCOPED_TRACE(StrCat("case ", i));
    const Graph a = AnyGraph(&random), b = AnyGraph(&random);
    for (const bool ignore_names : {false, true}) {
      const GraphDiff diff = DiffGraphs(a, b, {.ignore_names = ignore_names});
      CheckWhole(a, b, diff);
      EXPECT_FALSE(GraphDiffText(a, b, diff).empty());
      std::set<ValueId> seen_a, seen_b;
      for (const auto& [id_a, id_b] : MatchedValues(a, b, diff)) {
        EXPECT_TRUE(seen_a.insert(id_a).second);
        EXPECT_TRUE(seen_b.insert(id_b).second);
      }
      const GraphDiff self = DiffGraphs(a, a, {.ignore_names = ignore_names});
      EXPECT_TRUE(self.equal()) << Print(a) << GraphDiffText(a, a, self) << ignore_names;
    }
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace renga
