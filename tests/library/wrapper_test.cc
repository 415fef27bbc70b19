// renga.hpp passes everything on, both ways. Nothing of the library's inside is included here, as
// the names of both are in one namespace.
#include "renga/renga.hpp"

#include <type_traits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

renga::Result<renga::Model> Open(const char* file = "stories260K.gguf") {
  renga::Options options;
  options.device = "cpu";
  options.no_cache = true;
  options.max_sequences = 2;
  options.context = 256;
  return renga::Model::Open(std::string(RENGA_SOURCE_DIR "/tests/data/") + file, options);
}

renga::Request Greedy(const char* prompt, int64_t tokens) {
  renga::Request request;
  request.prompt = prompt;
  request.max_tokens = tokens;
  request.temperature = 0;
  return request;
}

TEST(LibraryWrapper, WritesTexts) {
  auto model = Open();
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->info().context, 256);
  EXPECT_EQ(model->info().max_sequences, 2);
  EXPECT_THAT(model->info().device, HasSubstr("cpu"));
  EXPECT_THAT(*model->Tokenize("Once upon a time"), ElementsAre(1, 403, 407, 261, 378));
  EXPECT_THAT(*model->Tokenize("</s>", RENGA_BARE_TEXT), ElementsAre(2));
  EXPECT_EQ(*model->Detokenize({403, 407, 261, 378}), "Once upon a time");
  EXPECT_THAT(*model->Detokenize({}), SizeIs(0));

  renga::Request request = Greedy("Once upon a time", 12);
  const auto first = model->Add(request);
  request.prompt = "not looked at";
  request.prompt_tokens = {1, 403, 407, 261, 378};
  request.stop = {"zzz", " named"};
  const auto second = model->Add(request);
  ASSERT_TRUE(first && second);
  std::string text;
  for (bool more = true; more;) {
    const auto step = model->Step();
    ASSERT_TRUE(step) << step.error().message;
    more = *step;
    text += model->Poll(*first)->text;
  }
  const auto whole = model->ResultOf(*first), stopped = model->ResultOf(*second);
  ASSERT_TRUE(whole && stopped);
  EXPECT_TRUE(whole->finished());
  EXPECT_EQ(whole->finish_reason, RENGA_FINISH_LENGTH);
  EXPECT_THAT(whole->tokens, SizeIs(12));
  EXPECT_EQ(text, whole->text);
  EXPECT_EQ(stopped->finish_reason, RENGA_FINISH_STOP);
  EXPECT_EQ(stopped->text, ", there was a little girl");
  EXPECT_EQ(whole->prompt_tokens + whole->reused_tokens, 5);
  EXPECT_EQ(whole->decode_tokens, 11);
  EXPECT_GT(whole->decode_seconds, 0);

  request = Greedy("", 12);
  request.logit_bias = {{432, -1e30f}};
  const auto branch = model->Fork(*first, 3, request);
  ASSERT_TRUE(branch) << branch.error().message;
  while (*model->Step()) {
  }
  const auto forked = model->ResultOf(*branch);
  ASSERT_TRUE(forked);
  EXPECT_TRUE(std::equal(whole->tokens.begin(), whole->tokens.begin() + 3, forked->tokens.begin()));
  EXPECT_TRUE(model->Remove(*branch));
  EXPECT_FALSE(model->ResultOf(*branch));
}

TEST(LibraryWrapper, HasTheDefaultsOfTheLibrary) {
  renga_request given;
  renga_request_init(&given, sizeof(given));
  const renga::Request request;
  EXPECT_EQ(given.max_tokens, request.max_tokens);
  EXPECT_EQ(given.seed, request.seed);
  EXPECT_EQ(given.plain_text, request.plain_text);
  EXPECT_EQ(given.ignore_eos, request.ignore_eos);
  EXPECT_EQ(given.temperature, request.temperature);
  EXPECT_EQ(given.top_k, request.top_k);
  EXPECT_EQ(given.top_p, request.top_p);
  EXPECT_EQ(given.min_p, request.min_p);
  EXPECT_EQ(given.typical_p, request.typical_p);
  EXPECT_EQ(given.penalty_tokens, request.penalty_tokens);
  EXPECT_EQ(given.repeat_penalty, request.repeat_penalty);
  EXPECT_EQ(given.presence_penalty, request.presence_penalty);
  EXPECT_EQ(given.frequency_penalty, request.frequency_penalty);
  EXPECT_EQ(given.shift, request.shift);
  EXPECT_EQ(given.top_logits, request.top_logits);
  EXPECT_EQ(given.prompt_logits, request.prompt_logits);
}

TEST(LibraryWrapper, GivesLogits) {
  auto model = Open();
  ASSERT_TRUE(model) << model.error().message;
  renga::Request request = Greedy("Once upon a time", 4);
  request.top_logits = 2;
  request.prompt_logits = true;
  const auto id = model->Add(request);
  ASSERT_TRUE(id) << id.error().message;
  while (*model->Step()) {
  }
  const auto result = model->ResultOf(*id);
  ASSERT_TRUE(result);
  ASSERT_THAT(result->logprobs, SizeIs(4));
  ASSERT_THAT(result->top, SizeIs(4));
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_LE(result->logprobs[i], 0);
    ASSERT_THAT(result->top[i], SizeIs(2));
    EXPECT_EQ(result->top[i][0].token, result->tokens[i]);
    EXPECT_GE(result->top[i][0].logit, result->top[i][1].logit);
  }
  ASSERT_THAT(result->prompt_top, SizeIs(5));
  EXPECT_EQ(result->prompt_top[4][0].token, result->tokens[0]);
}

TEST(LibraryWrapper, ErrorsAreValues) {
  static_assert(std::is_move_constructible_v<renga::Model>);
  static_assert(!std::is_copy_constructible_v<renga::Model>);
  const auto absent = Open("absent.gguf");
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().status, RENGA_NOT_FOUND);
  EXPECT_THAT(absent.error().message, HasSubstr("absent.gguf"));
  auto model = Open();
  ASSERT_TRUE(model);
  EXPECT_EQ(model->Add(Greedy("a", -2)).error().status, RENGA_INVALID_ARGUMENT);
  EXPECT_EQ(model->Fork(0, 0, Greedy("", 1)).error().status, RENGA_NOT_FOUND);
  EXPECT_EQ(model->Poll(3).error().status, RENGA_NOT_FOUND);
  EXPECT_EQ(model->Tokenize("a", 8).error().status, RENGA_INVALID_ARGUMENT);
  EXPECT_EQ(model->Detokenize({-1}).error().status, RENGA_INVALID_ARGUMENT);
  const auto id = model->Add(Greedy("a", 3));
  ASSERT_TRUE(id);
  EXPECT_EQ(model->ResultOf(*id).error().status, RENGA_NOT_NOW);
  EXPECT_FALSE(model->Poll(*id)->finished());
  EXPECT_TRUE(model->Cancel(*id));
  EXPECT_FALSE(model->Cancel(9));
  EXPECT_EQ(model->Cancel(9).error().status, RENGA_NOT_FOUND);
  EXPECT_EQ(model->ResultOf(*id)->finish_reason, RENGA_FINISH_CANCELLED);
  renga::Model moved = *std::move(model);
  EXPECT_TRUE(moved.Remove(*id));
}

}  // namespace
