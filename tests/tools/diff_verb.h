// The `diff` verb as a user runs it, and the files it compares.
#pragma once

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/tools/process.h"

namespace renga {

inline std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

inline std::string Output(const std::vector<std::string>& args) {
  const ProcessResult result = Renga(args);
  EXPECT_EQ(result.exit_code, 0) << result.Describe();
  return result.out;
}

// All occurrences, of which there must be one.
inline std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  EXPECT_THAT(text, testing::HasSubstr(from));
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

class DiffVerbTest : public testing::Test {
 protected:
  static std::string Log() {
    return RENGA_SOURCE_DIR "/tests/data/eval-callback/stories260K.log.gz";
  }

  static ProcessResult Diff(const std::string& a, const std::string& b,
                            const std::vector<std::string>& more = {}) {
    std::vector<std::string> args = {"diff", a, b};
    args.insert(args.end(), more.begin(), more.end());
    return Renga(args);
  }

  // What it says; the exit code must be what "equal" of its JSON is.
  static std::string Text(const std::string& a, const std::string& b, bool equal,
                          const std::vector<std::string>& more = {}) {
    const ProcessResult result = Diff(a, b, more);
    EXPECT_EQ(result.exit_code, equal ? 0 : 1) << result.Describe();
    return result.out;
  }
  static nlohmann::json JsonOf(const std::string& a, const std::string& b, bool equal,
                               std::vector<std::string> more = {}) {
    more.push_back("--json");
    nlohmann::json json =
        nlohmann::json::parse(Text(a, b, equal, more), nullptr, /*allow_exceptions=*/false);
    EXPECT_TRUE(json.is_object());
    if (!json.is_object()) return nlohmann::json::object();
    EXPECT_EQ(json["equal"], equal);
    return json;
  }

  static void ExpectError(const std::string& a, const std::string& b,
                          const std::vector<std::string>& says,
                          const std::vector<std::string>& more = {}) {
    const ProcessResult result = Diff(a, b, more);
    EXPECT_EQ(result.exit_code, 2) << result.Describe();
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.err, testing::StartsWith("error: "));
    for (const std::string& word : says) EXPECT_THAT(result.err, testing::HasSubstr(word));
  }

  std::string Ir() const { return folder_.Write("a.ir", Output({"dump", StoryModel()})); }
  std::string Neox() const {
    return folder_.Write("neox.ir",
                         Replaced(Output({"dump", StoryModel()}), "pairing=norm", "pairing=neox"));
  }
  std::string Plan(const std::vector<std::string>& more = {},
                   const std::string& name = "m.plan") const {
    std::vector<std::string> args = {"compile", StoryModel(), "-o", folder_.File(name)};
    args.insert(args.end(), more.begin(), more.end());
    Output(args);
    return folder_.File(name);
  }
  std::string Trace(const std::string& name, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> args = {"trace", StoryModel(), "-o", folder_.File(name)};
    args.insert(args.end(), more.begin(), more.end());
    if (more.empty() || more[0] != "-p") args.insert(args.end(), {"-p", "Once upon a time"});
    Output(args);
    return folder_.File(name);
  }

  const TempFolder folder_;
};

}  // namespace renga
