#include "runtime/text/special_tokens.h"

#include <algorithm>
#include <functional>
#include <map>

#include "ir/base/strings.h"

namespace renga {

SpecialTokens::SpecialTokens(const Vocabulary& vocabulary) : vocabulary_(vocabulary) {
  std::map<size_t, Length, std::greater<size_t>> lengths;
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const TokenType type = vocabulary.type(id);
    if (type != TokenType::kControl && type != TokenType::kUserDefined &&
        type != TokenType::kUnknown) {
      continue;
    }
    const std::string_view text = vocabulary.text(id);
    if (text.empty()) continue;
    ids_[ToAbsl(text)] = id;
    auto [it, added] = lengths.try_emplace(text.size());
    if (added) {
      it->second.bytes = text.size();
      it->second.begins.fill(false);
    }
    it->second.begins[static_cast<unsigned char>(text[0])] = true;
    it->second.user_defined |= type == TokenType::kUserDefined;
  }
  lengths_.reserve(lengths.size());
  for (const auto& [bytes, length] : lengths) lengths_.push_back(length);
}

std::vector<TextFragment> SpecialTokens::Split(std::string_view text, bool parse_special) const {
  struct Found {
    size_t begin;
    size_t bytes;
    int32_t id;
  };
  std::vector<Found> found;
  std::vector<bool> taken(text.size(), false);
  for (const Length& length : lengths_) {
    if (length.bytes > text.size() || (!parse_special && !length.user_defined)) continue;
    for (size_t begin = 0; begin + length.bytes <= text.size();) {
      // What is taken is at least as long as this length, so looking at both ends is enough.
      if (!length.begins[static_cast<unsigned char>(text[begin])] || taken[begin] ||
          taken[begin + length.bytes - 1]) {
        ++begin;
        continue;
      }
      const auto it = ids_.find(ToAbsl(text.substr(begin, length.bytes)));
      if (it == ids_.end() ||
          (!parse_special && vocabulary_.type(it->second) != TokenType::kUserDefined)) {
        ++begin;
        continue;
      }
      found.push_back({begin, length.bytes, it->second});
      std::fill_n(taken.begin() + static_cast<ptrdiff_t>(begin), length.bytes, true);
      begin += length.bytes;
    }
  }
  std::sort(found.begin(), found.end(),
            [](const Found& a, const Found& b) { return a.begin < b.begin; });

  std::vector<TextFragment> fragments;
  size_t done = 0;
  for (const Found& token : found) {
    if (token.begin > done) fragments.push_back({-1, text.substr(done, token.begin - done)});
    fragments.push_back({token.id, text.substr(token.begin, token.bytes)});
    done = token.begin + token.bytes;
  }
  if (done < text.size()) fragments.push_back({-1, text.substr(done)});
  return fragments;
}

}  // namespace renga
