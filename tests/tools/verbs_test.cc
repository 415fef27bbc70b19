// compile, dump, tokenize, devices, completion: what they print, and the fields scripts rely on.
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/biased_keys_model.h"
#include "tests/tools/process.h"

namespace renga {
namespace {

using Json = nlohmann::json;
using testing::AllOf;
using testing::Contains;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

std::string Output(const std::vector<std::string>& args, const ProcessOptions& options = {}) {
  const ProcessResult result = Renga(args, options);
  EXPECT_EQ(result.exit_code, 0) << result.Describe();
  return result.out;
}

Json JsonOutput(const std::vector<std::string>& args) {
  const std::string text = Output(args);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << "one object on one line";
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  EXPECT_TRUE(json.is_object()) << text.substr(0, 500);
  return json.is_object() ? json : Json::object();
}

std::set<std::string> Keys(const Json& json) {
  std::set<std::string> keys;
  for (const auto& [key, value] : json.items()) keys.insert(key);
  return keys;
}

int CountLines(const std::string& text) {
  return static_cast<int>(std::count(text.begin(), text.end(), '\n'));
}

std::vector<std::string> TinyModels() {
  std::vector<std::string> paths;
  for (const auto& entry :
       std::filesystem::directory_iterator(RENGA_SOURCE_DIR "/tests/data/tiny")) {
    if (entry.path().extension() == ".gguf") paths.push_back(entry.path().string());
  }
  return paths;
}

TEST(Help, ListsVerbsAndFlagsWithExamples) {
  const std::string overview = Output({"--help"});
  EXPECT_EQ(Output({"-h"}), overview);
  EXPECT_THAT(Output({"--version"}), StartsWith("renga 0."));
  for (const std::string verb : {"compile", "run", "dump", "diff", "trace", "verify", "bisect",
                                 "lint", "bench", "tokenize", "devices", "completion"}) {
    EXPECT_THAT(overview, HasSubstr("  " + verb));
    const std::string help = Output({verb, "--help"});
    EXPECT_THAT(help, HasSubstr("renga " + verb)) << verb;
    const size_t examples = help.find("Examples:");
    ASSERT_NE(examples, std::string::npos) << verb;
    EXPECT_EQ(CountLines(help.substr(examples)) >= 3, true) << "two examples for " << verb;
  }
}

TEST(Compile, WritesAPlanAndSaysWhatItNeeds) {
  const TempFolder folder;
  const std::string plan = folder.File("m.plan");
  const std::string text = Output({"compile", StoryModel(), "-o", plan});
  EXPECT_THAT(text, StartsWith("llama  5 layers  64 wide  8/4 heads x 8  vocab 512  "));
  EXPECT_THAT(text, HasSubstr("f32 "));
  EXPECT_THAT(text, HasSubstr("\nneeds  weights "));
  EXPECT_THAT(text, HasSubstr("\nwrote  " + plan));
  EXPECT_GT(std::filesystem::file_size(plan), 1000u);
}

TEST(Compile, JsonHasTheDocumentedFields) {
  const TempFolder folder;
  const auto compile = [&](std::vector<std::string> more) {
    std::vector<std::string> args = {"compile", StoryModel(), "-o", folder.File("m.plan"),
                                     "--json"};
    args.insert(args.end(), more.begin(), more.end());
    return JsonOutput(args);
  };
  const Json json = compile({});
  EXPECT_EQ(json["plan"], folder.File("m.plan"));
  EXPECT_EQ(json["digest"].get<std::string>().size(), 32u);
  EXPECT_EQ(json["target"], "cpu");
  EXPECT_GT(json["kernels"], 0);
  EXPECT_EQ(json["compiled"], 0);
  EXPECT_EQ(json["cached"], 0);
  EXPECT_GT(json["seconds"]["total"], 0);
  const Json& memory = json["memory"];
  EXPECT_EQ(memory["total"].get<int64_t>(), memory["weights"].get<int64_t>() +
                                                memory["kv"].get<int64_t>() +
                                                memory["activations"].get<int64_t>());
  EXPECT_EQ(compile({})["digest"], json["digest"]) << "the same input, the same plan";
  // The KV cache is as large as what it holds.
  const Json small = compile({"-c", "64"});
  EXPECT_NE(small["digest"], json["digest"]);
  EXPECT_EQ(compile({"-c", "128"})["memory"]["kv"], 2 * small["memory"]["kv"].get<int64_t>());
  EXPECT_EQ(compile({"-c", "64", "--kv-type", "k=f32,v=f32"})["memory"]["kv"],
            2 * small["memory"]["kv"].get<int64_t>());
  EXPECT_EQ(2 * compile({"-c", "64", "--kv-type", "f8_e4m3"})["memory"]["kv"].get<int64_t>(),
            small["memory"]["kv"].get<int64_t>());
  EXPECT_EQ(compile({"-c", "64", "--max-seqs", "3"})["memory"]["kv"],
            3 * small["memory"]["kv"].get<int64_t>());
}

TEST(Compile, SaysWhereTheBiasOfQuantisedKeysIs) {
  const TempFolder folder;
  TinyModel model = BiasedKeysModel();
  const std::string path = model.Write();
  const auto compile = [&](std::vector<std::string> more) {
    std::vector<std::string> args = {"compile", path, "-o", folder.File("m.plan")};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  };
  EXPECT_THAT(Output(compile({"--kv-type", "k=q8_0,v=q4_0"})),
              HasSubstr("keys   kept without their bias in 2 layers\n"));
  EXPECT_THAT(Output(compile({"--kv-type", "k=f8_e4m3"})),
              HasSubstr("keys   kept without their bias in 2 layers\n"));
  EXPECT_THAT(Output(compile({"--kv-type", "v=q4_0"})), Not(HasSubstr("keys ")));
  const Json quantised = JsonOutput(compile({"--kv-type", "k=q4_0", "--json"}));
  EXPECT_EQ(quantised["key_bias"], (Json{{"apart", 2}}));
  // Of some layers alone, which the memory shows.
  EXPECT_THAT(Output(compile({"--kv-type", "k=q8_0,0:k=bf16"})),
              HasSubstr("keys   kept without their bias in 1 layer\n"));
  EXPECT_THAT(Output({"dump", folder.File("m.plan"), "--stage", "memory"}),
              AllOf(ContainsRegex("layer 0 +[0-9]+ bytes  bf16 \\+ f16\n"),
                    ContainsRegex("layer 1 +[0-9]+ bytes  q8_0 \\+ f16\n")));
  // As many bytes as the blocks have: K 18 for 32 numbers in q4_0, V 2 each in f16.
  const Json plain = JsonOutput(compile({"--json"}));
  EXPECT_EQ(plain["key_bias"], (Json{{"apart", 0}}));
  EXPECT_EQ(128 * quantised["memory"]["kv"].get<int64_t>(),
            (64 + 18) * plain["memory"]["kv"].get<int64_t>());
}

TEST(Compile, DumpDirHoldsTheGraphAfterEveryPass) {
  const TempFolder folder;
  const std::string stages = folder.File("stages");
  Output({"compile", StoryModel(), "-o", folder.File("m.plan"), "--dump-dir", stages});
  EXPECT_EQ(ReadFile(stages + "/00.frontend.ir"), Output({"dump", StoryModel()}));
  const Json passes = JsonOutput({"dump", StoryModel(), "--stage", "passes", "--json"})["passes"];
  ASSERT_GT(passes.size(), 0u);
  for (size_t i = 0; i < passes.size(); ++i) {
    const std::string name = passes[i]["name"];
    const std::string number = (i + 1 < 10 ? "0" : "") + std::to_string(i + 1);
    EXPECT_EQ(ReadFile(stages + "/" + number + "." + name + ".ir"),
              Output({"dump", StoryModel(), "--after", name}));
  }
}

TEST(Dump, GraphsComeBackFromTheirText) {
  const TempFolder folder;
  for (const std::string& model : TinyModels()) {
    const std::string text = Output({"dump", model, "--stage", "ir"});
    EXPECT_THAT(text, StartsWith("ir 1\n"));
    const std::string file = folder.Write("a.ir", text);
    EXPECT_EQ(Output({"dump", file, "--stage", "ir"}), text) << model;
    EXPECT_EQ(Output({"dump", file, "--after", "rows-asked"}),
              Output({"dump", model, "--after", "rows-asked"}))
        << model;
  }
}

TEST(Dump, PlansKeepTheFirstAndTheLastGraph) {
  const TempFolder folder;
  const std::string plan = folder.File("m.plan");
  Output({"compile", StoryModel(), "-o", plan});
  EXPECT_EQ(Output({"dump", plan, "--after", "frontend"}), Output({"dump", StoryModel()}));
  const Json passes = JsonOutput({"dump", plan, "--stage", "passes", "--json"})["passes"];
  EXPECT_EQ(Output({"dump", plan}),
            Output({"dump", StoryModel(), "--after", passes.back()["name"].get<std::string>()}));
}

TEST(Dump, LayersAndNodesCanBeChosen) {
  const std::string layer = Output({"dump", StoryModel(), "--layer", "3"});
  EXPECT_THAT(layer, HasSubstr("  %3."));
  EXPECT_THAT(layer, testing::Not(HasSubstr("  %2.")));
  EXPECT_EQ(CountLines(Output({"dump", StoryModel(), "--node", "3.*"})), CountLines(layer));
  const Json json = JsonOutput({"dump", StoryModel(), "--layer", "3", "--json"});
  EXPECT_EQ(static_cast<int>(json["nodes"].size()), CountLines(layer));
  for (const Json& node : json["nodes"]) EXPECT_EQ(node["layer"], 3);
  const Json steps =
      JsonOutput({"dump", StoryModel(), "--stage", "plan", "--layer", "3", "--json"})["steps"];
  EXPECT_GT(steps.size(), 0u);
  for (const Json& step : steps) EXPECT_EQ(step["layer"], 3);
  EXPECT_EQ(CountLines(Output(
                {"dump", StoryModel(), "--stage", "weights", "--node", "blk.?.attn_q.weight"})),
            5 + 1);
}

TEST(Dump, GgufShowsMetadataAndTensors) {
  const std::string text = Output({"dump", StoryModel(), "--stage", "gguf"});
  EXPECT_THAT(text, HasSubstr("general.architecture"));
  EXPECT_THAT(text, HasSubstr("token_embd.weight"));
  const Json json = JsonOutput({"dump", StoryModel(), "--stage", "gguf", "--json"});
  EXPECT_EQ(json["metadata"]["general.architecture"], "llama");
  EXPECT_EQ(json["metadata"]["tokenizer.ggml.tokens"].size(), 512u);
  EXPECT_EQ(json["metadata"]["llama.block_count"], 5);
  EXPECT_EQ(json["tensors"].size(), 48u);
  EXPECT_THAT(Keys(json["tensors"][0]), Contains("offset"));
}

TEST(Dump, PassesSayWhatTheyDid) {
  const Json json = JsonOutput({"dump", StoryModel(), "--stage", "passes", "--json"});
  for (const Json& pass : json["passes"]) {
    EXPECT_EQ(Keys(pass),
              (std::set<std::string>{"name", "changed", "nodes_before", "nodes_after", "ms"}));
  }
  EXPECT_EQ(CountLines(Output({"dump", StoryModel(), "--stage", "passes"})),
            static_cast<int>(json["passes"].size()));
  EXPECT_EQ(Output({"dump", StoryModel(), "--stage", "passes", "--passes", ""}), "");
}

TEST(Dump, PlanStepsHaveTheDocumentedFields) {
  const Json json = JsonOutput({"dump", StoryModel(), "--stage", "plan", "--json"});
  ASSERT_GT(json["steps"].size(), 10u);
  int outside = 0;
  for (const Json& step : json["steps"]) {
    for (const char* key : {"name", "kind", "layer", "inputs", "outputs"}) {
      EXPECT_TRUE(step.contains(key)) << key;
    }
    outside += step["layer"].is_null();
  }
  EXPECT_GT(outside, 0);
  EXPECT_EQ(json["outputs"], Json({"logits", "next"}));
  EXPECT_THAT(Output({"dump", StoryModel(), "--stage", "plan"}), HasSubstr("step 0 "));
}

TEST(Dump, MemoryAddsUp) {
  const Json json = JsonOutput({"dump", StoryModel(), "--stage", "memory", "--json"});
  EXPECT_EQ(json["total"].get<int64_t>(), json["weights"].get<int64_t>() +
                                              json["kv"].get<int64_t>() +
                                              json["activations"].get<int64_t>());
  for (const Json& buffer : json["arena"]) {
    EXPECT_LE(buffer["offset"].get<int64_t>() + buffer["bytes"].get<int64_t>(),
              json["arena_bytes"].get<int64_t>());
  }
  const Json process = json["process"];
  EXPECT_GT(process["program"].get<int64_t>(), 1 << 20);
  EXPECT_GT(process["scratch"].get<int64_t>(), 0);
  EXPECT_LE(process["activations"].get<int64_t>(), json["activations"].get<int64_t>());
  EXPECT_EQ(process["total"].get<int64_t>(),
            json["weights"].get<int64_t>() + json["kv"].get<int64_t>() +
                process["activations"].get<int64_t>() + process["scratch"].get<int64_t>() +
                process["sampling"].get<int64_t>() + process["program"].get<int64_t>());
  const std::string text = Output({"dump", StoryModel(), "--stage", "memory"});
  EXPECT_THAT(text, HasSubstr("\ntotal "));
  EXPECT_THAT(text, HasSubstr("\nscratch "));
  EXPECT_THAT(text, HasSubstr("\nprogram "));
  EXPECT_THAT(text, HasSubstr("\nprocess "));
}

TEST(Dump, LedgerHasTheDocumentedFields) {
  const Json json = JsonOutput({"dump", StoryModel(), "--stage", "ledger", "--json"});
  ASSERT_GT(json["entries"].size(), 0u);
  for (const Json& entry : json["entries"]) {
    EXPECT_EQ(Keys(entry), (std::set<std::string>{"pass", "node", "layer", "result", "reason"}));
    EXPECT_TRUE(entry["result"] == "matched" || entry["result"] == "rejected");
  }
  const std::string text = Output({"dump", StoryModel(), "--stage", "ledger"});
  EXPECT_EQ(CountLines(text.substr(0, text.find("choices\n"))),
            static_cast<int>(json["entries"].size()) + 1);
  ASSERT_GT(json["choices"].size(), 0u);
  for (const Json& choice : json["choices"]) {
    EXPECT_EQ(Keys(choice),
              (std::set<std::string>{"subject", "what", "chosen", "considered", "reason"}));
  }
}

TEST(Dump, WeightsAccountForEveryTensor) {
  for (const std::string& model : TinyModels()) {
    const Json file = JsonOutput({"dump", model, "--stage", "gguf", "--json"});
    const Json json = JsonOutput({"dump", model, "--stage", "weights", "--json"});
    std::set<std::string> in_file, accounted;
    for (const Json& tensor : file["tensors"]) in_file.insert(tensor["name"]);
    for (const Json& weight : json["weights"]) {
      accounted.insert(weight["name"]);
      EXPECT_FALSE(weight["used_by"].empty()) << weight["name"] << " of " << model;
      EXPECT_EQ(weight["digest"].get<std::string>().size(), 32u);
    }
    for (const Json& tensor : json["ignored"]) {
      accounted.insert(tensor["name"]);
      EXPECT_FALSE(tensor["reason"].get<std::string>().empty());
    }
    EXPECT_EQ(accounted, in_file) << model;
    EXPECT_EQ(json["totals"]["tensors"], in_file.size());
  }
  EXPECT_THAT(Output({"dump", StoryModel(), "--stage", "weights"}), HasSubstr("none left over"));
}

TEST(Dump, TokensAreTheVocabulary) {
  const Json json = JsonOutput({"dump", StoryModel(), "--stage", "tokens", "--json"});
  ASSERT_EQ(json["tokens"].size(), 512u);
  EXPECT_EQ(json["bos"], 1);
  EXPECT_EQ(json["tokens"][1]["type"], "control");
  EXPECT_EQ(CountLines(Output({"dump", StoryModel(), "--stage", "tokens"})), 512 + 2);
}

TEST(Dump, OutputGoesToAFile) {
  const TempFolder folder;
  EXPECT_EQ(Output({"dump", StoryModel(), "-o", folder.File("a.ir")}), "");
  EXPECT_EQ(ReadFile(folder.File("a.ir")), Output({"dump", StoryModel()}));
}

TEST(Tokenize, ThereAndBack) {
  const std::string text = "Once upon a time,\n\tthere \xe2\x82\xac was";
  const Json json = JsonOutput({"tokenize", StoryModel(), "-p", text, "--json"});
  EXPECT_EQ(json["ids"][0], 1) << "BOS";
  ASSERT_EQ(json["ids"].size(), json["pieces"].size());
  std::string ids;
  for (const Json& id : json["ids"]) ids += (ids.empty() ? "" : ",") + id.dump();
  EXPECT_EQ(Output({"tokenize", StoryModel(), "--decode", ids, "--no-special"}), text);
  EXPECT_EQ(JsonOutput({"tokenize", StoryModel(), "--decode", ids, "--json"})["ids"], json["ids"]);
}

TEST(Tokenize, OneTokenALine) {
  const std::string text = Output({"tokenize", StoryModel(), "-p", "Once upon a time"});
  EXPECT_EQ(text,
            "     1  '<s>'\n   403  ' Once'\n   407  ' upon'\n   261  ' a'\n   378  ' time'\n");
  // However strange the pieces.
  const std::string odd =
      Output({"tokenize", StoryModel(), "-f", "-"}, {.input = std::string("\n\0\x1b\xff", 4)});
  EXPECT_EQ(odd.find('\x1b'), std::string::npos);
  EXPECT_GE(CountLines(odd), 5);
}

TEST(Tokenize, FlagsAboutSpecialTokens) {
  const auto ids = [](std::vector<std::string> more) {
    std::vector<std::string> args = {"tokenize", StoryModel(), "--json", "-p"};
    args.insert(args.end(), more.begin(), more.end());
    return JsonOutput(args)["ids"];
  };
  EXPECT_EQ(ids({"Once"}), Json({1, 403}));
  EXPECT_EQ(ids({"Once", "--no-bos"}), Json({403}));
  EXPECT_EQ(ids({"Once", "--bos"}), Json({1, 403}));
  EXPECT_EQ(ids({"</s>", "--no-bos"}), Json({2}));
  EXPECT_GT(ids({"</s>", "--no-bos", "--no-special"}).size(), 1u);
}

TEST(Tokenize, PlansHaveTheVocabularyToo) {
  const TempFolder folder;
  Output({"compile", StoryModel(), "-o", folder.File("m.plan")});
  const std::vector<std::string> rest = {"-p", "Once upon", "--json"};
  EXPECT_EQ(Output({"tokenize", folder.File("m.plan"), "-p", "Once upon"}),
            Output({"tokenize", StoryModel(), "-p", "Once upon"}));
}

TEST(Devices, SaysWhatIsThereAndWhyOthersAreNot) {
  EXPECT_THAT(Output({"devices"}), HasSubstr("cuda       not available: "));
  const Json json = JsonOutput({"devices", "--json"});
  ASSERT_EQ(json["devices"].size(), 3u);
  EXPECT_EQ(json["devices"][0]["name"], "cpu");
  EXPECT_EQ(json["devices"][0]["available"], true);
  EXPECT_GT(json["devices"][0]["cores"], 0);
  EXPECT_EQ(json["devices"][2]["available"], false);
  EXPECT_FALSE(json["devices"][2]["reason"].get<std::string>().empty());
  EXPECT_EQ(json["plans"]["count"], 0);
  EXPECT_EQ(json["cubins"]["count"], 0);
}

// Sets a variable for the programs this test starts.
class ScopedVariable {
 public:
  ScopedVariable(const char* name, const std::string& value) : name_(name) {
    setenv(name, value.c_str(), 1);
  }
  ~ScopedVariable() { unsetenv(name_); }

