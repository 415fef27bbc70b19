#include "frontend/gguf/format_error.h"

#include "absl/strings/escaping.h"

namespace renga {

std::string Quote(std::string_view text) {
  constexpr size_t kLongest = 80;
  if (text.size() <= kLongest) return StrCat("'", absl::CHexEscape(ToAbsl(text)), "'");
  return StrCat("'", absl::CHexEscape(ToAbsl(text.substr(0, kLongest))), "...' (", text.size(),
                " bytes)");
}

}  // namespace renga
