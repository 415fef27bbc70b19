#include "ir/text/print.h"

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "ir/core/infer.h"
#include "ir/core/verify.h"
#include "ir/text/parse.h"
#include "tests/ir/golden_file.h"

namespace renga {
namespace {

constexpr char kLayer[] = RENGA_SOURCE_DIR "/tests/ir/data/layer.ir";

TEST(PrintTest, ALayerPrintsAsItWasWritten) {
  const std::string text = ReadTestFile(kLayer);
  const absl::StatusOr<Graph> graph = Parse(text, "layer.ir");
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(Print(*graph), text);
}

TEST(PrintTest, SeveralResultsAndOptionalOperandsAndEveryKindOfAttribute) {
  OpDef op;
  op.name = "made_up";
  op.operands = {{"x"}, {"gap", false, true}, {"bias", false, true}, {"y"}};
  op.results = 2;
  Graph graph;
  const ValueId x = graph.AddValue("x", {DType::kF32, {4}}, ValueKind::kParam);
  const ValueId b = graph.AddValue("b", {DType::kQ4_K, {256}}, ValueKind::kWeight);
  const ValueId r = graph.AddValue("r", {DType::kF32, {Dim::Symbol("T"), 2}}, ValueKind::kResult);
  const ValueId s = graph.AddValue("s t", {DType::kI32, {1}}, ValueKind::kResult);
  const Node node{&op,
                  {x, kNoValue, b, x},
                  {r, s},
                  {{"f", 1.0},
                   {"e", int64_t{-3}},
                   {"d", true},
                   {"c", std::string("neox")},
                   {"b", std::string("true")},
                   {"a", -std::numeric_limits<double>::infinity()}},
                  {"r", "b//c"}};
  EXPECT_EQ(PrintNode(graph, node),
            "%r: f32[T,2], %\"s t\": i32[1] = made_up(%x, %x, bias=@b) "
            "{a=-inf, b=\"true\", c=neox, d=true, e=-3, f=1.0} from(%r, %\"b//c\")");
}

TEST(PrintTest, BrokenNodesPrintToo) {
  Graph graph;
  EXPECT_EQ(PrintNode(graph, Node{nullptr, {}, {7}, {}, {}}), "%<undefined id 7> = <no operator>");
  EXPECT_EQ(PrintNode(graph, Node{FindOp("add"), {5, kNoValue, 6}, {}, {}, {}}),
            " = add(%<undefined id 5>, %<undefined id -1>, %<undefined id 6>)");
}

TEST(PrintTest, AnyByteStringIsAName) {
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {
    std::string name(1 + random() % 12, '\0');
    for (char& c : name) c = static_cast<char>(random() % (i % 2 == 0 ? 256 : 128));
    Graph graph;
    graph.name = name;
    const ValueId x = graph.AddValue(name, {DType::kF32, {1}}, ValueKind::kParam);
    graph.AddValue(name, {DType::kF32, {1}}, ValueKind::kWeight);
    graph.returns = {x};
    const std::string text = Print(graph);
    const absl::StatusOr<Graph> parsed = Parse(text, "names.ir");
    ASSERT_TRUE(parsed.ok()) << parsed.status() << "\n" << text;
    EXPECT_EQ(parsed->values[0].name, name);
    EXPECT_EQ(parsed->name, name);
    EXPECT_EQ(Print(*parsed), text);
  }
}

std::string RandomName(std::mt19937& random, int number) {
  static constexpr char kChars[] = "abz019._/-\" \\\n\t%@,(){}=:\x7f\xc3";
  std::string name = StrCat(number, ".");
  for (uint32_t n = random() % 8; n > 0; --n) name += kChars[random() % (sizeof(kChars) - 1)];
  return name;
}

AttrValue RandomAttr(std::mt19937& random, const AttrDef& def) {
  static const std::vector<std::string> kNames = {"neox", "none", "silu", "T", "a b", "\x01", ""};
  const int64_t integer = 1 + random() % 4;
  switch (def.type) {
    case AttrType::kInt:
      return integer;
    case AttrType::kFloat:
      return std::ldexp(1.0 + random() / 3e9, static_cast<int>(random() % 2000) - 1000);
    case AttrType::kBool:
      return random() % 2 == 0;
    case AttrType::kName:
      return kNames[random() % kNames.size()];
  }
  return integer;
}

// Tries operators at random on values at random; keeps what infers.
Graph RandomGraph(std::mt19937& random) {
  Graph graph;
  graph.name = RandomName(random, 0);
  graph.symbols = {{"T", 1, 512}, {"R", 1, 8}, {"C", 1, 64}};
  const Dim t = Dim::Symbol("T"), c = Dim::Symbol("C"), r = Dim::Symbol("R");
  const std::vector<TensorType> types = {{DType::kF32, {t, 4}}, {DType::kF32, {4}},
                                         {DType::kF16, {4, 4}}, {DType::kI32, {t}},
                                         {DType::kI32, {r}},    {DType::kF32, {t, 2, 2}}};
  int number = 0;
  for (const TensorType& type : types) {
    graph.AddValue(RandomName(random, ++number), type, ValueKind::kParam);
    graph.AddValue(RandomName(random, ++number), type, ValueKind::kWeight);
  }
  ValueId cache =
      graph.AddValue(RandomName(random, ++number), {DType::kF16, {c, 2, 2}}, ValueKind::kCache);
  for (int attempt = 0; attempt < 3000; ++attempt) {
    Node node;
    node.op = AllOps()[random() % AllOps().size()];
    for (const OperandDef& operand : node.op->operands) {
      const bool absent = operand.optional && random() % 2 == 0;
      node.operands.push_back(absent ? kNoValue
                                     : static_cast<ValueId>(random() % graph.values.size()));
    }
    // One line of caches: any other use of one would meet a value that is gone.
    for (ValueId& id : node.operands) {
      if (id != kNoValue && graph.value(id).type.shape[0] == c) id = cache;
    }
    if (!node.op->aliases.empty()) node.operands[0] = cache;
    for (const AttrDef& def : node.op->attrs)
      node.attrs[std::string(def.name)] = RandomAttr(random, def);
    const auto inferred = InferTypes(graph, *node.op, node.operands, node.attrs);
    if (!inferred.ok()) continue;
    bool legal = true;
    for (const TensorType& type : *inferred) legal = legal && CheckType(graph, type).ok();
    if (!legal) continue;
    for (const TensorType& type : *inferred) {
      node.results.push_back(
          graph.AddValue(RandomName(random, ++number), type, ValueKind::kResult));
    }
    if (!node.op->aliases.empty()) cache = node.results[0];
    for (uint32_t n = random() % 3; n > 0; --n) {
      node.provenance.push_back(RandomName(random, static_cast<int>(n)));
    }
    graph.nodes.push_back(std::move(node));
  }
  graph.returns = {cache};
  return graph;
}

TEST(PrintTest, RandomGraphsRoundTrip) {
  size_t nodes = 0;
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(StrCat("seed ", seed));
    std::mt19937 random(seed);
    const Graph graph = RandomGraph(random);
    nodes += graph.nodes.size();
    ASSERT_TRUE(Verify(graph).ok()) << Verify(graph);
    const std::string text = Print(graph);
    const absl::StatusOr<Graph> parsed = Parse(text, "random.ir");
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(Print(*parsed), text);
    ASSERT_EQ(parsed->nodes.size(), graph.nodes.size());
    for (size_t i = 0; i < graph.nodes.size(); ++i) {
      EXPECT_EQ(parsed->nodes[i].attrs, graph.nodes[i].attrs);
      EXPECT_EQ(parsed->nodes[i].provenance, graph.nodes[i].provenance);
    }
  }
  EXPECT_GT(nodes, 500u);  // the attempts do find legal nodes
}

}  // namespace
}  // namespace renga
