#include "runtime/text/stream_decoder.h"

#include <utility>

#include "runtime/text/utf8.h"

namespace renga {

std::string StreamDecoder::Append(int32_t id) {
  std::string piece = tokenizer_.TokenPiece(id, options_.show_special);
  if (first_ && options_.strip_leading_space && tokenizer_.add_space_prefix() && !piece.empty() &&
      piece.front() == ' ') {
    piece.erase(0, 1);
  }
  first_ = false;
  const std::string bytes = std::exchange(pending_, std::string()) + piece;
  std::string text;
  std::string_view rest = bytes;
  while (!rest.empty()) {
    const Utf8Step step = ReadUtf8(rest);
    switch (step.kind) {
      case Utf8Step::Kind::kCharacter:
        text.append(rest.substr(0, step.bytes));
        break;
      case Utf8Step::Kind::kInvalid:
        text.append(kReplacementCharacter);
        break;
      case Utf8Step::Kind::kIncomplete:
        pending_ = std::string(rest);
        return text;
    }
    rest.remove_prefix(step.bytes);
  }
  return text;
}

std::string StreamDecoder::Flush() {
  const bool broken = !pending_.empty();
  pending_.clear();
  return std::string(broken ? kReplacementCharacter : std::string_view());
}

}  // namespace renga
