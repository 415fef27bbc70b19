// What is found before anything runs, and what must not be blamed, in every model.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "frontend/models/model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "ir/text/parse.h"
#include "runtime/memory/weights.h"
#include "runtime/plan/validate.h"
#include "runtime/text/sampler.h"
#include "tests/faults/zoo/device_faults.h"
#include "tests/faults/zoo/editable_gguf.h"
#include "tests/support/test_data.h"
#include "tools/lint/lint.h"
#include "tools/trace_model.h"

namespace renga::faults {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;
using testing::IsEmpty;

class EveryFile : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    auto opened = OpenZooModel(GetParam());
    ASSERT_TRUE(opened.ok()) << opened.status();
    model_ = *std::move(opened);
    auto editable = EditableGguf(GetParam());
    ASSERT_TRUE(editable.ok()) << editable.status();
    gguf_ = *std::move(editable);
    const auto compiled = Compile(GetParam(), CompileOptionsOf({}));
    ASSERT_TRUE(compiled.ok()) << compiled.status();
    plan_ = compiled->plan;
    last_ = StrCat(model_.layers - 1);
  }

  std::string Write(GgufWriter gguf) {
    return folder_.Write(StrCat("model-", written_++, ".gguf"), gguf.Bytes());
  }
  std::string ErrorOf(const GgufWriter& gguf) {
    const auto compiled = Compile(Write(gguf), CompileOptionsOf({}));
    EXPECT_FALSE(compiled.ok());
    return std::string(compiled.status().message());
  }
  // What the parser and verifier say of the graph's text with `from` replaced, all of it.
  std::string GraphError(const std::string& from, const std::string& to) {
    std::string text = plan_.source_ir;
    EXPECT_THAT(text, HasSubstr(from));
    for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
      text.replace(at, from.size(), to);
    }
    const auto parsed = Parse(text, "graph");
    EXPECT_FALSE(parsed.ok());
    return std::string(parsed.status().message());
  }
  // "check  where" of all that lint finds.
  std::set<std::string> Findings(const std::string& path) {
    const auto file = GgufFile::Open(path);
    EXPECT_TRUE(file.ok()) << file.status();
    const auto built = BuildModel(*file, {});
    EXPECT_TRUE(built.ok()) << built.status();
    const auto findings = Lint(*file, *built, {});
    EXPECT_TRUE(findings.ok()) << findings.status();
    std::set<std::string> said;
    for (const Finding& finding : *findings) {
      said.insert(StrCat(finding.check, "  ", finding.where));
    }
    return said;
  }
  // The matrix that ends the feed-forward part of the last layer.
  std::string DownName() const {
    return StrCat("blk.", last_, ".ffn_down", model_.HasExperts() ? "_exps" : "", ".weight");
  }
  // Its width, and what that is taken for.
  std::pair<int64_t, int64_t> Widths() const {
    const Graph& graph = model_.graph;
    const int64_t width = graph.value(graph.FindValue(DownName(), true)).type.shape.back().value;
    return {width, ShorterWidth(model_.width, width)};
  }
  std::string OutputName() const { return model_.tied ? "token_embd.weight" : "output.weight"; }

  ZooModel model_;
  GgufWriter gguf_;
  plan::Plan plan_;
  std::string last_;  // layer
  TempFolder folder_;
  int written_ = 0;
};

TEST_P(EveryFile, F02PairingIsRequired) {
  const bool neox = plan_.source_ir.find("pairing=neox") != std::string::npos;
  EXPECT_THAT(GraphError(neox ? "pairing=neox, " : "pairing=norm, ", ""),
              AllOf(HasSubstr("rope"), HasSubstr("pairing")));
}

TEST_P(EveryFile, F03ZerosAreReported) {
  if (model_.biases.empty()) return;  // the table says where
  GgufWriter zeros = gguf_;
  std::set<std::string> expected = Findings(GetParam());
  for (const std::string& name : model_.biases) {
    std::string& data = FindTensor(&zeros, name)->data;
    data.assign(data.size(), '\0');
    expected.insert("zero-weights  " + name);
  }
  const std::string path = Write(zeros);
  EXPECT_EQ(Findings(path), expected);
  for (const std::string& name : model_.biases) {
    GgufWriter one = gguf_;
    std::string& data = FindTensor(&one, name)->data;
    data.assign(data.size(), '\0');
    WeightOptions options;
    options.model_path = Write(one);
    const auto store = WeightStore::Open(plan_, options);
    EXPECT_EQ(store.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(store.status().message()), HasSubstr(name));
  }
}

