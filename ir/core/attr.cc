#include "ir/core/attr.h"

#include <charconv>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "ir/base/strings.h"

namespace renga {
namespace {

std::string FloatText(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[40];
  const auto result = std::to_chars(buffer, buffer + sizeof(buffer), value);
  std::string text(buffer, result.ptr);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

bool IsIdentifier(std::string_view text) {
  if (text.empty() || !(absl::ascii_isalpha(text[0]) || text[0] == '_')) return false;
  for (char c : text) {
    if (!absl::ascii_isalnum(c) && c != '_') return false;
  }
  // Words the parser would read as another kind of value.
  return text != "true" && text != "false" && text != "nan" && text != "inf";
}

}  // namespace

std::string_view ToString(AttrType type) {
  static constexpr std::string_view kNames[] = {"int", "float", "bool", "name"};
  return kNames[static_cast<int>(type)];
}

std::string ToString(const AttrValue& value) {
  if (const int64_t* i = std::get_if<int64_t>(&value)) return StrCat(*i);
  if (const double* d = std::get_if<double>(&value)) return FloatText(*d);
  if (const bool* b = std::get_if<bool>(&value)) return *b ? "true" : "false";
  const std::string& name = std::get<std::string>(value);
  return IsIdentifier(name) ? name : StrCat("\"", absl::CHexEscape(name), "\"");
}

}  // namespace renga
