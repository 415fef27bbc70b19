#include "tools/auto_context.h"

#include <algorithm>
#include <fstream>
#include <limits>

#include "frontend/gguf/gguf.h"
#include "frontend/models/model.h"
#include "ir/base/status.h"
#include "ir/base/windows.h"
#include "passes/simplify/window_pages.h"

namespace renga {
namespace {

// Activations, code and what a driver takes: far more than plans of fused graphs need.
constexpr uint64_t kLeftOver = uint64_t{256} << 20;
constexpr int64_t kCoarse = 1024;

// Of one sequence.
struct SequenceBytes {
  uint64_t per_token = 0;  // in caches that keep all of it
  uint64_t windows = 0;    // in those that keep a window, once that is full
};

SequenceBytes BytesOf(const Graph& graph, const CompileOptions& options) {
  SequenceBytes bytes;
  for (ValueId id : graph.caches) {
    const TensorType& type = graph.value(id).type;  // [C, heads, head_dim]
    const uint64_t cell = static_cast<uint64_t>(type.shape[1].value) *
                          static_cast<uint64_t>(RowBytes(type.dtype, type.shape[2].value));
    const int64_t window = SplitWindow(type.shape[0].symbol).window;
    if (window == 0) {
      bytes.per_token += cell;
    } else {
      const int64_t pages = WindowPages(window, MaxStepTokens(options), options.page_tokens);
      bytes.windows += cell * static_cast<uint64_t>(pages * options.page_tokens);
    }
  }
  return bytes;
}

// Whether caches of layers with a window will keep no more than that, where that is less.
bool KeepsWindows(const CompileOptions& options) {
  const auto has = [](const std::vector<std::string>& names) {
    return std::find(names.begin(), names.end(), kWindowPages) != names.end();
  };
  return !has(options.disabled_passes) && (!options.only_passes || has(*options.only_passes));
}

}  // namespace

absl::StatusOr<uint64_t> FreeHostBytes() {
  std::ifstream in("/proc/meminfo");
  std::string name;
  for (uint64_t kilobytes = 0; in >> name >> kilobytes;) {
    if (name == "MemAvailable:") return kilobytes * 1024;
    in.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return absl::UnavailableError(
      "-c auto: /proc/meminfo does not say what memory is available; give a number");
}

absl::StatusOr<int64_t> AutoContext(const std::string& gguf, const CompileOptions& options,
                                    uint64_t free_bytes) {
  RENGA_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(gguf));
  RENGA_ASSIGN_OR_RETURN(const GraphOptions graph_options, GraphOptionsOf(file, options));
  RENGA_ASSIGN_OR_RETURN(Model model, BuildModel(file, graph_options));
  uint64_t weights = 0;
  for (const WeightSource& weight : model.weights) weights += weight.bytes;
  const uint64_t sequences = static_cast<uint64_t>(options.max_sequences);
  const uint64_t per_token = BytesOf(model.graph, options).per_token * sequences;
  const int64_t made_for =
      model.info.context_length > 0 ? model.info.context_length : graph_options.context;
  if (options.kv_tokens) return std::min(*options.kv_tokens, made_for);
  if (per_token == 0) return made_for;
  const uint64_t usable = free_bytes - free_bytes / 20;
  const uint64_t fixed = weights + kLeftOver;
  const uint64_t left = usable > fixed ? usable - fixed : 0;
  uint64_t most = left / per_token;
  if (KeepsWindows(options)) {
    // Contexts shorter than the windows are those of above.
    Ledger ledger;
    RENGA_RETURN_IF_ERROR(PagesOfWindows(model.graph, ledger).status());
    const SequenceBytes bytes = BytesOf(model.graph, options);
    const uint64_t full = bytes.per_token * sequences, windows = bytes.windows * sequences;
    if (windows <= left && windows > 0) {
      const uint64_t rest = full == 0 ? static_cast<uint64_t>(made_for) : (left - windows) / full;
      most = std::max(most, rest);
    }
  }
  int64_t tokens = static_cast<int64_t>(std::min(most, static_cast<uint64_t>(made_for)));
  if (tokens < made_for) tokens -= tokens % (tokens > kCoarse ? kCoarse : options.page_tokens);
  if (tokens > 0) return tokens;
  return absl::ResourceExhaustedError(
      StrCat("-c auto: ", free_bytes >> 20, " MiB are free; weights take ", weights >> 20,
             " MiB, a step up to ", kLeftOver >> 20, " MiB, and a page of ", options.page_tokens,
             " tokens for ", options.max_sequences, " sequences ",
             per_token * static_cast<uint64_t>(options.page_tokens), " bytes"));
}

}  // namespace renga
