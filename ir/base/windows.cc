#include "ir/base/windows.h"

#include <charconv>

#include "ir/base/strings.h"

namespace renga {
namespace {

constexpr std::string_view kInputMark = ".w", kSymbolMark = "_w";

}  // namespace

std::string WindowInput(std::string_view input, int64_t window) {
  return window == 0 ? std::string(input) : StrCat(input, kInputMark, window);
}

std::string WindowSymbol(std::string_view symbol, int64_t window) {
  return window == 0 ? std::string(symbol) : StrCat(symbol, kSymbolMark, window);
}

WindowName SplitWindow(std::string_view name) {
  for (const std::string_view mark : {kInputMark, kSymbolMark}) {
    const size_t at = name.rfind(mark);
    if (at == 0 || at == name.npos) continue;
    const std::string_view digits = name.substr(at + mark.size());
    if (digits.empty() || digits[0] == '0') continue;
    int32_t window = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), window);
    if (error == std::errc() && end == digits.data() + digits.size() && window > 0) {
      return {name.substr(0, at), window};
    }
  }
  return {name, 0};
}

int64_t WindowPages(int64_t window, int64_t step_tokens, int64_t page_tokens) {
  // So many tokens in a row begin anywhere in a page.
  const int64_t tokens = window + step_tokens;
  return (tokens - 1 + page_tokens - 1) / page_tokens + 1;
}

}  // namespace renga
