// Traces as files: whatever a run holds comes back, and a file that is no trace says why.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <limits>
#include <random>

#include "ir/base/strings.h"
#include "ir/trace/axis_names.h"
#include "ir/trace/plain_text.h"
#include "ir/trace/safetensors.h"
#include "ir/trace/stats.h"
#include "ir/trace/write_trace.h"
#include "tests/ir/trace/make_trace.h"
#include "tests/support/temp_folder.h"

namespace renga {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

Trace SmallTrace() {
  Trace trace;
  trace.run.model = "m.gguf";
  trace.run.model_digest = "00ff";
  trace.run.device = "cpu";
  trace.run.target = "cpu";
  trace.run.producer = "renga 0";
  trace.run.prompt = "Once";
  trace.run.ids = {1, 403, 2147483647};
  trace.run.k_type = "f16";
  trace.run.v_type = "bf16";
  trace.run.ir = "ir 1\n";
  AddTraced(trace, "a", "linear", {2, 2}, {"token", "dim"}, {1, -2, 0, 4});
  AddTraced(trace, "b", "rope", {3}, {"axis 0"}, {0.5, 2, -1}, DType::kF16);
  AddTraced(trace, "c", "add", {1, 2}, {"row", "dim"}, {kNan, 3}, DType::kBF16);
  AddTraced(trace, "d", "embed", {0, 4}, {"token", "dim"}, {});
  for (TracedValue& value : trace.values) value.stats = ComputeStats(value);
  return trace;
}

class TraceFileTest : public testing::Test {
 protected:
  Trace RoundTrip(const Trace& trace) {
    const absl::Status status = WriteTrace(trace, folder_.File("x.trace"));
    EXPECT_TRUE(status.ok()) << status;
    absl::StatusOr<Trace> read = ReadTrace(folder_.File("x.trace"));
    EXPECT_TRUE(read.ok()) << read.status();
    return read.ok() ? *std::move(read) : Trace();
  }