TEST_P(EveryFile, F04ABiasThatTheGraphDoesNotUse) {
  const std::string name = StrCat("blk.", last_, ".ffn_norm.bias");
  gguf_.AddTensor(name, DType::kF32, {model_.width});
  EXPECT_THAT(ErrorOf(gguf_), HasSubstr("got 1 left over: " + name));
}

TEST_P(EveryFile, F05AWeightThatIsNotThere) {
  FindTensor(&gguf_, DownName())->name = "blk.0.ffn_dwn.weight";
  EXPECT_THAT(ErrorOf(gguf_), HasSubstr(DownName()));
}

TEST_P(EveryFile, F07AWidthFromTheWrongSize) {
  const auto [width, wrong] = Widths();
  const std::string matrix = StrCat(model_.width, ",", width, "]");
  const std::string experts = model_.HasExperts() ? "4," : "";
  const auto type = [&](const std::string& sizes) {
    const Graph& graph = model_.graph;
    const DType dtype = graph.value(graph.FindValue(DownName(), true)).type.dtype;
    return StrCat("@", DownName(), ": ", Name(dtype), "[", experts, sizes);
  };
  EXPECT_THAT(GraphError(type(matrix), type(StrCat(model_.width, ",", wrong, "]"))),
              AnyOf(HasSubstr(StrCat(last_, ".ffn_out")), HasSubstr(StrCat(last_, ".down")),
                    HasSubstr(DownName())));
  GgufWriter::Entry* const entry =
      FindEntry(&gguf_, StrCat(plan_.model.architecture, ".feed_forward_length"));
  ASSERT_NE(entry, nullptr);
  entry->value = Raw(static_cast<uint32_t>(wrong));
  EXPECT_THAT(ErrorOf(gguf_),
              AllOf(HasSubstr("blk.0.ffn_"), HasSubstr(StrCat(width)), HasSubstr(StrCat(wrong))));
}

TEST_P(EveryFile, F08AVocabularyFromTheWidth) {
  const std::string type = StrCat("f32[T,", model_.vocab, "]");
  const std::string wrong = StrCat("f32[T,", model_.width, "]");
  EXPECT_THAT(GraphError("%logits_all: " + type, "%logits_all: " + wrong),
              AllOf(HasSubstr("logits_all"), HasSubstr(type), HasSubstr(wrong)));
  CutRows(FindTensor(&gguf_, OutputName()), static_cast<uint64_t>(model_.width));
  EXPECT_THAT(ErrorOf(gguf_), AllOf(HasSubstr(OutputName()), HasSubstr(StrCat(model_.vocab)),
                                    HasSubstr(StrCat(model_.width))));
}

// Of a vocabulary that is a tenth of the output's rows padding is the largest as a rule.
TEST_P(EveryFile, F09PaddedRowsWin) {
  constexpr int32_t kTokens = 40;
  CutTokens(&gguf_, kTokens);
  TraceModelOptions options;
  options.open.device = "cpu";
  options.open.use_cache = false;
  options.open.compile.only_passes.emplace();
  options.ids = {1, 34, 2, 16, 33, 5, 17, 11};
  const auto trace = TraceModel(Write(gguf_), options);
  ASSERT_TRUE(trace.ok()) << trace.status();
  const TracedValue* const padded = trace->Find("logits_padded");
  const TracedValue* const chosen = trace->Find("next");
  ASSERT_TRUE(padded != nullptr && chosen != nullptr);
  const std::vector<float> logits = AsFloats(*padded), next = AsFloats(*chosen);
  const auto rows = static_cast<int32_t>(model_.vocab);
  int no_tokens = 0;
  for (size_t row = 0; row < next.size(); ++row) {
    const absl::Span<const float> of_row(logits.data() + row * static_cast<size_t>(rows),
                                         static_cast<size_t>(rows));
    auto right = Sampler::Create({.temperature = 0}, kTokens);
    auto wrong = Sampler::Create({.temperature = 0}, rows);
    ASSERT_TRUE(right.ok() && wrong.ok());
    EXPECT_EQ(*right->Sample(of_row), static_cast<int32_t>(next[row]));
    EXPECT_LT(next[row], kTokens);
    no_tokens += *wrong->Sample(of_row) >= kTokens ? 1 : 0;
  }
  EXPECT_GT(no_tokens, 0) << "told the rows of the matrix for the vocabulary";
}

