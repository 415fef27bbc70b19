#include "tools/library/arguments.h"

#include <algorithm>
#include <optional>
#include <string>

#include "ir/base/status.h"
#include "ir/core/cache_rounding.h"
#include "runtime/text/utf8.h"
#include "tools/kv_type_flag.h"
#include "tools/library/structures.h"

namespace renga {
namespace {

constexpr int32_t kMaxThreads = 1024;
// The compiler's bounds, under the names of the fields.
constexpr int64_t kMaxContext = int64_t{1} << 24;
constexpr int64_t kMaxSequences = 4096;
// A prompt's end is compared with each of them.
constexpr size_t kMaxStops = 1024;
// Logits that are kept for a prompt, at most.
constexpr int64_t kMaxPromptPairs = int64_t{1} << 24;

absl::Status CheckRange(std::string_view what, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      StrCat(what, ": expected ", least, "..", most, ", got ", value));
}

absl::StatusOr<DType> CacheType(std::string_view what, const char* name) {
  if (const std::optional<DType> type = DTypeFromName(name)) return *type;
  return absl::InvalidArgumentError(
      StrCat(what, ": expected ", CacheTypeNames(), ", got '", name, "'"));
}

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Step step = ReadUtf8(text);
    if (step.kind != Utf8Step::Kind::kCharacter) return false;
    text.remove_prefix(static_cast<size_t>(step.bytes));
  }
  return true;
}

}  // namespace

absl::Status CheckArray(const void* data, size_t count, std::string_view what) {
  if (count > kMaxArgument) {
    return absl::InvalidArgumentError(
        StrCat(what, ": expected a size of at most ", kMaxArgument, ", got ", count));
  }
  return count == 0 ? absl::OkStatus() : CheckGiven(data, what);
}

absl::StatusOr<std::string_view> TextOf(const renga_text& text, std::string_view what) {
  RENGA_RETURN_IF_ERROR(CheckArray(text.data, text.bytes, what));
  return std::string_view(text.data, text.bytes);
}

absl::StatusOr<OpenOptions> OpenOptionsOf(const renga_options* given, bool is_plan) {
  OpenOptions options;
  if (given == nullptr) return options;
  RENGA_ASSIGN_OR_RETURN(const renga_options read, ReadStructure(given, "options"));
  RENGA_RETURN_IF_ERROR(CheckRange("threads", read.threads, 0, kMaxThreads));
  RENGA_RETURN_IF_ERROR(CheckRange("no_cache", read.no_cache, 0, 1));
  RENGA_RETURN_IF_ERROR(CheckRange("context", read.context, 0, kMaxContext));
  RENGA_RETURN_IF_ERROR(CheckRange("max_sequences", read.max_sequences, 0, kMaxSequences));
  if (is_plan && (read.k_type != nullptr || read.v_type != nullptr || read.kv_types != nullptr ||
                  read.context != 0 || read.max_sequences != 0)) {
    return absl::InvalidArgumentError(
        "options: a plan is compiled already, expected no k_type, v_type, kv_types, context and "
        "max_sequences; give them to `renga compile`, or open the GGUF");
  }
  if (read.device != nullptr) options.device = read.device;
  options.threads = options.compile.threads = read.threads;
  options.use_cache = read.no_cache == 0;
  options.kv_type_given =
      read.k_type != nullptr || read.v_type != nullptr || read.kv_types != nullptr;
  if (read.kv_types != nullptr && (read.k_type != nullptr || read.v_type != nullptr)) {
    return absl::InvalidArgumentError("kv_types: expected no k_type and v_type beside it");
  }
  if (read.kv_types != nullptr) {
    RENGA_RETURN_IF_ERROR(Annotate(ParseKvType(read.kv_types, &options.compile), "kv_types"));
  }
  if (read.k_type != nullptr) {
    RENGA_ASSIGN_OR_RETURN(options.compile.k_type, CacheType("k_type", read.k_type));
  }
  if (read.v_type != nullptr) {
    RENGA_ASSIGN_OR_RETURN(options.compile.v_type, CacheType("v_type", read.v_type));
  }
  if (read.context != 0) options.compile.context = read.context;
  if (read.max_sequences != 0) options.compile.max_sequences = read.max_sequences;
  return options;
}

