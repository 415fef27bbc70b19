// The real models that tools/fetch-models gets, and what llama.cpp computes on their exact weights.
#pragma once

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"

namespace renga {

inline std::string RealModelFolder() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache != '\0') {
    return std::string(cache) + "/renga/models/";
  }
  const char* home = std::getenv("HOME");
  return std::string(home == nullptr ? "" : home) + "/.cache/renga/models/";
}

inline std::string SmolLm2() { return RealModelFolder() + "SmolLM2-135M-Instruct.Q4_1.gguf"; }
inline std::string QwenCoder() {
  return RealModelFolder() + "Qwen2.5-Coder-0.5B-Instruct.Q4_K_M.gguf";
}

// The cases of tests/data/reference/<name>.exact.jsonl.
inline std::vector<nlohmann::json> ReadExactRecord(const std::string& name) {
  std::ifstream file(std::string(RENGA_SOURCE_DIR "/tests/data/reference/") + name +
                     ".exact.jsonl");
  std::vector<nlohmann::json> cases;
  for (std::string line; std::getline(file, line);) cases.push_back(nlohmann::json::parse(line));
  return cases;
}

}  // namespace renga