TEST_P(EveryFile, F13ARotationWithoutPositions) {
  EXPECT_THAT(GraphError(StrCat("rope(%", last_, ".q_heads, %positions"),
                         StrCat("rope(%", last_, ".q_heads")),
              AllOf(HasSubstr("rope"), HasSubstr("positions")));
}

TEST_P(EveryFile, F14AnOutputOverAnOperandInUse) {
  const std::string residual = model_.layers == 1 ? "embed" : StrCat(model_.layers - 2, ".out");
  EXPECT_TRUE(plan::Validate(plan_).ok());
  uint64_t place = 0;
  for (const plan::Buffer& buffer : plan_.buffers) {
    if (buffer.name == residual) place = buffer.offset;
  }
  for (plan::Buffer& buffer : plan_.buffers) {
    if (buffer.name == last_ + ".attn_out") buffer.offset = place;
  }
  EXPECT_THAT(std::string(plan::Validate(plan_).message()),
              AllOf(HasSubstr(last_ + ".attn_res"), HasSubstr(residual)));
}

TEST_P(EveryFile, F20ATypeThatNobodyKnows) {
  const std::string name = StrCat("blk.", last_, ".attn_k.weight");
  FindTensor(&gguf_, name)->type = 77;
  EXPECT_THAT(ErrorOf(gguf_), AllOf(HasSubstr(name), HasSubstr("77")));
}

// The nucleus of llama.cpp's recorded logits, from its definition.
TEST_P(EveryFile, F24ANucleusOfSomethingElse) {
  std::string record = GetParam();
  record.replace(record.rfind(".gguf"), 5, ".logits.f32");
  std::ifstream in(record, std::ios::binary);
  if (model_.name == "stories260K") return;  // of it logits are recorded elsewhere
  std::vector<float> logits(static_cast<size_t>(model_.vocab));
  constexpr double kP = 0.8;
  constexpr float kTemperature = 5;  // else ten tokens are all there is, in some
  int rows = 0, of_logits = 0, of_ten = 0;
  while (in.read(reinterpret_cast<char*>(logits.data()),
                 static_cast<std::streamsize>(logits.size() * sizeof(float)))) {
    for (float& logit : logits) logit /= kTemperature;
    std::vector<std::pair<double, int32_t>> sorted;
    for (size_t i = 0; i < logits.size(); ++i) {
      sorted.emplace_back(-double{logits[i]}, static_cast<int32_t>(i));
    }
    std::sort(sorted.begin(), sorted.end());
    // How many it takes until `weight` of them, of all that it is of, reaches p.
    const auto cut = [&](size_t of, const auto& weight) {
      double all = 0, sum = 0;
      for (size_t i = 0; i < of; ++i) all += weight(-sorted[i].first);
      size_t keep = 0;
      while (keep < sorted.size() && sum < kP * all) sum += weight(-sorted[keep++].first);
      return keep;
    };
    const auto likelihood = [&](double logit) { return std::exp(logit + sorted[0].first); };
    const size_t expected = cut(sorted.size(), likelihood);
    Candidates candidates;
    for (size_t i = 0; i < logits.size(); ++i) {
      candidates.push_back({static_cast<int32_t>(i), logits[i]});
    }
    FilterTopP(static_cast<float>(kP), 1, &candidates);
    EXPECT_EQ(candidates.size(), expected) << "row " << rows;
    for (size_t i = 0; i < std::min(candidates.size(), expected); ++i) {
      EXPECT_EQ(candidates[i].id, sorted[i].second);
    }
    // Logits themselves add up to p at once, and ten of the vocabulary are not all of it.
    size_t keep = 0;
    for (double sum = 0; keep < sorted.size() && sum < kP;) sum -= sorted[keep++].first;
    of_logits += keep != expected ? 1 : 0;
    of_ten += cut(10, likelihood) != expected ? 1 : 0;
    ++rows;
  }
  EXPECT_GT(rows, 10);
  EXPECT_GT(of_logits, 0);
  EXPECT_GT(of_ten, 0);
}

