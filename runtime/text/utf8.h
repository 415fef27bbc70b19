// UTF-8 as the tokenizers need it: reading, and the two ways of repairing what is not UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace renga {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

// Bytes of the character that `lead` begins, by the lead byte alone: 1 for anything that is no
// lead.
int Utf8LengthByLead(unsigned char lead);

// One step of reading well-formed UTF-8 (no surrogates, nothing overlong, nothing past U+10FFFF).
struct Utf8Step {
  enum class Kind {
    kCharacter,   // `bytes` bytes are one character
    kInvalid,     // `bytes` bytes (1..3) are no character and cannot become one: one U+FFFD for all
    kIncomplete,  // all of the text left (1..3 bytes) may still become a character
  };
  Kind kind = Kind::kCharacter;
  int bytes = 0;
};
Utf8Step ReadUtf8(std::string_view text);  // text is not empty

// Appends `code` (up to U+10FFFF, surrogates included) as UTF-8 bytes.
void AppendUtf8(uint32_t code, std::string* out);

// Decodes one code point of valid UTF-8 at `text[*offset]` and moves `*offset` past it; a byte that
// begins no whole sequence is returned as 0xFFFFFFFF with one byte consumed.
uint32_t DecodeUtf8(std::string_view text, size_t* offset);

// The repair that byte-level BPE vocabularies are fed with: each byte that begins no sequence
// becomes U+FFFD and reading resumes at the next byte; overlong forms come out in the short form;
// surrogates pass through; a sequence that means more than U+10FFFF is U+FFFD for each byte.
std::string RepairUtf8(std::string_view text);

}  // namespace renga
