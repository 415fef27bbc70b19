// Finds the tokens that are cut out of a text whole, before anything else looks at it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "runtime/text/vocabulary.h"

namespace renga {

// A stretch of a text: a token, or ordinary text (id -1, never empty) that is still to be encoded.
struct TextFragment {
  int32_t id = -1;
  std::string_view text;
};

class SpecialTokens {
 public:
  explicit SpecialTokens(const Vocabulary& vocabulary);  // borrowed: must outlive this

  // The fragments of `text` in order, as views into it. User-defined tokens are always found,
  // control and unknown ones only if `parse_special`. A longer token goes before a shorter one
  // wherever they are in the text; of equal length the leftmost goes first. Time: bytes of the text
  // times different lengths of special tokens.
  std::vector<TextFragment> Split(std::string_view text, bool parse_special) const;

 private:
  struct Length {
    size_t bytes;
    std::array<bool, 256> begins;  // first bytes of the tokens of this length
    bool user_defined = false;     // one of them is found without parse_special
  };

  const Vocabulary& vocabulary_;
  std::vector<Length> lengths_;  // longest first
  absl::flat_hash_map<absl::string_view, int32_t> ids_;
};

}  // namespace renga
