// Traces of stories260K against llama.cpp's record of the same run. The larger log is in tests/e2e.
#include "ir/trace/compare_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "ir/trace/trace_graph.h"
#include "tests/support/model_graph.h"

namespace renga {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::vector<int32_t> kIds = {1, 403, 407, 261, 378};  // "Once upon a time"

ModelGraph Stories(DType kv_type = DType::kF32) {
  absl::StatusOr<ModelGraph> model =
      ModelGraph::Open(RENGA_SOURCE_DIR "/tests/data/stories260K.gguf", kv_type);
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

Trace TraceOf(const ModelGraph& model, const std::vector<int32_t>& ids = kIds) {
  TraceGraphOptions options;
  options.ids = ids;
  options.threads = 1;
  absl::StatusOr<Trace> trace = TraceGraph(model.graph, model.weights, options);
  EXPECT_TRUE(trace.ok()) << trace.status();
  return *std::move(trace);
}

const LlamaLog& Log() {
  static const LlamaLog* const log = [] {
    absl::StatusOr<LlamaLog> read =
        ReadLlamaLog(RENGA_SOURCE_DIR "/tests/data/eval-callback/stories260K.log.gz");
    EXPECT_TRUE(read.ok()) << read.status();
    return new LlamaLog(*std::move(read));
  }();
  return *log;
}

LogComparison Compare(const Trace& trace, const LlamaLog& log = Log()) {
  absl::StatusOr<LogComparison> comparison = CompareWithLog(trace, log);
  EXPECT_TRUE(comparison.ok()) << comparison.status();
  return comparison.ok() ? *std::move(comparison) : LogComparison();
}

const ComparedTensor& First(const LogComparison& comparison) {
  return comparison.tensors[comparison.disagree.at(0)];
}

// Multiplies element `index` of the named value by `factor`.
void Damage(Trace& trace, const std::string& name, int64_t index, float factor) {
  for (TracedValue& value : trace.values) {
    if (value.name != name) continue;
    auto bytes = std::make_shared<std::vector<uint8_t>>(value.data.begin(), value.data.end());
    float number;
    std::memcpy(&number, bytes->data() + index * 4, 4);
    number *= factor;
    std::memcpy(bytes->data() + index * 4, &number, 4);
    value.data = *bytes;
    trace.storage.push_back(bytes);
  }
}

TEST(CompareLogTest, EveryTensorIsMatchedAndAgrees) {
  const LogComparison comparison = Compare(TraceOf(Stories()));
  EXPECT_TRUE(comparison.equal()) << LogComparisonText(comparison);
  EXPECT_EQ(comparison.tensors.size(), 186u);
  EXPECT_EQ(comparison.matched_share(), 1);
  EXPECT_EQ(comparison.explained, 0);
  // Little but the printed digits is left, and the sums hold far below their tolerance.
  for (const ComparedTensor& tensor : comparison.tensors) {
    EXPECT_LT(tensor.error, 5.2e-5) << tensor.name;
    EXPECT_LT(tensor.sum_worst, 0.02) << tensor.name;
  }
  EXPECT_THAT(LogComparisonText(comparison),
              StartsWith("186 of the log's 186 tensors matched (100.0 %), 0 disagree\n"
                         "all 186 matched tensors agree"));
}

TEST(CompareLogTest, NarrowCachesExplainWhatTheyChange) {
  for (const DType kv_type : {DType::kF16, DType::kBF16}) {
    const LogComparison comparison = Compare(TraceOf(Stories(kv_type)));
    EXPECT_TRUE(comparison.equal()) << LogComparisonText(comparison);
    EXPECT_GT(comparison.explained, 50);
    // Nothing before the first cache has anything to explain.
    for (const ComparedTensor& tensor : comparison.tensors) {
      if (tensor.name == "kq-0") break;
      EXPECT_TRUE(tensor.within()) << tensor.name;
    }
    EXPECT_THAT(VerdictText(comparison),
                HasSubstr("the errors before them explain (our caches are "));
  }
}

TEST(CompareLogTest, FusedAttentionIsReplacedByItsInputs) {
  Trace trace = TraceOf(Stories());
  std::erase_if(trace.values, [](const TracedValue& value) {
    return value.op == "attn_scores" || value.op == "masked_softmax";
  });
  const LogComparison comparison = Compare(trace);
  EXPECT_TRUE(comparison.equal()) << LogComparisonText(comparison);
  EXPECT_EQ(comparison.matched_share(), 1);
  for (const ComparedTensor& tensor : comparison.tensors) {
    const bool softmax = tensor.name == "kq_soft_max-3";
    EXPECT_TRUE(!softmax || tensor.how == "from q and the cache") << tensor.how;
  }
}

// What a device's trace may hold: caches under their own name or not at all, the last layer's rows
// taken out before the last norm, no views.
TEST(CompareLogTest, OtherShapesOfTracesAgreeToo) {
  for (const bool caches : {true, false}) {
    const ModelGraph model = Stories(DType::kF16);
    Trace trace = TraceOf(model);
    std::erase_if(trace.values, [&](const TracedValue& value) {
      return value.op == "split_heads" || value.op == "merge_heads" || value.name == "logits_all" ||
             (!caches && value.op == "kv_append");
    });
    for (TracedValue& value : trace.values) {
      if (value.op != "kv_append") continue;
      value.name = value.name.substr(0, 3) + "_cache";  // "0.k"
    }
    const LogComparison comparison = Compare(trace);
    EXPECT_TRUE(comparison.equal()) << LogComparisonText(comparison);
    EXPECT_EQ(comparison.tensors.size(), caches ? 186u : 151u);
  }
}

TEST(CompareLogTest, WrongRopePairingIsFoundAtTheRopeOfLayerZero) {
  ModelGraph model = Stories();
  for (Node& node : model.graph.nodes) {
    if (node.op->name == "rope") node.attrs["pairing"] = std::string("neox");
  }
  const LogComparison comparison = Compare(TraceOf(model));
  ASSERT_FALSE(comparison.equal());
  EXPECT_EQ(First(comparison).value, "0.q");
  EXPECT_EQ(First(comparison).op, "ROPE");
  EXPECT_EQ(First(comparison).layer, 0);
  EXPECT_EQ(First(comparison).observation, "token 0 equal");
  EXPECT_THAT(VerdictText(comparison),
              StartsWith("first node that disagrees:  %0.q   log Qcur-0 (ROPE, line 94)   worst at "
                         "[token "));
}

TEST(CompareLogTest, WrongRopePairingIsFoundWithNarrowCachesToo) {
  ModelGraph model = Stories(DType::kBF16);
  for (Node& node : model.graph.nodes) {
    if (node.op->name == "rope") node.attrs["pairing"] = std::string("neox");
  }
  EXPECT_EQ(First(Compare(TraceOf(model))).value, "0.q");
}

// One wrong number anywhere is found in the value that has it.
TEST(CompareLogTest, NamesTheValueWithOneWrongNumber) {
  const ModelGraph model = Stories();
  for (const char* name :
       {"embed", "2.attn_norm", "1.k", "3.v", "4.k_cells", "0.v_cells", "2.scores", "1.probs",
        "3.mix", "0.attn", "2.attn_out", "1.gate", "3.act", "0.out", "output_norm", "logits"}) {
    Trace trace = TraceOf(model);
    // The last row's last element is printed in every order of axes; the caches' first cell is.
    const TracedValue* value = trace.Find(name);
    ASSERT_NE(value, nullptr) << name;
    const bool cache = value->op == "kv_append";
    // Keys are padded to 256 in the log, so that the last five of ours end with an unprinted one.
    const bool keys = value->axes.back() == "key";
    Damage(trace, name, cache ? 0 : value->elements() - (keys ? 5 : 1), 1.5f);
    if (std::string(name) == "embed") {
      EXPECT_FALSE(CompareWithLog(trace, Log()).ok());
      continue;
    }
    const LogComparison comparison = Compare(trace);
    ASSERT_FALSE(comparison.equal()) << name;
    EXPECT_EQ(First(comparison).value, name);
  }
}

// A number that the log does not print shows in the sum.
TEST(CompareLogTest, SumsSeeWhatIsNotPrinted) {
  Trace trace = TraceOf(Stories());
  Damage(trace, "1.act", 2 * 172 + 80, 100);
  const LogComparison comparison = Compare(trace);
  ASSERT_FALSE(comparison.equal());
  EXPECT_EQ(First(comparison).value, "1.act");
  EXPECT_THAT(VerdictText(comparison), HasSubstr("the sum of all: ours "));
}

TEST(CompareLogTest, NanDisagrees) {
  Trace trace = TraceOf(Stories());
  Damage(trace, "1.up", 0, std::numeric_limits<float>::quiet_NaN());
  EXPECT_EQ(First(Compare(trace)).value, "1.up");
}

TEST(CompareLogTest, RefusesAnotherPrompt) {
  const ModelGraph model = Stories();
  EXPECT_THAT(std::string(CompareWithLog(TraceOf(model, {1, 403, 407}), Log()).status().message()),
              HasSubstr("the log is of another prompt: it runs 5 tokens, the trace 3"));
  EXPECT_THAT(
      std::string(CompareWithLog(TraceOf(model, {1, 403, 99, 261, 378}), Log()).status().message()),
      HasSubstr("the log is of another prompt: 1 of 5 tokens have another embedding; the embedding "
                "of token 2 begins to differ at dim 0"));
}

TEST(CompareLogTest, RefusesAnotherModel) {
  const Trace trace = TraceOf(Stories());
  const absl::StatusOr<LlamaLog> qwen =
      ReadLlamaLog(RENGA_SOURCE_DIR "/tests/data/eval-callback/qwen2.5-coder-0.5b.log.gz");
  ASSERT_TRUE(qwen.ok());
  EXPECT_THAT(std::string(CompareWithLog(trace, *qwen).status().message()),
              HasSubstr("the log is of another model: it is 896 wide, the trace 64"));
  LlamaLog fewer = Log();
  std::erase_if(fewer.tensors, [](const LogTensor& t) { return RoleOf(t.name).layer == 4; });
  EXPECT_THAT(std::string(CompareWithLog(trace, fewer).status().message()),
              HasSubstr("the log is of another model: it has 4 layers, the trace 5"));
  LlamaLog wider = Log();
  for (LogTensor& tensor : wider.tensors) {
    if (tensor.name == "ffn_gate-1") tensor.ne[0] = 173;
  }
  EXPECT_THAT(std::string(CompareWithLog(trace, wider).status().message()),
              HasSubstr("the log is of another model: ffn_gate-1 (line 1731): sizes {173, 5, 1, 1} "
                        "in the log, [5,172] in %1.gate"));
}

TEST(CompareLogTest, ComparesWhatALogCutShortHolds) {
  LlamaLog log = Log();
  log.tensors.resize(60);
  log.tensors.back().whole = false;
  log.cut_short = true;
  const LogComparison comparison = Compare(TraceOf(Stories()), log);
  EXPECT_TRUE(comparison.equal());
  EXPECT_EQ(comparison.tensors.size(), 59u);
  ASSERT_EQ(comparison.unmatched.size(), 1u);
  EXPECT_EQ(comparison.unmatched[0].why, "cut short");
  EXPECT_THAT(LogComparisonText(comparison), HasSubstr("the log is cut short"));
}

TEST(CompareLogTest, TakesTheRunWithAsManyTokensAndNoOther) {
  // A warm-up of one token before it, as llama.cpp's tools do.
  LlamaLog log = Log();
  LogTensor warm_up = log.tensors[0];
  warm_up.ne = {64, 1, 1, 1};
  log.tensors.insert(log.tensors.begin(), warm_up);
  EXPECT_EQ(Compare(TraceOf(Stories()), log).tensors.size(), 186u);
}

TEST(CompareLogTest, DamagedLogsAreComparedOrRefused) {
  const Trace trace = TraceOf(Stories());
  const absl::StatusOr<std::string> whole =
      ReadLogText(RENGA_SOURCE_DIR "/tests/data/eval-callback/stories260K.log.gz", 60000);
  ASSERT_TRUE(whole.ok());
  uint32_t state = 7;
  const auto next = [&](size_t below) {
    state = state * 1664525u + 1013904223u;
    return (state >> 8) % below;
  };
  constexpr std::string_view kBytes = "0123456789{}[](),.= -\n\x1b\xff";
  int compared = 0;
  for (int round = 0; round < 150; ++round) {
    std::string text = *whole;
    for (int i = 0; i < 12; ++i) text[next(text.size())] = kBytes[next(kBytes.size())];
    const absl::StatusOr<LlamaLog> log = ParseLlamaLog(text);
    ASSERT_TRUE(log.ok());
    const absl::StatusOr<LogComparison> comparison = CompareWithLog(trace, *log);
    if (!comparison.ok()) continue;
    ++compared;
    EXPECT_EQ(LogComparisonText(*comparison).find('\x1b'), std::string::npos);
  }
  EXPECT_GT(compared, 50);
}

TEST(CompareLogTest, UnknownTensorsAreListedAndEscaped) {
  LlamaLog log = Log();
  LogTensor odd = log.tensors[5];
  odd.name = "\x1b[31mred-0";
  odd.op = "FROBNICATE";
  odd.inputs.clear();
  log.tensors.insert(log.tensors.begin() + 20, odd);
  const LogComparison comparison = Compare(TraceOf(Stories()), log);
  ASSERT_EQ(comparison.unmatched.size(), 1u);
  EXPECT_TRUE(comparison.equal());
  const std::string text = LogComparisonText(comparison);
  EXPECT_THAT(text, HasSubstr("not matched: 1 x \\x1b[31mred-# (FROBNICATE): no value of ours"));
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace renga
