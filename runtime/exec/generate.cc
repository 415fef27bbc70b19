#include "runtime/exec/generate.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <numeric>

#include "ir/base/status.h"
#include "runtime/exec/top_logits.h"
#include "runtime/text/stop_strings.h"
#include "runtime/text/stream_decoder.h"

namespace renga {
namespace {

// Logits held at once when every prompt position's are wanted: 64 MiB.
constexpr int64_t kMaxLogits = int64_t{1} << 24;

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

class Generation {
 public:
  Generation(Forward& forward, const Tokenizer& tokenizer, const GenerateOptions& options,
             Sampler sampler)
      : forward_(forward),
        tokenizer_(tokenizer),
        options_(options),
        sampler_(std::move(sampler)),
        model_chooses_(sampler_.is_arg_max() && options.top_logits <= 0 && !options.prompt_top),
        decoder_(tokenizer),
        stops_(options.stop) {}

  absl::StatusOr<GenerateResult> Run(absl::Span<const int32_t> prompt) {
    const Stopwatch prompt_time;
    RENGA_ASSIGN_OR_RETURN(const bool prefilled, Prefill(prompt));
    result_.timings.prompt_seconds = prompt_time.seconds();
    const Stopwatch decode_time;
    if (!prefilled) {
      result_.finish_reason = FinishReason::kInterrupted;
    } else if (options_.max_tokens != 0) {
      RENGA_ASSIGN_OR_RETURN(result_.finish_reason, Decode());
    }
    result_.timings.decode_seconds = decode_time.seconds();
    result_.text += stops_.Append(decoder_.Flush());
    result_.text += stops_.Flush();
    return std::move(result_);
  }

 private:
  bool cancelled() const { return options_.cancel != nullptr && options_.cancel->load(); }

  int64_t ChunkTokens() const {
    int64_t tokens = forward_.max_step_tokens();
    if (options_.prompt_top) {
      // Every token's logits are asked for: no more tokens than that.
      tokens = std::min({tokens, forward_.max_rows(), kMaxLogits / forward_.vocab()});
    }
    return std::max<int64_t>(tokens, 1);
  }

  // False when cancelled.
  absl::StatusOr<bool> Prefill(absl::Span<const int32_t> prompt) {
    const size_t chunk_tokens = static_cast<size_t>(ChunkTokens());
    for (size_t begin = 0; begin < prompt.size(); begin += chunk_tokens) {
      if (cancelled()) return false;
      const absl::Span<const int32_t> chunk = prompt.subspan(begin, chunk_tokens);
      rows_.clear();
      if (options_.prompt_top) {
        rows_.resize(chunk.size());
        std::iota(rows_.begin(), rows_.end(), 0);
      } else if (options_.max_tokens != 0 && begin + chunk.size() == prompt.size()) {
        rows_.push_back(static_cast<int32_t>(chunk.size() - 1));
      }
      RENGA_RETURN_IF_ERROR(RunModel(chunk));
      for (int32_t id : chunk) sampler_.Accept(id);
      if (options_.prompt_top) {
        for (size_t row = 0; row < chunk.size(); ++row) {
          result_.prompt_top.push_back(TopLogits(Row(row), options_.top_logits));
        }
      }
      result_.timings.prompt_tokens += static_cast<int64_t>(chunk.size());
      if (options_.on_prompt) {
        options_.on_prompt(result_.timings.prompt_tokens, static_cast<int64_t>(prompt.size()));
      }
    }
    return true;
  }

  absl::StatusOr<FinishReason> Decode() {
    while (true) {
      RENGA_ASSIGN_OR_RETURN(const int32_t id, Choose());
      sampler_.Accept(id);
      const bool end = tokenizer_.IsEndOfGeneration(id);
      Emit(id, end);
      if (end) return FinishReason::kEos;
      if (stops_.stopped()) return FinishReason::kStop;
      if (static_cast<int64_t>(result_.ids.size()) == options_.max_tokens) {
        return FinishReason::kLength;
      }
      if (forward_.position() >= forward_.context()) return FinishReason::kLength;
      if (cancelled()) return FinishReason::kInterrupted;
      rows_.assign(1, 0);
      RENGA_RETURN_IF_ERROR(RunModel(absl::MakeConstSpan(&id, 1)));
      ++result_.timings.decode_tokens;
    }
  }

