#include "ir/trace/plain_text.h"

#include <charconv>
#include <cstdint>

namespace renga {
namespace {

// Bytes of the UTF-8 sequence at the start of `text`; 0 where there is none. As table 3-7 of the
// Unicode standard has them.
size_t SequenceLength(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  if (length == 0 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const uint8_t second = byte(1);
  const bool wrong = (lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) ||
                     (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f);
  return wrong ? 0 : length;
}

}  // namespace

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = SequenceLength(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string EncodePlainText(std::string_view bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  while (!bytes.empty()) {
    const uint8_t byte = static_cast<uint8_t>(bytes[0]);
    const size_t length = SequenceLength(bytes);
    const bool is_control = (byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7f;
    if (byte == '\\') {
      text += "\\\\";
    } else if (length == 0 || is_control) {
      text += "\\x";
      text += kDigits[byte >> 4];
      text += kDigits[byte & 15];
    } else {
      text += bytes.substr(0, length);
    }
    bytes.remove_prefix(length == 0 ? 1 : length);
  }
  return text;
}

std::optional<std::string> DecodePlainText(std::string_view text) {
  std::string bytes;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      bytes += text[i];
      continue;
    }
    if (text.substr(i, 2) == "\\\\") {
      bytes += '\\';
      i += 1;
      continue;
    }
    uint8_t byte = 0;
    const std::string_view digits = text.substr(i).substr(0, 4);
    if (digits.size() != 4 || digits[1] != 'x') return std::nullopt;
    const auto [end, error] = std::from_chars(digits.data() + 2, digits.data() + 4, byte, 16);
    if (error != std::errc() || end != digits.data() + 4) return std::nullopt;
    bytes += static_cast<char>(byte);
    i += 3;
  }
  return bytes;
}

}  // namespace renga
