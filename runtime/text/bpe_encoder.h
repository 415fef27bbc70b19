// Byte-level byte-pair encoding (GPT-2, Llama 3, Qwen, ...).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "ir/base/model.h"
#include "runtime/text/merge_ranks.h"
#include "runtime/text/pretokenizer.h"
#include "runtime/text/vocabulary.h"

namespace renga {

class BpeEncoder {
 public:
  // `vocabulary` is borrowed and must outlive this. Errors: an unknown pre-tokenizer, merges with
  // ids out of range.
  static absl::StatusOr<std::unique_ptr<BpeEncoder>> Create(const TokenizerData& data,
                                                            const Vocabulary& vocabulary);

  // Appends the ids of a stretch of ordinary text, which may be any bytes (see RepairUtf8).
  absl::Status Encode(std::string_view text, std::vector<int32_t>* ids) const;

 private:
  struct Scratch;

  explicit BpeEncoder(const Vocabulary& vocabulary) : vocabulary_(vocabulary) {}
  void EncodePiece(std::string_view piece, Scratch* scratch, std::vector<int32_t>* ids) const;

  const Vocabulary& vocabulary_;
  std::unique_ptr<PreTokenizer> pretokenizer_;
  MergeRanks ranks_;
};

}  // namespace renga
