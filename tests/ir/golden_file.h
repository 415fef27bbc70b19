// Golden files: cases separated by "// -----" lines, rewritten by UPDATE_GOLDEN=1.
#pragma once

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace renga {

inline constexpr std::string_view kCaseSeparator = "// -----\n";

inline std::string ReadTestFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

inline std::vector<std::string> SplitCases(std::string_view text) {
  std::vector<std::string> cases;
  while (true) {
    const size_t end = text.find(kCaseSeparator);
    cases.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return cases;
    text.remove_prefix(end + kCaseSeparator.size());
  }
}

inline bool UpdateGolden() {
  const char* value = std::getenv("UPDATE_GOLDEN");
  return value != nullptr && std::string_view(value) == "1";
}

inline void WriteCases(const std::string& path, const std::vector<std::string>& cases) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  for (size_t i = 0; i < cases.size(); ++i) file << (i == 0 ? "" : kCaseSeparator) << cases[i];
}

}  // namespace renga
