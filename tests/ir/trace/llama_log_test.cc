#include "ir/trace/llama_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

#include "absl/strings/str_replace.h"
#include "ir/trace/llama_names.h"
#include "tests/support/temp_folder.h"

namespace renga {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Two tokens of seven numbers; a view of two axes' ends.
constexpr char kLog[] = R"(llama_model_loader: loaded meta data = (12) tensors
common_debug_cb_eval:                     embd = (f32)   GET_ROWS(token_embd.weight{7, 9, 1, 1}, inp_tokens{2, 1, 1, 1}}) = {7, 2, 1, 1}
    [
        [
            [     -0.1271,      -0.5241,       0.6063,    ...,       0.3500,      -0.3055,       0.0385  ],
            [      0.0035,      -0.1702,       0.0314,    ...,       0.1641,      -0.0953,      -0.6067  ],
        ],
    ]
    sum = -3.354056
common_debug_cb_eval:  cache_v_l0 (view) = (f32)  VIEW(cache_v_l0{128, 32768, 1, 1}, }) = {1, 8, 7, 1}
    [
        [
            [      1.0000  ],
            [      2.0000  ],
            [      3.0000  ],
            ..., 
            [      4.0000  ],
            [      5.0000  ],
            [      6.0000  ],
        ],
        [
            [ 1 ], [ 2 ], [ 3 ],
        ],
    ]
)";

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(LlamaLogTest, ReadsHeadsNumbersAndSums) {
  const absl::StatusOr<LlamaLog> log = ParseLlamaLog(kLog);
  ASSERT_TRUE(log.ok()) << log.status();
  ASSERT_EQ(log->tensors.size(), 2u);
  const LogTensor& embd = log->tensors[0];
  EXPECT_EQ(embd.name, "embd");
  EXPECT_EQ(embd.op, "GET_ROWS");
  EXPECT_EQ(embd.dtype, "f32");
  EXPECT_THAT(embd.ne, ElementsAre(7, 2, 1, 1));
  EXPECT_EQ(embd.line, 2);
  ASSERT_EQ(embd.inputs.size(), 2u);
  EXPECT_EQ(embd.inputs[0].name, "token_embd.weight");
  EXPECT_THAT(embd.inputs[0].ne, ElementsAre(7, 9, 1, 1));
  EXPECT_EQ(embd.inputs[1].name, "inp_tokens");
  ASSERT_EQ(embd.numbers.size(), 12u);
  EXPECT_EQ(embd.numbers[3].index, 4);  // after the dots
  EXPECT_EQ(embd.numbers[3].value, 0.35);
  EXPECT_EQ(embd.numbers[11].index, 13);
  EXPECT_EQ(embd.sum, -3.354056);
  EXPECT_TRUE(embd.whole);
}

TEST(LlamaLogTest, KeepsADamagedTensorApart) {
  const absl::StatusOr<LlamaLog> log = ParseLlamaLog(kLog);
  ASSERT_TRUE(log.ok());
  const LogTensor& view = log->tensors[1];
  EXPECT_EQ(view.name, "cache_v_l0 (view)");
  EXPECT_EQ(view.numbers[3].index, 5);
  EXPECT_FALSE(view.whole);  // its second part is no eight rows
  EXPECT_EQ(log->damaged, 1);
}

TEST(LlamaLogTest, TakesOtherPrefixesLineEndsAndNoise) {
  std::string text =
      absl::StrReplaceAll(std::string(kLog), {{"common_debug_cb_eval", "0.00.314.159 I ggml_debug"},
                                              {"    sum", "llama_perf: 12 ms\n    sum"}});
  text = absl::StrReplaceAll(text, {{"\n", "\r\n"}});
  const absl::StatusOr<LlamaLog> log = ParseLlamaLog(text);
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_EQ(log->tensors[0].name, "embd");
  EXPECT_TRUE(log->tensors[0].whole);
  EXPECT_TRUE(LooksLikeLlamaLog(text));
}

TEST(LlamaLogTest, SaysWhatIsCutShort) {
  const std::string whole = kLog;
  const std::string text = whole.substr(0, whole.find("0.1641"));
  const absl::StatusOr<LlamaLog> log = ParseLlamaLog(text);
  ASSERT_TRUE(log.ok());
  EXPECT_TRUE(log->cut_short);
  EXPECT_EQ(log->damaged, 1);
  const absl::StatusOr<LlamaLog> ended =
      ParseLlamaLog(whole.substr(0, whole.find("common_debug_cb_eval:  cache")));
  ASSERT_TRUE(ended.ok());
  EXPECT_FALSE(ended->cut_short);
}

TEST(LlamaLogTest, RefusesOtherText) {
  EXPECT_FALSE(LooksLikeLlamaLog("a: b = (c) d\n"));
  EXPECT_THAT(std::string(ParseLlamaLog("hello\n").status().message()),
              HasSubstr("expected the output of llama-eval-callback"));
  EXPECT_FALSE(ParseLlamaLog("").ok());
}

