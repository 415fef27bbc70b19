// The C interface gives what the runtime gives, for many requests at once, from any thread.
#include <atomic>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/exec/generate.h"
#include "runtime/plan/serialize.h"
#include "tests/library/c_model.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_data.h"
#include "tools/compiler.h"
#include "tools/open_model.h"

namespace renga {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

std::string Stories() { return TestData("stories260K.gguf"); }

renga_options ManyOptions(int64_t sequences) {
  renga_options options = Options();
  options.max_sequences = sequences;
  return options;
}

// What Generate makes of it, on a model of its own.
GenerateResult Alone(const std::string& text, const GenerateOptions& options) {
  OpenOptions open;
  open.device = "cpu";
  open.use_cache = false;
  auto model = OpenModel(Stories(), open);
  EXPECT_TRUE(model.ok()) << model.status();
  const auto prompt = model->tokenizer->Encode(text);
  auto result = Generate(*model->forward, *model->tokenizer, *prompt, options);
  EXPECT_TRUE(result.ok()) << result.status();
  return *std::move(result);
}

TEST(LibraryApi, SaysWhatItIs) {
  EXPECT_EQ(renga_api_version(), RENGA_API_VERSION);
  EXPECT_THAT(renga_version(), ::testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+"));
  const CModel model(Stories(), ManyOptions(3));
  renga_info info;
  renga_info_init(&info, sizeof(info));
  ASSERT_EQ(renga_get_info(model.get(), &info, nullptr), RENGA_OK);
  EXPECT_THAT(info.device, HasSubstr("cpu"));
  EXPECT_STREQ(info.architecture, "llama");
  EXPECT_EQ(info.vocab, 512);
  EXPECT_EQ(info.max_sequences, 3);
  EXPECT_EQ(info.bos, 1);
  EXPECT_EQ(info.eos, 2);
  EXPECT_GT(info.context, 0);
  EXPECT_GT(info.load_seconds, 0);
  EXPECT_EQ(info.size, sizeof(info));
}

// Held against what llama.cpp wrote.
TEST(LibraryApi, WritesTheRecordedTexts) {
  std::ifstream in(TestData("reference/stories260K.llamacpp.jsonl"));
  std::vector<nlohmann::json> records;
  for (std::string line; std::getline(in, line);) records.push_back(nlohmann::json::parse(line));
  ASSERT_THAT(records, SizeIs(5));
  CModel model(Stories(), ManyOptions(5));
  std::vector<Output> polled(records.size());
  for (const nlohmann::json& record : records) {
    const std::string text = record["text"];
    renga_request request = Request(text, static_cast<int64_t>(record["greedy_ids"].size()));
    request.temperature = 0;
    request.ignore_eos = 1;
    EXPECT_EQ(model.Tokenize(text), record["prompt_ids"].get<std::vector<int32_t>>());
    model.Add(request);
  }
  for (bool more = true; more;) {
    more = model.Step();
    for (size_t i = 0; i < records.size(); i += 2) {  // the others at the end alone
      const Output piece = model.Poll(static_cast<int64_t>(i));
      polled[i].tokens.insert(polled[i].tokens.end(), piece.tokens.begin(), piece.tokens.end());
      polled[i].text += piece.text;
    }
  }
  for (size_t i = 0; i < records.size(); ++i) {
    SCOPED_TRACE(records[i]["id"]);
    const Output result = model.Result(static_cast<int64_t>(i));
    EXPECT_EQ(result.tokens, records[i]["greedy_ids"].get<std::vector<int32_t>>());
    EXPECT_EQ(result.text, records[i]["greedy_text"].get<std::string>());
    EXPECT_EQ(result.finish_reason, RENGA_FINISH_LENGTH);
    EXPECT_EQ(result.raw.prompt_tokens + result.raw.reused_tokens,
              static_cast<int64_t>(records[i]["prompt_ids"].size()));
    EXPECT_EQ(result.raw.decode_tokens, static_cast<int64_t>(result.tokens.size()) - 1);
    EXPECT_GT(result.raw.prompt_seconds, 0);
    EXPECT_GT(result.raw.decode_seconds, 0);
    const Output rest = model.Poll(static_cast<int64_t>(i));
    EXPECT_EQ(rest.finish_reason, RENGA_FINISH_LENGTH);
    EXPECT_EQ(polled[i].text + rest.text, result.text);
    polled[i].tokens.insert(polled[i].tokens.end(), rest.tokens.begin(), rest.tokens.end());
    EXPECT_EQ(polled[i].tokens, result.tokens);
  }
}

TEST(LibraryApi, EveryFieldOfARequestReachesTheSampler) {
  CModel model(Stories(), ManyOptions(4));
  const std::string prompt = "Tom and Lily";
  const float never = -std::numeric_limits<float>::infinity();
  const renga_text stops[] = {{"zzz", 3}, {" outside", 8}};
  const renga_logit_bias bias[] = {{432, never}, {13, 2.5f}}, ending = {2, 100.f};
  std::vector<std::pair<renga_request, GenerateOptions>> pairs;
  // A request, and what Generate is told in its place.
  const auto add = [&](const auto& change) {
    renga_request request = Request(prompt, 40);
    request.seed = 7;
    GenerateOptions options;
    options.max_tokens = 40;
    options.sampling.seed = 7;
    change(&request, &options);
    pairs.emplace_back(request, options);
  };
  add([](renga_request*, GenerateOptions*) {});
  add([](renga_request* r, GenerateOptions* o) { r->seed = o->sampling.seed = 8; });
  add([](renga_request* r, GenerateOptions* o) { r->temperature = o->sampling.temperature = 2; });
  add([](renga_request* r, GenerateOptions* o) { r->top_k = o->sampling.top_k = 2; });
  add([](renga_request* r, GenerateOptions* o) { r->top_p = o->sampling.top_p = 0.5f; });
  add([](renga_request* r, GenerateOptions* o) { r->min_p = o->sampling.min_p = 0.4f; });
  add([](renga_request* r, GenerateOptions* o) { r->typical_p = o->sampling.typical_p = 0.3f; });
  add([](renga_request* r, GenerateOptions* o) {
    r->repeat_penalty = o->sampling.penalties.repeat = 1.5f;
  });
  add([](renga_request* r, GenerateOptions* o) {
    r->repeat_penalty = o->sampling.penalties.repeat = 1.5f;
    r->penalty_tokens = o->sampling.penalties.last_n = 3;
  });
  add([](renga_request* r, GenerateOptions* o) {
    r->presence_penalty = o->sampling.penalties.presence = 3.f;
  });
  add([](renga_request* r, GenerateOptions* o) {
    r->frequency_penalty = o->sampling.penalties.frequency = 3.f;
  });
  add([&](renga_request* r, GenerateOptions* o) {
    r->stop = stops;
    r->stop_count = 2;
    o->stop = {"zzz", " outside"};
  });
  add([&](renga_request* r, GenerateOptions* o) {
    r->logit_bias = bias;
    r->logit_bias_count = 2;
    o->sampling.logit_bias = {{432, never}, {13, 2.5f}};
  });
  add([](renga_request* r, GenerateOptions* o) { r->max_tokens = o->max_tokens = 3; });
  add([](renga_request* r, GenerateOptions* o) { r->max_tokens = o->max_tokens = 0; });
  // The model would end at once, and may not.
  add([&](renga_request* r, GenerateOptions* o) {
    r->logit_bias = &ending;
    r->logit_bias_count = 1;
    o->sampling.logit_bias = {{2, 100.f}};
  });
  add([&](renga_request* r, GenerateOptions* o) {
    r->logit_bias = &ending;
    r->logit_bias_count = 1;
    o->sampling.logit_bias = {{2, 100.f}};
    r->seed = o->sampling.seed = 9;
    r->ignore_eos = 1;
    o->ignore_eos = true;
  });
  for (const auto& [request, options] : pairs) model.Add(request);
  model.Run();
  const std::map<FinishReason, int32_t> reasons = {{FinishReason::kStop, RENGA_FINISH_STOP},
                                                   {FinishReason::kLength, RENGA_FINISH_LENGTH},
                                                   {FinishReason::kEos, RENGA_FINISH_EOS}};
  std::vector<std::vector<int32_t>> different;
  for (size_t i = 0; i < pairs.size(); ++i) {
    SCOPED_TRACE(i);
    const Output output = model.Result(static_cast<int64_t>(i));
    const GenerateResult expected = Alone(prompt, pairs[i].second);
    EXPECT_EQ(output.tokens, expected.ids);
    EXPECT_EQ(output.text, expected.text);
    EXPECT_EQ(output.finish_reason, reasons.at(expected.finish_reason));
    // Each field made a difference.
    EXPECT_THAT(different, ::testing::Not(::testing::Contains(output.tokens)));
    different.push_back(output.tokens);
  }
}

TEST(LibraryApi, SpecialTokensOfAPrompt) {
  CModel model(Stories());
  EXPECT_EQ(model.Tokenize("</s>"), (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(model.Tokenize("</s>", RENGA_BARE_TEXT), (std::vector<int32_t>{2}));
  const std::vector<int32_t> plain = model.Tokenize("</s>", RENGA_PLAIN_TEXT);
  EXPECT_GT(plain.size(), 3u);
  renga_request request = Request("</s>", 1);
  const int64_t special = model.Add(request);
  request.plain_text = 1;
  const int64_t text = model.Add(request);
  const std::vector<int32_t> ids = {1, 403, 407};
  request = Request();
  request.prompt_tokens = ids.data();
  request.prompt_token_count = ids.size();
  request.max_tokens = 1;
  const int64_t tokens = model.Add(request);
  model.Run();
  const auto read = [](const Output& output) {
    return output.raw.prompt_tokens + output.raw.reused_tokens;
  };
  EXPECT_EQ(read(model.Result(special)), 2);
  EXPECT_EQ(read(model.Result(text)), static_cast<int64_t>(plain.size()));
  EXPECT_EQ(read(model.Result(tokens)), 3);
}

TEST(LibraryApi, BuffersAreFilledWhereTheySuffice) {
  const CModel model(Stories());
  const std::string text = "Once upon a time";
  std::vector<int32_t> tokens(5, -7);
  size_t count = 0;
  const auto tokenize = [&](size_t capacity, int32_t* out) {
    return renga_tokenize(model.get(), text.data(), text.size(), 0, out, capacity, &count, nullptr);
  };
  EXPECT_EQ(tokenize(0, nullptr), RENGA_OK);
  EXPECT_EQ(count, 5u);
  count = 0;
  EXPECT_EQ(tokenize(4, tokens.data()), RENGA_OK);
  EXPECT_EQ(count, 5u);
  EXPECT_EQ(tokens, std::vector<int32_t>(5, -7));
  EXPECT_EQ(tokenize(5, tokens.data()), RENGA_OK);
  EXPECT_EQ(tokens, (std::vector<int32_t>{1, 403, 407, 261, 378}));

  std::string back(16, '#');
  const auto detokenize = [&](size_t capacity, char* out) {
    return renga_detokenize(model.get(), tokens.data() + 1, 4, out, capacity, &count, nullptr);
  };
  EXPECT_EQ(detokenize(0, nullptr), RENGA_OK);
  EXPECT_EQ(count, 16u);
  EXPECT_EQ(detokenize(15, back.data()), RENGA_OK);
  EXPECT_EQ(back, std::string(16, '#'));
  EXPECT_EQ(detokenize(16, back.data()), RENGA_OK);
  EXPECT_EQ(back, text);
}

TEST(LibraryApi, ForksGoOnFromTheirParent) {
  CModel model(Stories(), ManyOptions(3));
  renga_request request = Request("Once upon a time", 20);
  request.seed = 3;
  const int64_t parent = model.Add(request);
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(model.Step());
  const std::vector<int32_t> begun = model.Poll(parent).tokens;
  ASSERT_GE(begun.size(), 4u);
  request.prompt = {};
  const int64_t same = model.Fork(parent, 4, request);
  request.seed = 4;
  const int64_t other = model.Fork(parent, 0, request);
  model.Run();
  GenerateOptions options;
  options.max_tokens = 20;
  options.sampling.seed = 3;
  const GenerateResult expected = Alone("Once upon a time", options);
  EXPECT_EQ(model.Result(parent).tokens, expected.ids);
  EXPECT_EQ(model.Result(same).tokens, expected.ids);
  EXPECT_EQ(model.Poll(same).text, expected.text);
  EXPECT_EQ(model.Result(same).raw.reused_tokens, 5);
  options.sampling.seed = 4;
  EXPECT_EQ(model.Result(other).tokens, Alone("Once upon a time", options).ids);
  // Of one that has finished and was read, too.
  request.seed = 3;
  request.max_tokens = 25;
  const int64_t longer = model.Fork(parent, 20, request);
  model.Run();
  options.sampling.seed = 3;
  options.max_tokens = 25;
  EXPECT_EQ(model.Result(longer).tokens, Alone("Once upon a time", options).ids);
}

TEST(LibraryApi, CancelledRequestsKeepWhatTheyHave) {
  CModel model(Stories(), ManyOptions(2));
  renga_request request = Request("Once upon a time", -1);
  request.temperature = 0;
  const int64_t running = model.Add(request), other = model.Add(request);
  const int64_t waiting = model.Add(request);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(model.Step());
  EXPECT_TRUE(model.Cancel(running).ok());
  EXPECT_TRUE(model.Cancel(waiting).ok());
  EXPECT_TRUE(model.Remove(other).ok());
  EXPECT_FALSE(model.Step());
  const Output output = model.Result(running);
  EXPECT_EQ(output.finish_reason, RENGA_FINISH_CANCELLED);
  EXPECT_GE(output.tokens.size(), 3u);
  EXPECT_EQ(model.Poll(running).text, output.text);
  EXPECT_EQ(model.Result(waiting).finish_reason, RENGA_FINISH_CANCELLED);
  EXPECT_THAT(model.Result(waiting).tokens, SizeIs(0));
  // Cancelling what has finished changes nothing.
  EXPECT_TRUE(model.Cancel(running).ok());
  EXPECT_EQ(model.Result(running).tokens, output.tokens);
  EXPECT_EQ(model.Remove(other).status, RENGA_NOT_FOUND);
}

TEST(LibraryApi, ModelsKnowNothingOfEachOther) {
  CModel a(Stories()), b(TestData("tiny/llama-IQ4_XS.gguf")), c(Stories());
  const std::vector<int32_t> ids = {1, 4, 7};
  renga_request request = Request();
  request.prompt_tokens = ids.data();
  request.prompt_token_count = ids.size();
  request.max_tokens = 12;
  request.temperature = 0;
  request.ignore_eos = 1;
  EXPECT_EQ(a.Add(request), 0);
  EXPECT_EQ(b.Add(request), 0);
  EXPECT_EQ(c.Add(request), 0);
  while (a.Step() | b.Step() | c.Step()) {
  }
  EXPECT_THAT(a.Result(0).tokens, SizeIs(12));
  EXPECT_EQ(a.Result(0).tokens, c.Result(0).tokens);
  EXPECT_NE(a.Result(0).tokens, b.Result(0).tokens);
  CModel again(TestData("tiny/llama-IQ4_XS.gguf"));
  again.Add(request);
  again.Run();
  EXPECT_EQ(again.Result(0).tokens, b.Result(0).tokens);
}

TEST(LibraryApi, OpensPlans) {
  const TempFolder folder;
  CompileOptions compile;
  compile.max_sequences = 2;
  compile.context = 100;
  const auto compiled = Compile(Stories(), compile);
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  const auto bytes = plan::Serialize(compiled->plan);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  const std::string path = folder.Write("stories.plan", *bytes);
  CModel model(path);
  renga_request request = Request("Once upon a time", 12);
  request.temperature = 0;
  model.Add(request);
  model.Run();
  GenerateOptions options;
  options.max_tokens = 12;
  options.sampling.temperature = 0;
  EXPECT_EQ(model.Result(0).tokens, Alone("Once upon a time", options).ids);

  // What was decided when it was compiled cannot be asked for any more.
  for (const auto& change :
       std::vector<void (*)(renga_options*)>{[](renga_options* o) { o->context = 100; },
                                             [](renga_options* o) { o->max_sequences = 2; },
                                             [](renga_options* o) { o->k_type = "f16"; },
                                             [](renga_options* o) { o->v_type = "f16"; }}) {
    renga_options wrong = Options();
    change(&wrong);
    renga_model* opened = nullptr;
    const Outcome outcome = Calling(
        [&](renga_error** error) { return renga_open(path.c_str(), &wrong, &opened, error); });
    EXPECT_EQ(outcome.status, RENGA_INVALID_ARGUMENT);
    EXPECT_THAT(outcome.message, HasSubstr("a plan is compiled already"));
  }
}

// Calls in any order: what was polled of a request is what it has in the end.
TEST(LibraryApi, RequestsComeAndGo) {
  CModel model(Stories(), ManyOptions(5));
  std::mt19937 random(3);
  std::map<int64_t, std::string> polled;
  int64_t next = 0;
  int finished = 0, forks = 0;
  const auto any = [&] { return std::next(polled.begin(), random() % polled.size())->first; };
  const auto poll = [&](int64_t id) {
    const Output piece = model.Poll(id);
    polled[id] += piece.text;
    return piece.finish_reason;
  };
  for (int i = 0; i < 1500; ++i) {
    const unsigned what = polled.empty() ? 0 : random() % 8;
    renga_request request = Request(random() % 2 == 0 ? "Once upon a time" : "Once upon", 12);
    request.seed = random();
    if (what == 0) {
      EXPECT_EQ(model.Add(request), next);
      polled[next++];
    } else if (what == 1) {
      request.prompt = {};
      // What it generates begins with what is kept.
      const int64_t parent = any();
      const size_t kept = model.Poll(parent).finish_reason == RENGA_UNFINISHED ? 0 : 1;
      polled.erase(parent);
      EXPECT_EQ(model.Fork(parent, kept == 1 && !model.Result(parent).tokens.empty(), request),
                next);
      EXPECT_TRUE(model.Remove(parent).ok());
      polled[next++];
      ++forks;
    } else if (what == 2 && random() % 4 == 0) {
      EXPECT_TRUE(model.Cancel(any()).ok());
    } else if (what == 3) {
      const int64_t id = any();
      if (poll(id) == RENGA_UNFINISHED) continue;
      EXPECT_EQ(poll(id), model.Result(id).finish_reason);
      EXPECT_EQ(polled[id], model.Result(id).text);
      EXPECT_TRUE(model.Remove(id).ok());
      polled.erase(id);
      ++finished;
    } else {
      model.Step();
      if (!polled.empty()) poll(any());
    }
  }
  EXPECT_GT(finished, 50);
  EXPECT_GT(forks, 50);
}

// One thread steps without a pause; what others ask for gets its turn all the same.
TEST(LibraryApi, ThreadsTakeTurns) {
  CModel model(Stories(), ManyOptions(4));
  renga_request endless = Request("Once upon a time", -1);
  endless.ignore_eos = 1;
  std::atomic<bool> done{false};
  std::thread stepper([&] {
    while (!done) model.Step();
  });
  std::vector<std::thread> others;
  for (int t = 0; t < 3; ++t) {
    others.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        const int64_t id = model.Add(endless);
        while (model.Poll(id).tokens.size() < 2) std::this_thread::yield();
        EXPECT_LE(model.Tokenize("Once upon a time").size(), 5u);
        EXPECT_TRUE(model.Cancel(id).ok());
        EXPECT_EQ(model.Result(id).finish_reason, RENGA_FINISH_CANCELLED);
        EXPECT_TRUE(model.Remove(id).ok());
      }
    });
  }
  for (std::thread& thread : others) thread.join();
  done = true;
  stepper.join();
  EXPECT_FALSE(model.Step());
}

}  // namespace
}  // namespace renga
