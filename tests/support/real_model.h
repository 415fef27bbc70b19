// The real models that tools/fetch-models gets, and what llama.cpp computes on their exact weights.
#pragma once

#include <cctype>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "tests/support/test_data.h"

namespace renga {

// RENGA_MODELS where that is set.
inline std::string RealModelFolder() {
  if (const char* models = std::getenv("RENGA_MODELS"); models != nullptr && *models != '\0') {
    return std::string(models) + "/";
  }
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

// One of the models that llama.cpp's exact outputs were recorded for.
struct RealModel {
  std::string record;  // tests/data/reference/<record>.exact.jsonl
  std::string path;
  double llamacpp_kl;  // mean KL of llama.cpp's usual run from the exact one; 0: ids must be equal
};

inline std::vector<RealModel> RealModels() {
  return {
      {"stories260K", TestData("stories260K.gguf"), 0},
      {"smollm2-135m", SmolLm2(), 0.0032},
      {"qwen2.5-coder-0.5b", QwenCoder(), 0.0014},
  };
}

// "smollm2_135m"
inline std::string TestNameOf(const RealModel& model) {
  std::string name = model.record;
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  return name;
}

// The cases of tests/data/reference/<name>.exact.jsonl.
inline std::vector<nlohmann::json> ReadExactRecord(const std::string& name) {
  std::ifstream file(TestData("reference/" + name + ".exact.jsonl"));
  std::vector<nlohmann::json> cases;
  for (std::string line; std::getline(file, line);) cases.push_back(nlohmann::json::parse(line));
  return cases;
}

}  // namespace renga