TEST(LlamaLogTest, HostileHeadsAreNoTensors) {
  for (const char* head : {
           "x: a = (f32) OP(b{1}, }) = {9223372036854775807, 2}",  // too many elements
           "x: a = (f32) OP(b{1}, }) = {0, 1, 1, 1}",
           "x: a = (f32) OP(b{1}, }) = {-5}",
           "x: a = (f32) OP(b{1}, }) = {1, 1, 1, 1, 1}",
           "x: a = (f32) OP(b{99999999999999999999}, }) = {1}",
           "x: a = (f32) = {1}",
           "x: a = (f32 OP{}, }) = {1}",
           "x:  = (f32) OP(b{1}, }) = {1}",
           ") = { = (",
       }) {
    EXPECT_FALSE(ParseLlamaLog(head).ok()) << head;
  }
}

TEST(LlamaLogTest, HostileRowsAreDamage) {
  const std::string head = "x: a = (f32) OP(b{1}, }) = {7, 7, 1, 1}\n";
  for (const char* body :
       {"[\n[\n[ 1, 2, 3, ..., 4, 5, nonsense ],\n", "[\n[\n[ 1, 2, 3, 4, 5, 6, 7, 8 ],\n",
        "[\n[\n[ ..., 1 ],\n", "[\n[\n[ 1, 2, 3, 4, ..., 5 ],\n", "]\n]\n]\n", "[\n[\n[\n[\n",
        "[\n[\n[ 1, 2\n", "sum = 1\n", "sum = x\n", "[ 1 ]\n", "...\n"}) {
    const absl::StatusOr<LlamaLog> log = ParseLlamaLog(head + body);
    ASSERT_TRUE(log.ok());
    EXPECT_EQ(log->damaged, 1) << body;
  }
}

TEST(LlamaLogTest, ReadsTheCommittedLogs) {
  const std::string folder = RENGA_SOURCE_DIR "/tests/data/eval-callback/";
  const absl::StatusOr<LlamaLog> stories = ReadLlamaLog(folder + "stories260K.log.gz");
  ASSERT_TRUE(stories.ok()) << stories.status();
  EXPECT_EQ(stories->tensors.size(), 186u);
  EXPECT_EQ(stories->damaged, 0);
  const absl::StatusOr<LlamaLog> qwen = ReadLlamaLog(folder + "qwen2.5-coder-0.5b.log.gz");
  ASSERT_TRUE(qwen.ok()) << qwen.status();
  EXPECT_EQ(qwen->tensors.size(), 942u);
  EXPECT_EQ(qwen->damaged, 0);
}

TEST(LlamaLogTest, ReadsPlainFilesAndCompressedOnesCutShort) {
  const TempFolder folder;
  const std::string compressed =
      ReadAll(RENGA_SOURCE_DIR "/tests/data/eval-callback/stories260K.log.gz");
  ASSERT_GT(compressed.size(), 30000u);
  const std::string path = folder.path() + "/log";
  std::ofstream(path, std::ios::binary) << compressed.substr(0, 20000);
  const absl::StatusOr<LlamaLog> half = ReadLlamaLog(path);
  ASSERT_TRUE(half.ok()) << half.status();
  EXPECT_TRUE(half->cut_short);
  EXPECT_GT(half->tensors.size(), 50u);
  std::ofstream(path, std::ios::binary) << kLog;
  EXPECT_EQ(ReadLlamaLog(path)->tensors.size(), 2u);
  EXPECT_EQ(*ReadLogText(path, 5), "llama");
  std::ofstream(path, std::ios::binary) << "\x1f\x8b\x08 junk";
  EXPECT_THAT(std::string(ReadLlamaLog(path).status().message()), HasSubstr(path));
  EXPECT_EQ(ReadLlamaLog(path + ".none").status().code(), absl::StatusCode::kNotFound);
}

TEST(LlamaLogTest, EveryBeginningOfALogIsReadWithoutACrash) {
  const std::string text = kLog;
  for (size_t size = 0; size < text.size(); ++size) {
    const absl::StatusOr<LlamaLog> log = ParseLlamaLog(text.substr(0, size));
    EXPECT_TRUE(!log.ok() || log->tensors.size() <= 2u);
  }
}

TEST(LlamaNamesTest, TellsRoleAndLayer) {
  EXPECT_EQ(RoleOf("Qcur-12 (view)").role, "Qcur-# (view)");
  EXPECT_EQ(RoleOf("Qcur-12 (view)").layer, 12);
  EXPECT_EQ(RoleOf("cache_k_l3").role, "cache_k_l#");
  EXPECT_EQ(RoleOf("cache_v_l0 (reshaped) (view)").role, "cache_v_l# (reshaped) (view)");
  EXPECT_EQ(RoleOf("result_norm").layer, -1);
  EXPECT_EQ(RoleOf("node_31").layer, -1);
  EXPECT_EQ(RoleOf("a-3b").layer, -1);
  EXPECT_EQ(RoleOf("a-99999999999999999999").layer, -1);
}

}  // namespace
}  // namespace renga
