// String building. The distributions' abseil has a string_view of its own that is no
// std::string_view, which the whole tree uses; these forms of StrCat, StrAppend and StrJoin take
// both.
#pragma once

#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace renga {
namespace strings_internal {

template <typename T>
const T& Piece(const T& value) {
  return value;
}
inline absl::string_view Piece(const std::string_view& text) { return {text.data(), text.size()}; }

}  // namespace strings_internal

template <typename... Args>
std::string StrCat(const Args&... args) {
  return absl::StrCat(strings_internal::Piece(args)...);
}

template <typename... Args>
void StrAppend(std::string* text, const Args&... args) {
  absl::StrAppend(text, strings_internal::Piece(args)...);
}

// Elements of a range of anything StrCat takes, with `separator` between them.
template <typename Range>
std::string StrJoin(const Range& range, std::string_view separator) {
  std::string text;
  bool first = true;
  for (const auto& element : range) {
    if (!first) text.append(separator);
    first = false;
    StrAppend(&text, element);
  }
  return text;
}

// Between the two kinds of view.
inline absl::string_view ToAbsl(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view ToStd(absl::string_view text) { return {text.data(), text.size()}; }

}  // namespace renga
