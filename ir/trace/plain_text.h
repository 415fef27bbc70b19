// Any bytes as UTF-8 text and back: a trace's header is JSON, but names and prompts may be
// anything.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace renga {

// Shortest forms only, no surrogates, at most U+10FFFF.
bool IsUtf8(std::string_view text);

// A backslash becomes two, a byte that is no part of valid UTF-8 and a control character \xNN;
// everything else stays, line breaks and tabs too.
std::string EncodePlainText(std::string_view bytes);

// The reverse; nullopt where a backslash begins neither.
std::optional<std::string> DecodePlainText(std::string_view text);

}  // namespace renga
