#include "runtime/exec/engine.h"

#include <algorithm>
#include <utility>

#include "ir/base/status.h"

namespace renga {

Engine::Engine(std::unique_ptr<StepRunner> runner, const Tokenizer& tokenizer,
               const EngineOptions& options)
    : runner_(std::move(runner)),
      tokenizer_(tokenizer),
      pages_(runner_->plan()),
      step_tokens_(options.step_tokens),
      max_rows_(MaxRows(runner_->plan())),
      share_prefixes_(options.share_prefixes && !options.deterministic),
      deterministic_(options.deterministic),
      run_ahead_(options.run_ahead && runner_->runs_ahead()),
      timeline_(options.timeline) {
  const plan::Geometry& geometry = runner_->plan().geometry;
  if (step_tokens_ == 0) step_tokens_ = geometry.max_step_tokens;
  // Each that runs can have its next token in every step.
  const int64_t most = std::min({geometry.max_sequences, step_tokens_, max_rows_});
  max_running_ = options.max_running == 0 ? most : std::min(options.max_running, most);
}

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(std::unique_ptr<StepRunner> runner,
                                                       const Tokenizer& tokenizer,
                                                       const EngineOptions& options) {
  const plan::Geometry& geometry = runner->plan().geometry;
  if (options.max_running < 0 || options.max_running > geometry.max_sequences) {
    return absl::InvalidArgumentError(StrCat("sequences at a time: expected 1..",
                                             geometry.max_sequences, ", got ", options.max_running,
                                             "; compile for more with --max-seqs"));
  }
  if (options.step_tokens < 0 || options.step_tokens > geometry.max_step_tokens) {
    return absl::InvalidArgumentError(
        StrCat("tokens of a step: expected 1..", geometry.max_step_tokens, ", got ",
               options.step_tokens, "; compile for more with --max-step"));
  }
  return std::unique_ptr<Engine>(new Engine(std::move(runner), tokenizer, options));
}

absl::Status Engine::CheckPrompt(absl::Span<const int32_t> prompt) const {
  if (prompt.empty()) {
    return absl::InvalidArgumentError("prompt: expected at least one token, got none");
  }
  const plan::Plan& plan = runner_->plan();
  for (size_t i = 0; i < prompt.size(); ++i) {
    if (prompt[i] < 0 || prompt[i] >= plan.model.vocab) {
      return absl::OutOfRangeError(StrCat("prompt: token ", i, ": expected an id 0..",
                                          plan.model.vocab - 1, ", got ", prompt[i]));
    }
  }
  const int64_t tokens = static_cast<int64_t>(prompt.size());
  if (tokens > plan.geometry.context) {  // which the pages suffice for, or it is no valid plan
    return absl::InvalidArgumentError(
        StrCat("prompt: ", tokens, " tokens do not fit the context of ", plan.geometry.context,
               "; shorten it or use a larger context (-c ", tokens, " or more)"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Engine::Request*> Engine::NewRequest(std::vector<int32_t> prompt,
                                                    GenerateOptions options) {
  RENGA_RETURN_IF_ERROR(CheckPrompt(prompt));
  const int64_t half = runner_->plan().geometry.context / 2;
  if (options.shift && static_cast<int64_t>(prompt.size()) > half) {
    return absl::InvalidArgumentError(
        StrCat("shift: expected a prompt of at most half the context, ", half, " tokens, got ",
               prompt.size(), "; use a larger context (-c)"));
  }
  RENGA_ASSIGN_OR_RETURN(Completion completion,
                         Completion::Create(tokenizer_, std::move(options),
                                            static_cast<int32_t>(runner_->plan().model.vocab)));
  completion.AcceptPrompt(prompt);
  const int64_t prompt_tokens = static_cast<int64_t>(prompt.size());
  const RequestId id = next_id_++;
  auto request = std::make_unique<Request>(
      Request{id, std::move(prompt), prompt_tokens, std::move(completion)});
  return (requests_[id] = std::move(request)).get();
}

absl::StatusOr<RequestId> Engine::Add(std::vector<int32_t> prompt, GenerateOptions options) {
  RENGA_ASSIGN_OR_RETURN(Request * request, NewRequest(std::move(prompt), std::move(options)));
  waiting_[request->id] = request;
  return request->id;
}

absl::StatusOr<RequestId> Engine::Fork(RequestId parent_id, int64_t kept, GenerateOptions options) {
  RENGA_ASSIGN_OR_RETURN(const Request* parent, Find(parent_id));
  if (parent->completion.result().timings.shifts > 0) {
    return absl::InvalidArgumentError(
        StrCat("fork of request ", parent_id, ": its context was shifted"));
  }
  const int64_t generated = static_cast<int64_t>(parent->tokens.size()) - parent->prompt_tokens;
  if (kept < 0 || kept > generated) {
    return absl::OutOfRangeError(StrCat("fork of request ", parent_id, ": expected 0..", generated,
                                        " of its tokens, got ", kept));
  }
  const auto begin = parent->tokens.begin(), prompt_end = begin + parent->prompt_tokens;
  RENGA_ASSIGN_OR_RETURN(Request * child, NewRequest({begin, prompt_end}, std::move(options)));
  child->tokens.insert(child->tokens.end(), prompt_end, prompt_end + kept);
  for (int64_t i = 0; i < kept && !child->completion.finished(); ++i) {
    child->completion.Repeat(prompt_end[i]);
  }
  if (child->completion.finished()) {
    End(*child, child->completion.Finish(*child->completion.finished()));
    return child->id;
  }
  if (static_cast<int64_t>(child->tokens.size()) > runner_->plan().geometry.context) {
    ContextIsFull(*child);
    return child->id;
  }
  const int64_t shared = std::min(parent->computed, static_cast<int64_t>(child->tokens.size()) - 1);
  // The last token of a prompt, computed by itself, may differ from what it is in a longer piece.
  const bool as_alone = !deterministic_ || kept > 0;
  const bool at_once = parent->sequence >= 0 && shared > 0 && running() < max_running_ &&
                       !child->completion.options().prompt_top && as_alone &&
                       pages_.CanTruncate(parent->sequence, shared) &&
                       (!deterministic_ || Fits(*child, 0));
  if (!at_once) {
    waiting_[child->id] = child;
    return child->id;
  }
  RENGA_ASSIGN_OR_RETURN(child->sequence, pages_.Fork(parent->sequence));
  RENGA_RETURN_IF_ERROR(pages_.Truncate(child->sequence, shared));
  child->computed = child->ever_computed = shared;
  child->started = Clock::now();
  counters_.reused_tokens += shared;
  child->completion.timings().reused_tokens = std::min(shared, child->prompt_tokens);
  running_[child->id] = child;
  return child->id;
}

absl::StatusOr<Engine::Request*> Engine::Find(RequestId id) const {
  const auto found = requests_.find(id);
  if (found != requests_.end()) return found->second.get();
  return absl::NotFoundError(
      StrCat("request ", id, ": ", id < next_id_ && id >= 0 ? "was taken" : "there is none"));
}

absl::Status Engine::Cancel(RequestId id) {
  RENGA_ASSIGN_OR_RETURN(Request * request, Find(id));
  if (!request->result) End(*request, request->completion.Finish(FinishReason::kInterrupted));
  return absl::OkStatus();
}

bool Engine::finished(RequestId id) const {
  const auto request = Find(id);
  return request.ok() && (*request)->result.has_value();
}

absl::StatusOr<std::vector<GeneratedToken>> Engine::Poll(RequestId id) {
  RENGA_ASSIGN_OR_RETURN(Request * request, Find(id));
  if (request->result && !request->result->ok()) return std::vector<GeneratedToken>();
  const std::vector<GeneratedToken>& tokens =
      request->result ? (*request->result)->tokens : request->completion.result().tokens;
  const std::vector<GeneratedToken> since(tokens.begin() + static_cast<int64_t>(request->polled),
                                          tokens.end());
  request->polled = tokens.size();
  return since;
}

absl::StatusOr<const GenerateResult*> Engine::Look(RequestId id) const {
  RENGA_ASSIGN_OR_RETURN(const Request* request, Find(id));
  if (!request->result) return &request->completion.result();
  RENGA_RETURN_IF_ERROR(request->result->status());
  return &**request->result;
}

absl::StatusOr<GenerateResult> Engine::Take(RequestId id) {
  RENGA_ASSIGN_OR_RETURN(Request * request, Find(id));
  if (!request->result) {
    return absl::FailedPreconditionError(StrCat("request ", id, " has not ended yet"));
  }
  absl::StatusOr<GenerateResult> result = *std::move(request->result);
  requests_.erase(id);
  return result;
}

void Engine::End(Request& request, absl::StatusOr<GenerateResult> result) {
  if (result.ok() && request.first_token != Clock::time_point()) {
    result->timings.decode_seconds =
        std::chrono::duration<double>(Clock::now() - request.first_token).count();
  }
  Leave(request);
  waiting_.erase(request.id);
  request.result = std::move(result);
}

absl::StatusOr<bool> Engine::Step() {
  RENGA_RETURN_IF_ERROR(failed_);
  {
    const Timeline::Scope scope(timeline_, "schedule");
    Admit();
  }
  const auto dropped = [](const Piece& piece) { return piece.request == nullptr; };
  if (under_way_ > 0 && std::all_of(pieces_.begin(), pieces_.end(), dropped)) {
    failed_ = FinishStep();
    RENGA_RETURN_IF_ERROR(failed_);
  }
  if (under_way_ == 0) {
    {
      const Timeline::Scope scope(timeline_, "schedule");
      Schedule();
    }
    if (pieces_.empty()) return !waiting_.empty() || !running_.empty();
    failed_ = StartBatch(/*fed_back=*/false);
    RENGA_RETURN_IF_ERROR(failed_);
  }
  failed_ = StartAhead();
  if (failed_.ok()) failed_ = FinishStep();
  RENGA_RETURN_IF_ERROR(failed_);
  return true;
}

absl::Status Engine::StartBatch(bool fed_back) {
  if (const std::vector<PageCopy> copies = pages_.TakeCopies(); !copies.empty()) {
    RENGA_RETURN_IF_ERROR(runner_->CopyPages(copies));
  }
  AskDevice(fed_back);
  StepInputs inputs = batch_.Inputs(pages_);
  inputs.fed_back = fed_back;
  inputs.sampling = asks_;
  RENGA_RETURN_IF_ERROR(runner_->Start(inputs));
  ++under_way_;
  ++counters_.steps;
  counters_.tokens += batch_.tokens();
  return absl::OkStatus();
}

absl::Status Engine::FinishStep() {
  RENGA_RETURN_IF_ERROR(runner_->Finish());
  --under_way_;
  logits_.clear();
  for (Piece& piece : pieces_) {
    if (piece.request == nullptr) continue;
    const Piece taken = piece;
    piece.request = nullptr;
    RENGA_RETURN_IF_ERROR(TakeResults(taken));
  }
  pieces_.swap(ahead_);
  ahead_.clear();
  return absl::OkStatus();
}

// For rows whose token is not just the arg max, or whose largest logits somebody wants to see. A
// step that is started ahead has one row of each request, behind the one that is under way.
void Engine::AskDevice(bool ahead) {
  asks_.clear();
  if (!runner_->samples()) return;
  for (const Piece& piece : ahead ? ahead_ : pieces_) {
    const Request& request = *piece.request;
    const Completion& completion = request.completion;
    if (piece.rows == 0 || completion.model_chooses()) continue;
    const int32_t first_row = static_cast<int32_t>(piece.first_row);
    if (ahead) {
      asks_.push_back(completion.Ask(first_row, 1));
      continue;
    }
    const bool chooses = request.pending() == piece.tokens && completion.options().max_tokens != 0;
    for (int64_t i = 0; i < piece.rows; ++i) {
      const int32_t row = first_row + static_cast<int32_t>(i);
      const bool last = chooses && i + 1 == piece.rows;
      asks_.push_back(last ? completion.Ask(row) : completion.AskPrompt(row));
    }
  }
}

const SampledRow* Engine::SampledAt(size_t row) const {
  for (const SampledRow& sampled : runner_->sampled()) {
    if (sampled.row == static_cast<int32_t>(row)) return &sampled;
  }
  return nullptr;
}

// Fetched only where somebody looks at them.
absl::StatusOr<absl::Span<const float>> Engine::Logits(size_t row) {
  if (logits_.empty()) RENGA_RETURN_IF_ERROR(runner_->Logits(&logits_));
  const size_t columns = static_cast<size_t>(runner_->plan().model.vocab);
  return absl::MakeConstSpan(logits_).subspan(row * columns, columns);
}

absl::Status Engine::TakeResults(const Piece& piece) {
  Request& request = *piece.request;
  const size_t last_row = piece.first_row + static_cast<size_t>(piece.rows) - 1;
  // Whoever is in the step behind has just this row.
  if (!ahead_.empty() && !IsToken(runner_->next()[last_row])) return ComputeAgain(request);
  GenerateTimings& timings = request.completion.timings();
  const int64_t before = std::min(request.ever_computed, request.prompt_tokens);
  request.computed += piece.tokens;
  request.ever_computed = std::max(request.ever_computed, request.computed);
  const int64_t read = std::min(request.ever_computed, request.prompt_tokens);
  timings.prompt_tokens += read - before;
  if (request.completion.options().on_prompt && read > before) {
    request.completion.options().on_prompt(read, request.prompt_tokens);
  }
  if (share_prefixes_) {
    RENGA_RETURN_IF_ERROR(pages_.Publish(
        request.sequence,
        absl::MakeConstSpan(request.tokens).first(static_cast<size_t>(request.computed))));
  }
  size_t row = piece.first_row;
  for (int64_t i = 0; i < piece.rows && request.wants_prompt_rows(); ++i, ++row) {
    ++request.prompt_rows;
    const SampledRow* sampled = SampledAt(row);
    if (sampled != nullptr && request.completion.SufficesForPrompt(*sampled)) {
      request.completion.AddPromptTop(*sampled);
      continue;
    }
    RENGA_ASSIGN_OR_RETURN(const absl::Span<const float> logits, Logits(row));
    request.completion.AddPromptTop(logits);
  }
  if (request.pending() > 0) return absl::OkStatus();
  return Advance(request, last_row);
}

// All tokens of the request have been computed; its next one comes from this row.
absl::Status Engine::Advance(Request& request, size_t row) {
  Completion& completion = request.completion;
  if (completion.options().max_tokens == 0) {
    completion.timings().prompt_seconds =
        std::chrono::duration<double>(Clock::now() - request.started).count();
    End(request, completion.Finish(FinishReason::kLength));
    return absl::OkStatus();
  }
  const absl::Span<const int32_t> next = runner_->next();
  const int32_t model = row < next.size() ? next[row] : -1;
  absl::StatusOr<int32_t> id;
  if (completion.model_chooses() && !request.look_at_logits && IsToken(model)) {
    id = completion.ChooseThis(model);
  } else if (const SampledRow* sampled = SampledAt(row);
             sampled != nullptr && completion.Suffices(*sampled)) {
    id = completion.ChooseSampled(*sampled);
    ++counters_.device_tokens;
  } else {
    // What is odd about the model's choice, the sampler says.
    RENGA_ASSIGN_OR_RETURN(const absl::Span<const float> logits, Logits(row));
    id = completion.Choose(logits);
    ++counters_.host_tokens;
    request.look_at_logits = false;
  }
  if (!id.ok()) {
    End(request, id.status());
    return absl::OkStatus();
  }
  if (request.first_token == Clock::time_point()) {
    request.first_token = Clock::now();
    completion.timings().prompt_seconds =
        std::chrono::duration<double>(request.first_token - request.started).count();
  } else {
    ++completion.timings().decode_tokens;
  }
  request.tokens.push_back(*id);
  if (completion.finished()) {
    End(request, completion.Finish(*completion.finished()));
  } else if (request.computed >= runner_->plan().geometry.context) {
    ContextIsFull(request);
  }
  return absl::OkStatus();
}

// There is no place for its last token.
void Engine::ContextIsFull(Request& request) {
  if (request.completion.options().shift) {
    Shift(request);
  } else {
    End(request, request.completion.Finish(FinishReason::kLength));
  }
}

// Positions begin at 0 again for what stays, so all of it is computed anew: keys carry theirs.
void Engine::Shift(Request& request) {
  ++request.completion.timings().shifts;
  const int64_t generated = static_cast<int64_t>(request.tokens.size()) - request.prompt_tokens;
  const auto begin = request.tokens.begin() + request.prompt_tokens;
  request.tokens.erase(begin, begin + (generated + 1) / 2);
  Leave(request);
  request.computed = 0;
  waiting_[request.id] = &request;
}

}  // namespace renga