// ---- what looks wrong and is right ----

class EveryNegative : public EveryFile {
 protected:
  // verify finds nothing, fused or not, and lint nothing that it does not find in the model as it
  // was.
  void ExpectNothing(const GgufWriter& gguf, int32_t vocab) {
    const std::string path = Write(gguf);
    for (const bool fused : {true, false}) {
      ZooOptions options;
      options.fused = fused;
      options.quick = true;
      for (int32_t& id : options.ids)
        id = (id * 7 + static_cast<int32_t>(model_.name.size())) % vocab;
      const auto verdict = VerifyWith(path, {}, options);
      ASSERT_TRUE(verdict.ok()) << verdict.status();
      EXPECT_THAT(Named(verdict->nodes), IsEmpty());
      EXPECT_THAT(verdict->nodes.model, IsEmpty());
      EXPECT_LT(verdict->nodes.worst_share, 0.7) << verdict->nodes.worst;
    }
    EXPECT_EQ(Findings(path), Findings(GetParam()));
  }
};

// Queries and keys as much larger as it takes.
TEST_P(EveryNegative, N29ProbabilitiesThatPrintAsZero) {
  float least = 1;
  for (int doublings = 0; least > 1e-18f && doublings < 12; ++doublings) {
    for (int layer = 0; layer < model_.layers; ++layer) {
      Rescale(FindTensor(&gguf_, StrCat("blk.", layer, ".attn_norm.weight")), 2, 0);
    }
    const std::vector<float> probs = ValueOf(Write(gguf_), "0.probs").value();
    for (const float p : probs) least = p > 0 ? std::min(least, p) : least;
  }
  EXPECT_LT(least, 1e-18f);
  ExpectNothing(gguf_, static_cast<int32_t>(model_.vocab));
}

TEST_P(EveryNegative, N30ALargeNorm) {
  Rescale(FindTensor(&gguf_, "output_norm.weight"), 1, 7);
  ExpectNothing(gguf_, static_cast<int32_t>(model_.vocab));
}

// Biases of keys of some 60, of queries of 34: scores beyond a hundred.
TEST_P(EveryNegative, N31LargeQueriesAndScores) {
  if (model_.biases.empty()) return;  // the table says where
  const auto to = [](GgufWriter::Tensor* bias, float largest) {
    std::vector<float> values(bias->data.size() / sizeof(float));
    std::memcpy(values.data(), bias->data.data(), bias->data.size());
    Rescale(bias, largest / LargestOf(values), 0);
  };
  for (int layer = 0; layer < model_.layers; ++layer) {
    to(FindTensor(&gguf_, StrCat("blk.", layer, ".attn_q.bias")), 34);
    to(FindTensor(&gguf_, StrCat("blk.", layer, ".attn_k.bias")), 60);
  }
  EXPECT_GT(LargestOf(ValueOf(Write(gguf_), "0.q").value()), 30);
  EXPECT_GT(LargestOf(ValueOf(Write(gguf_), "0.scores").value()), 125);
  ExpectNothing(gguf_, static_cast<int32_t>(model_.vocab));
}

// Square, so that nothing but the values could tell: GGUF lists [width, tokens], fastest first.
TEST_P(EveryNegative, N32AnEmbeddingThatLooksTransposed) {
  const auto width = static_cast<uint64_t>(model_.width);
  CutTokens(&gguf_, width);
  CutRows(FindTensor(&gguf_, "token_embd.weight"), width);
  if (!model_.tied) CutRows(FindTensor(&gguf_, "output.weight"), width);
  EXPECT_EQ(FindTensor(&gguf_, "token_embd.weight")->ne, (std::vector<uint64_t>{width, width}));
  ExpectNothing(gguf_, static_cast<int32_t>(width));
}

std::string TestNameOfPath(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param.substr(info.param.rfind('/') + 1);
  name.resize(name.rfind('.'));
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, EveryFile, testing::ValuesIn(ZooModelPaths()), TestNameOfPath);
INSTANTIATE_TEST_SUITE_P(All, EveryNegative, testing::ValuesIn(ZooModelPaths()), TestNameOfPath);

}  // namespace
}  // namespace renga::faults
