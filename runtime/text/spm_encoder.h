// SentencePiece's greedy merging by score (Llama 1 and 2, Gemma, ...).
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "ir/base/model.h"
#include "runtime/text/vocabulary.h"

namespace renga {

class SpmEncoder {
 public:
  // `vocabulary` is borrowed and must outlive this. Errors: scores missing or not numbers.
  static absl::StatusOr<std::unique_ptr<SpmEncoder>> Create(const TokenizerData& data,
                                                            const Vocabulary& vocabulary);

  // Appends the ids of a stretch of ordinary text (any bytes), with a space in front of it if
  // `space_prefix`. Error: a byte that the vocabulary has no token for.
  absl::Status Encode(std::string_view text, bool space_prefix, std::vector<int32_t>* ids) const;

 private:
  explicit SpmEncoder(const Vocabulary& vocabulary) : vocabulary_(vocabulary) {}

  const Vocabulary& vocabulary_;
  std::vector<float> scores_;  // [tokens]
  int32_t unknown_ = -1;
};

}  // namespace renga
