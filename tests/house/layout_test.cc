// House rules that a compiler does not check: the top level, the length of files, include guards,
// and no promises of work to come.

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "tests/house/source_tree.h"

namespace renga::house {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr size_t kMaxLines = 800;

// Entries of the top level that have no place there. Hidden ones are free (settings of tools), and
// so is what .gitignore keeps out of the repository: build folders, models and plans.
Findings CheckTopLevel(const std::vector<std::string>& entries) {
  static const auto& allowed = *new std::set<std::string_view>{"CMakeLists.txt",
                                                               "CMakePresets.json",
                                                               "README.md",
                                                               "ARCHITECTURE.md",
                                                               "CONTRIBUTING.md",
                                                               "LICENSE",
                                                               "docs",
                                                               "ir",
                                                               "frontend",
                                                               "passes",
                                                               "codegen",
                                                               "runtime",
                                                               "tests",
                                                               "tools"};
  Findings findings;
  for (const std::string& entry : entries) {
    if (allowed.contains(entry) || entry.starts_with('.') || entry.starts_with("build") ||
        entry == "compile_commands.json" || EndsWithAny(entry, {".gguf", ".plan", ".trace"})) {
      continue;
    }
    findings.push_back(StrCat(entry, ": the top level is fixed; move it into a folder"));
  }
  return findings;
}

Findings CheckLength(const std::vector<SourceFile>& files) {
  Findings findings;
  for (const SourceFile& file : files) {
    if (file.lines.size() <= kMaxLines) continue;
    findings.push_back(StrCat(file.path, ": expected at most ", kMaxLines, " lines, got ",
                              file.lines.size(), "; split it by concept"));
  }
  return findings;
}

// Headers start with #pragma once, below their comment. Those that Highway compiles again for each
// instruction set (-inl.h) cannot, and have its toggled guard instead.
Findings CheckGuards(const std::vector<SourceFile>& files) {
  Findings findings;
  for (const SourceFile& file : files) {
    if (!IsHeader(file.path)) continue;
    std::string_view first;
    for (const std::string& line : file.lines) {
      if (line.empty() || line.starts_with("//")) continue;
      first = line;
      break;
    }
    const bool toggled = file.path.ends_with("-inl.h");
    if (toggled ? first.starts_with("#if defined(") && first.ends_with("HWY_TARGET_TOGGLE)")
                : first == "#pragma once") {
      continue;
    }
    findings.push_back(StrCat(file.path, ": expected ",
                              toggled ? "a guard with HWY_TARGET_TOGGLE" : "#pragma once",
                              " before all code"));
  }
  return findings;
}

// Words that announce unfinished work, put together here because this file obeys its rule too.
const std::vector<std::string>& Markers() {
  static const auto& markers =
      *new std::vector<std::string>{StrCat("TO", "DO"), StrCat("FIX", "ME"), std::string(3, 'X')};
  return markers;
}

Findings CheckMarkers(const std::vector<SourceFile>& files) {
  Findings findings;
  for (const SourceFile& file : files) {
    for (size_t i = 0; i < file.lines.size(); ++i) {
      for (const std::string& marker : Markers()) {
        const size_t at = file.lines[i].find(marker);
        if (at == std::string::npos) continue;
        // mktemp templates end in a row of X.
        if (file.lines[i].substr(at).starts_with(std::string(6, 'X'))) continue;
        findings.push_back(StrCat(file.path, ":", i + 1, ": ", marker,
                                  ": finish it, or open an issue and remove the line"));
      }
    }
  }
  return findings;
}

std::vector<std::string> TopLevelOf(const std::filesystem::path& root) {
  std::vector<std::string> entries;
  for (const auto& entry : std::filesystem::directory_iterator(root)) {
    entries.push_back(entry.path().filename().string());
  }
  return entries;
}

TEST(Layout, HoldsInTheTree) {
  const std::vector<SourceFile> files = ReadTree(RENGA_SOURCE_DIR);
  ASSERT_GT(files.size(), 100u) << "the tree was not read";
  for (const Findings& findings : {CheckTopLevel(TopLevelOf(RENGA_SOURCE_DIR)), CheckLength(files),
                                   CheckGuards(files), CheckMarkers(files)}) {
    EXPECT_TRUE(findings.empty()) << StrJoin(findings, "\n");
  }
}

TEST(Layout, TopLevelIsFixed) {
  EXPECT_THAT(CheckTopLevel({"ir", "README.md", ".ci", ".git", "build", "build-me", "m.plan"}),
              IsEmpty());
  EXPECT_THAT(CheckTopLevel({"ir", "scripts"}),
              ElementsAre("scripts: the top level is fixed; move it into a folder"));
  EXPECT_THAT(CheckTopLevel({"irs", "notes.md"}), testing::SizeIs(2));
}

TEST(Layout, FilesStayShort) {
  EXPECT_THAT(CheckLength({{"ir/x.cc", std::vector<std::string>(kMaxLines)}}), IsEmpty());
  EXPECT_THAT(CheckLength({{"ir/x.cc", std::vector<std::string>(kMaxLines + 1)}}),
              ElementsAre("ir/x.cc: expected at most 800 lines, got 801; split it by concept"));
}

TEST(Layout, HeadersAreGuarded) {
  EXPECT_THAT(CheckGuards({{"ir/x.h", {"// what", "", "#pragma once", "int a;"}}}), IsEmpty());
  EXPECT_THAT(CheckGuards({{"ir/x.cc", {"int a;"}}}), IsEmpty());
  const std::string toggle = "#if defined(X_INL_H_) == defined(HWY_TARGET_TOGGLE)";
  EXPECT_THAT(CheckGuards({{"runtime/x-inl.h", {"// what", toggle}}}), IsEmpty());
  for (const SourceFile& bad : std::vector<SourceFile>{{"ir/x.h", {}},
                                                       {"ir/x.h", {"// #pragma once"}},
                                                       {"ir/x.h", {"int a;", "#pragma once"}},
                                                       {"ir/x.h", {"#ifndef X", toggle}},
                                                       {"ir/x.cuh", {"int a;"}},
                                                       {"runtime/x-inl.h", {"#pragma once"}}}) {
    EXPECT_THAT(CheckGuards({bad}), testing::SizeIs(1)) << bad.path;
  }
}

TEST(Layout, NothingIsPromised) {
  EXPECT_THAT(CheckMarkers({{"ir/x.cc", {"// why", "int todo;", "mktemp /tmp/a.XXXXXX"}}}),
              IsEmpty());
  for (const std::string& marker : Markers()) {
    EXPECT_THAT(CheckMarkers({{"ir/x.cc", {"int a;", StrCat("// ", marker, "(me): later")}}}),
                ElementsAre(StrCat("ir/x.cc:2: ", marker,
                                   ": finish it, or open an issue and remove the line")));
  }
}

}  // namespace
}  // namespace renga::house
