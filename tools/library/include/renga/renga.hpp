// renga.h for C++17 and later: values that free themselves, and the standard library's types alone.
// What the functions do, their units and their thread rules are said there, and so are the fields
// of Options and Request. docs/library.md has an example.
//
// Nothing of this throws but what the standard library does where memory ends. What can fail gives
// a Result, which holds a value or an error:
//
//   renga::Result<renga::Model> model = renga::Model::Open("model.gguf");
//   if (!model) return Complain(model.error().message);
//   model->Add(...);
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "renga/renga.h"

namespace renga {
// Keeps the names apart from those inside the library.
inline namespace v1 {

struct Error {
  renga_status status = RENGA_OK;
  std::string message;
};

// Success, or an error.
class Status {
 public:
  Status() = default;
  Status(Error error) : error_(std::move(error)) {}  // NOLINT: meant to convert

  explicit operator bool() const { return error_.status == RENGA_OK; }
  const Error& error() const { return error_; }

 private:
  Error error_;
};

// A value, or an error. Dereferencing an error is undefined, as with std::optional.
template <typename T>
class Result {
 public:
  Result(T value) : either_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: likewise
  Result(Error error) : either_(std::in_place_index<1>, std::move(error)) {}  // NOLINT

  explicit operator bool() const { return either_.index() == 0; }
  T& operator*() & { return *std::get_if<0>(&either_); }
  T&& operator*() && { return std::move(*std::get_if<0>(&either_)); }
  const T& operator*() const& { return *std::get_if<0>(&either_); }
  T* operator->() { return std::get_if<0>(&either_); }
  const T* operator->() const { return std::get_if<0>(&either_); }
  const Error& error() const { return *std::get_if<1>(&either_); }

 private:
  std::variant<T, Error> either_;
};

// renga_options; an empty text is its null.
struct Options {
  std::string device, k_type, v_type, kv_types;
  std::int64_t context = 0;
  std::int64_t max_sequences = 0;
  std::int32_t threads = 0;
  bool no_cache = false;
};

// renga_request, with its defaults. `prompt` counts where there are no `prompt_tokens`.
struct Request {
  std::string prompt;
  std::vector<std::int32_t> prompt_tokens;
  std::vector<std::string> stop;
  std::vector<std::pair<std::int32_t, float>> logit_bias;
  std::int64_t max_tokens = -1;
  std::uint64_t seed = 0;
  bool plain_text = false;
  bool ignore_eos = false;
  float temperature = 0.8f;
  std::int32_t top_k = 40;
  float top_p = 0.95f;
  float min_p = 0.05f;
  float typical_p = 1.0f;
  std::int32_t penalty_tokens = 64;
  float repeat_penalty = 1.0f;
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  bool shift = false;
  std::int32_t top_logits = 0;
  bool prompt_logits = false;
};

using Logit = renga_logit;

// renga_output, as a copy of its own.
struct Output {
  std::vector<std::int32_t> tokens;
  std::string text;
  std::int32_t finish_reason = RENGA_UNFINISHED;
  std::int64_t prompt_tokens = 0;
  std::int64_t reused_tokens = 0;
  double prompt_seconds = 0;
  std::int64_t decode_tokens = 0;
  double decode_seconds = 0;
  std::vector<double> logprobs;                // by token, where there are top_logits
  std::vector<std::vector<Logit>> top;         // likewise
  std::vector<std::vector<Logit>> prompt_top;  // by position of the prompt
  std::int64_t shifts = 0;

  bool finished() const { return finish_reason != RENGA_UNFINISHED; }
};

// renga_info; the texts can be read until the model goes.
using Info = renga_info;

class Model {
 public:
  static Result<Model> Open(const std::string& path, const Options& options = {}) {
    renga_options given;
    renga_options_init(&given, sizeof(given));
    const auto text = [](const std::string& s) { return s.empty() ? nullptr : s.c_str(); };
    given.device = text(options.device);
    given.k_type = text(options.k_type);
    given.v_type = text(options.v_type);
    given.kv_types = text(options.kv_types);
    given.context = options.context;
    given.max_sequences = options.max_sequences;
    given.threads = options.threads;
    given.no_cache = options.no_cache;
    renga_model* model = nullptr;
    renga_error* error = nullptr;
    const renga_status status = renga_open(path.c_str(), &given, &model, &error);
    if (status != RENGA_OK) return ErrorOf(status, error);
    return Model(model);
  }

  Info info() const {
    Info info;
    renga_info_init(&info, sizeof(info));
    renga_get_info(model_.get(), &info, nullptr);
    return info;
  }

  // `flags`: RENGA_PLAIN_TEXT, RENGA_BARE_TEXT.
  Result<std::vector<std::int32_t>> Tokenize(std::string_view text, std::uint32_t flags = 0) const {
    // A token has at least a byte, but for those in front and behind.
    return Fill<std::vector<std::int32_t>>(text.size() + 2, [&](auto&&... out) {
      return renga_tokenize(model_.get(), text.data(), text.size(), flags, out...);
    });
  }

  Result<std::string> Detokenize(const std::vector<std::int32_t>& tokens) const {
    return Fill<std::string>(8 * tokens.size(), [&](auto&&... out) {
      return renga_detokenize(model_.get(), tokens.data(), tokens.size(), out...);
    });
  }

  Result<std::int64_t> Add(const Request& request) {
    return WithRequest(request, [&](renga_request* given, std::int64_t* id, renga_error** error) {
      if (!request.prompt_tokens.empty()) {
        given->prompt_tokens = request.prompt_tokens.data();
        given->prompt_token_count = request.prompt_tokens.size();
      } else {
        given->prompt = {request.prompt.data(), request.prompt.size()};
      }
      return renga_add(model_.get(), given, id, error);
    });
  }

  // The prompt of `request` is not looked at: it is the parent's.
  Result<std::int64_t> Fork(std::int64_t parent, std::size_t kept, const Request& request) {
    return WithRequest(request, [&](renga_request* given, std::int64_t* id, renga_error** error) {
      return renga_fork(model_.get(), parent, kept, given, id, error);
    });
  }

  // Whether requests are left to work on.
  Result<bool> Step() {
    std::int32_t unfinished = 0;
    renga_error* error = nullptr;
    const renga_status status = renga_step(model_.get(), &unfinished, &error);
    if (status != RENGA_OK) return ErrorOf(status, error);
    return unfinished != 0;
  }

  Result<Output> Poll(std::int64_t id) { return Read(renga_poll, id); }
  // Named after renga_result.
  Result<Output> ResultOf(std::int64_t id) { return Read(renga_result, id); }

  Status Cancel(std::int64_t id) { return Do(renga_cancel, id); }
  Status Remove(std::int64_t id) { return Do(renga_remove, id); }

  // For what this class does not have.
  renga_model* get() const { return model_.get(); }

 private:
  struct Closer {
    void operator()(renga_model* model) const { renga_close(model); }
  };

  explicit Model(renga_model* model) : model_(model) {}

  static Error ErrorOf(renga_status status, renga_error* error) {
    Error result{status, renga_error_message(error)};
    renga_error_free(error);
    return result;
  }

  // Calls with room for `guess` elements, and where there are more, again with room for them.
  template <typename Container, typename Call>
  static Result<Container> Fill(std::size_t guess, const Call& call) {
    Container values(guess, {});
    for (;;) {
      std::size_t count = 0;
      renga_error* error = nullptr;
      const renga_status status = call(values.data(), values.size(), &count, &error);
      if (status != RENGA_OK) return ErrorOf(status, error);
      const bool fits = count <= values.size();
      values.resize(count);
      if (fits) return values;
    }
  }

  template <typename Call>
  static Result<std::int64_t> WithRequest(const Request& request, const Call& call) {
    renga_request given;
    renga_request_init(&given, sizeof(given));
    std::vector<renga_text> stop;
    for (const std::string& text : request.stop) stop.push_back({text.data(), text.size()});
    std::vector<renga_logit_bias> bias;
    for (const auto& [token, value] : request.logit_bias) bias.push_back({token, value});
    given.stop = stop.data();
    given.stop_count = stop.size();
    given.logit_bias = bias.data();
    given.logit_bias_count = bias.size();
    given.max_tokens = request.max_tokens;
    given.seed = request.seed;
    given.plain_text = request.plain_text;
    given.ignore_eos = request.ignore_eos;
    given.temperature = request.temperature;
    given.top_k = request.top_k;
    given.top_p = request.top_p;
    given.min_p = request.min_p;
    given.typical_p = request.typical_p;
    given.penalty_tokens = request.penalty_tokens;
    given.repeat_penalty = request.repeat_penalty;
    given.presence_penalty = request.presence_penalty;
    given.frequency_penalty = request.frequency_penalty;
    given.shift = request.shift;
    given.top_logits = request.top_logits;
    given.prompt_logits = request.prompt_logits;
    std::int64_t id = 0;
    renga_error* error = nullptr;
    const renga_status status = call(&given, &id, &error);
    if (status != RENGA_OK) return ErrorOf(status, error);
    return id;
  }

  static std::vector<std::vector<Logit>> RowsOf(const Logit* rows, std::size_t count,
                                                std::size_t width) {
    std::vector<std::vector<Logit>> result;
    for (std::size_t i = 0; width > 0 && i < count; ++i) {
      result.emplace_back(rows + i * width, rows + (i + 1) * width);
    }
    return result;
  }

  template <typename Call>
  Result<Output> Read(const Call& call, std::int64_t id) {
    renga_output given;
    renga_output_init(&given, sizeof(given));
    renga_error* error = nullptr;
    const renga_status status = call(model_.get(), id, &given, &error);
    if (status != RENGA_OK) return ErrorOf(status, error);
    Output output;
    output.tokens.assign(given.tokens, given.tokens + given.token_count);
    output.text.assign(given.text.data, given.text.bytes);
    output.finish_reason = given.finish_reason;
    output.prompt_tokens = given.prompt_tokens;
    output.reused_tokens = given.reused_tokens;
    output.prompt_seconds = given.prompt_seconds;
    output.decode_tokens = given.decode_tokens;
    output.decode_seconds = given.decode_seconds;
    output.shifts = given.shifts;
    if (given.top_count > 0) {
      output.logprobs.assign(given.logprobs, given.logprobs + given.token_count);
    }
    output.top = RowsOf(given.top, given.token_count, given.top_count);
    output.prompt_top = RowsOf(given.prompt_top, given.prompt_top_positions, given.top_count);
    return output;
  }

  template <typename Call>
  Status Do(const Call& call, std::int64_t id) {
    renga_error* error = nullptr;
    const renga_status status = call(model_.get(), id, &error);
    if (status != RENGA_OK) return ErrorOf(status, error);
    return {};
  }

  std::unique_ptr<renga_model, Closer> model_;
};

}  // namespace v1
}  // namespace renga
