// Whatever a caller of the C interface gets wrong is an error that says what, and nothing else.
#include <cstring>
#include <functional>
#include <limits>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/library/c_model.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_data.h"

namespace renga {
namespace {

using ::testing::HasSubstr;

std::string Stories() { return TestData("stories260K.gguf"); }

Outcome Open(const std::string& path, const renga_options& options = Options()) {
  renga_model* model = nullptr;
  const Outcome outcome = Calling(
      [&](renga_error** error) { return renga_open(path.c_str(), &options, &model, error); });
  EXPECT_EQ(outcome.ok(), model != nullptr);
  renga_close(model);
  return outcome;
}

Outcome Add(const CModel& model, const renga_request& request) {
  int64_t id = -5;
  const Outcome outcome =
      Calling([&](renga_error** error) { return renga_add(model.get(), &request, &id, error); });
  EXPECT_EQ(outcome.ok(), id >= 0);
  return outcome;
}

TEST(LibraryErrors, NullIsNamed) {
  const CModel opened(Stories());
  renga_model* model = opened.get();
  const renga_request request = Request("Once", 1);
  renga_output output;
  renga_output_init(&output, sizeof(output));
  renga_info info;
  renga_info_init(&info, sizeof(info));
  int64_t id = 0;
  int32_t number = 0;
  size_t count = 0;
  char text[8];
  renga_model* other = nullptr;
  using Call = std::function<renga_status(renga_error**)>;
  const std::vector<std::pair<std::string, Call>> calls = {
      {"path", [&](auto e) { return renga_open(nullptr, nullptr, &other, e); }},
      {"model", [&](auto e) { return renga_open("x", nullptr, nullptr, e); }},
      {"model", [&](auto e) { return renga_get_info(nullptr, &info, e); }},
      {"info", [&](auto e) { return renga_get_info(model, nullptr, e); }},
      {"model", [&](auto e) { return renga_tokenize(nullptr, "a", 1, 0, &number, 1, &count, e); }},
      {"text", [&](auto e) { return renga_tokenize(model, nullptr, 1, 0, &number, 1, &count, e); }},
      {"tokens", [&](auto e) { return renga_tokenize(model, "a", 1, 0, nullptr, 1, &count, e); }},
      {"count", [&](auto e) { return renga_tokenize(model, "a", 1, 0, &number, 1, nullptr, e); }},
      {"model", [&](auto e) { return renga_detokenize(nullptr, &number, 1, text, 8, &count, e); }},
      {"tokens", [&](auto e) { return renga_detokenize(model, nullptr, 1, text, 8, &count, e); }},
      {"text", [&](auto e) { return renga_detokenize(model, &number, 1, nullptr, 8, &count, e); }},
      {"bytes", [&](auto e) { return renga_detokenize(model, &number, 1, text, 8, nullptr, e); }},
      {"model", [&](auto e) { return renga_add(nullptr, &request, &id, e); }},
      {"request", [&](auto e) { return renga_add(model, nullptr, &id, e); }},
      {"id", [&](auto e) { return renga_add(model, &request, nullptr, e); }},
      {"model", [&](auto e) { return renga_fork(nullptr, 0, 0, &request, &id, e); }},
      {"request", [&](auto e) { return renga_fork(model, 0, 0, nullptr, &id, e); }},
      {"id", [&](auto e) { return renga_fork(model, 0, 0, &request, nullptr, e); }},
      {"model", [&](auto e) { return renga_step(nullptr, &number, e); }},
      {"unfinished", [&](auto e) { return renga_step(model, nullptr, e); }},
      {"model", [&](auto e) { return renga_poll(nullptr, 0, &output, e); }},
      {"output", [&](auto e) { return renga_poll(model, 0, nullptr, e); }},
      {"model", [&](auto e) { return renga_result(nullptr, 0, &output, e); }},
      {"output", [&](auto e) { return renga_result(model, 0, nullptr, e); }},
      {"model", [&](auto e) { return renga_cancel(nullptr, 0, e); }},
      {"model", [&](auto e) { return renga_remove(nullptr, 0, e); }},
  };
  for (const auto& [argument, call] : calls) {
    const Outcome outcome = Calling(call);
    EXPECT_EQ(outcome.status, RENGA_INVALID_ARGUMENT) << argument;
    EXPECT_EQ(outcome.message, argument + ": expected a pointer, got null");
    // An error that nobody wants is none the less one.
    EXPECT_EQ(call(nullptr), RENGA_INVALID_ARGUMENT);
  }
  // What needs no pointer.
  renga_close(nullptr);
  renga_error_free(nullptr);
  EXPECT_EQ(renga_error_status(nullptr), RENGA_OK);
  EXPECT_STREQ(renga_error_message(nullptr), "");
  renga_options_init(nullptr, sizeof(renga_options));
  renga_request_init(nullptr, sizeof(renga_request));
  renga_output_init(nullptr, sizeof(renga_output));
  renga_info_init(nullptr, sizeof(renga_info));
  EXPECT_EQ(renga_tokenize(model, nullptr, 0, 0, nullptr, 0, &count, nullptr), RENGA_OK);
  EXPECT_EQ(count, 1u);  // BOS
  EXPECT_EQ(renga_detokenize(model, nullptr, 0, nullptr, 0, &count, nullptr), RENGA_OK);
  EXPECT_EQ(count, 0u);
}

// A structure as an older or newer program has it.
TEST(LibraryErrors, StructuresHaveASizeThatFits) {
  const CModel model(Stories());
  struct {
    renga_request request;
    char later[24];
  } longer;
  renga_request_init(&longer.request, sizeof(longer));
  EXPECT_EQ(longer.request.size, sizeof(longer));
  longer.request.prompt = {"Once", 4};
  EXPECT_TRUE(Add(model, longer.request).ok());
  longer.later[23] = 1;
  EXPECT_THAT(Add(model, longer.request).message,
              HasSubstr("request: uses what only a later version of the library knows"));
  const auto wrong = [](size_t right) {
    return std::vector<size_t>{0, 8, right - 1, 4097, SIZE_MAX};
  };
  for (const size_t size : wrong(offsetof(renga_request, shift))) {
    renga_request request = Request("Once", 1);
    request.size = size;
    EXPECT_EQ(Add(model, request).message, "request: size: expected " +
                                               std::to_string(offsetof(renga_request, shift)) +
                                               " bytes or more, got " + std::to_string(size) +
                                               "; set it with its init function");
  }
  for (const size_t size : wrong(offsetof(renga_options, kv_types))) {
    renga_options options = Options();
    options.size = size;
    EXPECT_THAT(Open(Stories(), options).message, HasSubstr("options: size: ")) << size;
  }
  for (const size_t size : wrong(sizeof(renga_info))) {
    renga_info info = {};
    info.size = size;
    EXPECT_EQ(renga_get_info(model.get(), &info, nullptr), RENGA_INVALID_ARGUMENT);
    EXPECT_EQ(info.vocab, 0);
    renga_info_init(&info, size);
    EXPECT_EQ(info.size, size);
  }
  for (const size_t size : wrong(offsetof(renga_output, logprobs))) {
    renga_output output = {};
    output.size = size;
    EXPECT_EQ(renga_poll(model.get(), 0, &output, nullptr), RENGA_INVALID_ARGUMENT);
    EXPECT_EQ(renga_result(model.get(), 0, &output, nullptr), RENGA_INVALID_ARGUMENT);
    EXPECT_EQ(output.text.data, nullptr);
  }
  // Of a newer program's output, what is not known here is 0.
  struct {
    renga_output output;
    char later[8];
  } output;
  renga_output_init(&output.output, sizeof(output));
  std::memset(output.later, 7, sizeof(output.later));
  EXPECT_EQ(renga_poll(model.get(), 0, &output.output, nullptr), RENGA_OK);
  EXPECT_EQ(output.later[0] + output.later[7], 0);
  EXPECT_EQ(output.output.size, sizeof(output));
}

TEST(LibraryErrors, FilesThatAreNoModel) {
  const TempFolder folder;
  EXPECT_EQ(Open(folder.File("absent.gguf")).status, RENGA_NOT_FOUND);
  EXPECT_THAT(Open(folder.File("absent.gguf")).message, HasSubstr("absent.gguf"));
  EXPECT_FALSE(Open(folder.path()).ok());
  EXPECT_EQ(Open(folder.Write("empty.gguf", "")).status, RENGA_INVALID_ARGUMENT);
  EXPECT_EQ(Open(folder.Write("text.gguf", "Once upon a time there was")).status,
            RENGA_INVALID_ARGUMENT);
  std::string bytes;
  {
    std::ifstream in(Stories(), std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(in), {});
  }
  for (const size_t size : {size_t{10}, size_t{5000}, bytes.size() - 1}) {
    EXPECT_FALSE(Open(folder.Write("cut.gguf", bytes.substr(0, size))).ok()) << size;
  }
  // Opened or refused; a name in a message cannot break the message.
  std::mt19937 random(5);
  for (int i = 0; i < 40; ++i) {
    std::string broken = bytes;
    for (int change = 0; change < 3; ++change) {
      broken[random() % 4000] = static_cast<char>(random());
    }
    const std::string message = Open(folder.Write("broken.gguf", broken)).message;
    EXPECT_TRUE(std::none_of(message.begin(), message.end(), [](char c) {
      return (c >= 0 && c < ' ' && c != '\n' && c != '\t') || c == '\x7f';
    })) << message;
  }
  // Unsupported is not the same as broken.
  std::string other = bytes;
  const size_t at = other.find("llama", other.find("general.architecture"));
  ASSERT_NE(at, std::string::npos);
  other.replace(at, 5, "lla\x1bx");
  const Outcome outcome = Open(folder.Write("other.gguf", other));
  EXPECT_EQ(outcome.status, RENGA_UNSUPPORTED);
  EXPECT_THAT(outcome.message, HasSubstr("lla\\x1bx"));
}

TEST(LibraryErrors, OptionsOutOfRange) {
  const auto message = [](const auto& change) {
    renga_options options = Options();
    change(&options);
    const Outcome outcome = Open(Stories(), options);
    EXPECT_EQ(outcome.status, RENGA_INVALID_ARGUMENT);
    return outcome.message;
  };
  EXPECT_EQ(message([](renga_options* o) { o->threads = -1; }),
            "threads: expected 0..1024, got -1");
  EXPECT_THAT(message([](renga_options* o) { o->threads = 1025; }), HasSubstr("threads"));
  EXPECT_THAT(message([](renga_options* o) { o->no_cache = 2; }), HasSubstr("no_cache"));
  EXPECT_THAT(message([](renga_options* o) { o->context = -1; }), HasSubstr("context"));
  EXPECT_THAT(message([](renga_options* o) { o->context = INT64_MAX; }), HasSubstr("context"));
  EXPECT_THAT(message([](renga_options* o) { o->max_sequences = 4097; }),
              HasSubstr("max_sequences: expected 0..4096, got 4097"));
  EXPECT_THAT(message([](renga_options* o) { o->device = "tpu"; }), HasSubstr("tpu"));
  EXPECT_THAT(message([](renga_options* o) { o->device = ""; }), HasSubstr("device"));
  EXPECT_THAT(message([](renga_options* o) { o->k_type = "f12"; }),
              HasSubstr("k_type: expected f32, f16, bf16, q8_0, q4_0 or f8_e4m3, got 'f12'"));
  for (const char* type : {"q4_k", "i32", "", "f64", "iq2_s"}) {
    SCOPED_TRACE(type);
    message([&](renga_options* o) { o->k_type = type; });
    message([&](renga_options* o) { o->v_type = type; });
  }
}

TEST(LibraryErrors, RequestsThatMakeNoSense) {
  const CModel model(Stories());
  const auto message = [&](const auto& change) {
    renga_request request = Request("Once upon", 1);
    change(&request);
    const Outcome outcome = Add(model, request);
    EXPECT_EQ(outcome.status, RENGA_INVALID_ARGUMENT);
    return outcome.message;
  };
  const int32_t ids[] = {1, 2, 512};
  EXPECT_THAT(message([](auto* r) { r->prompt = {}; }), HasSubstr("prompt: expected a pointer"));
  EXPECT_THAT(message([&](auto* r) { r->prompt_tokens = ids; }), HasSubstr("got both"));
  const auto with_ids = [&](size_t count) {
    return message([&](auto* r) {
      r->prompt = {};
      r->prompt_tokens = ids;
      r->prompt_token_count = count;
    });
  };
  EXPECT_THAT(with_ids(0), HasSubstr("expected at least one token"));
  EXPECT_THAT(with_ids(3), HasSubstr("token 2: expected an id 0..511, got 512"));
  // Sizes that cannot be are not looked behind.
  EXPECT_THAT(with_ids(SIZE_MAX), HasSubstr("expected at most"));
  EXPECT_THAT(with_ids(SIZE_MAX / 4), HasSubstr("expected at most"));
  EXPECT_THAT(message([](auto* r) { r->prompt.bytes = SIZE_MAX; }), HasSubstr("expected at most"));
  EXPECT_THAT(message([](auto* r) {
                r->prompt = {};
                r->prompt_token_count = 2;
              }),
              HasSubstr("prompt_tokens: expected a pointer"));
  EXPECT_THAT(message([](auto* r) { r->max_tokens = -2; }), HasSubstr("max_tokens"));
  EXPECT_THAT(message([](auto* r) { r->plain_text = 2; }), HasSubstr("plain_text"));
  EXPECT_THAT(message([](auto* r) { r->ignore_eos = -1; }), HasSubstr("ignore_eos"));
  EXPECT_THAT(message([](auto* r) { r->reserved = 1; }), HasSubstr("reserved"));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(message([&](auto* r) { r->temperature = nan; }), HasSubstr("temperature"));
  EXPECT_THAT(message([&](auto* r) { r->top_p = nan; }), HasSubstr("top_p"));
  EXPECT_THAT(message([&](auto* r) { r->min_p = nan; }), HasSubstr("min_p"));
  EXPECT_THAT(message([&](auto* r) { r->typical_p = nan; }), HasSubstr("typical"));
  EXPECT_THAT(message([&](auto* r) { r->repeat_penalty = 0; }), HasSubstr("repeat"));
  EXPECT_THAT(message([&](auto* r) { r->presence_penalty = nan; }), HasSubstr("presence"));
  EXPECT_THAT(message([&](auto* r) { r->frequency_penalty = nan; }), HasSubstr("frequency"));
  for (const renga_logit_bias bias :
       {renga_logit_bias{512, 1}, renga_logit_bias{-1, 1}, renga_logit_bias{3, nan}}) {
    EXPECT_THAT(message([&](auto* r) {
                  r->logit_bias = &bias;
                  r->logit_bias_count = 1;
                }),
                HasSubstr("logit bias"));
  }
  EXPECT_THAT(message([](auto* r) { r->logit_bias_count = 1; }), HasSubstr("logit_bias"));
  EXPECT_THAT(message([](auto* r) { r->logit_bias_count = SIZE_MAX; }), HasSubstr("logit_bias"));
  for (const renga_text stop : {renga_text{nullptr, 1}, renga_text{"", 0}, renga_text{"\xc3", 1},
                                renga_text{"a", SIZE_MAX}}) {
    EXPECT_THAT(message([&](auto* r) {
                  r->stop = &stop;
                  r->stop_count = 1;
                }),
                HasSubstr("stop: expected"));
  }
  EXPECT_THAT(message([](auto* r) { r->stop_count = 1; }), HasSubstr("stop: expected a pointer"));
  EXPECT_THAT(message([](auto* r) { r->stop_count = SIZE_MAX; }), HasSubstr("stop"));
  const std::string words(100000, 'a');
  EXPECT_THAT(message([&](auto* r) {
                r->prompt = {words.data(), words.size()};
              }),
              HasSubstr("prompt: "));
  // Nothing of all this was queued.
  renga_output output;
  renga_output_init(&output, sizeof(output));
  EXPECT_EQ(renga_poll(model.get(), 0, &output, nullptr), RENGA_NOT_FOUND);
}

TEST(LibraryErrors, RequestsThatAreNotThere) {
  CModel model(Stories());
  renga_request request = Request("Once", 2);
  EXPECT_EQ(model.Add(request), 0);
  EXPECT_EQ(model.Add(request), 1);
  EXPECT_TRUE(model.Remove(1).ok());
  renga_output output;
  renga_output_init(&output, sizeof(output));
  request.prompt = {};
  int64_t fork = -7;
  for (const int64_t id : {int64_t{1}, int64_t{2}, int64_t{-1}, INT64_MAX, INT64_MIN}) {
    SCOPED_TRACE(id);
    using Call = std::function<renga_status(renga_error**)>;
    for (const Call& call : std::vector<Call>{
             [&](auto e) { return renga_poll(model.get(), id, &output, e); },
             [&](auto e) { return renga_result(model.get(), id, &output, e); },
             [&](auto e) { return renga_cancel(model.get(), id, e); },
             [&](auto e) { return renga_remove(model.get(), id, e); },
             [&](auto e) { return renga_fork(model.get(), id, 0, &request, &fork, e); }}) {
      const Outcome outcome = Calling(call);
      EXPECT_EQ(outcome.status, RENGA_NOT_FOUND);
      EXPECT_THAT(outcome.message, HasSubstr(id == 1 ? "was taken" : "there is none"));
    }
  }
  const auto forked = [&](size_t kept) {
    return Calling([&](auto e) { return renga_fork(model.get(), 0, kept, &request, &fork, e); });
  };
  EXPECT_EQ(forked(1).status, RENGA_INVALID_ARGUMENT);
  EXPECT_EQ(forked(SIZE_MAX).status, RENGA_INVALID_ARGUMENT);
  request.prompt = {"Once", 4};
  EXPECT_THAT(forked(0).message, HasSubstr("a fork has its parent's"));
  EXPECT_EQ(fork, -7);
  EXPECT_EQ(Calling([&](auto e) { return renga_result(model.get(), 0, &output, e); }).status,
            RENGA_NOT_NOW);
  // And the one that is there goes on.
  model.Run();
  EXPECT_EQ(model.Result(0).tokens.size(), 2u);
}

TEST(LibraryErrors, TextsAndTokens) {
  const CModel model(Stories());
  size_t count = 77;
  const auto tokenize = [&](const char* text, size_t bytes, uint32_t flags, size_t capacity) {
    int32_t token = 0;
    return Calling([&](auto e) {
      return renga_tokenize(model.get(), text, bytes, flags, &token, capacity, &count, e);
    });
  };
  EXPECT_THAT(tokenize("a", 1, 4, 1).message, HasSubstr("flags"));
  EXPECT_THAT(tokenize("a", SIZE_MAX, 0, 1).message, HasSubstr("text: expected a size of at most"));
  EXPECT_THAT(tokenize("a", 1, 0, SIZE_MAX).message, HasSubstr("tokens"));
  const auto detokenize = [&](std::vector<int32_t> ids, size_t number) {
    return Calling([&](auto e) {
      return renga_detokenize(model.get(), ids.data(), number, nullptr, 0, &count, e);
    });
  };
  for (const int32_t id : {512, -1, INT32_MAX, INT32_MIN}) {
    EXPECT_EQ(detokenize({1, id}, 2).status, RENGA_INVALID_ARGUMENT) << id;
  }
  EXPECT_EQ(detokenize({1}, SIZE_MAX).status, RENGA_INVALID_ARGUMENT);
  EXPECT_EQ(count, 77u);
  // Any bytes are a text.
  const std::string odd("a\0\xff\xc3 b", 6);
  EXPECT_TRUE(tokenize(odd.data(), odd.size(), 0, 1).ok());
  EXPECT_GT(count, 3u);
}

// A model whose weights are no numbers: the request ends, the model goes on.
TEST(LibraryErrors, WhatFailsInARequestIsItsResult) {
  const TempFolder folder;
  std::string bytes;
  {
    std::ifstream in(Stories(), std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(in), {});
  }
  // The file ends with f32 weights: a row of NaN among the last ones.
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (size_t at = bytes.size() - 256; at + 4 <= bytes.size(); at += 4) {
    std::memcpy(&bytes[at], &nan, 4);
  }
  CModel model(folder.Write("nan.gguf", bytes));
  ASSERT_NE(model.get(), nullptr);
  const int64_t id = model.Add(Request("Once upon a time", 4));
  EXPECT_FALSE(model.Step());
  EXPECT_EQ(model.Poll(id).finish_reason, RENGA_FINISH_FAILED);
  renga_output output;
  renga_output_init(&output, sizeof(output));
  const Outcome outcome =
      Calling([&](auto e) { return renga_result(model.get(), id, &output, e); });
  EXPECT_EQ(outcome.status, RENGA_BAD_DATA);
  EXPECT_THAT(outcome.message, HasSubstr("nan"));
  EXPECT_TRUE(model.Remove(id).ok());
  EXPECT_EQ(model.Add(Request("Once", 1)), 1);
}

}  // namespace
}  // namespace renga
