// Right models of random architecture, sizes and weight types: verify must find nothing in them.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "tests/support/tiny_model.h"

namespace renga::faults {

class RandomModel {
 public:
  explicit RandomModel(uint32_t seed);

  std::string Write() { return model_.Write(); }
  const std::vector<int32_t>& ids() const { return ids_; }
  const std::string& what() const { return what_; }  // for messages
  int64_t context() const { return context_; }
  int64_t step_tokens() const { return step_tokens_; }

 private:
  int64_t Pick(std::initializer_list<int64_t> of) { return *(of.begin() + random_() % of.size()); }
  void Retype(GgufWriter::Tensor* tensor);

  std::mt19937 random_;
  TinyModel model_;
  std::vector<int32_t> ids_;
  std::string what_;
  int64_t context_, step_tokens_;
};

}  // namespace renga::faults
