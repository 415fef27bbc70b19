#include "ir/base/token_index.h"

#define XXH_INLINE_ALL  // the strings are short: a call would cost as much as the hash
#include <xxhash.h>

#include <cstddef>

namespace renga {

TokenIndex::TokenIndex(std::string_view text, absl::Span<const uint32_t> offsets)
    : text_(text), offsets_(offsets) {
  if (offsets.size() < 2) return;
  const size_t tokens = offsets.size() - 1;
  size_t slots = 16;
  while (slots < 2 * tokens) slots *= 2;
  slots_.assign(slots, {0, -1});
  // Differs from run to run, so that no file can be made whose tokens all fall on one slot.
  seed_ = reinterpret_cast<uintptr_t>(slots_.data());
  for (size_t i = 0; i < tokens; ++i) {
    const auto id = static_cast<int32_t>(i);
    const std::string_view token = Token(id);
    if (token.empty()) continue;
    const uint64_t hash = Hash(token);
    const auto tag = static_cast<uint32_t>(hash >> 32);
    size_t at = hash & (slots - 1);
    while (slots_[at].id >= 0 && (slots_[at].tag != tag || Token(slots_[at].id) != token)) {
      at = (at + 1) & (slots - 1);
    }
    slots_[at] = {tag, id};
  }
}

int32_t TokenIndex::Find(std::string_view token) const {
  if (slots_.empty()) return -1;
  const uint64_t hash = Hash(token);
  const auto tag = static_cast<uint32_t>(hash >> 32);
  for (size_t at = hash & (slots_.size() - 1); slots_[at].id >= 0;
       at = (at + 1) & (slots_.size() - 1)) {
    if (slots_[at].tag == tag && Token(slots_[at].id) == token) return slots_[at].id;
  }
  return -1;
}

uint64_t TokenIndex::Hash(std::string_view token) const {
  return XXH3_64bits_withSeed(token.data(), token.size(), seed_);
}

}  // namespace renga
