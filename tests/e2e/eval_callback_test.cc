// A trace of Qwen2.5-Coder against llama.cpp's record of the same run, all 942 tensors.
#include <sys/stat.h>

#include <cstdlib>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/trace/compare_log.h"
#include "ir/trace/trace_graph.h"
#include "tests/support/model_graph.h"

namespace renga {
namespace {

std::string ModelPath() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const std::string folder = cache != nullptr && *cache != '\0'
                                 ? std::string(cache)
                                 : std::string(home == nullptr ? "" : home) + "/.cache";
  return folder + "/renga/models/Qwen2.5-Coder-0.5B-Instruct.Q4_K_M.gguf";
}

class EvalCallbackTest : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    struct stat info;
    if (stat(ModelPath().c_str(), &info) != 0) {
      GTEST_SKIP() << "SKIPPED: " << ModelPath() << " is absent; tools/fetch-models gets it";
    }
  }

  LogComparison Compare(std::string_view pairing) {
    absl::StatusOr<ModelGraph> model = ModelGraph::Open(ModelPath(), GetParam());
    EXPECT_TRUE(model.ok()) << model.status();
    for (Node& node : model->graph.nodes) {
      if (node.op->name == "rope") node.attrs["pairing"] = std::string(pairing);
    }
    TraceGraphOptions options;
    options.ids = {785, 6722, 315, 9625, 374};  // "The capital of France is"
    const absl::StatusOr<Trace> trace = TraceGraph(model->graph, model->weights, options);
    EXPECT_TRUE(trace.ok()) << trace.status();
    const absl::StatusOr<LlamaLog> log =
        ReadLlamaLog(RENGA_SOURCE_DIR "/tests/data/eval-callback/qwen2.5-coder-0.5b.log.gz");
    EXPECT_TRUE(log.ok()) << log.status();
    absl::StatusOr<LogComparison> comparison = CompareWithLog(*trace, *log);
    EXPECT_TRUE(comparison.ok()) << comparison.status();
    return comparison.ok() ? *std::move(comparison) : LogComparison();
  }
};

TEST_P(EvalCallbackTest, EveryTensorIsMatchedAndAgrees) {
  const LogComparison comparison = Compare("neox");
  EXPECT_TRUE(comparison.equal()) << LogComparisonText(comparison);
  EXPECT_EQ(comparison.tensors.size(), 942u);
  EXPECT_EQ(comparison.matched_share(), 1);
  EXPECT_EQ(comparison.explained > 0, GetParam() == DType::kF16);
}

TEST_P(EvalCallbackTest, WrongRopePairingIsFoundAtTheRopeOfLayerZero) {
  const LogComparison comparison = Compare("norm");
  ASSERT_FALSE(comparison.equal());
  const ComparedTensor& first = comparison.tensors[comparison.disagree[0]];
  EXPECT_EQ(first.value, "0.q");
  EXPECT_EQ(first.op, "ROPE");
  EXPECT_EQ(first.observation, "token 0 equal");
}

INSTANTIATE_TEST_SUITE_P(Caches, EvalCallbackTest, testing::Values(DType::kF32, DType::kF16),
                         [](const auto& info) { return std::string(Name(info.param)); });

}  // namespace
}  // namespace renga
