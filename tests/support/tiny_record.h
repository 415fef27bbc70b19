// What llama.cpp computes on a tiny model of tests/data/tiny (see its README): the oracle of the
// reference interpreter and of every device.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "tests/support/test_data.h"

namespace renga {

struct TinyRecord {
  static constexpr int kRows = 39;  // 24 prompt tokens, then 15 greedy ones
  static constexpr int kVocab = 512;

  std::string path;     // of the model
  int64_t context = 0;  // tokens it ran with
  std::vector<int32_t> prompt;
  std::vector<int32_t> greedy;  // one more than was fed
  std::vector<float> logits;    // [kRows, kVocab]; empty where the file is damaged

  static std::string Folder() { return TestData("tiny/"); }

  static TinyRecord Read(const std::string& name) {
    TinyRecord record;
    record.path = Folder() + name + ".gguf";
    std::ifstream json_file(Folder() + name + ".json");
    const nlohmann::json json = nlohmann::json::parse(json_file);
    record.context = json["n_ctx"];
    record.prompt = json["prompt_ids"].get<std::vector<int32_t>>();
    record.greedy = json["greedy_ids"].get<std::vector<int32_t>>();
    record.logits.resize(kRows * kVocab);
    std::ifstream raw(Folder() + name + ".logits.f32", std::ios::binary);
    const auto bytes = static_cast<std::streamsize>(record.logits.size() * sizeof(float));
    if (!raw.read(reinterpret_cast<char*>(record.logits.data()), bytes)) record.logits.clear();
    return record;
  }

  // Names of all models in the folder, sorted.
  static std::vector<std::string> Names() {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(Folder())) {
      if (entry.path().extension() == ".gguf") names.push_back(entry.path().stem().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  // A model's name as part of a test's name.
  static std::string TestName(std::string name) {
    std::replace(name.begin(), name.end(), '-', '_');
    return name;
  }

  static int ArgMax(const std::vector<float>& logits, int row) {
    const auto first = logits.begin() + row * kVocab;
    return static_cast<int>(std::max_element(first, first + kVocab) - first);
  }
};

}  // namespace renga
