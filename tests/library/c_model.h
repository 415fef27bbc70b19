// The C interface as the tests call it: errors as values, handles that free themselves.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "renga/renga.h"

namespace renga {

// What a call said.
struct Outcome {
  renga_status status = RENGA_OK;
  std::string message;

  bool ok() const { return status == RENGA_OK; }
};

// Calls with an error to be filled in, and frees that. Whatever fails says why, whatever does not
// says nothing.
template <typename Call>
Outcome Calling(const Call& call) {
  renga_error* error = nullptr;
  Outcome outcome{call(&error), renga_error_message(error)};
  EXPECT_EQ(renga_error_status(error), outcome.status);
  EXPECT_EQ(outcome.ok(), error == nullptr);
  EXPECT_EQ(outcome.ok(), outcome.message.empty());
  renga_error_free(error);
  return outcome;
}

inline renga_options Options() {
  renga_options options;
  renga_options_init(&options, sizeof(options));
  options.device = "cpu";
  options.no_cache = 1;
  return options;
}

inline renga_request Request() {
  renga_request request;
  renga_request_init(&request, sizeof(request));
  return request;
}

// `prompt` must outlive it.
inline renga_request Request(std::string_view prompt, int64_t max_tokens) {
  renga_request request = Request();
  request.prompt = {prompt.data(), prompt.size()};
  request.max_tokens = max_tokens;
  return request;
}

// renga_output with memory of its own.
struct Output {
  std::vector<int32_t> tokens;
  std::string text;
  int32_t finish_reason = -1;
  renga_output raw = {};
};

class CModel {
 public:
  explicit CModel(const std::string& path, const renga_options& options = Options()) {
    renga_model* model = nullptr;
    const Outcome outcome = Calling(
        [&](renga_error** error) { return renga_open(path.c_str(), &options, &model, error); });
    EXPECT_TRUE(outcome.ok()) << outcome.message;
    model_.reset(model);
  }

  renga_model* get() const { return model_.get(); }

  int64_t Add(const renga_request& request) {
    int64_t id = -1;
    const Outcome outcome =
        Calling([&](renga_error** error) { return renga_add(get(), &request, &id, error); });
    EXPECT_TRUE(outcome.ok()) << outcome.message;
    return id;
  }
  int64_t Fork(int64_t parent, size_t kept, const renga_request& request) {
    int64_t id = -1;
    const Outcome outcome = Calling(
        [&](renga_error** error) { return renga_fork(get(), parent, kept, &request, &id, error); });
    EXPECT_TRUE(outcome.ok()) << outcome.message;
    return id;
  }
  bool Step() {
    int32_t unfinished = -1;
    const Outcome outcome =
        Calling([&](renga_error** error) { return renga_step(get(), &unfinished, error); });
    EXPECT_TRUE(outcome.ok()) << outcome.message;
    return unfinished == 1;
  }
  void Run() {
    for (int steps = 0; Step(); ++steps) ASSERT_LT(steps, 100000) << "no end";
  }
  Output Poll(int64_t id) { return Get(renga_poll, id); }
  Output Result(int64_t id) { return Get(renga_result, id); }
  Outcome Cancel(int64_t id) {
    return Calling([&](renga_error** error) { return renga_cancel(get(), id, error); });
  }
  Outcome Remove(int64_t id) {
    return Calling([&](renga_error** error) { return renga_remove(get(), id, error); });
  }
  std::vector<int32_t> Tokenize(std::string_view text, uint32_t flags = 0) {
    std::vector<int32_t> tokens(text.size() + 2);
    size_t count = 0;
    const Outcome outcome = Calling([&](renga_error** error) {
      return renga_tokenize(get(), text.data(), text.size(), flags, tokens.data(), tokens.size(),
                            &count, error);
    });
    EXPECT_TRUE(outcome.ok()) << outcome.message;
    EXPECT_LE(count, tokens.size());
    tokens.resize(count);
    return tokens;
  }

 private:
  struct Closer {
    void operator()(renga_model* model) const { renga_close(model); }
  };

  template <typename Call>
  Output Get(const Call& call, int64_t id) {
    Output output;
    renga_output_init(&output.raw, sizeof(output.raw));
    const Outcome outcome =
        Calling([&](renga_error** error) { return call(get(), id, &output.raw, error); });
    EXPECT_TRUE(outcome.ok()) << outcome.message;
    if (!outcome.ok()) return output;
    output.tokens.assign(output.raw.tokens, output.raw.tokens + output.raw.token_count);
    output.text.assign(output.raw.text.data, output.raw.text.bytes);
    EXPECT_EQ(output.raw.text.data[output.raw.text.bytes], '\0');
    output.finish_reason = output.raw.finish_reason;
    return output;
  }

  std::unique_ptr<renga_model, Closer> model_;
};

}  // namespace renga
