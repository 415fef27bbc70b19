#include "runtime/text/utf8.h"

namespace renga {
namespace {

constexpr uint32_t kInvalidCode = 0xFFFFFFFF;

bool IsContinuation(unsigned char byte) { return (byte & 0xC0) == 0x80; }

}  // namespace

int Utf8LengthByLead(unsigned char lead) {
  if (lead < 0xC0) return 1;
  if (lead < 0xE0) return 2;
  if (lead < 0xF0) return 3;
  return 4;
}

Utf8Step ReadUtf8(std::string_view text) {
  using Kind = Utf8Step::Kind;
  const unsigned char lead = text[0];
  if (lead < 0x80) return {Kind::kCharacter, 1};
  if (lead < 0xC2 || lead > 0xF4) return {Kind::kInvalid, 1};
  const int length = Utf8LengthByLead(lead);
  // The second byte alone decides about overlong forms, surrogates and what lies past U+10FFFF.
  unsigned char low = 0x80, high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  for (int i = 1; i < length; ++i) {
    if (static_cast<size_t>(i) >= text.size()) return {Kind::kIncomplete, i};
    const unsigned char byte = text[i];
    if (byte < low || byte > high) return {Kind::kInvalid, i};
    low = 0x80;
    high = 0xBF;
  }
  return {Kind::kCharacter, length};
}

void AppendUtf8(uint32_t code, std::string* out) {
  if (code < 0x80) {
    out->push_back(static_cast<char>(code));
  } else if (code < 0x800) {
    out->push_back(static_cast<char>(0xC0 | (code >> 6)));
    out->push_back(static_cast<char>(0x80 | (code & 0x3F)));
  } else if (code < 0x10000) {
    out->push_back(static_cast<char>(0xE0 | (code >> 12)));
    out->push_back(static_cast<char>(0x80 | ((code >> 6) & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (code & 0x3F)));
  } else {
    out->push_back(static_cast<char>(0xF0 | (code >> 18)));
    out->push_back(static_cast<char>(0x80 | ((code >> 12) & 0x3F)));
    out->push_back(static_cast<char>(0x80 | ((code >> 6) & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (code & 0x3F)));
  }
}

uint32_t DecodeUtf8(std::string_view text, size_t* offset) {
  const unsigned char lead = text[*offset];
  ++*offset;
  if (lead < 0x80) return lead;
  if (lead < 0xC0 || lead >= 0xF8) return kInvalidCode;
  const int length = Utf8LengthByLead(lead);
  if (text.size() - *offset < static_cast<size_t>(length - 1)) return kInvalidCode;
  uint32_t code = lead & (0x7F >> length);
  for (int i = 0; i < length - 1; ++i) {
    const unsigned char byte = text[*offset + i];
    if (!IsContinuation(byte)) return kInvalidCode;
    code = (code << 6) | (byte & 0x3F);
  }
  if (code > 0x10FFFF) return kInvalidCode;
  *offset += length - 1;
  return code;
}

std::string RepairUtf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t offset = 0; offset < text.size();) {
    const uint32_t code = DecodeUtf8(text, &offset);
    if (code == kInvalidCode) {
      out.append(kReplacementCharacter);
    } else {
      AppendUtf8(code, &out);
    }
  }
  return out;
}

}  // namespace renga
