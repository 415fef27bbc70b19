// sample: the token that the host's sampler chooses from the same logits, or none.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "codegen/emit/kernel_shapes.h"
#include "codegen/kernels/args.cuh"
#include "runtime/text/sampler.h"
#include "runtime/text/token_weight.h"
#include "tests/emulator/kernels/support.h"
#include "tests/emulator/kernels/weights.h"

namespace renga::emulator {
namespace {

using kernels::SampleArgs;
using kernels::SampleChange;
using kernels::SampleResult;
using kernels::SampleRow;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr int kPadding = 5;  // columns behind the vocabulary
constexpr int kSegment =
    2 * 4 * kernels::kSampleThreads;  // of a block, as plan::SampleMemoryOf has it

const CaseLibrary* Library() {
  static const CaseLibrary* library = [] {
    return CompileCases({{"sample", R"(#include "codegen/kernels/sample.cuh"
using namespace renga::kernels;
extern "C" __global__ void __launch_bounds__(256, 2) sample(const SampleArgs args) { Sample(args); }
)"},
                         {"weights", R"(#include "codegen/kernels/token_weight.cuh"
#include "codegen/kernels/args.cuh"
using namespace renga::kernels;
// y[i] as pairs of words: the weight of a[i] below b[i].
extern "C" __global__ void weights(const AddArgs args) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= args.count) return;
  reinterpret_cast<uint64_t*>(args.y)[i] = TokenWeight(args.a[i], args.b[i]);
}
)"}}).release();
  }();
  return library;
}

// A row of logits and the sampler that looks at it.
struct Row {
  std::vector<float> logits;
  SamplingParams params;
  std::vector<int32_t> history;
};

struct Sampled {
  SampleResult result;
  int kept;  // largest logits that the kernel was to look at
  std::vector<std::pair<int32_t, float>> top;
  int32_t next;
};

// What `next` says before: as head computes it.
int32_t ArgMaxOf(const std::vector<float>& logits) {
  int32_t best = -1;
  float largest = -kInf;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (!(logits[i] < kInf)) return -1;
    if (logits[i] > largest) {
      largest = logits[i];
      best = static_cast<int32_t>(i);
    }
  }
  return best;
}

Sampler SamplerOf(const Row& row) {
  auto sampler = Sampler::Create(row.params, static_cast<int32_t>(row.logits.size()));
  EXPECT_TRUE(sampler.ok()) << sampler.status();
  for (const int32_t id : row.history) sampler->Accept(id);
  return *std::move(sampler);
}

// All rows at once, in falling order of their places.
struct Launched {
  float padding = -kInf;
  bool few = false;  // as many of the largest as decide, not as many as there can be
  int segment = kSegment;
  bool rehearses = true;
};
std::vector<Sampled> RunSample(const std::vector<Row>& rows, const Launched& launched = {}) {
  const int vocab = static_cast<int>(rows[0].logits.size()), columns = vocab + kPadding;
  const int count = static_cast<int>(rows.size());
  const unsigned blocks = (vocab + launched.segment - 1) / launched.segment;
  std::vector<float> logits;
  std::vector<int32_t> next;
  std::vector<int> kept;
  std::vector<SampleRow> row_args;
  std::vector<SampleChange> changes(1);  // one that nobody asks for
  for (int r = 0; r < count; ++r) {
    const Row& row = rows[count - 1 - r];  // in memory
    std::vector<float> padded = row.logits;
    padded.resize(columns, launched.padding);
    next.push_back(ArgMaxOf(padded));
    logits.insert(logits.end(), padded.begin(), padded.end());
    const NextDraw draw = SamplerOf(rows[r]).Next();
    const bool few = launched.few && draw.top_k > 0;
    kept.push_back(std::min<int>(
        few ? draw.top_k + static_cast<int>(draw.changes.size()) : kernels::kSampleKept,
        kernels::kSampleKept));
    row_args.push_back({.row = count - 1 - r,
                        .sums = 1,
                        .kept = kept[r],
                        .top_k = draw.top_k,
                        .first_change = static_cast<int>(changes.size()),
                        .changes = static_cast<int>(draw.changes.size()),
                        .temperature = draw.temperature,
                        .top_p = draw.top_p,
                        .typical_p = draw.typical_p,
                        .repeat = draw.repeat,
                        .log_min_p = draw.log_min_p,
                        .uniform = draw.uniform});
    for (const NextDraw::Change& change : draw.changes) {
      changes.push_back({change.id, change.penalised ? 1 : 0, change.bias, change.penalty});
    }
  }
  const size_t top_bytes = kernels::kSampleKept * sizeof(uint64_t);
  const auto bytes = UnderAllSchedules<uint8_t>(*Library(), [&](KernelRun& run) {
    SampleArgs args = {};
    args.logits = run.Input("logits", logits);
    args.next = run.Input("next", next);
    args.rows = run.Input("rows", row_args);
    args.changes = run.Input("changes", changes);
    args.results = run.Output<SampleResult>("results", count);
    args.top = run.Input("top", std::vector<uint64_t>(count * kernels::kSampleKept));
    args.maxima = run.Output<float>("maxima", count * blocks * kernels::kSampleChunks);
    args.part_sums = run.Output<uint64_t>("part_sums", count * blocks);
    args.tickets = run.Input("tickets", std::vector<uint32_t>(count));
    args.columns = columns;
    args.vocab = vocab;
    args.segment = launched.segment;
    args.rehearses = launched.rehearses ? 1 : 0;
    run.Launch("sample", {blocks, static_cast<unsigned>(count)}, kernels::kSampleThreads,
               codegen::SampleShared(), args);
    std::vector<uint8_t> all;
    if (testing::Test::HasFatalFailure()) return all;
    const auto append = [&](const auto& values) {
      const auto* from = reinterpret_cast<const uint8_t*>(values.data());
      all.insert(all.end(), from, from + values.size() * sizeof(values[0]));
    };
    append(run.Read(args.results, count));
    append(run.Read(args.top, count * kernels::kSampleKept));
    append(run.Read(args.next, count));
    append(run.Read(args.tickets, count));
    return all;
  });
  std::vector<Sampled> sampled;
  if (bytes.empty()) return sampled;
  for (int r = 0; r < count; ++r) {
    Sampled& one = sampled.emplace_back();
    one.kept = kept[static_cast<size_t>(r)];
    std::memcpy(&one.result, bytes.data() + r * sizeof(SampleResult), sizeof(SampleResult));
    const uint8_t* at = bytes.data() + count * sizeof(SampleResult);
    for (int i = 0; i < one.result.top; ++i) {
      uint64_t key;
      std::memcpy(&key, at + r * top_bytes + i * sizeof(key), sizeof(key));
      const auto high = static_cast<uint32_t>(key >> 32);
      const uint32_t bits = (high & 0x80000000u) != 0 ? high & 0x7fffffffu : ~high;
      float logit;
      std::memcpy(&logit, &bits, sizeof(logit));
      one.top.emplace_back(static_cast<int32_t>(~static_cast<uint32_t>(key)), logit);
    }
    at += count * top_bytes;
    std::memcpy(&one.next, at + (count - 1 - r) * sizeof(int32_t), sizeof(int32_t));
    at += count * sizeof(int32_t);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(at[4 * r + i], 0) << "tickets are zero afterwards";
  }
  return sampled;
}

// Each row that was decided has the host's token, and what is said of it is right.
void ExpectHostsTokens(const std::vector<Row>& rows, const std::vector<Sampled>& sampled) {
  ASSERT_EQ(sampled.size(), rows.size());
  for (size_t r = 0; r < rows.size(); ++r) {
    SCOPED_TRACE("row " + std::to_string(r));
    const std::vector<float>& logits = rows[r].logits;
    const SampleResult& result = sampled[r].result;
    Candidates sorted;
    uint64_t sum = 0;
    const float max = *std::max_element(logits.begin(), logits.end());
    for (size_t id = 0; id < logits.size(); ++id) {
      sum += TokenWeight(logits[id], max);
      if (logits[id] > -kInf) sorted.push_back({static_cast<int32_t>(id), logits[id]});
    }
    SortByLogit(&sorted);
    if (result.top > 0) {
      EXPECT_EQ(result.max, max);
      EXPECT_EQ(result.sum, sum);
      ASSERT_EQ(result.top, std::min(sampled[r].kept, static_cast<int>(sorted.size())));
      for (int i = 0; i < result.top; ++i) {
        EXPECT_EQ(sampled[r].top[i].first, sorted[i].id) << i;
        EXPECT_EQ(sampled[r].top[i].second, sorted[i].logit) << i;
      }
      EXPECT_EQ(sampled[r].next, result.id);
    }
    if (result.id < 0) continue;
    const auto expected = SamplerOf(rows[r]).Sample(logits);
    ASSERT_TRUE(expected.ok()) << expected.status();
    EXPECT_EQ(result.id, *expected);
    EXPECT_EQ(result.logit, logits[*expected]);
  }
}

// Rows by number.
std::vector<size_t> Undecided(const std::vector<Sampled>& sampled) {
  std::vector<size_t> rows;
  for (size_t r = 0; r < sampled.size(); ++r) {
    if (sampled[r].result.id < 0) rows.push_back(r);
  }
  return rows;
}

// Logits with a tail as a model has it: each `scale` less are e times as many.
std::vector<float> ModelLogits(int vocab, float scale, Random* random) {
  std::vector<float> logits = random->Vector(vocab, 1);  // -1 to 1
  for (float& logit : logits) logit = -scale * std::log((logit + 1.00001f) / 2);
  return logits;
}

TEST(Sample, WeightsHaveTheHostsBits) {
  RENGA_NEED_KERNELS(Library());
  Random random(3);
  std::vector<float> a = random.Vector(3'000, 40), b = random.Vector(3'000, 40);
  for (size_t i = 0; i < a.size(); ++i) {
    if (i % 3 == 0) a[i] = b[i] - static_cast<float>(i) * 0x1p-20f;
    if (a[i] > b[i]) std::swap(a[i], b[i]);
  }
  a[0] = -kInf;
  b[1] = a[1];
  a[2] = -3e38f;
  b[2] = 3e38f;
  const int count = static_cast<int>(a.size());
  const auto weights = UnderAllSchedules<uint64_t>(*Library(), [&](KernelRun& run) {
    kernels::AddArgs args = {};
    args.a = run.Input("a", a);
    args.b = run.Input("b", b);
    auto* y = run.Output<uint64_t>("y", count);
    args.y = reinterpret_cast<float*>(y);
    args.count = count;
    run.Launch("weights", {static_cast<unsigned>(count + 63) / 64}, 64, 0, args);
    if (testing::Test::HasFatalFailure()) return std::vector<uint64_t>();
    return run.Read(y, count);
  });
  ASSERT_EQ(weights.size(), a.size());
  for (int i = 0; i < count; ++i)
    EXPECT_EQ(weights[i], TokenWeight(a[i], b[i])) << a[i] << " " << b[i];
}

// 12 rows with parameters of all kinds, small and large vocabularies.
TEST(Sample, TheHostsTokens) {
  RENGA_NEED_KERNELS(Library());
  for (const int vocab : {5'001, 333, 1}) {
    SCOPED_TRACE("vocabulary of " + std::to_string(vocab));
    Random random(vocab);
    std::vector<Row> rows;
    const SamplingParams kinds[] = {
        {},
        {.temperature = 0},
        {.temperature = 1.7f, .top_k = 100, .top_p = 1, .min_p = 0},
        {.temperature = 0.3f, .top_k = 0, .top_p = 0.5f},
        {.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0.1f},
        {.temperature = 2, .top_k = 60, .top_p = 0.99f, .min_p = 0, .typical_p = 0.6f},
        {.temperature = 1e-40f},
        {.temperature = 1, .top_k = 1},
        {.temperature = 1, .top_k = 30, .top_p = -1, .typical_p = -1},
        {.temperature = 5, .top_k = 128, .top_p = 0.9f, .min_p = 0.2f, .typical_p = 0.9f},
        {.temperature = 0.7f, .top_k = 20, .penalties = {64, 1.3f, 0.2f, 0.4f}},
        {.temperature = 0, .penalties = {-1, 1.1f, 0, 0}},
        {.logit_bias = {{0, 30}}},
    };
    int seed = 1;
    for (const SamplingParams& kind : kinds) {
      Row& row = rows.emplace_back();
      row.params = kind;
      row.params.seed = seed++;
      row.logits = ModelLogits(vocab, 2, &random);
      // What was written lately is likely again.
      Candidates sorted;
      for (int id = 0; id < vocab; ++id) sorted.push_back({id, row.logits[id]});
      SortByLogit(&sorted);
      for (int i = 0; i < 30 && i < vocab; ++i) {
        row.history.push_back(sorted[i].id);
        row.history.push_back(sorted[i / 5].id);
      }
    }
    const std::vector<Sampled> sampled = RunSample(rows);
    if (HasFatalFailure()) return;
    ExpectHostsTokens(rows, sampled);
    EXPECT_THAT(Undecided(sampled), IsEmpty());
  }
}

TEST(Sample, EverySeedOfOneRow) {
  RENGA_NEED_KERNELS(Library());
  Random random(5);
  const std::vector<float> logits = ModelLogits(500, 2, &random);
  std::vector<Row> rows;
  for (uint64_t seed = 0; seed < 16; ++seed) {
    rows.push_back({logits, {.temperature = 1.5f, .seed = seed}, {}});
  }
  const std::vector<Sampled> sampled = RunSample(rows);
  if (HasFatalFailure()) return;
  ExpectHostsTokens(rows, sampled);
  EXPECT_THAT(Undecided(sampled), IsEmpty());
}

// No more of the largest than top_k and the changes need; blocks with more ids, without rehearsal.
TEST(Sample, AsFewAsDecide) {
  RENGA_NEED_KERNELS(Library());
  Random random(11);
  std::vector<Row> rows;
  const SamplingParams kinds[] = {
      {.seed = 1},
      {.temperature = 1, .top_k = 1, .seed = 2},
      {.temperature = 3,
       .top_k = 25,
       .top_p = 1,
       .min_p = 0,
       .penalties = {64, 2, 0.5f, 1},
       .seed = 3},
      {.temperature = 3, .top_k = 3, .logit_bias = {{0, -kInf}, {1, 9}, {2, -9}}, .seed = 4},
      {.temperature = 2, .top_k = 120, .top_p = 1, .min_p = 0, .typical_p = 0.7f, .seed = 5},
      {.temperature = 0, .penalties = {64, 3, 0, 0}, .seed = 6},
  };
  for (const SamplingParams& kind : kinds) {
    Row& row = rows.emplace_back(Row{ModelLogits(1'100, 1.5f, &random), kind, {}});
    std::vector<int32_t> ids(row.logits.size());
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i);
    std::sort(ids.begin(), ids.end(),
              [&](int32_t a, int32_t b) { return row.logits[a] > row.logits[b]; });
    row.history.assign(ids.begin(), ids.begin() + 30);
  }
  const std::vector<Sampled> sampled =
      RunSample(rows, {.few = true, .segment = 3 * kSegment / 2, .rehearses = false});
  if (HasFatalFailure()) return;
  EXPECT_EQ(sampled[0].kept, 40);
  EXPECT_EQ(sampled[1].kept, 1);
  EXPECT_EQ(sampled[2].kept, 55);
  ExpectHostsTokens(rows, sampled);
  EXPECT_THAT(Undecided(sampled), IsEmpty());
}

// More chunks than threads have at once; all of the largest in neighbouring ones, so that the cut
// of the chunks is none of the logits.
TEST(Sample, ManyBlocks) {
  RENGA_NEED_KERNELS(Library());
  Random random(12);
  Row row{ModelLogits(35 * kSegment - 3, 1, &random), {.temperature = 2, .seed = 4}, {}};
  for (int id = 34 * kSegment; id < 34 * kSegment + 800; ++id) {
    row.logits[static_cast<size_t>(id)] += 12;
  }
  const std::vector<Sampled> sampled = RunSample({row}, {.few = true});
  if (HasFatalFailure()) return;
  ExpectHostsTokens({row}, sampled);
  EXPECT_THAT(Undecided(sampled), IsEmpty());
}

// False where the chain is none that a sampler has: another order, or filters of other programs.
bool ParamsOf(const nlohmann::json& chain, SamplingParams* params) {
  const std::vector<std::string> order = {"logit_bias", "penalties", "top_k", "typical",
                                          "top_p",      "min_p",     "temp",  "dist"};
  *params = {.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0};
  auto at = order.begin();
  for (const nlohmann::json& step : chain) {
    const std::string name = step["sampler"];
    const auto number = [&](const char* key) { return step[key].get<float>(); };
    at = std::find(at, order.end(), name);
    if (at++ == order.end() || (step.contains("min_keep") && step["min_keep"] > 1)) return false;
    if (name == "top_k") params->top_k = step["k"];
    if (name == "top_p") params->top_p = number("p");
    if (name == "min_p") params->min_p = number("p");
    if (name == "typical") params->typical_p = number("p");
    if (name == "temp") params->temperature = number("t");
    if (name == "penalties") {
      params->penalties = {step["last_n"], number("repeat"), number("frequency"),
                           number("presence")};
    }
    if (name != "logit_bias") continue;
    for (const nlohmann::json& entry : step["bias"]) {
      params->logit_bias.emplace_back(entry[0],
                                      entry[1].is_string() ? -kInf : entry[1].get<float>());
    }
  }
  return true;
}

// The tokens are among those that llama.cpp's samplers leave, with the recorded chains.
TEST(Sample, RecordedChains) {
  RENGA_NEED_KERNELS(Library());
  std::ifstream in(RENGA_SOURCE_DIR "/tests/data/sampling.json");
  if (!in) GTEST_SKIP() << "tests/data/sampling.json is not on this machine";
  const nlohmann::json file = nlohmann::json::parse(in);
  std::map<size_t, std::vector<Row>> rows;  // by size of the vocabulary
  std::map<size_t, std::vector<const nlohmann::json*>> cases;
  for (size_t n = 0; n < file["cases"].size(); n += 5) {  // some of them: emulated rows are slow
    const nlohmann::json& test = file["cases"][n];
    Row row;
    if (!ParamsOf(test["chain"], &row.params)) continue;
    row.params.seed = n;
    row.logits = file["vectors"][test["vector"].get<size_t>()].get<std::vector<float>>();
    row.history = test["history"].get<std::vector<int32_t>>();
    const size_t vocab = row.logits.size();
    rows[vocab].push_back(std::move(row));
    cases[vocab].push_back(&test);
  }
  int decided = 0;
  for (const auto& [vocab, of_size] : rows) {
    const std::vector<Sampled> sampled = RunSample(of_size);
    if (HasFatalFailure()) return;
    ExpectHostsTokens(of_size, sampled);
    for (size_t r = 0; r < of_size.size(); ++r) {
      const nlohmann::json& test = *cases[vocab][r];
      if (sampled[r].result.id < 0 || test.value("cut_through_ties", false)) continue;
      ++decided;
      double p = vocab > 64 ? 1 : 0;  // of long rows only the first are listed
      for (const nlohmann::json& candidate : test["candidates"]) {
        if (candidate[0] == sampled[r].result.id) p = candidate[2];
      }
      EXPECT_GT(p, 0) << test["chain"];
    }
  }
  EXPECT_GE(decided, 35);
}

// What 128 candidates do not decide.
TEST(Sample, Undecided) {
  RENGA_NEED_KERNELS(Library());
  Random random(6);
  const std::vector<float> logits = ModelLogits(700, 0.2f, &random);
  SamplingParams typical{.temperature = 1, .top_k = 0, .typical_p = 0.5f};
  SamplingParams lifted{.temperature = 1, .top_k = 0, .top_p = 0.1f, .logit_bias = {{3, 1}}};
  SamplingParams many{.temperature = 1, .top_k = 128};
  for (int id = 0; id < 128; ++id) many.logit_bias.emplace_back(id, id % 2 == 0 ? -kInf : -0.5f);
  SamplingParams huge{.temperature = 0, .logit_bias = {{3, 3e38f}, {3, 3e38f}}};
  const std::vector<Row> rows = {
      {logits, {.temperature = 1, .top_k = 129}, {}},
      {logits, {.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0}, {}},
      {logits, {.temperature = 1, .top_k = 0, .top_p = 0.999f}, {}},
      {logits, {.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 1e-9f}, {}},
      {logits, typical, {}},
      {logits, lifted, {}},
      {logits, many, {}},
      {logits, huge, {}},
      // All the same: no bin holds so few.
      {std::vector<float>(700, 2.5f), {}, {}},
  };
  const std::vector<Sampled> sampled = RunSample(rows);
  if (HasFatalFailure()) return;
  ExpectHostsTokens(rows, sampled);
  EXPECT_THAT(Undecided(sampled), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8));
}

TEST(Sample, NonsenseAndPaddingAreNeverChosen) {
  RENGA_NEED_KERNELS(Library());
  Random random(7);
  std::vector<Row> rows(4, {ModelLogits(400, 3, &random), {}, {}});
  rows[0].logits[77] = std::nanf("");
  rows[1].logits[399] = kInf;
  rows[2].logits.assign(400, -kInf);
  rows[3].logits.assign(400, -kInf);
  rows[3].logits[17] = -3e38f;
  std::vector<Sampled> sampled = RunSample(rows);
  if (HasFatalFailure()) return;
  EXPECT_THAT(Undecided(sampled), ElementsAre(0, 1, 2));
  EXPECT_EQ(sampled[3].result.id, 17);
  for (int r = 0; r < 3; ++r) EXPECT_EQ(sampled[r].next, -1);
  // Padding has the largest logit: what is the largest of the others, nobody knows yet.
  rows = {{ModelLogits(400, 3, &random), {}, {}}};
  sampled = RunSample(rows, {.padding = 100});
  if (HasFatalFailure()) return;
  EXPECT_EQ(sampled[0].result.id, -1);
  EXPECT_EQ(sampled[0].next, 400);
  // Padding is large, but not the largest.
  rows[0].logits[123] = 101;
  rows[0].params = {.temperature = 10, .top_k = 100, .top_p = 1, .min_p = 0};
  sampled = RunSample(rows, {.padding = 100});
  if (HasFatalFailure()) return;
  ExpectHostsTokens(rows, sampled);
  EXPECT_THAT(Undecided(sampled), IsEmpty());
}

// Scales from those of a model that knows nothing to those of one that is certain, and beyond.
TEST(Sample, AnyScale) {
  RENGA_NEED_KERNELS(Library());
  Random random(8);
  std::vector<Row> rows;
  for (const float scale : {0.02f, 0.3f, 5.0f, 30.0f, 1e-6f, 1e30f}) {
    Row& row = rows.emplace_back();
    row.logits = ModelLogits(5'000, scale, &random);
    row.params = {.temperature = scale, .top_k = 64, .top_p = 0.9f, .min_p = 0};
  }
  // Many equals, among them at the cut.
  Row& ties = rows.emplace_back();
  for (int id = 0; id < 5'000; ++id) ties.logits.push_back(static_cast<float>(id * 7919 % 97) / 10);
  ties.params = {.temperature = 3, .top_k = 90, .top_p = 1, .min_p = 0};
  const std::vector<Sampled> sampled = RunSample(rows);
  if (HasFatalFailure()) return;
  ExpectHostsTokens(rows, sampled);
  EXPECT_THAT(Undecided(sampled), ElementsAre(4, 5));
}

}  // namespace
}  // namespace renga::emulator
