// Where the tests' data lies: the source tree's tests/data, or, on a machine without one, the
// folder in RENGA_TEST_DATA.
#pragma once

#include <cstdlib>
#include <string>

namespace renga {

inline std::string TestData(const std::string& file) {
  const char* folder = std::getenv("RENGA_TEST_DATA");
  const std::string base = folder != nullptr && *folder != '\0'
                               ? std::string(folder)
                               : std::string(RENGA_SOURCE_DIR "/tests/data");
  return base + "/" + file;
}

}  // namespace renga
