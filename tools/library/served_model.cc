#include "tools/library/served_model.h"

#include <algorithm>
#include <limits>
#include <mutex>
#include <utility>

#include "ir/base/status.h"
#include "tools/library/arguments.h"
#include "tools/library/structures.h"
#include "tools/renga/text.h"

namespace renga {
namespace {

int32_t ReasonOf(FinishReason reason) {
  constexpr std::pair<FinishReason, int32_t> kReasons[] = {
      {FinishReason::kStop, RENGA_FINISH_STOP},
      {FinishReason::kLength, RENGA_FINISH_LENGTH},
      {FinishReason::kEos, RENGA_FINISH_EOS},
      {FinishReason::kInterrupted, RENGA_FINISH_CANCELLED},
  };
  const auto row = std::find_if(std::begin(kReasons), std::end(kReasons),
                                [&](const auto& row) { return row.first == reason; });
  return row == std::end(kReasons) ? RENGA_FINISH_FAILED : row->second;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ServedModel>> ServedModel::Open(const char* path,
                                                               const renga_options* given) {
  RENGA_RETURN_IF_ERROR(CheckGiven(path, "path"));
  RENGA_ASSIGN_OR_RETURN(const bool is_plan, IsPlan(path));
  RENGA_ASSIGN_OR_RETURN(const OpenOptions options, OpenOptionsOf(given, is_plan));
  RENGA_ASSIGN_OR_RETURN(RunnableModel opened, OpenToRun(path, options));
  auto model = std::make_unique<ServedModel>();
  static_cast<ModelFacts&>(model->facts_) = std::move(opened);
  RENGA_ASSIGN_OR_RETURN(model->engine_,
                         Engine::Create(std::move(opened.runner), *model->facts_.tokenizer, {}));
  const ModelInfo& info = model->facts_.plan.plan->model;
  model->architecture_ = EscapeOnOneLine(info.architecture);
  model->name_ = EscapeOnOneLine(info.name);
  return model;
}

absl::Status ServedModel::GetInfo(renga_info* info) const {
  RENGA_RETURN_IF_ERROR(CheckStructure(info, "info"));
  const plan::Plan& plan = *facts_.plan.plan;
  renga_info value = DefaultStructure<renga_info>();
  value.device = facts_.device_note.c_str();
  value.architecture = architecture_.c_str();
  value.name = name_.c_str();
  value.context = plan.geometry.context;
  value.vocab = plan.model.vocab;
  value.max_sequences = engine_->max_running();
  value.bos = facts_.tokenizer->bos();
  value.eos = facts_.tokenizer->eos();
  value.load_seconds = facts_.load_seconds;
  WriteStructure(value, info);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int32_t>> ServedModel::Tokenize(const char* text, size_t bytes,
                                                           uint32_t flags) const {
  RENGA_ASSIGN_OR_RETURN(const std::string_view view, TextOf({text, bytes}, "text"));
  RENGA_ASSIGN_OR_RETURN(const EncodeOptions options, EncodeOptionsOf(flags));
  return facts_.tokenizer->Encode(view, options);
}

absl::StatusOr<std::string> ServedModel::Detokenize(const int32_t* tokens, size_t count) const {
  RENGA_ASSIGN_OR_RETURN(const auto ids, ArrayOf(tokens, count, "tokens"));
  return facts_.tokenizer->Decode(ids);
}

absl::StatusOr<std::vector<int32_t>> ServedModel::PromptOf(const renga_request& request) const {
  const int64_t context = facts_.plan.plan->geometry.context;
  const auto too_long = [&](std::string_view at_least, size_t tokens) {
    return absl::InvalidArgumentError(StrCat("prompt: expected at most ", context,
                                             " tokens, which is the context, got ", at_least,
                                             tokens, "; shorten it or open the model for more"));
  };
  if (request.prompt.data != nullptr && request.prompt_tokens != nullptr) {
    return absl::InvalidArgumentError("prompt: expected a text or tokens, got both");
  }
  if (request.prompt_tokens != nullptr || request.prompt_token_count > 0) {
    // A prompt that cannot fit is not worth looking at.
    if (request.prompt_token_count > static_cast<size_t>(context)) {
      return too_long("", request.prompt_token_count);
    }
    RENGA_ASSIGN_OR_RETURN(const auto ids, ArrayOf(request.prompt_tokens,
                                                   request.prompt_token_count, "prompt_tokens"));
    return std::vector<int32_t>(ids.begin(), ids.end());
  }
  const Tokenizer& tokenizer = *facts_.tokenizer;
  const size_t longest = std::max<size_t>(1, tokenizer.vocabulary().longest());
  if (const size_t least = request.prompt.bytes / longest; least > static_cast<size_t>(context)) {
    return too_long("at least ", least);
  }
  RENGA_RETURN_IF_ERROR(CheckGiven(request.prompt.data, "prompt"));
  RENGA_ASSIGN_OR_RETURN(const std::string_view text, TextOf(request.prompt, "prompt"));
  EncodeOptions options;
  options.parse_special = request.plain_text == 0;
  RENGA_ASSIGN_OR_RETURN(std::vector<int32_t> ids, tokenizer.Encode(text, options));
  if (ids.size() > static_cast<size_t>(context)) return too_long("", ids.size());
  return ids;
}

absl::StatusOr<GenerateOptions> ServedModel::OptionsOf(const renga_request& request) const {
  const plan::Plan& plan = *facts_.plan.plan;
  return GenerateOptionsOf(request, plan.model.vocab, plan.geometry.context);
}

absl::StatusOr<int64_t> ServedModel::Add(const renga_request* given) {
  RENGA_ASSIGN_OR_RETURN(const renga_request request, ReadStructure(given, "request"));
  RENGA_ASSIGN_OR_RETURN(GenerateOptions options, OptionsOf(request));
  RENGA_ASSIGN_OR_RETURN(std::vector<int32_t> prompt, PromptOf(request));
  const std::lock_guard<FairMutex> hold(mutex_);
  return engine_->Add(std::move(prompt), std::move(options));
}

absl::StatusOr<int64_t> ServedModel::Fork(int64_t parent, size_t kept, const renga_request* given) {
  RENGA_ASSIGN_OR_RETURN(const renga_request request, ReadStructure(given, "request"));
  if (request.prompt.data != nullptr || request.prompt.bytes > 0 ||
      request.prompt_tokens != nullptr || request.prompt_token_count > 0) {
    return absl::InvalidArgumentError("prompt: a fork has its parent's, expected none, got one");
  }
  RENGA_ASSIGN_OR_RETURN(GenerateOptions options, OptionsOf(request));
  const std::lock_guard<FairMutex> hold(mutex_);
  // More than there ever are, without a turn of the sign.
  const int64_t tokens = static_cast<int64_t>(std::min<size_t>(kept, INT64_MAX));
  return engine_->Fork(parent, tokens, std::move(options));
}

absl::StatusOr<bool> ServedModel::Step() {
  const std::lock_guard<FairMutex> hold(mutex_);
  RENGA_RETURN_IF_ERROR(engine_->Step().status());
  return engine_->running() + engine_->waiting() > 0;
}

void ServedModel::Show(const GenerateResult& result, size_t tokens, size_t bytes, bool finished,
                       Shown* shown, renga_output* output) const {
  shown->ids.assign(result.ids.begin() + static_cast<int64_t>(tokens), result.ids.end());
  shown->text.assign(result.text, bytes);
  renga_output value = DefaultStructure<renga_output>();
  value.tokens = shown->ids.data();
  value.token_count = shown->ids.size();
  value.text = {shown->text.c_str(), shown->text.size()};
  value.finish_reason = finished ? ReasonOf(result.finish_reason) : RENGA_UNFINISHED;
  value.prompt_tokens = result.timings.prompt_tokens;
  value.reused_tokens = result.timings.reused_tokens;
  value.prompt_seconds = result.timings.prompt_seconds;
  value.decode_tokens = result.timings.decode_tokens;
  value.decode_seconds = result.timings.decode_seconds;
  value.shifts = result.timings.shifts;
  ShowLogits(result, tokens, shown, &value);
  WriteStructure(value, output);
}

void ServedModel::ShowLogits(const GenerateResult& result, size_t tokens, Shown* shown,
                             renga_output* value) const {
  size_t count = 0;
  for (const GeneratedToken& token : result.tokens) count = std::max(count, token.top.size());
  for (const TopIds& top : result.prompt_top) count = std::max(count, top.size());
  if (count == 0) return;
  const auto add = [count](const TopIds& top, std::vector<renga_logit>* to) {
    for (const auto& [id, logit] : top) to->push_back({id, logit});
    to->resize(to->size() + count - top.size(), {-1, std::numeric_limits<float>::quiet_NaN()});
  };
  shown->logprobs.clear();
  shown->top.clear();
  shown->prompt_top.clear();
  for (size_t i = tokens; i < result.tokens.size(); ++i) {
    const GeneratedToken& token = result.tokens[i];
    // One that was repeated after a parent.
    shown->logprobs.push_back(token.top.empty() ? std::numeric_limits<double>::quiet_NaN()
                                                : token.logprob);
    add(token.top, &shown->top);
  }
  for (const TopIds& top : result.prompt_top) add(top, &shown->prompt_top);
  value->logprobs = shown->logprobs.data();
  value->top = shown->top.data();
  value->top_count = count;
  if (result.prompt_top.empty()) return;
  value->prompt_top = shown->prompt_top.data();
  value->prompt_top_positions = result.prompt_top.size();
}

absl::Status ServedModel::Poll(int64_t id, renga_output* output) {
  RENGA_RETURN_IF_ERROR(CheckStructure(output, "output"));
  const std::lock_guard<FairMutex> hold(mutex_);
  const bool finished = engine_->finished(id);
  const absl::StatusOr<const GenerateResult*> result = engine_->Look(id);
  if (!result.ok() && !finished) return result.status();
  if (!result.ok()) {
    renga_output value = DefaultStructure<renga_output>();
    value.finish_reason = RENGA_FINISH_FAILED;
    WriteStructure(value, output);
    return absl::OkStatus();
  }
  Shown& shown = shown_[id];
  Show(**result, shown.tokens, shown.bytes, finished, &shown, output);
  shown.tokens = (*result)->ids.size();
  shown.bytes = (*result)->text.size();
  return absl::OkStatus();
}

absl::Status ServedModel::Result(int64_t id, renga_output* output) {
  RENGA_RETURN_IF_ERROR(CheckStructure(output, "output"));
  const std::lock_guard<FairMutex> hold(mutex_);
  const bool finished = engine_->finished(id);
  RENGA_ASSIGN_OR_RETURN(const GenerateResult* result, engine_->Look(id));
  if (!finished) {
    return absl::FailedPreconditionError(
        StrCat("request ", id, " has not finished; go on with renga_step, or cancel it"));
  }
  Show(*result, 0, 0, true, &shown_[id], output);
  return absl::OkStatus();
}

absl::Status ServedModel::Cancel(int64_t id) {
  const std::lock_guard<FairMutex> hold(mutex_);
  return engine_->Cancel(id);
}

absl::Status ServedModel::Remove(int64_t id) {
  const std::lock_guard<FairMutex> hold(mutex_);
  RENGA_RETURN_IF_ERROR(engine_->Cancel(id));
  // Whether it had come to an end or to an error is of no interest any more.
  static_cast<void>(engine_->Take(id));
  shown_.erase(id);
  return absl::OkStatus();
}

}  // namespace renga
