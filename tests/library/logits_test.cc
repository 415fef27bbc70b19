// What came to the C interface after its first structures: logits out, sliding contexts, types of
// single layers; and that programs which know nothing of them go on.
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/exec/generate.h"
#include "tests/library/c_model.h"
#include "tests/support/test_data.h"
#include "tools/open_model.h"

namespace renga {
namespace {

using ::testing::HasSubstr;

std::string Stories() { return TestData("stories260K.gguf"); }

constexpr const char* kPrompt = "Once upon a time";
constexpr int kTop = 3;

renga_request WithLogits(int64_t tokens) {
  renga_request request = Request(kPrompt, tokens);
  request.temperature = 0;
  request.top_logits = kTop;
  return request;
}

// What Generate says of the same.
GenerateResult Alone(int64_t tokens) {
  OpenOptions open;
  open.device = "cpu";
  open.use_cache = false;
  auto model = OpenModel(Stories(), open);
  EXPECT_TRUE(model.ok()) << model.status();
  GenerateOptions options;
  options.max_tokens = tokens;
  options.sampling.temperature = 0;
  options.top_logits = kTop;
  options.prompt_top = true;
  auto result =
      Generate(*model->forward, *model->tokenizer, *model->tokenizer->Encode(kPrompt), options);
  EXPECT_TRUE(result.ok()) << result.status();
  return *std::move(result);
}

void ExpectRow(const TopIds& expected, const renga_logit* row) {
  ASSERT_EQ(expected.size(), static_cast<size_t>(kTop));
  for (int i = 0; i < kTop; ++i) {
    EXPECT_EQ(row[i].token, expected[i].first);
    EXPECT_EQ(row[i].logit, expected[i].second);
  }
}

TEST(LibraryLogits, AreThoseOfEachTokenAndOfThePrompt) {
  const GenerateResult alone = Alone(9);
  CModel model(Stories());
  renga_request request = WithLogits(9);
  request.prompt_logits = 1;
  const int64_t id = model.Add(request);
  size_t polled = 0;
  for (bool more = true; more;) {
    more = model.Step();
    const Output piece = model.Poll(id);
    for (size_t i = 0; i < piece.raw.token_count; ++i, ++polled) {
      EXPECT_EQ(piece.raw.logprobs[i], alone.tokens[polled].logprob);
      ExpectRow(alone.tokens[polled].top, piece.raw.top + i * kTop);
    }
  }
  EXPECT_EQ(polled, 9u);
  const Output whole = model.Result(id);
  ASSERT_EQ(whole.raw.top_count, static_cast<size_t>(kTop));
  ASSERT_EQ(whole.raw.token_count, 9u);
  for (size_t i = 0; i < 9; ++i) {
    EXPECT_EQ(whole.raw.logprobs[i], alone.tokens[i].logprob);
    EXPECT_EQ(whole.raw.top[i * kTop].token, whole.tokens[i]) << "greedy";
    ExpectRow(alone.tokens[i].top, whole.raw.top + i * kTop);
  }
  ASSERT_EQ(whole.raw.prompt_top_positions, alone.prompt_top.size());
  for (size_t i = 0; i < alone.prompt_top.size(); ++i) {
    ExpectRow(alone.prompt_top[i], whole.raw.prompt_top + i * kTop);
  }
}

TEST(LibraryLogits, AreNotThereUnlessAskedFor) {
  CModel model(Stories());
  renga_request request = Request(kPrompt, 4);
  request.temperature = 0;
  const int64_t id = model.Add(request);
  model.Run();
  const Output whole = model.Result(id);
  EXPECT_EQ(whole.raw.logprobs, nullptr);
  EXPECT_EQ(whole.raw.top, nullptr);
  EXPECT_EQ(whole.raw.top_count, 0u);
  EXPECT_EQ(whole.raw.prompt_top, nullptr);
}

TEST(LibraryLogits, OfAForkAreKnownFromWhereItGoesOn) {
  CModel model(Stories());
  const int64_t parent = model.Add(WithLogits(6));
  model.Run();
  renga_request request = Request();
  request.max_tokens = 6;
  request.temperature = 0;
  request.top_logits = kTop;
  const int64_t child = model.Fork(parent, 2, request);
  model.Run();
  const Output forked = model.Result(child);
  ASSERT_EQ(forked.raw.token_count, 6u);
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(std::isnan(forked.raw.logprobs[i]), i < 2) << i;
    EXPECT_EQ(forked.raw.top[i * kTop].token, i < 2 ? -1 : forked.tokens[i]) << i;
  }
}

TEST(LibraryLogits, RefusesWhatCannotBe) {
  CModel model(Stories());
  const auto add = [&](const renga_request& request) {
    int64_t id = -1;
    return Calling(
        [&](renga_error** error) { return renga_add(model.get(), &request, &id, error); });
  };
  struct Case {
    int32_t renga_request::*field;
    int32_t value;
    const char* message;
  };
  for (const Case& c : {Case{&renga_request::top_logits, -1, "top_logits: expected 0..512"},
                        Case{&renga_request::top_logits, 513, "top_logits: expected 0..512"},
                        Case{&renga_request::shift, 2, "shift: expected 0..1"},
                        Case{&renga_request::prompt_logits, 7, "prompt_logits: expected 0..1"},
                        Case{&renga_request::prompt_logits, 1, "expected top_logits above 0"},
                        Case{&renga_request::reserved2, 1, "reserved2: expected 0..0"}}) {
    renga_request request = Request(kPrompt, 1);
    request.*c.field = c.value;
    const Outcome outcome = add(request);
    EXPECT_EQ(outcome.status, RENGA_INVALID_ARGUMENT);
    EXPECT_THAT(outcome.message, HasSubstr(c.message));
  }
}

TEST(LibraryShift, GoesOnBehindTheContext) {
  renga_options options = Options();
  options.context = 64;
  CModel model(Stories(), options);
  renga_request request = Request(kPrompt, 150);
  request.temperature = 0;
  request.ignore_eos = 1;
  const int64_t ends = model.Add(request);
  request.shift = 1;
  const int64_t goes_on = model.Add(request);
  model.Run();
  const Output cut = model.Result(ends), shifted = model.Result(goes_on);
  EXPECT_EQ(cut.raw.shifts, 0);
  EXPECT_LT(cut.tokens.size(), 64u);
  EXPECT_EQ(shifted.tokens.size(), 150u);
  EXPECT_GE(shifted.raw.shifts, 2);
  EXPECT_TRUE(std::equal(cut.tokens.begin(), cut.tokens.end(), shifted.tokens.begin()));
}

TEST(LibraryKvTypes, OfSingleLayers) {
  const auto open = [](const char* types, const char* k_type) {
    renga_options options = Options();
    options.kv_types = types;
    options.k_type = k_type;
    renga_model* model = nullptr;
    const Outcome outcome = Calling([&](renga_error** error) {
      return renga_open(Stories().c_str(), &options, &model, error);
    });
    renga_close(model);
    return outcome;
  };
  EXPECT_TRUE(open("f32,0-1:f16,4:k=bf16", nullptr).ok());
  EXPECT_TRUE(open(nullptr, "f32").ok());
  EXPECT_THAT(open("f16,99:f32", nullptr).message, HasSubstr("99"));
  EXPECT_THAT(open("fp3", nullptr).message, HasSubstr("kv_types: "));
  EXPECT_THAT(open("f16", "f16").message, HasSubstr("expected no k_type and v_type beside it"));
}

// A program of the first release: structures as long as they were then.
TEST(LibraryVersions, FirstProgramsGoOn) {
  CModel model(Stories());
  renga_request request;
  renga_request_init(&request, offsetof(renga_request, shift));
  ASSERT_EQ(request.size, offsetof(renga_request, shift));
  request.prompt = {kPrompt, 16};
  request.max_tokens = 5;
  request.temperature = 0;
  request.shift = 77;  // behind it: somebody else's memory
  const int64_t id = model.Add(request);
  model.Run();
  renga_output output;
  renga_output_init(&output, offsetof(renga_output, logprobs));
  output.top_count = 77;
  ASSERT_EQ(renga_result(model.get(), id, &output, nullptr), RENGA_OK);
  EXPECT_EQ(output.token_count, 5u);
  EXPECT_EQ(output.top_count, 77u);
  renga_options options;
  renga_options_init(&options, offsetof(renga_options, kv_types));
  options.kv_types = "somebody else's";
  options.device = "cpu";
  options.no_cache = 1;
  renga_model* other = nullptr;
  EXPECT_EQ(renga_open(Stories().c_str(), &options, &other, nullptr), RENGA_OK);
  renga_close(other);
}

}  // namespace
}  // namespace renga
