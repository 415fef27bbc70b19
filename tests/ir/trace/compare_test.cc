#include "ir/trace/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ir/text/parse.h"
#include "ir/trace/error_sources.h"
#include "ir/trace/verify.h"
#include "tests/ir/trace/make_trace.h"

namespace renga {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// x -> n -> {u, v} -> s, every value f32[2,4].
constexpr char kGraph[] = R"(ir 1
weight @w: f32[4]
weight @a: f32[4,4]
weight @b: f32[4,4]
graph @step(%x: f32[2,4]) {
  %0.n: f32[2,4] = rms_norm(%x, @w) {eps=1e-05}
  %0.u: f32[2,4] = linear(%0.n, @a)
  %0.v: f32[2,4] = linear(%0.n, @b)
  %0.s: f32[2,4] = add(%0.u, %0.v)
  return %0.s
}
)";
const std::vector<std::string> kAxes = {"token", "dim"};

Graph ParseOrDie(std::string_view text) {
  absl::StatusOr<Graph> graph = Parse(text, "test");
  EXPECT_TRUE(graph.ok()) << graph.status();
  return *graph;
}

Trace MakeRun(std::string_view device = "reference") {
  Trace trace;
  trace.run.device = std::string(device);
  trace.run.ids = {1, 403, 7};
  trace.run.ir = kGraph;
  for (const char* name : {"0.n", "0.u", "0.v", "0.s"}) {
    AddTraced(trace, name, name == std::string("0.s") ? "add" : "linear", {2, 4}, kAxes,
              {1, -1, 1, -1, 1, 1, -1, -1});
  }
  return trace;
}

// Adds `error` to all elements but those of token 0.
void Disturb(Trace& trace, int index, float error) {
  Trace fresh;
  const TracedValue old = trace.values[index];
  std::vector<float> numbers = AsFloats(old);
  for (size_t i = 4; i < numbers.size(); ++i) numbers[i] += error;
  trace.values[index] = AddTraced(fresh, old.name, old.op, old.shape, old.axes, numbers, old.dtype);
  trace.storage.push_back(fresh.storage[0]);
}

std::vector<std::pair<ValueId, ValueId>> AllPairs(const Graph& graph) {
  std::vector<std::pair<ValueId, ValueId>> pairs;
  for (const Node& node : graph.nodes) {
    for (const ValueId id : node.results) pairs.emplace_back(id, id);
  }
  return pairs;
}

TraceComparison Compare(const Trace& a, const Trace& b, const CompareTracesOptions& options = {}) {
  const Graph graph = ParseOrDie(kGraph);
  absl::StatusOr<TraceComparison> comparison =
      CompareMatched(a, graph, b, graph, AllPairs(graph), options);
  EXPECT_TRUE(comparison.ok()) << comparison.status();
  return comparison.ok() ? *std::move(comparison) : TraceComparison();
}

TEST(CompareTest, TheSameRunIsIdentical) {
  const TraceComparison comparison = Compare(MakeRun(), MakeRun());
  EXPECT_TRUE(comparison.equal());
  EXPECT_EQ(VerdictText(comparison), "identical: 4 values, every element");
}

TEST(CompareTest, WithinToleranceSaysTheWorst) {
  Trace b = MakeRun();
  Disturb(b, 1, 4e-6f);
  const TraceComparison comparison = Compare(MakeRun(), b);
  EXPECT_TRUE(comparison.equal());
  EXPECT_THAT(VerdictText(comparison),
              HasSubstr("equal within 1e-05: 4 values, worst 2.8e-06 at %0.u [token 1, dim "));
}

TEST(CompareTest, MarksTheFirstErrorAndNotWhatFollowsFromIt) {
  Trace b = MakeRun();
  Disturb(b, 1, 0.5f);   // u: out of nothing
  Disturb(b, 3, 0.75f);  // s reads u
  const TraceComparison comparison = Compare(MakeRun(), b);
  EXPECT_THAT(comparison.unexplained, ElementsAre(1));
  EXPECT_EQ(comparison.values[3].input, "0.u");
  EXPECT_FALSE(comparison.equal());
  EXPECT_EQ(VerdictText(comparison),
            "first difference that its inputs do not explain:  %0.u   max 0.5 at "
            "[token 1, dim 0]  (token 0 equal)");
  const std::string text = TraceComparisonText(comparison);
  EXPECT_THAT(text, HasSubstr("<- first unexplained (token 0 equal)"));
  EXPECT_THAT(text, HasSubstr("0.35"));  // 0.5 at half of the elements, of 1
}