  // The rows' logits are fetched only where something looks at them.
  absl::Status RunModel(absl::Span<const int32_t> tokens) {
    return forward_.Run(tokens, rows_, model_chooses_ ? nullptr : &logits_);
  }

  // The model's own choice where it has one; what is odd about the others, the sampler says.
  absl::StatusOr<int32_t> Choose() {
    if (model_chooses_) {
      const absl::Span<const int32_t> next = forward_.next();
      if (!next.empty() && next.back() >= 0 && next.back() < forward_.vocab()) return next.back();
      RENGA_RETURN_IF_ERROR(forward_.Logits(&logits_));
    }
    return sampler_.Sample(LastRow());
  }

  void Emit(int32_t id, bool end) {
    GeneratedToken token;
    token.id = id;
    if (!end) token.text = stops_.Append(decoder_.Append(id));
    if (options_.top_logits > 0) {
      token.logprob = LogProbability(LastRow(), id);
      token.top = TopLogits(LastRow(), options_.top_logits);
    }
    result_.ids.push_back(id);
    result_.text += token.text;
    if (options_.on_token) options_.on_token(token);
    result_.tokens.push_back(std::move(token));
  }

  absl::Span<const float> Row(size_t row) const {
    const size_t columns = static_cast<size_t>(forward_.vocab());
    return absl::MakeConstSpan(logits_).subspan(row * columns, columns);
  }
  absl::Span<const float> LastRow() const { return Row(rows_.size() - 1); }

  Forward& forward_;
  const Tokenizer& tokenizer_;
  const GenerateOptions& options_;
  Sampler sampler_;
  const bool model_chooses_;  // nothing but the arg max of the logits is wanted
  StreamDecoder decoder_;
  StopStrings stops_;
  std::vector<int32_t> rows_;  // of the last run
  std::vector<float> logits_;  // [rows_, vocab]
  GenerateResult result_;
};

absl::Status CheckPrompt(const Forward& forward, absl::Span<const int32_t> prompt) {
  if (prompt.empty()) {
    return absl::InvalidArgumentError("prompt: expected at least one token, got none");
  }
  for (size_t i = 0; i < prompt.size(); ++i) {
    if (prompt[i] < 0 || prompt[i] >= forward.vocab()) {
      return absl::OutOfRangeError(StrCat("prompt: token ", i, ": expected an id 0..",
                                          forward.vocab() - 1, ", got ", prompt[i]));
    }
  }
  const int64_t tokens = static_cast<int64_t>(prompt.size());
  const int64_t left = forward.context() - forward.position();
  if (tokens <= left) return absl::OkStatus();
  const std::string used =
      forward.position() == 0 ? "" : StrCat(", ", forward.position(), " of them used");
  return absl::InvalidArgumentError(StrCat(
      "prompt: ", tokens, " tokens do not fit the context of ", forward.context(), used,
      "; shorten it or use a larger context (-c ", forward.position() + tokens, " or more)"));
}

}  // namespace

std::string_view ToString(FinishReason reason) {
  constexpr std::string_view kNames[] = {"stop", "length", "eos", "interrupted"};
  return kNames[static_cast<size_t>(reason)];
}

absl::StatusOr<GenerateResult> Generate(Forward& forward, const Tokenizer& tokenizer,
                                        absl::Span<const int32_t> prompt,
                                        const GenerateOptions& options) {
  RENGA_RETURN_IF_ERROR(CheckPrompt(forward, prompt));
  SamplingParams sampling = options.sampling;
  const int32_t vocab = static_cast<int32_t>(forward.vocab());
  if (options.ignore_eos) {
    for (int32_t id = 0; id < vocab; ++id) {
      if (!tokenizer.IsEndOfGeneration(id)) continue;
      sampling.logit_bias.emplace_back(id, -std::numeric_limits<float>::infinity());
    }
  }
  RENGA_ASSIGN_OR_RETURN(Sampler sampler, Sampler::Create(std::move(sampling), vocab));
  return Generation(forward, tokenizer, options, std::move(sampler)).Run(prompt);
}

}  // namespace renga
