// What K and V caches of each type cost a model: the KL divergence of its distributions from those
// with f32 caches, on the cpu, over the prompts and exact continuations of a record
// (docs/kv-types.md).
//
//   kv_type_bench MODEL.gguf RECORD.exact.jsonl [--disable-pass key-bias-apart] k=q8_0,v=q8_0 ...
//
// Without pairs: all.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "ir/base/status.h"
#include "ir/core/cache_rounding.h"
#include "nlohmann/json.hpp"
#include "tests/support/logits.h"
#include "tools/open_model.h"

namespace renga {
namespace {

struct Pair {
  DType k, v;
  std::string Text() const { return StrCat("k=", Name(k), ",v=", Name(v)); }
};

// Those that `texts` name, all where it is empty.
absl::StatusOr<std::vector<Pair>> PairsNamed(const std::vector<std::string>& texts) {
  std::vector<Pair> all, named;
  for (const DType k : CacheTypes()) {
    for (const DType v : CacheTypes()) all.push_back({k, v});
  }
  for (const std::string& text : texts) {
    const auto found =
        std::find_if(all.begin(), all.end(), [&](const Pair& pair) { return pair.Text() == text; });
    if (found == all.end()) {
      return absl::InvalidArgumentError(
          StrCat("expected k=TYPE,v=TYPE with ", CacheTypeNames(), ", got ", text));
    }
    named.push_back(*found);
  }
  return texts.empty() ? all : named;
}

using Documents = std::vector<std::vector<int32_t>>;

// Cases of fewer tokens say little of caches.
constexpr size_t kLeastTokens = 90;

Documents Read(const std::string& record) {
  std::ifstream file(record);
  Documents documents;
  for (std::string line; std::getline(file, line);) {
    const nlohmann::json entry = nlohmann::json::parse(line);
    std::vector<int32_t> tokens = entry["prompt_ids"];
    const std::vector<int32_t> greedy = entry["greedy_ids"];
    tokens.insert(tokens.end(), greedy.begin(), greedy.end() - 1);
    if (tokens.size() >= kLeastTokens) documents.push_back(std::move(tokens));
  }
  return documents;
}

absl::StatusOr<OpenedModel> Open(const std::string& model, const Pair& pair,
                                 const std::vector<std::string>& disabled) {
  OpenOptions options;
  options.device = "cpu";
  options.use_cache = false;
  options.compile.k_type = pair.k;
  options.compile.v_type = pair.v;
  options.compile.disabled_passes = disabled;
  options.compile.max_rows = MaxStepTokens(options.compile);
  return OpenModel(model, options);
}

// Calls fn(logits) for step after step.
template <typename Fn>
absl::Status ForEachStep(OpenedModel& model, const Documents& documents, const Fn& fn) {
  const size_t chunk = static_cast<size_t>(model.forward->max_step_tokens());
  for (size_t d = 0; d < documents.size(); ++d) {
    RENGA_RETURN_IF_ERROR(model.forward->Truncate(0));
    for (size_t begin = 0; begin < documents[d].size(); begin += chunk) {
      const auto part = absl::MakeConstSpan(documents[d]).subspan(begin, chunk);
      std::vector<int32_t> rows(part.size());
      for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int32_t>(i);
      std::vector<float> logits;
      RENGA_RETURN_IF_ERROR(model.forward->Run(part, rows, &logits));
      fn(logits);
    }
  }
  return absl::OkStatus();
}

absl::Status Run(const std::string& path, const std::string& record,
                 const std::vector<std::string>& disabled, const std::vector<std::string>& texts) {
  RENGA_ASSIGN_OR_RETURN(const std::vector<Pair> pairs, PairsNamed(texts));
  const Documents documents = Read(record);
  std::vector<std::vector<float>> exact;  // by step
  {
    RENGA_ASSIGN_OR_RETURN(OpenedModel model, Open(path, {DType::kF32, DType::kF32}, {}));
    RENGA_RETURN_IF_ERROR(ForEachStep(
        model, documents, [&](std::vector<float>& logits) { exact.push_back(std::move(logits)); }));
  }
  std::printf(
      "| K and V | mean KL | 99 %% | largest | same first token |\n|---|---|---|---|---|\n");
  for (const Pair& pair : pairs) {
    RENGA_ASSIGN_OR_RETURN(OpenedModel model, Open(path, pair, disabled));
    const size_t vocab = static_cast<size_t>(model.forward->vocab());
    std::vector<double> divergence;
    size_t step = 0, agreeing = 0;
    RENGA_RETURN_IF_ERROR(ForEachStep(model, documents, [&](const std::vector<float>& logits) {
      for (size_t at = 0; at < logits.size(); at += vocab) {
        const auto p = absl::MakeConstSpan(exact[step]).subspan(at, vocab);
        const auto q = absl::MakeConstSpan(logits).subspan(at, vocab);
        divergence.push_back(Divergence(p, q));
        agreeing += ArgMaxOf(p) == ArgMaxOf(q);
      }
      ++step;
    }));
    std::sort(divergence.begin(), divergence.end());
    double sum = 0;
    for (const double value : divergence) sum += value;
    const double count = static_cast<double>(divergence.size());
    std::printf("| %s | %.6f | %.5f | %.4f | %.2f %% |\n", pair.Text().c_str(), sum / count,
                divergence[divergence.size() * 99 / 100], divergence.back(),
                100.0 * static_cast<double>(agreeing) / count);
    std::fflush(stdout);
  }
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  std::vector<std::string> disabled, rest;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg == "--disable-pass" && i + 1 < argc) {
      disabled.emplace_back(argv[++i]);
    } else {
      rest.push_back(arg);
    }
  }
  if (rest.size() < 2) {
    std::fprintf(stderr,
                 "usage: kv_type_bench MODEL.gguf RECORD.exact.jsonl "
                 "[--disable-pass PASS] [k=TYPE,v=TYPE ...]\n");
    return 2;
  }
  const absl::Status status =
      Run(rest[0], rest[1], disabled, std::vector<std::string>(rest.begin() + 2, rest.end()));
  if (status.ok()) return 0;
  std::fprintf(stderr, "kv_type_bench: %s\n", std::string(status.message()).c_str());
  return 1;
}

}  // namespace
}  // namespace renga

int main(int argc, char** argv) { return renga::Main(argc, argv); }