absl::StatusOr<EncodeOptions> EncodeOptionsOf(uint32_t flags) {
  constexpr uint32_t kKnown = RENGA_PLAIN_TEXT | RENGA_BARE_TEXT;
  if ((flags & ~kKnown) != 0) {
    return absl::InvalidArgumentError(
        StrCat("flags: expected RENGA_PLAIN_TEXT (1) and RENGA_BARE_TEXT (2), got ", flags));
  }
  EncodeOptions options;
  options.parse_special = (flags & RENGA_PLAIN_TEXT) == 0;
  options.add_special = (flags & RENGA_BARE_TEXT) == 0;
  return options;
}

absl::StatusOr<GenerateOptions> GenerateOptionsOf(const renga_request& request, int64_t vocab,
                                                  int64_t context) {
  RENGA_RETURN_IF_ERROR(CheckRange("max_tokens", request.max_tokens, -1, INT64_MAX));
  RENGA_RETURN_IF_ERROR(CheckRange("plain_text", request.plain_text, 0, 1));
  RENGA_RETURN_IF_ERROR(CheckRange("ignore_eos", request.ignore_eos, 0, 1));
  RENGA_RETURN_IF_ERROR(CheckRange("reserved", request.reserved, 0, 0));
  RENGA_RETURN_IF_ERROR(CheckRange("shift", request.shift, 0, 1));
  RENGA_RETURN_IF_ERROR(CheckRange("top_logits", request.top_logits, 0, vocab));
  RENGA_RETURN_IF_ERROR(CheckRange("prompt_logits", request.prompt_logits, 0, 1));
  RENGA_RETURN_IF_ERROR(CheckRange("reserved2", request.reserved2, 0, 0));
  if (request.prompt_logits != 0) {
    if (request.top_logits == 0) {
      return absl::InvalidArgumentError("prompt_logits: expected top_logits above 0 with it");
    }
    RENGA_RETURN_IF_ERROR(CheckRange("top_logits: with prompt_logits", request.top_logits, 1,
                                     std::max<int64_t>(1, kMaxPromptPairs / context)));
  }
  if (request.stop_count > kMaxStops) {
    return absl::InvalidArgumentError(
        StrCat("stop: expected at most ", kMaxStops, " texts, got ", request.stop_count));
  }
  GenerateOptions options;
  options.max_tokens = request.max_tokens;
  options.ignore_eos = request.ignore_eos != 0;
  options.shift = request.shift != 0;
  options.top_logits = request.top_logits;
  options.prompt_top = request.prompt_logits != 0;
  RENGA_ASSIGN_OR_RETURN(const auto stops, ArrayOf(request.stop, request.stop_count, "stop"));
  for (const renga_text& stop : stops) {
    RENGA_ASSIGN_OR_RETURN(const std::string_view text, TextOf(stop, "stop"));
    // Half a character would leave the other half in the text.
    if (text.empty() || !IsUtf8(text)) {
      return absl::InvalidArgumentError("stop: expected texts of UTF-8 that are not empty");
    }
    options.stop.emplace_back(text);
  }
  RENGA_ASSIGN_OR_RETURN(const auto biases,
                         ArrayOf(request.logit_bias, request.logit_bias_count, "logit_bias"));
  SamplingParams& sampling = options.sampling;
  for (const renga_logit_bias& bias : biases) {
    sampling.logit_bias.emplace_back(bias.token, bias.bias);
  }
  sampling.seed = request.seed;
  sampling.temperature = request.temperature;
  sampling.top_k = request.top_k;
  sampling.top_p = request.top_p;
  sampling.min_p = request.min_p;
  sampling.typical_p = request.typical_p;
  sampling.penalties.last_n = request.penalty_tokens;
  sampling.penalties.repeat = request.repeat_penalty;
  sampling.penalties.presence = request.presence_penalty;
  sampling.penalties.frequency = request.frequency_penalty;
  return options;
}

}  // namespace renga
