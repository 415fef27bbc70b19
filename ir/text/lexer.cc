#include "ir/text/lexer.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "ir/base/strings.h"

namespace renga {
namespace {

constexpr size_t kMaxShown = 40;           // bytes of a token in an error
constexpr size_t kContextBefore = 80;      // bytes of a source line shown before the caret
constexpr size_t kContextAfter = 40;       // and after it
constexpr size_t kMaxMessageShown = 2000;  // a message may quote names of any length

bool IsWordStart(char c) { return absl::ascii_isalpha(c) || c == '_'; }
bool IsWord(char c) { return absl::ascii_isalnum(c) || c == '_'; }
bool IsNameChar(char c) {
  return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '/' || c == '-';
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

bool Lexer::SkipSpaceAndComments() {
  bool line_end = false;
  while (at_ < text_.size()) {
    const char c = text_[at_];
    if (c == '\n') {
      line_end = true;
    } else if (c == '/' && Peek(1) == '/') {
      at_ = std::min(text_.find('\n', at_), text_.size());
      continue;
    } else if (c != ' ' && c != '\t' && c != '\r') {
      break;
    }
    ++at_;
  }
  return line_end;
}

Token Lexer::Finish(TokenKind kind, size_t begin) const {
  Token token;
  token.kind = kind;
  token.text = text_.substr(begin, at_ - begin);
  return token;
}

Token Lexer::Next() {
  const size_t before = at_;
  if (SkipSpaceAndComments() && started_) {
    Token token;
    token.kind = TokenKind::kNewline;
    token.text = text_.substr(std::min(text_.find('\n', before), text_.size()), 1);
    return token;
  }
  started_ = true;
  const size_t begin = at_;
  if (at_ >= text_.size()) return Finish(TokenKind::kEnd, begin);
  const char c = text_[at_];
  if (c == '%' || c == '@') return Name();
  if (c == '"') return Quoted(TokenKind::kString, begin);
  if (absl::ascii_isdigit(c) || (c == '-' && absl::ascii_isdigit(Peek(1)))) return Number();
  if (IsWordStart(c) || (c == '-' && IsWordStart(Peek(1)))) {  // -inf
    ++at_;
    while (IsWord(Peek())) ++at_;
    return Finish(TokenKind::kWord, begin);
  }
  if (c == '.' && Peek(1) == '.') {
    at_ += 2;
    return Finish(TokenKind::kPunct, begin);
  }
  ++at_;
  if (c != '\0' && std::string_view("(){}[],:=").find(c) != std::string_view::npos) {
    return Finish(TokenKind::kPunct, begin);
  }
  Token token = Finish(TokenKind::kBad, begin);
  token.problem = "a byte that starts nothing";
  return token;
}

Token Lexer::Number() {
  const size_t begin = at_;
  TokenKind kind = TokenKind::kInt;
  if (Peek() == '-') ++at_;
  while (absl::ascii_isdigit(Peek())) ++at_;
  if (Peek() == '.' && absl::ascii_isdigit(Peek(1))) {  // but not the ".." of a range
    kind = TokenKind::kFloat;
    ++at_;
    while (absl::ascii_isdigit(Peek())) ++at_;
  }
  if (Peek() == 'e' || Peek() == 'E') {
    const size_t sign = Peek(1) == '+' || Peek(1) == '-' ? 1 : 0;
    if (absl::ascii_isdigit(Peek(1 + sign))) {
      kind = TokenKind::kFloat;
      at_ += 1 + sign;
      while (absl::ascii_isdigit(Peek())) ++at_;
    }
  }
  return Finish(kind, begin);
}

Token Lexer::Name() {
  const size_t begin = at_;
  const TokenKind kind = Peek() == '%' ? TokenKind::kValue : TokenKind::kGlobal;
  ++at_;
  if (Peek() == '"') return Quoted(kind, begin);
  const size_t first = at_;
  while (IsNameChar(Peek()) && !(Peek() == '/' && Peek(1) == '/')) ++at_;
  Token token = Finish(kind, begin);
  token.name = text_.substr(first, at_ - first);
  if (token.name.empty()) {
    token.kind = TokenKind::kBad;
    token.problem = "a sigil without a name";
  }
  return token;
}

Token Lexer::Quoted(TokenKind kind, size_t begin) {
  std::string contents;
  std::string_view problem;
  ++at_;
  while (problem.empty() && Peek() != '"') {
    if (at_ >= text_.size() || Peek() == '\n') {
      problem = "a string without its closing quote";
      break;
    }
    const char c = text_[at_++];
    if (c != '\\') {
      contents += c;
      continue;
    }
    const char escape = Peek();
    const size_t simple =
        escape == '\0' ? std::string_view::npos : std::string_view("nrt\\\"'").find(escape);
    if (simple != std::string_view::npos) {
      contents += "\n\r\t\\\"'"[simple];
      ++at_;
    } else if (escape == 'x' && HexDigit(Peek(1)) >= 0 && HexDigit(Peek(2)) >= 0) {
      contents += static_cast<char>(HexDigit(Peek(1)) * 16 + HexDigit(Peek(2)));
      at_ += 3;
    } else {
      problem = "an unknown escape (known: \\n \\r \\t \\\\ \\\" \\' \\xHH)";
    }
  }
  if (problem.empty()) ++at_;
  Token token = Finish(problem.empty() ? kind : TokenKind::kBad, begin);
  token.name = std::move(contents);
  token.problem = problem;
  return token;
}

absl::Status Lexer::Error(std::string_view at, std::string_view message) const {
  const size_t offset = static_cast<size_t>(at.data() - text_.data());
  const std::string_view before = text_.substr(0, offset);
  const int64_t line = 1 + std::count(before.begin(), before.end(), '\n');
  const size_t line_begin =
      before.rfind('\n') == std::string_view::npos ? 0 : before.rfind('\n') + 1;
  const size_t line_end = std::min(text_.find('\n', offset), text_.size());
  const size_t column = offset - line_begin;

  const size_t begin = column > kContextBefore ? offset - kContextBefore : line_begin;
  const size_t end = line_end - offset > kContextAfter ? offset + kContextAfter : line_end;
  // One printable character a byte, so that the caret stays under its place.
  std::string source(text_.substr(begin, end - begin));
  for (char& c : source) {
    if (c == '\t' || c == '\r') c = ' ';
    if (!absl::ascii_isprint(c)) c = '?';
  }
  const std::string_view left = begin > line_begin ? "..." : "";
  const std::string_view right = end < line_end ? "..." : "";
  std::string text(message.substr(0, kMaxMessageShown));
  for (char& c : text) {
    if (!absl::ascii_isprint(c) && c != '\n') c = '?';
  }
  return absl::InvalidArgumentError(StrCat(file_, ":", line, ":", column + 1, ": ", text, "\n  ",
                                           left, source, right, "\n  ",
                                           std::string(left.size() + (offset - begin), ' '), "^"));
}

std::string Describe(const Token& token) {
  if (token.kind == TokenKind::kEnd) return "the end of the text";
  if (token.kind == TokenKind::kNewline) return "the end of the line";
  std::string shown;
  for (const char c : token.text.substr(0, kMaxShown)) {
    if (absl::ascii_isprint(c)) {
      shown += c;
    } else {
      shown += absl::CHexEscape(absl::string_view(&c, 1));
    }
  }
  if (token.text.size() > kMaxShown) shown += "...";
  if (token.kind == TokenKind::kBad) return StrCat(token.problem, ": ", shown);
  return StrCat("'", shown, "'");
}

}  // namespace renga
