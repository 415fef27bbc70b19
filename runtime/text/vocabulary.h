// A checked vocabulary: the bytes of every token, and the token of some bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "ir/base/model.h"
#include "ir/base/token_index.h"

namespace renga {

// Immutable once made, so safe to use from several threads.
class Vocabulary {
 public:
  enum class Kind {
    kSentencePiece,  // tokenizer.ggml.model "llama": text with U+2581 for spaces
    kByteLevel,      // "gpt2": each byte of the text is written as one of 256 letters
  };

  // Checks everything in `data` (table sizes, offsets, ids) and copies what it needs. Errors:
  // Unimplemented for another model, InvalidArgument for inconsistent tables.
  static absl::StatusOr<std::unique_ptr<Vocabulary>> Create(const TokenizerData& data);
  Vocabulary(const Vocabulary&) = delete;
  Vocabulary& operator=(const Vocabulary&) = delete;

  Kind kind() const { return kind_; }
  int32_t size() const { return static_cast<int32_t>(types_.size()); }
  TokenType type(int32_t id) const { return types_[id]; }  // id in range

  // What merging works on: SentencePiece text as in the file; byte-level tokens as the bytes they
  // stand for, save control, user-defined and unknown ones, which stand for themselves.
  std::string_view text(int32_t id) const {
    return std::string_view(text_).substr(offsets_[id], offsets_[id + 1] - offsets_[id]);
  }

  // The token with exactly this text(), the last of several as in llama.cpp; -1: none.
  int32_t Find(std::string_view text) const { return index_.Find(text); }
  size_t longest() const { return longest_; }  // bytes of the longest text()

  // The token for a byte that no other token holds: `<0xNN>` or, failing that, the byte itself;
  // -1: none. In byte-level vocabularies always the byte itself.
  int32_t byte_token(unsigned char byte) const { return byte_tokens_[byte]; }

  // Appends the bytes that the token prints as. Control and unknown tokens print as their text if
  // `show_special`, else not at all; unused ones never print.
  void AppendPiece(int32_t id, bool show_special, std::string* out) const;

 private:
  Vocabulary() = default;

  Kind kind_ = Kind::kSentencePiece;
  std::string text_;
  std::vector<uint32_t> offsets_;  // [size + 1] into text_
  std::vector<TokenType> types_;   // [size]
  TokenIndex index_;               // of text_
  std::array<int32_t, 256> byte_tokens_;
  size_t longest_ = 0;
};

}  // namespace renga
