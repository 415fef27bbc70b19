#include "frontend/gguf/metadata_text.h"

#include <charconv>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "ir/base/strings.h"

namespace renga {
namespace {

std::string FloatText(const MetaValue& value) {
  const absl::StatusOr<float> number = value.AsFloat();
  if (!number.ok()) return std::string(number.status().message());
  char text[32];
  const std::to_chars_result end = std::to_chars(text, text + sizeof(text), *number);
  return std::string(text, end.ptr);
}

std::string StringText(const MetaValue& value, uint64_t max_bytes) {
  const absl::StatusOr<std::string_view> text = value.AsString();
  if (!text.ok()) return std::string(text.status().message());
  // Utf8SafeCEscape keeps letters of every language readable and escapes control characters.
  if (text->size() <= max_bytes) return StrCat("'", absl::Utf8SafeCEscape(ToAbsl(*text)), "'");
  uint64_t cut = max_bytes;
  while (cut > 0 && (static_cast<uint8_t>((*text)[cut]) & 0xc0) == 0x80) --cut;
  return StrCat("'", absl::Utf8SafeCEscape(ToAbsl(text->substr(0, cut))), "' ... ",
                text->size() - cut, " more bytes");
}

}  // namespace

std::string MetaText(const MetaValue& value, uint64_t max_elements, uint64_t max_bytes) {
  switch (value.type()) {
    case MetaType::kF32:
    case MetaType::kF64:
      return FloatText(value);
    case MetaType::kBool:
      return value.AsBool().value_or(false) ? "true" : "false";
    case MetaType::kString:
      return StringText(value, max_bytes);
    case MetaType::kU64:
      return StrCat(value.AsUint().value_or(0));
    case MetaType::kArray:
      break;
    default:
      return StrCat(value.AsInt().value_or(0));
  }
  const absl::StatusOr<std::vector<MetaValue>> items = value.AsItems(max_elements);
  if (!items.ok()) return std::string(items.status().message());
  std::string text = "[";
  for (const MetaValue& item : *items) {
    StrAppend(&text, text.size() > 1 ? ", " : "", MetaText(item, max_elements, max_bytes));
  }
  const uint64_t more = value.size() - items->size();
  if (more > 0) StrAppend(&text, items->empty() ? "" : ", ", "... ", more, " more");
  return StrCat(text, "]");
}

}  // namespace renga
