#include "tools/lint/keys.h"

#include <charconv>

#include "ir/base/status.h"

namespace renga {

std::string ModelKey(const LintInput& input, std::string_view key) {
  return StrCat(input.model.info.architecture, ".", key);
}

std::optional<double> ModelNumber(const LintInput& input, std::string_view key) {
  const MetaValue* value = input.file.Find(ModelKey(input, key));
  if (value == nullptr) return std::nullopt;
  if (const auto number = value->AsFloat(); number.ok()) return *number;
  if (const auto number = value->AsInt(); number.ok()) return static_cast<double>(*number);
  return std::nullopt;
}

std::optional<int64_t> ModelInt(const LintInput& input, std::string_view key) {
  const MetaValue* value = input.file.Find(ModelKey(input, key));
  if (value == nullptr) return std::nullopt;
  const auto number = value->AsInt();
  return number.ok() ? std::optional<int64_t>(*number) : std::nullopt;
}

std::string NumberText(double number) {
  char text[40];
  const auto end = std::to_chars(text, text + sizeof(text), static_cast<float>(number)).ptr;
  return std::string(text, end);
}

}  // namespace renga
