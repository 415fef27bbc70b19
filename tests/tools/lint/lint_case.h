// Runs lint over a tiny model that a test has changed.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "frontend/models/model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "tests/support/tiny_model.h"
#include "tools/lint/lint.h"

namespace renga {

// Sets a metadata key of any name, whether or not it is there.
inline void SetKey(TinyModel& tiny, std::string_view key, MetaType type, std::string value) {
  std::erase_if(tiny.writer.entries,
                [&](const GgufWriter::Entry& entry) { return entry.key == key; });
  tiny.writer.Add(std::string(key), type, std::move(value));
}
inline void SetText(TinyModel& tiny, std::string_view key, std::string_view value) {
  SetKey(tiny, key, MetaType::kString, RawString(value));
}
inline void SetTokens(TinyModel& tiny, const std::vector<std::string>& tokens) {
  SetKey(tiny, "tokenizer.ggml.tokens", MetaType::kArray, RawArray(tokens));
}

// Everything lint says, one line a finding: "likely norm-epsilon llama.x: what".
inline std::vector<std::string> LinesOf(const std::vector<Finding>& findings) {
  std::vector<std::string> lines;
  for (const Finding& finding : findings) {
    lines.push_back(
        StrCat(Name(finding.sureness), " ", finding.check, " ", finding.where, ": ", finding.what));
    EXPECT_FALSE(finding.meaning.empty()) << lines.back();
    EXPECT_FALSE(finding.advice.empty()) << lines.back();
  }
  return lines;
}

inline std::vector<std::string> LintFile(const std::string& path) {
  const auto file = GgufFile::Open(path);
  EXPECT_TRUE(file.ok()) << file.status();
  if (!file.ok()) return {};
  const auto model = BuildModel(*file, {.context = 64});
  EXPECT_TRUE(model.ok()) << model.status();
  if (!model.ok()) return {};
  const auto findings = Lint(*file, *model, {.threads = 2, .progress = {}});
  EXPECT_TRUE(findings.ok()) << findings.status();
  return findings.ok() ? LinesOf(*findings) : std::vector<std::string>();
}

// A case of a table: a change to a model that has no finding, and all that lint says of it then.
struct LintCase {
  std::string name;
  void (*change)(TinyModel& tiny);
  std::vector<std::string> lines;            // each the beginning of a line, in lint's order
  void (*shape)(TinyModel& tiny) = nullptr;  // sets sizes before the model is filled
};

inline void PrintTo(const LintCase& lint_case, std::ostream* out) { *out << lint_case.name; }

inline void RunCase(const LintCase& lint_case) {
  TinyModel tiny;
  if (lint_case.shape != nullptr) lint_case.shape(tiny);
  tiny.Fill();
  lint_case.change(tiny);
  std::vector<testing::Matcher<std::string>> expected;
  for (const std::string& line : lint_case.lines) expected.push_back(testing::StartsWith(line));
  EXPECT_THAT(LintFile(tiny.Write()), testing::ElementsAreArray(expected));
}

}  // namespace renga
