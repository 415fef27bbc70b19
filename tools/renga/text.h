// Small pieces of text that several verbs print.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace renga {

// Line breaks and tabs stay; other control characters and bytes that are no UTF-8 become \xNN.
std::string EscapeForTerminal(std::string_view text);

// The same with line breaks and tabs escaped too: a name from a file that must stay on its line.
std::string EscapeOnOneLine(std::string_view text);

// 'text' on one line: quotes around it; control characters, quotes, backslashes and bytes that are
// no UTF-8 escaped.
std::string Quoted(std::string_view text);

std::string WithCommas(int64_t number);   // "151,936"
std::string BytesText(uint64_t bytes);    // "452 MiB", "1.9 MiB", "812 bytes"
std::string SecondsText(double seconds);  // "0.21 s", "12.3 s"

// Whether `name` matches a pattern of *, ? and plain characters. "" matches everything.
bool MatchesGlob(std::string_view pattern, std::string_view name);

}  // namespace renga
