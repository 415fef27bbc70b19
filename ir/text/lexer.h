// Splits the text form of a graph into tokens. Internal to ir/text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace renga {

enum class TokenKind : uint8_t {
  kEnd,      // end of the text
  kNewline,  // one or more line ends, with comments between them
  kWord,     // ir, f32, linear, T
  kInt,      // 12, -3
  kFloat,    // 1e-06, 0.5
  kString,   // "a b"
  kValue,    // %0.q, %"a b"
  kGlobal,   // @blk.0.attn_q.weight
  kPunct,    // ( ) { } [ ] , : = ..
  kBad,      // a byte that starts no token, an unterminated or wrong string
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string_view text;  // as written, within the source
  std::string name;       // kString, kValue, kGlobal: the contents, unescaped
  std::string problem;    // kBad: what is wrong
};

class Lexer {
 public:
  // `text` and `file` (used in errors) must outlive the lexer.
  Lexer(std::string_view text, std::string_view file) : text_(text), file_(file) {}

  // Never fails: what is no token comes back as kBad. Total work is linear in the text.
  Token Next();

  // "file:line:col: message", the source line and a caret under the start of `at`, which must be
  // part of the source. Lines and columns (bytes) count from 1; a long line is cut around the
  // caret.
  absl::Status Error(std::string_view at, std::string_view message) const;

 private:
  char Peek(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  bool SkipSpaceAndComments();  // true when a line end was passed
  Token Finish(TokenKind kind, size_t begin) const;
  Token Number();
  Token Name();
  Token Quoted(TokenKind kind, size_t begin);  // at the opening quote

  std::string_view text_;
  std::string_view file_;
  size_t at_ = 0;
  bool started_ = false;  // line ends before the first token are no token
};

// How a token appears in "got ...": quoted, printable, at most 40 bytes of it.
std::string Describe(const Token& token);

}  // namespace renga
