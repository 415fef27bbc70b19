// The law of who may include whom. The stages meet only in tools/ and tests/, so that each can be
// read, tested and replaced alone, and the runtime stays free of graphs, operators and GGUF.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "tests/house/source_tree.h"

namespace renga::house {
namespace {

// The first rule whose folder holds a file applies to it. A file may include what is under one of
// `may` and not under one of `except`.
struct Rule {
  std::string_view folder;
  std::vector<std::string_view> may;
  std::vector<std::string_view> except;
};

const std::vector<Rule>& Law() {
  static const auto& law = *new std::vector<Rule>{
      {"ir/base", {"ir/base"}, {}},
      {"ir", {"ir"}, {}},
      // Nothing on the way to the plan may lean on the reference interpreter: a fault in shared
      // code would show the same on both sides of a comparison.
      {"frontend", {"frontend", "ir"}, {"ir/reference"}},
      {"passes", {"passes", "ir"}, {"ir/reference"}},
      {"codegen", {"codegen", "ir", "runtime/plan"}, {"ir/reference"}},
      {"runtime/plan", {"runtime/plan", "ir/base"}, {}},
      {"runtime/exec", {"runtime", "ir/base"}, {}},
      {"runtime", {"runtime", "ir/base"}, {"runtime/exec"}},
      {"tools", {"ir", "frontend", "passes", "codegen", "runtime", "tools"}, {}},
      {"tests", {"ir", "frontend", "passes", "codegen", "runtime", "tools", "tests"}, {}},
  };
  return law;
}

// Whether `path` is `folder` or lies in it: "ir/base" holds "ir/base/x.h", not "ir/baseline.h".
bool IsUnder(std::string_view path, std::string_view folder) {
  return path.starts_with(folder) && (path.size() == folder.size() || path[folder.size()] == '/');
}

bool IsUnderAny(std::string_view path, const std::vector<std::string_view>& folders) {
  return std::any_of(folders.begin(), folders.end(),
                     [&](std::string_view folder) { return IsUnder(path, folder); });
}

struct Include {
  std::string_view path;
  bool quoted;  // "path" rather than <path>
};

// The include of a line, whatever the spaces; nothing for any other line, comments among them.
std::optional<Include> ParseInclude(std::string_view line) {
  auto skip_spaces = [&] {
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  };
  skip_spaces();
  if (!line.starts_with('#')) return std::nullopt;
  line.remove_prefix(1);
  skip_spaces();
  if (!line.starts_with("include")) return std::nullopt;
  line.remove_prefix(std::string_view("include").size());
  skip_spaces();
  if (line.empty() || (line[0] != '"' && line[0] != '<')) return std::nullopt;
  const bool quoted = line[0] == '"';
  line.remove_prefix(1);
  return Include{line.substr(0, line.find(quoted ? '"' : '>')), quoted};
}

// Of the headers of other projects, those that live in no folder of theirs.
bool IsForeignWithoutFolder(std::string_view path) {
  return path == "xxhash.h" || path == "pcre2.h";
}

// What is wrong with one include of a file; nothing where it is lawful.
std::optional<std::string> JudgeInclude(std::string_view file, const Include& include) {
  static const auto& ours = *new std::vector<std::string_view>{
      "ir", "frontend", "passes", "codegen", "runtime", "tests", "tools"};
  const std::string_view path = include.path;
  if (!IsUnderAny(path, ours)) {
    const bool foreign = !include.quoted || IsForeignWithoutFolder(path);
    if (!foreign && (path.find('/') == path.npos || path.starts_with('.'))) {
      return StrCat("includes \"", path, "\", expected a path from the root of the repository");
    }
    return std::nullopt;
  }
  if (path.find("/.") != path.npos) {
    return StrCat("includes \"", path, "\", expected a path without . and ..");
  }
  for (const Rule& rule : Law()) {
    if (!IsUnder(file, rule.folder)) continue;
    if (IsUnderAny(path, rule.may) && !IsUnderAny(path, rule.except)) return std::nullopt;
    return StrCat("includes \"", path, "\", but ", rule.folder, " may include only ",
                  StrJoin(rule.may, ", "), rule.except.empty() ? "" : ", without ",
                  StrJoin(rule.except, ", "));
  }
  return StrCat("includes \"", path, "\", but no rule covers the including file");
}

Findings CheckIncludes(const std::vector<SourceFile>& files) {
  Findings findings;
  for (const SourceFile& file : files) {
    if (!IsCxx(file.path)) continue;
    for (size_t i = 0; i < file.lines.size(); ++i) {
      const std::optional<Include> include = ParseInclude(file.lines[i]);
      if (!include) continue;
      if (auto wrong = JudgeInclude(file.path, *include)) {
        findings.push_back(StrCat(file.path, ":", i + 1, ": ", *wrong));
      }
    }
  }
  return findings;
}

TEST(IncludeLaw, HoldsInTheTree) {
  const std::vector<SourceFile> files = ReadTree(RENGA_SOURCE_DIR);
  int includes = 0;
  for (const SourceFile& file : files) {
    for (const std::string& line : file.lines) includes += ParseInclude(line).has_value();
  }
  ASSERT_GT(includes, 200) << "the tree was not read";
  const Findings findings = CheckIncludes(files);
  EXPECT_TRUE(findings.empty()) << StrJoin(findings, "\n");
}

// Whether a line in a made-up file breaks the law.
bool Breaks(std::string path, std::string line) {
  return !CheckIncludes({{std::move(path), {std::move(line)}}}).empty();
}

TEST(IncludeLaw, SeesEveryForbiddenPair) {
  const std::vector<std::pair<std::string, std::string>> forbidden = {
      {"ir/base/x.h", "ir/core/graph.h"},
      {"ir/core/x.h", "passes/core/pass.h"},
      {"ir/text/x.cc", "runtime/plan/plan.h"},
      {"frontend/gguf/x.cc", "passes/core/pass.h"},
      {"frontend/models/x.cc", "codegen/lower/lower.h"},
      {"frontend/models/x.cc", "runtime/plan/plan.h"},
      {"frontend/models/x.cc", "ir/reference/dequant.h"},
      {"passes/simplify/x.cc", "frontend/models/model.h"},
      {"passes/simplify/x.cc", "runtime/plan/plan.h"},
      {"passes/simplify/x.cc", "ir/reference/interpreter.h"},
      {"codegen/lower/x.cc", "frontend/gguf/gguf.h"},
      {"codegen/lower/x.cc", "passes/core/ledger.h"},
      {"codegen/lower/x.cc", "runtime/exec/session.h"},
      {"codegen/lower/x.cc", "runtime/planner/x.h"},
      {"codegen/emit/x.cc", "ir/reference/dequant.h"},
      {"codegen/kernels/x.cuh", "runtime/device/cpu/simd.h"},
      {"runtime/plan/x.cc", "runtime/exec/session.h"},
      {"runtime/plan/x.cc", "ir/core/graph.h"},
      {"runtime/text/x.cc", "runtime/exec/session.h"},
      {"runtime/device/cpu/x.cc", "ir/ops/ops.h"},
      {"runtime/exec/x.cc", "ir/core/graph.h"},
      {"runtime/exec/x.cc", "frontend/gguf/gguf.h"},
      {"runtime/exec/x.cc", "codegen/lower/lower.h"},
      {"runtime/memory/x.cc", "passes/core/pass.h"},
      {"ir/core/x.cc", "tools/compiler.h"},
      {"runtime/exec/x.cc", "tests/support/files.h"},
      {"tools/renga/x.cc", "tests/support/files.h"},
      {"docs/x.h", "ir/base/status.h"},
  };
  for (const auto& [file, path] : forbidden) {
    EXPECT_TRUE(Breaks(file, StrCat("#include \"", path, "\""))) << file << " -> " << path;
    EXPECT_TRUE(Breaks(file, StrCat("  # include <", path, ">  // why"))) << file << " -> " << path;
    EXPECT_FALSE(Breaks(file, StrCat("// #include \"", path, "\""))) << file << " -> " << path;
  }
}

TEST(IncludeLaw, LetsTheAllowedPairsPass) {
  const std::vector<std::pair<std::string, std::string>> allowed = {
      {"ir/base/x.cc", "ir/base/status.h"},
      {"ir/core/x.cc", "ir/base/status.h"},
      {"ir/reference/x.cc", "ir/core/graph.h"},
      {"frontend/models/x.cc", "ir/core/graph.h"},
      {"frontend/models/x.cc", "frontend/gguf/gguf.h"},
      {"passes/simplify/x.cc", "passes/core/pass.h"},
      {"codegen/lower/x.cc", "runtime/plan/plan.h"},
      {"codegen/lower/x.cc", "ir/core/graph.h"},
      {"runtime/plan/x.cc", "runtime/plan/plan_generated.h"},
      {"runtime/device/cpu/x.cc", "runtime/memory/arena.h"},
      {"runtime/exec/x.cc", "runtime/device/cpu/kernel.h"},
      {"tools/compiler.cc", "passes/core/pass.h"},
      {"tests/e2e/x_test.cc", "tools/compiler.h"},
      {"runtime/text/x.cc", "absl/status/status.h"},
  };
  for (const auto& [file, path] : allowed) {
    EXPECT_FALSE(Breaks(file, StrCat("#include \"", path, "\""))) << file << " -> " << path;
  }
}

TEST(IncludeLaw, PathsStartAtTheRoot) {
  EXPECT_TRUE(Breaks("ir/core/graph.cc", "#include \"graph.h\""));
  EXPECT_TRUE(Breaks("ir/core/graph.cc", "#include \"../base/status.h\""));
  EXPECT_TRUE(Breaks("ir/core/graph.cc", "#include \"./graph.h\""));
  EXPECT_TRUE(Breaks("ir/core/graph.cc", "#include \"ir/core/../base/status.h\""));
  EXPECT_FALSE(Breaks("ir/core/graph.cc", "#include <vector>"));
  EXPECT_FALSE(Breaks("ir/base/digest.cc", "#include \"xxhash.h\""));
}

TEST(IncludeLaw, FindingNamesFileLineAndRule) {
  const std::vector<SourceFile> files = {
      {"passes/simplify/x.cc",
       {"// why", "#include \"ir/core/graph.h\"", "#include \"runtime/plan/plan.h\""}}};
  EXPECT_THAT(CheckIncludes(files),
              testing::ElementsAre("passes/simplify/x.cc:3: includes \"runtime/plan/plan.h\", but "
                                   "passes may include only passes, ir, without ir/reference"));
}

}  // namespace
}  // namespace renga::house
