#include "runtime/exec/generate.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <utility>

#include "ir/base/status.h"
#include "runtime/exec/completion.h"

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
  Generation(Forward& forward, Completion completion)
      : forward_(forward), completion_(std::move(completion)) {}

  absl::StatusOr<GenerateResult> Run(absl::Span<const int32_t> prompt) {
    const Stopwatch prompt_time;
    RENGA_ASSIGN_OR_RETURN(const bool prefilled, Prefill(prompt));
    timings().prompt_seconds = prompt_time.seconds();
    const Stopwatch decode_time;
    FinishReason reason = prefilled ? FinishReason::kLength : FinishReason::kInterrupted;
    if (prefilled && options().max_tokens != 0) {
      RENGA_ASSIGN_OR_RETURN(reason, Decode());
    }
    timings().decode_seconds = decode_time.seconds();
    return completion_.Finish(reason);
  }

 private:
  const GenerateOptions& options() const { return completion_.options(); }
  GenerateTimings& timings() { return completion_.timings(); }
  bool cancelled() const { return options().cancel != nullptr && options().cancel->load(); }

  int64_t ChunkTokens() const {
    int64_t tokens = forward_.max_step_tokens();
    if (options().prompt_top) {
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
      if (options().prompt_top) {
        rows_.resize(chunk.size());
        std::iota(rows_.begin(), rows_.end(), 0);
      } else if (options().max_tokens != 0 && begin + chunk.size() == prompt.size()) {
        rows_.push_back(static_cast<int32_t>(chunk.size() - 1));
      }
      completion_.AcceptPrompt(chunk);
      RENGA_RETURN_IF_ERROR(RunModel(chunk, begin + chunk.size() == prompt.size()));
      for (size_t row = 0; options().prompt_top && row < chunk.size(); ++row) {
        const SampledRow* sampled = SampledAt(row);
        if (sampled != nullptr && completion_.SufficesForPrompt(*sampled)) {
          completion_.AddPromptTop(*sampled);
          continue;
        }
        RENGA_RETURN_IF_ERROR(FetchLogits());
        completion_.AddPromptTop(Row(row));
      }
      timings().prompt_tokens += static_cast<int64_t>(chunk.size());
      if (options().on_prompt) {
        options().on_prompt(timings().prompt_tokens, static_cast<int64_t>(prompt.size()));
      }
    }
    return true;
  }

  absl::StatusOr<FinishReason> Decode() {
    while (true) {
      RENGA_ASSIGN_OR_RETURN(const int32_t id, Choose());
      if (completion_.finished()) return *completion_.finished();
      if (forward_.position() >= forward_.context()) return FinishReason::kLength;
      if (cancelled()) return FinishReason::kInterrupted;
      rows_.assign(1, 0);
      RENGA_RETURN_IF_ERROR(RunModel(absl::MakeConstSpan(&id, 1), /*chooses=*/true));
      ++timings().decode_tokens;
    }
  }

  // A device that can is asked for the tokens; else the logits are fetched, where something looks
  // at them. `chooses`: the last row's token is wanted.
  absl::Status RunModel(absl::Span<const int32_t> tokens, bool chooses) {
    logits_.clear();
    if (completion_.model_chooses()) return forward_.Run(tokens, rows_, nullptr);
    if (!forward_.samples()) return forward_.Run(tokens, rows_, &logits_);
    std::vector<RowSampling> asks;
    for (size_t row = 0; row < rows_.size(); ++row) {
      const int32_t number = static_cast<int32_t>(row);
      const bool last = chooses && options().max_tokens != 0 && row + 1 == rows_.size();
      asks.push_back(last ? completion_.Ask(number) : completion_.AskPrompt(number));
    }
    forward_.set_sampling(std::move(asks));
    return forward_.Run(tokens, rows_, nullptr);
  }

  // What the device said of a row; null where it was not asked.
  const SampledRow* SampledAt(size_t row) const {
    const absl::Span<const SampledRow> sampled = forward_.sampled();
    return !completion_.model_chooses() && row < sampled.size() ? &sampled[row] : nullptr;
  }

  absl::Status FetchLogits() {
    return logits_.empty() ? forward_.Logits(&logits_) : absl::OkStatus();
  }

  // The model's own choice where it has one; what is odd about the others, the sampler says.
  absl::StatusOr<int32_t> Choose() {
    if (completion_.model_chooses()) {
      const absl::Span<const int32_t> next = forward_.next();
      if (!next.empty() && next.back() >= 0 && next.back() < forward_.vocab()) {
        return completion_.ChooseThis(next.back());
      }
    }
    const SampledRow* sampled = SampledAt(rows_.size() - 1);
    if (sampled != nullptr && completion_.Suffices(*sampled)) {
      return completion_.ChooseSampled(*sampled);
    }
    RENGA_RETURN_IF_ERROR(FetchLogits());
    return completion_.Choose(Row(rows_.size() - 1));
  }

  absl::Span<const float> Row(size_t row) const {
    const size_t columns = static_cast<size_t>(forward_.vocab());
    return absl::MakeConstSpan(logits_).subspan(row * columns, columns);
  }

  Forward& forward_;
  Completion completion_;
  std::vector<int32_t> rows_;  // of the last run
  std::vector<float> logits_;  // [rows_, vocab]
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
  if (options.shift) return absl::InvalidArgumentError("shift: expected an engine to do that");
  RENGA_ASSIGN_OR_RETURN(
      Completion completion,
      Completion::Create(tokenizer, options, static_cast<int32_t>(forward.vocab())));
  return Generation(forward, std::move(completion)).Run(prompt);
}

}  // namespace renga