 private:
  const char* name_;
};

TEST(Devices, SaysWhetherKernelsCanBeCompiled) {
  const TempFolder folder;
  const ScopedVariable variable("RENGA_NVRTC", folder.path());
  EXPECT_THAT(Output({"devices"}), HasSubstr("nvrtc      not available: no usable libnvrtc in the "
                                             "folder of RENGA_NVRTC; tried "));
  const Json absent = JsonOutput({"devices", "--json"});
  EXPECT_EQ(absent["nvrtc"]["available"], false);
  EXPECT_THAT(absent["nvrtc"]["reason"].get<std::string>(), HasSubstr("tools/fetch-nvrtc"));
  const std::string from = std::string(RENGA_BINARY_DIR) + "/fake_nvrtc/";
  std::filesystem::copy_file(from + "fake_nvrtc_12_4.so", folder.File("libnvrtc.so.12"));
  std::filesystem::copy_file(from + "fake_builtins.so", folder.File("libnvrtc-builtins.so.12.4"));
  EXPECT_THAT(Output({"devices"}),
              HasSubstr("nvrtc      12.4, compiles for sm_80 sm_86 sm_89 sm_90a, /"));
  const Json there = JsonOutput({"devices", "--json"});
  EXPECT_EQ(there["nvrtc"]["available"], true);
  EXPECT_EQ(there["nvrtc"]["version"], "12.4");
  EXPECT_EQ(there["nvrtc"]["targets"], Json({"sm_80", "sm_86", "sm_89", "sm_90a"}));
}

TEST(Devices, CountsTheCachedKernels) {
  const TempFolder cache;
  std::filesystem::create_directories(cache.File("renga/cubins"));
  cache.Write("renga/cubins/00112233445566778899aabbccddeeff.cubin", std::string(3000, 'x'));
  cache.Write("renga/cubins/notes.txt", "no kernel");
  const ProcessResult result = Renga({"devices", "--json"}, {.cache = cache.path()});
  const Json cubins = Json::parse(result.out)["cubins"];
  EXPECT_EQ(cubins["count"], 1);
  EXPECT_EQ(cubins["bytes"], 3000);
  EXPECT_EQ(cubins["folder"], cache.File("renga/cubins"));
}

TEST(Completion, ScriptsKnowEveryVerbAndFlag) {
  for (const std::string shell : {"bash", "zsh", "fish"}) {
    const std::string script = Output({"completion", shell});
    for (const std::string word : {"compile", "tokenize", "top-k", "disable-pass", "stage"}) {
      EXPECT_THAT(script, HasSubstr(word)) << shell;
    }
  }
  const TempFolder folder;
  const std::string script = folder.Write("renga.bash", Output({"completion", "bash"}));
  const ProcessResult result =
      RunProcess("/bin/bash", {"-c", "source " + script +
                                         "; COMP_WORDS=(renga ru); COMP_CWORD=1; _renga; "
                                         "echo ${COMPREPLY[@]}; COMP_WORDS=(renga run --temp x "
                                         "--min); COMP_CWORD=4; _renga; echo ${COMPREPLY[@]}"});
  EXPECT_EQ(result.out, "run\n--min-p\n") << result.Describe();
}

}  // namespace
}  // namespace renga
