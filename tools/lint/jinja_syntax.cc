#include "tools/lint/jinja_syntax.h"

#include <algorithm>
#include <iterator>
#include <vector>

#include "absl/strings/ascii.h"
#include "ir/base/strings.h"

namespace renga {
namespace {

// Tags that a tag "end<name>" closes. Jinja's own, and Hugging Face's generation, which marks what
// an assistant says.
constexpr std::string_view kBlocks[] = {"if",   "for", "macro",      "call", "filter",    "block",
                                        "with", "set", "autoescape", "raw",  "generation"};
constexpr std::string_view kSingles[] = {"include",  "import", "from",  "extends", "do",
                                         "continue", "break",  "debug", "set"};

template <size_t n>
bool IsOneOf(std::string_view name, const std::string_view (&names)[n]) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

bool IsNameByte(char c) { return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_'; }

class Scanner {
 public:
  explicit Scanner(std::string_view source) : source_(source) {}

  std::optional<JinjaError> Run() {
    while (!error_ && NextTag()) {
    }
    if (!error_ && !open_.empty()) {
      Fail(open_.back().at, StrCat("{% ", open_.back().name, " %} is never closed"));
    }
    return error_;
  }

 private:
  struct Open {
    std::string_view name;
    size_t at;
    bool has_else = false;
  };

  void Fail(size_t at, std::string what) {
    const int64_t line = 1 + std::count(source_.begin(), source_.begin() + at, '\n');
    error_ = JinjaError{line, std::move(what)};
  }

  // Moves behind the next tag; false at the end, or after an error.
  bool NextTag() {
    for (; at_ + 1 < source_.size(); ++at_) {
      if (source_[at_] != '{') continue;
      const size_t start = at_;
      switch (source_[at_ + 1]) {
        case '{':
          return SkipInside(start, "}}");
        case '%':
          return SkipInside(start, "%}") && Tag(start);
        case '#':
          at_ = source_.find("#}", start + 2);
          if (at_ == source_.npos) Fail(start, "{# is never closed by #}");
          if (error_) return false;
          at_ += 2;
          return true;
      }
    }
    return false;
  }

  // From the opening at `start` behind its `end`, which does not count inside quotes or brackets.
  bool SkipInside(size_t start, std::string_view end) {
    std::vector<char> brackets;
    for (at_ = start + 2; at_ < source_.size(); ++at_) {
      const char c = source_[at_];
      if (brackets.empty() && source_.substr(at_, 2) == end) {
        at_ += 2;
        return true;
      }
      if (c == '\'' || c == '"') {
        const size_t quote = at_;
        for (++at_; at_ < source_.size() && source_[at_] != c; ++at_) at_ += source_[at_] == '\\';
        if (at_ < source_.size()) continue;
        Fail(quote, StrCat("a text that begins with ", std::string(1, c), " never ends"));
        return false;
      }
      if (c == '(' || c == '[' || c == '{') brackets.push_back(c);
      if (c != ')' && c != ']' && c != '}') continue;
      const char opening = c == ')' ? '(' : c == ']' ? '[' : '{';
      if (brackets.empty() || brackets.back() != opening) {
        Fail(at_, StrCat("a ", std::string(1, c), " that closes no ", std::string(1, opening)));
        return false;
      }
      brackets.pop_back();
    }
    Fail(start, StrCat(source_.substr(start, 2), " is never closed by ", end));
    return false;
  }

  // The tag from `start` to at_: opens or closes a block. False after an error.
  bool Tag(size_t start) {
    std::string_view inside = source_.substr(start + 2, at_ - start - 4);
    if (!inside.empty() && (inside[0] == '-' || inside[0] == '+')) inside.remove_prefix(1);
    while (!inside.empty() && absl::ascii_isspace(static_cast<unsigned char>(inside[0]))) {
      inside.remove_prefix(1);
    }
    size_t length = 0;
    while (length < inside.size() && IsNameByte(inside[length])) ++length;
    const std::string_view name = inside.substr(0, length), rest = inside.substr(length);
    if (name == "raw") return SkipRaw(start);
    if (name == "elif" || name == "else") {
      Continue(start, name);
    } else if (name.starts_with("end") && IsOneOf(name.substr(3), kBlocks)) {
      Close(start, name.substr(3));
    } else if (name == "set" ? !Assigns(rest) : IsOneOf(name, kBlocks)) {
      open_.push_back({name, start});
    } else if (!IsOneOf(name, kSingles)) {
      Fail(start, name.empty() ? std::string("{% %} without a tag's name")
                               : StrCat("{% ", name.substr(0, 40), " %} is no tag"));
    }
    return !error_;
  }

  // "x = 1" assigns at once; "x" and "x | upper" open a block.
  static bool Assigns(std::string_view rest) {
    const size_t at = rest.find_first_of("=|");
    return at != rest.npos && rest[at] == '=';
  }

  void Continue(size_t start, std::string_view name) {
    const bool in_if = !open_.empty() && open_.back().name == "if";
    const bool in_for = !open_.empty() && open_.back().name == "for" && name == "else";
    if ((!in_if && !in_for) || open_.back().has_else) {
      Fail(start, StrCat("{% ", name, " %} belongs to no {% if %}"));
    } else if (name == "else") {
      open_.back().has_else = true;
    }
  }

  void Close(size_t start, std::string_view name) {
    if (open_.empty()) {
      Fail(start, StrCat("{% end", name, " %} closes nothing"));
    } else if (open_.back().name != name) {
      Fail(start, StrCat("{% end", name, " %} where {% end", open_.back().name, " %} is expected"));
    } else {
      open_.pop_back();
    }
  }

  // Behind {% raw %}: nothing counts before {% endraw %}.
  bool SkipRaw(size_t start) {
    for (size_t at = source_.find("{%", at_); at != source_.npos; at = source_.find("{%", at + 2)) {
      size_t name = at + 2;
      if (name < source_.size() && (source_[name] == '-' || source_[name] == '+')) ++name;
      name = source_.find_first_not_of(" \t\r\n", name);
      if (name == source_.npos || source_.substr(name, 6) != "endraw") continue;
      const size_t end = source_.find("%}", name);
      if (end == source_.npos) break;
      at_ = end + 2;
      return true;
    }
    Fail(start, "{% raw %} is never closed");
    return false;
  }

  const std::string_view source_;
  size_t at_ = 0;
  std::vector<Open> open_;
  std::optional<JinjaError> error_;
};

}  // namespace

std::optional<JinjaError> CheckJinjaSyntax(std::string_view source) {
  return Scanner(source).Run();
}

}  // namespace renga