TEST(CompareTest, ListsASecondSourceToo) {
  Trace b = MakeRun();
  Disturb(b, 0, 1e-3f);
  Disturb(b, 2, 0.5f);  // 500 times its input's error
  const TraceComparison comparison = Compare(MakeRun(), b);
  EXPECT_THAT(comparison.unexplained, ElementsAre(0, 2));
}

TEST(CompareTest, WalksThroughValuesThatWereNotTraced) {
  Trace a = MakeRun(), b = MakeRun();
  Disturb(b, 0, 0.5f);
  Disturb(b, 3, 0.5f);  // u and v between them are not there
  for (Trace* trace : {&a, &b}) {
    trace->values.erase(trace->values.begin() + 1, trace->values.begin() + 3);
  }
  const TraceComparison comparison = Compare(a, b);
  EXPECT_THAT(comparison.unexplained, ElementsAre(0));
  EXPECT_EQ(comparison.values[1].input, "0.n");
}

TEST(CompareTest, ExplainedButLargeIsNotEqual) {
  // The error of u is within the tolerance; s cancels and shows eight times of it.
  Trace b = MakeRun();
  Disturb(b, 1, 1.2e-5f);
  Disturb(b, 3, 6e-5f);
  const TraceComparison comparison = Compare(MakeRun(), b);
  EXPECT_THAT(comparison.unexplained, IsEmpty());
  EXPECT_FALSE(comparison.equal());
  EXPECT_THAT(VerdictText(comparison),
              HasSubstr("every difference follows from those before it, but 1 of 4 values differ "
                        "by more than 1e-05: worst 4.2e-05 at %0.s"));
}

TEST(CompareTest, NanOnOneSideIsUnexplained) {
  Trace b = MakeRun();
  Disturb(b, 2, std::numeric_limits<float>::quiet_NaN());
  Disturb(b, 3, std::numeric_limits<float>::quiet_NaN());
  const TraceComparison comparison = Compare(MakeRun(), b);
  EXPECT_THAT(comparison.unexplained, ElementsAre(2));
  EXPECT_THAT(VerdictText(comparison), HasSubstr("%0.v   max inf at [token 1, dim 0]  (token 0 "
                                                 "equal; NaN: 0 in a, 4 in b)"));
}

TEST(CompareTest, RefusesRunsOfOtherTokens) {
  Trace b = MakeRun();
  b.run.ids[1] = 5;
  EXPECT_EQ(CheckSameTokens(MakeRun().run, b.run).message(),
            "runs of different prompts cannot be compared: token 1 is 403 in a and 5 in b; trace "
            "both with the same --ids");
  b.run.ids = {1, 403};
  EXPECT_THAT(std::string(CheckSameTokens(MakeRun().run, b.run).message()),
              HasSubstr("a has 3 tokens, b has 2"));
  EXPECT_FALSE(CompareTraces(MakeRun(), b).ok());
}

TEST(CompareTest, LinesRenamedValuesUp) {
  Trace b = MakeRun();
  for (size_t at = 0; (at = b.run.ir.find("%0.u", at)) != std::string::npos; ++at) {
    b.run.ir.replace(at, 4, "%0.first");
  }
  b.values[1].name = "0.first";
  Disturb(b, 1, 0.5f);
  const absl::StatusOr<TraceComparison> comparison = CompareTraces(MakeRun(), b);
  ASSERT_TRUE(comparison.ok()) << comparison.status();
  ASSERT_EQ(comparison->values.size(), 4u);
  EXPECT_EQ(comparison->values[1].a_name, "0.u");
  EXPECT_THAT(VerdictText(*comparison), HasSubstr("%0.first   max 0.5 at"));
}

