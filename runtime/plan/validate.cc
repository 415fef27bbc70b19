#include "runtime/plan/validate.h"

#include <algorithm>

#include "absl/container/flat_hash_set.h"
#include "ir/base/status.h"
#include "ir/base/windows.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/mismatch.h"
#include "runtime/plan/serialize.h"

namespace renga::plan {
namespace {

// Every count of tokens, cells, pages and sequences fits an i32, as the inputs hold them.
constexpr int64_t kMaxSize = (int64_t{1} << 31) - 1;
constexpr int64_t kMaxFigure = int64_t{1} << 40;

// No plan has more; without a bound, checks that look a symbol up would be quadratic.
constexpr int64_t kMaxSymbols = 64;

// Models have one window, or two.
constexpr size_t kMaxWindows = 16;

// GGUF aligns tensor data to a multiple of 8 (general.alignment).
constexpr uint64_t kWeightAlignment = 8;

absl::Status CheckRange(std::string_view where, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return Mismatch(where, StrCat(low, "..", high), value);
}

absl::Status CheckModel(const ModelInfo& model) {
  RENGA_RETURN_IF_ERROR(CheckRange("model: vocab", model.vocab, 1, kMaxSize));
  const std::pair<std::string_view, int64_t> figures[] = {
      {"model: layers", model.layers},
      {"model: embedding", model.embedding},
      {"model: heads", model.heads},
      {"model: kv_heads", model.kv_heads},
      {"model: head_dim", model.head_dim},
      {"model: feed_forward", model.feed_forward},
      {"model: context_length", model.context_length},
  };
  for (const auto& [where, figure] : figures) {
    RENGA_RETURN_IF_ERROR(CheckRange(where, figure, 0, kMaxFigure));
  }
  return absl::OkStatus();
}

absl::Status CheckGeometry(const Geometry& geometry) {
  RENGA_RETURN_IF_ERROR(
      CheckRange("geometry: page_tokens", geometry.page_tokens, 1, int64_t{1} << 20));
  RENGA_RETURN_IF_ERROR(CheckRange("geometry: context", geometry.context, 1, kMaxSize));
  RENGA_RETURN_IF_ERROR(
      CheckRange("geometry: max_sequences", geometry.max_sequences, 1, int64_t{1} << 20));
  RENGA_RETURN_IF_ERROR(
      CheckRange("geometry: max_step_tokens", geometry.max_step_tokens, 1, kMaxSize));
  RENGA_RETURN_IF_ERROR(CheckRange("geometry: invariant_tokens", geometry.invariant_tokens, 1,
                                   geometry.max_step_tokens));
  if (geometry.windows.size() > kMaxWindows) {
    return Mismatch("geometry: windows", StrCat("at most ", kMaxWindows),
                    static_cast<int64_t>(geometry.windows.size()));
  }
  int64_t least = 1;
  for (const int64_t window : geometry.windows) {
    RENGA_RETURN_IF_ERROR(CheckRange("geometry: windows (rising)", window, least, kMaxSize));
    least = window + 1;
  }
  return absl::OkStatus();
}

// A sequence alone must always find its pages.
absl::Status CheckWindows(const Plan& plan) {
  const Geometry& geometry = plan.geometry;
  for (int group = 1; group < GroupsOf(plan); ++group) {
    const int64_t window = WindowOf(plan, group), cells = CacheCells(plan, group);
    const int64_t needed = PagesOf(geometry, geometry.context, window) * geometry.page_tokens;
    if (cells < needed || cells % geometry.page_tokens != 0) {
      return Mismatch(StrCat("symbol ", WindowSymbol("C", window), ": max"),
                      StrCat("a multiple of ", geometry.page_tokens, " (page_tokens), ", needed,
                             " (what a sequence needs) or more"),
                      cells);
    }
  }
  return absl::OkStatus();
}

// The symbols' bounds sized the arena, the geometry sizes what the executor binds them to.
absl::Status CheckSymbols(const Plan& plan) {
  RENGA_RETURN_IF_ERROR(
      CheckRange("symbols", static_cast<int64_t>(plan.symbols.size()), 0, kMaxSymbols));
  absl::flat_hash_set<std::string> names;
  for (const Symbol& symbol : plan.symbols) {
    const std::string where = StrCat("symbol ", symbol.name);
    if (symbol.name.empty()) return Mismatch("symbol", "a name", "none");
    if (!names.insert(symbol.name).second) return Mismatch(where, "one of that name", "two");
    RENGA_RETURN_IF_ERROR(CheckRange(StrCat(where, ": max"), symbol.max, 1, kMaxSize));
  }
  const Geometry& geometry = plan.geometry;
  const int64_t pages = (geometry.context + geometry.page_tokens - 1) / geometry.page_tokens;
  const struct {
    std::string_view symbol, because;
    int64_t at_least;
  } bounds[] = {
      {"T", "max_step_tokens", geometry.max_step_tokens},
      {"S", "max_sequences", geometry.max_sequences},
      {"L", "context", geometry.context},
      {"P", "pages of a sequence", pages},
      {"C", "cells of a sequence", pages * geometry.page_tokens},
  };
  for (const auto& bound : bounds) {
    const int64_t max = SymbolMax(plan, bound.symbol, bound.at_least);
    if (max < bound.at_least) {
      return Mismatch(StrCat("symbol ", bound.symbol, ": max"),
                      StrCat(bound.at_least, " (", bound.because, ") or more"), max);
    }
  }
  if (const int64_t cells = CacheCells(plan); cells % geometry.page_tokens != 0) {
    return Mismatch("symbol C: max",
                    StrCat("a multiple of ", geometry.page_tokens, " (page_tokens)"), cells);
  }
  return CheckWindows(plan);
}

absl::Status CheckWeight(const Plan& plan, const WeightSource& weight) {
  const std::string where = StrCat("weight ", weight.name);
  if (weight.file < 0 || static_cast<size_t>(weight.file) >= plan.files.size()) {
    return Mismatch(StrCat(where, ": file"), StrCat("0..", int64_t(plan.files.size()) - 1),
                    weight.file);
  }
  TensorType type = {weight.dtype, {}};
  for (int64_t size : weight.shape) type.shape.push_back({-1, size});
  const absl::StatusOr<uint64_t> bytes = MaxBytes(type, plan.symbols);
  if (!bytes.ok()) return Annotate(bytes.status(), where);
  if (*bytes != weight.bytes) {
    return Mismatch(StrCat(where, ": bytes"),
                    StrCat(*bytes, " (", ToString(type, plan.symbols), ")"), weight.bytes);
  }
  if (weight.offset % kWeightAlignment != 0) {
    return Mismatch(StrCat(where, ": offset"), StrCat("a multiple of ", kWeightAlignment),
                    weight.offset);
  }
  const uint64_t file_bytes = plan.files[weight.file].bytes;
  if (weight.offset > file_bytes || weight.bytes > file_bytes - weight.offset) {
    return Mismatch(where, StrCat("bytes inside its file of ", file_bytes),
                    StrCat(weight.bytes, " at offset ", weight.offset));
  }
  return absl::OkStatus();
}

absl::Status CheckWeights(const Plan& plan) {
  absl::flat_hash_set<std::string> names;
  uint64_t total = 0;
  for (const Weight& weight : plan.weights) {
    const std::string where = StrCat("weight ", weight.source.name);
    if (!names.insert(StrCat(weight.layout, "\n", weight.source.name)).second) {
      return Mismatch(where, "one of that name and layout", "two");
    }
    RENGA_RETURN_IF_ERROR(CheckWeight(plan, weight.source));
    const absl::StatusOr<uint64_t> stored = MaxBytes(TypeOf(weight), plan.symbols);
    if (!stored.ok()) return Annotate(stored.status(), where);
    total += *stored;
    if (total > kMaxBytes) {
      return Mismatch("weights", StrCat("at most ", kMaxBytes, " bytes"), "more");
    }
  }
  return absl::OkStatus();
}

// Embedded weights lie in the data section, apart from each other.
absl::Status CheckEmbedded(const Plan& plan) {
  if (plan.data_bytes > kMaxBytes) {
    return Mismatch("data_bytes", StrCat("at most ", kMaxBytes), plan.data_bytes);
  }
  std::vector<const Weight*> weights;
  for (const Weight& weight : plan.weights) {
    if (!weight.embedded.has_value()) continue;
    const std::string where = StrCat("weight ", weight.source.name, ": embedded");
    const uint64_t offset = weight.embedded->offset;
    if (offset % kPageBytes != 0) {
      return Mismatch(where, StrCat("an offset that is a multiple of ", kPageBytes), offset);
    }
    if (offset > plan.data_bytes || StoredBytes(weight) > plan.data_bytes - offset) {
      return Mismatch(where, StrCat("bytes inside the data section of ", plan.data_bytes),
                      StrCat(StoredBytes(weight), " at offset ", offset));
    }
    weights.push_back(&weight);
  }
  std::sort(weights.begin(), weights.end(), [](const Weight* a, const Weight* b) {
    return a->embedded->offset < b->embedded->offset;
  });
  for (size_t i = 1; i < weights.size(); ++i) {
    const Weight& before = *weights[i - 1];
    if (before.embedded->offset + StoredBytes(before) <= weights[i]->embedded->offset) continue;
    return Mismatch(StrCat("weight ", weights[i]->source.name, ": embedded"),
                    StrCat("bytes of its own"), StrCat("some of ", before.source.name));
  }
  return absl::OkStatus();
}

absl::Status CheckChoices(const Plan& plan) {
  for (const Choice& choice : plan.choices) {
    const std::string where = StrCat("choice of ", choice.what, " for ", choice.subject);
    if (std::find(choice.considered.begin(), choice.considered.end(), choice.chosen) ==
        choice.considered.end()) {
      return Mismatch(where, StrCat("one of ", StrJoin(choice.considered, ", ")), choice.chosen);
    }
  }
  return absl::OkStatus();
}

absl::Status CheckCaches(const Plan& plan) {
  uint64_t total = 0;
  for (const Cache& cache : plan.caches) {
    const std::string where = StrCat("cache ", cache.name);
    RENGA_RETURN_IF_ERROR(CheckRange(StrCat(where, ": layer"), cache.layer, -1, kMaxSize));
    RENGA_RETURN_IF_ERROR(CheckRange(StrCat(where, ": group"), cache.group, 0, GroupsOf(plan) - 1));
    const uint64_t cells = static_cast<uint64_t>(CacheCells(plan, cache.group));
    if (cells == 0) return Mismatch("symbols", "C (the caches' cells)", "none of that name");
    const TensorType cell = {cache.dtype, {{-1, cache.heads}, {-1, cache.head_dim}}};
    const absl::StatusOr<uint64_t> bytes = MaxBytes(cell, plan.symbols);
    if (!bytes.ok()) return Annotate(bytes.status(), where);
    if (*bytes != cache.cell_bytes) {
      return Mismatch(StrCat(where, ": cell_bytes"),
                      StrCat(*bytes, " (", ToString(cell, plan.symbols), ")"), cache.cell_bytes);
    }
    if (*bytes > kMaxBytes / cells || (total += AlignUp(*bytes * cells)) > kMaxBytes) {
      return Mismatch(where, StrCat("caches of at most ", kMaxBytes, " bytes"), "more");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckKernels(const Plan& plan) {
  absl::flat_hash_set<std::string> names;
  for (const Kernel& kernel : plan.kernels) {
    if (kernel.name.empty()) return Mismatch("kernel", "a name", "none");
    if (!names.insert(kernel.name).second) {
      return Mismatch(StrCat("kernel ", kernel.name), "one of that name", "two");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckMemory(const Plan& plan) {
  const Memory memory = ComputeMemory(plan);
  const struct {
    std::string_view name;
    uint64_t expected, got;
  } figures[] = {
      {"memory: weights", memory.weights, plan.memory.weights},
      {"memory: kv", memory.kv, plan.memory.kv},
      {"memory: activations", memory.activations, plan.memory.activations},
  };
  for (const auto& figure : figures) {
    if (figure.expected != figure.got) return Mismatch(figure.name, figure.expected, figure.got);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Validate(const Plan& plan) {
  if (plan.target.empty()) return Mismatch("target", "a name", "none");
  RENGA_RETURN_IF_ERROR(CheckModel(plan.model));
  RENGA_RETURN_IF_ERROR(ValidateTokenizer(plan.tokenizer, plan.model.vocab));
  RENGA_RETURN_IF_ERROR(CheckGeometry(plan.geometry));
  RENGA_RETURN_IF_ERROR(CheckSymbols(plan));
  RENGA_RETURN_IF_ERROR(CheckWeights(plan));
  RENGA_RETURN_IF_ERROR(CheckEmbedded(plan));
  RENGA_RETURN_IF_ERROR(CheckChoices(plan));
  RENGA_RETURN_IF_ERROR(CheckCaches(plan));
  RENGA_RETURN_IF_ERROR(CheckKernels(plan));
  RENGA_RETURN_IF_ERROR(ValidateBuffers(plan));
  RENGA_RETURN_IF_ERROR(ValidateSteps(plan));
  RENGA_RETURN_IF_ERROR(ValidateGpu(plan));
  return CheckMemory(plan);
}

}  // namespace renga::plan
