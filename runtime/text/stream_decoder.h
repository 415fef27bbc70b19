// Token ids to printable text, as they come.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/text/tokenizer.h"

namespace renga {

struct StreamDecoderOptions {
  bool show_special = false;  // control tokens print as their text
  // The SentencePiece rule of DecodeOptions. Off by default: what a model generates continues a
  // prompt, so the space in front of its first word is real.
  bool strip_leading_space = false;
};

// One generated sequence. Not thread-safe; the tokenizer is borrowed. The texts handed out are
// always valid UTF-8 and joined are the tokens' bytes, except that bytes which belong to no
// character come out as U+FFFD (one for each stretch that cannot be continued to a character, as
// in the Unicode standard's recommended practice). Tokenizer::Decode gives the raw bytes.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, StreamDecoderOptions options = {})
      : tokenizer_(tokenizer), options_(options) {}

  // The text that this token makes certain; empty while a character is incomplete.
  std::string Append(int32_t id);

  // What is left at the end: nothing, or U+FFFD for the character that never became complete.
  // Afterwards the decoder continues as if new, but for the leading space.
  std::string Flush();

 private:
  const Tokenizer& tokenizer_;
  StreamDecoderOptions options_;
  std::string pending_;  // at most 3 bytes: the beginning of a character
  bool first_ = true;
};

}  // namespace renga