TEST(CompareTest, NamesABrokenGraph) {
  Trace b = MakeRun();
  b.run.ir = "ir 2\n";
  EXPECT_THAT(std::string(CompareTraces(MakeRun(), b).status().message()),
              HasSubstr("graph of trace b:1:4"));
  b.run.ir = "";
  EXPECT_THAT(std::string(CompareTraces(MakeRun(), b).status().message()),
              HasSubstr("trace b: expected the graph"));
}

TEST(CompareTest, ToleranceFollowsDeviceAndCaches) {
  TraceRun reference, cpu, half, gpu;
  reference.device = "reference";
  reference.k_type = reference.v_type = "f32";
  cpu = half = reference;
  cpu.device = "cpu";
  half.v_type = "bf16";
  EXPECT_EQ(DefaultTolerance(reference, reference).rtol, 1e-5);
  EXPECT_EQ(DefaultTolerance(reference, cpu).rtol, kDeviceTolerance);
  gpu = reference;
  gpu.device = "cuda:0 H100 80GB HBM3";
  EXPECT_EQ(DefaultTolerance(reference, gpu).rtol, kHalfNodeTolerance);
  EXPECT_THAT(DefaultTolerance(cpu, gpu).reason, HasSubstr("f16"));
  EXPECT_EQ(DefaultTolerance(half, half).rtol, 1e-5);
  EXPECT_EQ(DefaultTolerance(cpu, half).rtol, 0x1p-6);
  EXPECT_THAT(DefaultTolerance(cpu, half).reason, HasSubstr("k=f32,v=f32 and k=f32,v=bf16"));
}

TEST(CompareTest, TheGivenToleranceCounts) {
  Trace b = MakeRun();
  Disturb(b, 1, 0.01f);
  CompareTracesOptions options;
  options.rtol = 0.1;
  EXPECT_TRUE(Compare(MakeRun(), b, options).equal());
  EXPECT_FALSE(Compare(MakeRun(), b).equal());
}

TEST(CompareTest, EscapesNames) {
  Trace b = MakeRun();
  b.values[3].op = "\x1b[31m";
  EXPECT_THAT(TraceComparisonText(Compare(MakeRun(), b)), testing::Not(HasSubstr("\x1b")));
}

TEST(ErrorSourcesTest, UntracedNarrowValuesMayRoundTheOtherWay) {
  Graph graph = ParseOrDie(kGraph);
  const ValueId n = graph.FindValue("0.n", false), u = graph.FindValue("0.u", false),
                s = graph.FindValue("0.s", false);
  std::vector<KnownError> errors(graph.values.size());
  errors[n] = {true, 1e-7, 1, 1e-5};
  errors[s] = {true, 1e-4, 1, 1e-5};  // u and v between them are not known
  EXPECT_TRUE(FindErrorSources(graph, errors)[s].unexplained);
  graph.values[u].type.dtype = DType::kF16;
  EXPECT_FALSE(FindErrorSources(graph, errors)[s].unexplained);
  errors[n].relative = 0;  // the same numbers round the same way
  EXPECT_TRUE(FindErrorSources(graph, errors)[s].unexplained);
}

TEST(ErrorSourcesTest, CancellationExplainsWhatItAmplifies) {
  const Graph graph = ParseOrDie(kGraph);
  std::vector<KnownError> errors(graph.values.size());
  const auto set = [&](std::string_view name, double relative, double rms) {
    errors[graph.FindValue(name, false)] = {true, relative, rms, 1e-5};
  };
  const ValueId s = graph.FindValue("0.s", false);
  set("0.n", 0, 1);
  set("0.u", 1e-5, 100);
  set("0.v", 0, 100);
  set("0.s", 5e-3, 1);  // 100 - 99 of each
  ErrorSource source = FindErrorSources(graph, errors)[s];
  EXPECT_FALSE(source.unexplained);
  EXPECT_DOUBLE_EQ(source.inputs, 1e-3);
  set("0.s", 9e-3, 1);  // more than kAmplification times that
  EXPECT_TRUE(FindErrorSources(graph, errors)[s].unexplained);
  set("0.u", 1e-5, 0.01);  // a small input does not shrink its own error
  set("0.s", 7e-5, 1);
  EXPECT_FALSE(FindErrorSources(graph, errors)[s].unexplained);
}

}  // namespace
}  // namespace renga
