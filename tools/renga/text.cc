#include "tools/renga/text.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "ir/base/status.h"
#include "runtime/text/utf8.h"

namespace renga {
namespace {

void AppendHex(std::string_view bytes, std::string* out) {
  for (const char byte : bytes) {
    StrAppend(out, absl::StrFormat("\\x%02x", static_cast<unsigned char>(byte)));
  }
}

// C0 controls, DEL, and the C1 controls that some terminals obey too.
bool IsControl(std::string_view character) {
  const auto lead = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) return lead < 0x20 || lead == 0x7f;
  return lead == 0xc2 && static_cast<unsigned char>(character[1]) < 0xa0;
}

std::string Escape(std::string_view text, std::string_view also, bool keep_layout) {
  std::string out;
  while (!text.empty()) {
    const Utf8Step step = ReadUtf8(text);
    const std::string_view piece = text.substr(0, step.bytes);
    text.remove_prefix(step.bytes);
    if (step.kind != Utf8Step::Kind::kCharacter) {
      AppendHex(piece, &out);
    } else if (piece == "\n" || piece == "\t") {
      if (keep_layout) {
        out += piece;
      } else {
        out += piece == "\n" ? "\\n" : "\\t";
      }
    } else if (IsControl(piece)) {
      AppendHex(piece, &out);
    } else {
      if (also.find(piece) != std::string_view::npos) out += '\\';
      out += piece;
    }
  }
  return out;
}

}  // namespace

std::string EscapeForTerminal(std::string_view text) { return Escape(text, "", true); }

std::string EscapeOnOneLine(std::string_view text) { return Escape(text, "", false); }

std::string Quoted(std::string_view text) { return StrCat("'", Escape(text, "'\\", false), "'"); }

std::string WithCommas(int64_t number) {
  const std::string digits = StrCat(number);
  const size_t first = number < 0 ? 1 : 0;
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > first && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

std::string BytesText(uint64_t bytes) {
  constexpr double kKiB = 1024, kMiB = kKiB * 1024, kGiB = kMiB * 1024;
  const double size = static_cast<double>(bytes);
  const auto text = [size](double unit, const char* name) {
    const double count = size / unit;
    return absl::StrFormat(count < 10 ? "%.1f %s" : "%.0f %s", count, name);
  };
  if (size < kKiB) return StrCat(bytes, bytes == 1 ? " byte" : " bytes");
  if (size < kMiB) return text(kKiB, "KiB");
  // Four digits of MiB stay MiB: that is how device memory is counted.
  return size < 10 * kGiB ? text(kMiB, "MiB") : text(kGiB, "GiB");
}

std::string SecondsText(double seconds) {
  return absl::StrFormat(seconds < 1 ? "%.2f s" : "%.1f s", seconds);
}

bool MatchesGlob(std::string_view pattern, std::string_view name) {
  if (pattern.empty()) return true;
  size_t p = 0, n = 0;
  size_t star = std::string_view::npos, resume = 0;  // the last *, and where its rest was tried
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

}  // namespace renga
