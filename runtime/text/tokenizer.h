// From text to token ids and back.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ir/base/model.h"
#include "runtime/text/bpe_encoder.h"
#include "runtime/text/special_tokens.h"
#include "runtime/text/spm_encoder.h"
#include "runtime/text/vocabulary.h"

namespace renga {

struct EncodeOptions {
  // Control tokens in the text (`<|im_start|>`) are recognised. Off for text that a user typed:
  // only user-defined tokens are found then.
  bool parse_special = true;
  // BOS in front and EOS at the end where the file's flags ask for them. A BOS that the text itself
  // begins with is not looked for.
  bool add_special = true;
};

struct DecodeOptions {
  bool show_special = true;  // control tokens print as their text; off: as nothing
  // SentencePiece with a space prefix: the first token loses one leading space, as it was not in
  // the text. Off for a continuation.
  bool strip_leading_space = true;
};

// Immutable once made: safe to use from several threads. Owns all it needs; the TokenizerData may
// go away.
class Tokenizer {
 public:
  // Trusts nothing in `data`. Errors: Unimplemented for a model or pre-tokenizer that is not known
  // (the message lists the known ones), InvalidArgument for inconsistent tables.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Create(const TokenizerData& data);

  // Any bytes are a text, NUL and broken UTF-8 included. The empty text has no ids but BOS and EOS.
  // Errors: ResourceExhausted for texts too long to handle; InvalidArgument where a SentencePiece
  // vocabulary lacks byte tokens.
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text,
                                              const EncodeOptions& options = {}) const;

  // The token's own bytes: what streaming prints. May be part of a character only. Empty for an id
  // out of range.
  std::string TokenPiece(int32_t id, bool show_special) const;

  // The bytes of all tokens, which need not be UTF-8. An id out of range is an error.
  absl::StatusOr<std::string> Decode(absl::Span<const int32_t> ids,
                                     const DecodeOptions& options = {}) const;

  bool IsEndOfGeneration(int32_t id) const;
  int32_t size() const { return vocabulary_->size(); }
  int32_t bos() const { return bos_; }  // -1: none
  int32_t eos() const { return eos_; }
  bool add_bos() const { return add_bos_ && bos_ >= 0; }  // what add_special does
  bool add_eos() const { return add_eos_ && eos_ >= 0; }
  bool add_space_prefix() const { return add_space_prefix_; }
  const Vocabulary& vocabulary() const { return *vocabulary_; }

 private:
  Tokenizer() = default;

  std::unique_ptr<Vocabulary> vocabulary_;
  std::unique_ptr<SpecialTokens> special_;
  std::unique_ptr<BpeEncoder> bpe_;  // exactly one of the two encoders
  std::unique_ptr<SpmEncoder> spm_;
  std::vector<int32_t> end_of_generation_;  // sorted
  int32_t bos_ = -1;
  int32_t eos_ = -1;
  bool add_bos_ = false;
  bool add_eos_ = false;
  bool add_space_prefix_ = false;
};

}  // namespace renga
