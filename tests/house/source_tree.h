// The source tree as the house rules see it: files with their path from the root and their lines.
// The rules are functions of such values, so they can be tried on made-up files too.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace renga::house {

struct SourceFile {
  std::string path;  // from the root, with '/'
  std::vector<std::string> lines;
};

// What breaks a rule, as "path:line: what"; empty where all is well.
using Findings = std::vector<std::string>;

inline bool EndsWithAny(std::string_view text, const std::vector<std::string_view>& endings) {
  return std::any_of(endings.begin(), endings.end(),
                     [&](std::string_view ending) { return text.ends_with(ending); });
}

inline std::vector<std::string> ReadLines(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(std::move(line));
  return lines;
}

// The files under the folders of `root` that people edit, sorted by path; tests/data is data.
inline std::vector<SourceFile> ReadTree(const std::filesystem::path& root) {
  std::vector<SourceFile> files;
  for (const char* folder :
       {"ir", "frontend", "passes", "codegen", "runtime", "tests", "tools", ".ci"}) {
    std::filesystem::recursive_directory_iterator it(root / folder), end;
    for (; it != end; ++it) {
      std::string path = it->path().lexically_relative(root).generic_string();
      if (path == "tests/data") it.disable_recursion_pending();
      if (it->is_regular_file()) files.push_back({std::move(path), ReadLines(it->path())});
    }
  }
  std::sort(files.begin(), files.end(),
            [](const SourceFile& a, const SourceFile& b) { return a.path < b.path; });
  return files;
}

inline bool IsCxx(std::string_view path) {
  return EndsWithAny(path, {".cc", ".h", ".cu", ".cuh", ".def"});
}

inline bool IsHeader(std::string_view path) { return EndsWithAny(path, {".h", ".cuh"}); }

}  // namespace renga::house