  // Reads SmallTrace()'s file after `change` of its container.
  std::string ErrorAfter(const std::function<void(SafeTensors&)>& change) {
    EXPECT_TRUE(WriteTrace(SmallTrace(), folder_.File("x.trace")).ok());
    const std::string bytes = ReadFile(folder_.File("x.trace"));
    absl::StatusOr<SafeTensors> file =
        ParseSafetensors({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "x.trace");
    EXPECT_TRUE(file.ok()) << file.status();
    change(*file);
    EXPECT_TRUE(WriteSafetensors(*file, folder_.File("y.trace")).ok());
    const absl::Status status = ReadTrace(folder_.File("y.trace")).status();
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(ToStd(status.message()), HasSubstr(folder_.File("y.trace") + ": "));
    return std::string(ToStd(status.message()));
  }

  // The same with one text of the metadata replaced; nullopt takes it away.
  std::string ErrorWith(std::string_view key, std::optional<std::string> text) {
    return ErrorAfter([&](SafeTensors& file) {
      std::erase_if(file.metadata, [&](const auto& entry) { return entry.first == key; });
      if (text) file.metadata.emplace_back(std::string(key), *text);
    });
  }

  const TempFolder folder_;
};

TEST_F(TraceFileTest, RunsComeBack) {
  const Trace trace = SmallTrace();
  const Trace read = RoundTrip(trace);
  EXPECT_EQ(read.run.model, "m.gguf");
  EXPECT_EQ(read.run.model_digest, "00ff");
  EXPECT_EQ(read.run.device, "cpu");
  EXPECT_EQ(read.run.producer, "renga 0");
  EXPECT_EQ(read.run.prompt, "Once");
  EXPECT_EQ(read.run.ids, trace.run.ids);
  EXPECT_EQ(read.run.k_type, "f16");
  EXPECT_EQ(read.run.v_type, "bf16");
  EXPECT_EQ(read.run.ir, "ir 1\n");
  ASSERT_EQ(read.values.size(), trace.values.size());
  for (size_t i = 0; i < read.values.size(); ++i) {
    const TracedValue &x = trace.values[i], &y = read.values[i];
    EXPECT_EQ(x.name, y.name);
    EXPECT_EQ(x.op, y.op);
    EXPECT_EQ(x.dtype, y.dtype);
    EXPECT_EQ(x.shape, y.shape);
    EXPECT_EQ(x.axes, y.axes);
    EXPECT_EQ(x.stats, y.stats) << x.name;
    EXPECT_TRUE(x.data == y.data) << x.name;
  }
  EXPECT_EQ(ElementAt(read.values[1], 0), 0.5);
  EXPECT_THAT(AsFloats(read.values[0]), ElementsAre(1, -2, 0, 4));
  EXPECT_EQ(read.Find("b"), &read.values[1]);
  EXPECT_EQ(read.Find("e"), nullptr);
}

TEST_F(TraceFileTest, PositionsComeBackAndFitTheRows) {
  Trace trace;
  trace.run.ids = {1, 403, 407};
  trace.run.positions = {0, 2};
  AddTraced(trace, "a", "linear", {2, 2}, {"token", "dim"}, {1, -2, 0, 4});
  AddTraced(trace, "b", "linear", {1, 2}, {"row", "dim"}, {1, -2});
  AddTraced(trace, "c", "kv_append", {3}, {"cell"}, {1, -2, 3});
  const Trace read = RoundTrip(trace);
  ASSERT_EQ(read.values.size(), 3u);
  EXPECT_THAT(read.run.positions, ElementsAre(0, 2));
  EXPECT_THAT(read.values[0].positions, ElementsAre(0, 2));
  EXPECT_THAT(read.values[1].positions, ElementsAre(2));
  EXPECT_THAT(read.values[2].positions, ElementsAre());
  trace.run.positions = {0};
  ASSERT_TRUE(WriteTrace(trace, folder_.File("x.trace")).ok());
  EXPECT_THAT(ToStd(ReadTrace(folder_.File("x.trace")).status().message()),
              HasSubstr("tensor a: expected rows for the 1 positions that are kept, got 2"));
}

TEST_F(TraceFileTest, AnyBytesMayBeNames) {
  Trace trace = SmallTrace();
  const std::string odd[] = {"\xff\xfe", "a\"b", "back\\slash\\x41", std::string("nul\0.", 5)};
  for (int i = 0; i < 4; ++i) trace.values[i].name = trace.values[i].op = odd[i];
  trace.run.prompt = "\x1b[31m \xc3 \xe2\x82\xac \\ \n\t";
  trace.run.model = "\xc3(.gguf";
  const Trace read = RoundTrip(trace);
  ASSERT_EQ(read.values.size(), 4u);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(read.values[i].name, odd[i]);
    EXPECT_EQ(read.values[i].op, odd[i]);
  }
  EXPECT_EQ(read.run.prompt, trace.run.prompt);
  EXPECT_EQ(read.run.model, trace.run.model);
}

TEST_F(TraceFileTest, EmptyRunsComeBack) {
  const Trace read = RoundTrip(Trace());
  EXPECT_TRUE(read.values.empty());
  EXPECT_TRUE(read.run.ids.empty());
}

TEST_F(TraceFileTest, TwoValuesOfOneNameAreNotWritten) {
  Trace trace = SmallTrace();
  trace.values[1].name = "a";
  EXPECT_EQ(WriteTrace(trace, folder_.File("x.trace")).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(std::filesystem::exists(folder_.File("x.trace")));
}

TEST_F(TraceFileTest, MetadataIsChecked) {
  EXPECT_THAT(ErrorWith("format", std::nullopt), HasSubstr("format"));
  EXPECT_THAT(ErrorWith("format", "pt"), HasSubstr("a safetensors file of something else"));
  EXPECT_THAT(ErrorWith("version", "1"),
              AllOf(HasSubstr("version: expected 2, got 1"), HasSubstr("trace it again")));
  for (const std::string key : {"version", "model", "model_digest", "device", "target", "producer",
                                "prompt", "ids", "positions", "k_type", "v_type", "ir"}) {
    EXPECT_THAT(ErrorWith(key, std::nullopt), HasSubstr("metadata " + key + ": expected a text"));
  }
  EXPECT_THAT(ErrorWith("prompt", "\\q"), HasSubstr("metadata prompt: expected backslashes"));
  for (const std::string ids : {"1,,2", "x", "1 2", "-1", "2147483648", ",1"}) {
    EXPECT_THAT(ErrorWith("ids", ids), HasSubstr("metadata ids: expected numbers")) << ids;
  }
  EXPECT_THAT(ErrorWith("positions", "0,x"), HasSubstr("metadata positions: expected numbers"));
  for (const std::string positions : {"3", "1,1", "2,0"}) {
    EXPECT_THAT(ErrorWith("positions", positions),
                HasSubstr("metadata positions: expected ascending numbers below 3"))
        << positions;
  }
}

TEST_F(TraceFileTest, TheTableOfValuesIsChecked) {
  const std::string rest =
      R"("op":"x","min":0,"max":0,"mean":0,"rms":0,"zeros":0,"nans":0,"infs":0})";
  const auto entry = [&](const std::string& name, const std::string& axes) {
    return StrCat("{\"name\":\"", name, "\",\"axes\":[", axes, "],", rest);
  };
  const std::string a = entry("a", R"("t","d")"), b = entry("b", R"("x")"),
                    c = entry("c", R"("r","d")"), d = entry("d", R"("t","d")");
  const auto table = [&](const std::string& first) {
    return ErrorWith("values", StrCat("[", first, ",", b, ",", c, ",", d, "]"));
  };
  EXPECT_THAT(ErrorWith("values", std::nullopt), HasSubstr("expected a table of 4 values"));
  EXPECT_THAT(ErrorWith("values", "[]"), HasSubstr("expected a table of 4 values"));
  EXPECT_THAT(ErrorWith("values", "{"), HasSubstr("expected a table of 4 values"));
  EXPECT_THAT(ErrorWith("values", std::string(100'000, '[')), HasSubstr("expected a table of 4"));
  EXPECT_THAT(table(b), HasSubstr("entry 1"));  // twice: the first takes it
  EXPECT_THAT(table(entry("z", R"("t","d")")), HasSubstr("entry 0"));
  EXPECT_THAT(table(entry("a", R"("t")")), HasSubstr("entry 0"));
  EXPECT_THAT(table(entry("a", "1,2")), HasSubstr("entry 0"));
  EXPECT_THAT(table(entry("a", StrCat("\"t\",\"", std::string(65, 'd'), "\""))),
              HasSubstr("entry 0"));
  EXPECT_THAT(table("7"), HasSubstr("entry 0"));
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"\"zeros\":0", "\"zeros\":-1"},
           {"\"zeros\":0", "\"zeros\":18446744073709551615"},
           {"\"nans\":0", "\"nans\":\"0\""},
           {"\"max\":0", "\"max\":null"},
           {"\"op\":\"x\"", "\"op\":7"},
           {"\"op\":\"x\"", "\"op\":\"\\\\q\""},
           {"\"rms\":0,", ""}}) {
    std::string changed = a;
    changed.replace(changed.find(from), from.size(), to);
    EXPECT_THAT(table(changed), HasSubstr("metadata values: entry 0: expected")) << changed;
  }
}

TEST_F(TraceFileTest, CutsAndFlipsNeverCrash) {
  ASSERT_TRUE(WriteTrace(SmallTrace(), folder_.File("x.trace")).ok());
  const std::string whole = ReadFile(folder_.File("x.trace"));
  EXPECT_TRUE(IsTraceFile({reinterpret_cast<const uint8_t*>(whole.data()), whole.size()}));
  for (size_t length = 0; length < whole.size(); length += 41) {
    const absl::Status status =
        ReadTrace(folder_.Write("cut", std::string_view(whole).substr(0, length))).status();
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  }
  std::mt19937 random(11);
  int refused = 0;
  for (int round = 0; round < 400; ++round) {
    std::string text = whole;
    for (int i = 0; i <= round % 3; ++i) text[random() % text.size()] = static_cast<char>(random());
    const absl::StatusOr<Trace> trace = ReadTrace(folder_.Write("flipped", text));
    refused += !trace.ok();
    if (!trace.ok()) continue;
    for (const TracedValue& value : trace->values) ComputeStats(value);  // reads every element
  }
  EXPECT_GT(refused, 100);
}

TEST(StatsTest, CountsWhatIsNoNumberApart) {
  Trace trace;
  const ValueStats stats = ComputeStats(
      AddTraced(trace, "a", "x", {2, 4}, {"t", "d"}, {kNan, 3, -kInf, 0, -4, kInf, -0.0f, kNan}));
  EXPECT_EQ(stats,
            (ValueStats{
                .min = -4, .max = 3, .mean = -0.25, .rms = 2.5, .zeros = 2, .nans = 2, .infs = 2}));
  EXPECT_EQ(ComputeStats(AddTraced(trace, "b", "x", {0}, {"d"}, {})), ValueStats());
  EXPECT_EQ(ComputeStats(AddTraced(trace, "c", "x", {1}, {"d"}, {kNan})), (ValueStats{.nans = 1}));
  const std::vector<int32_t> ids = {-5, 0, 2147483647};
  TracedValue value;
  value.dtype = DType::kI32;
  value.shape = {3};
  value.data = {reinterpret_cast<const uint8_t*>(ids.data()), 12};
  EXPECT_EQ(ComputeStats(value).min, -5);
  EXPECT_EQ(ComputeStats(value).max, 2147483647);
  EXPECT_EQ(ElementAt(value, 0), -5);
}

TEST(PlainTextTest, AnyBytesComeBackAndAreUtf8) {
  std::mt19937 random(3);
  for (int round = 0; round < 2'000; ++round) {
    std::string bytes;
    for (int i = 0; i < 12; ++i) bytes.push_back(static_cast<char>(random()));
    const std::string text = EncodePlainText(bytes);
    EXPECT_TRUE(IsUtf8(text));
    EXPECT_EQ(DecodePlainText(text), bytes);
  }
  EXPECT_EQ(EncodePlainText("\xe2\x82\xac\\\x1b\xff"), "\xe2\x82\xac\\\\\\x1b\\xff");
}

TEST(PlainTextTest, WhatIsNoUtf8) {
  for (const std::string_view text :
       {"\x80", "\xc0\x80", "\xc3", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x80\x80\x80",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82"}) {
    EXPECT_FALSE(IsUtf8(text)) << EncodePlainText(text);
  }
  for (const std::string_view text : {"", "a", "\xc3\xa9", "\xef\xbf\xbf", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(IsUtf8(text)) << text;
  }
  for (const std::string_view text : {"\\", "\\x", "\\x4", "\\xg0", "\\x4g", "\\n", "a\\x-1"}) {
    EXPECT_EQ(DecodePlainText(text), std::nullopt) << text;
  }
  EXPECT_EQ(DecodePlainText("\\x41\\\\x"), "A\\x");
}

TEST(AxisNamesTest, SymbolsAndPlaces) {
  const auto names = [](std::vector<Dim> shape) {
    TensorType type;
    type.shape.assign(shape.begin(), shape.end());
    return AxisNames(type);
  };
  const auto symbol = [](const char* name) { return Dim::Symbol(name); };
  const auto size = [](int64_t n) { return Dim(n); };
  EXPECT_THAT(names({symbol("T"), size(8), size(64)}), ElementsAre("token", "head", "dim"));
  EXPECT_THAT(names({symbol("R"), size(512)}), ElementsAre("row", "dim"));
  EXPECT_THAT(names({symbol("T"), size(8), symbol("L")}), ElementsAre("token", "head", "key"));
  EXPECT_THAT(names({symbol("C"), symbol("S"), symbol("P")}),
              ElementsAre("cell", "sequence", "page"));
  EXPECT_THAT(names({size(2), size(3), size(4), size(5)}),
              ElementsAre("axis 0", "axis 1", "axis 2", "dim"));
  EXPECT_TRUE(names({}).empty());
}

}  // namespace
}  // namespace renga
