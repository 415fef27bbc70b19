// Keys and values of the beginning of a text as a file: what one process computed, another need
// not. Little-endian:
//   0  8 bytes  "RNGAKV" and two zero bytes
//   8  u32      version: 1, or 2 where layers with a window have pages of their own
//  12  u32      tokens of a page
//  16  2 x u64  identity of what computed it (IdentityOf), high then low
//  32  u64      tokens, whole pages of them
//  40  u64      bytes of a page
//  48           the tokens, i32 each; then page after page
//              version 2: for each window u64 bytes, then so many: the pages of the keys that the
//              next token sees
// and at the end 2 x u64, the XXH3-128 digest of all before it. A page is what
// StepRunner::ReadPage gives.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "ir/base/digest.h"
#include "runtime/plan/plan.h"

namespace renga {

struct SavedPrefix {
  Digest identity;
  int64_t page_tokens = 0;
  std::vector<int32_t> tokens;
  uint64_t page_bytes = 0;
  std::string pages;                 // tokens.size() / page_tokens times page_bytes
  std::vector<std::string> windows;  // of each of Geometry::windows, the pages that it still needs
};

// Of everything that the keys and values of a text follow from: target, weights, graph, how caches
// lie. Not of sizes that a plan may have more or less of.
Digest IdentityOf(const plan::Plan& plan);

std::string Encode(const SavedPrefix& prefix);

// Files are untrusted: InvalidArgument saying what is wrong with this one.
absl::StatusOr<SavedPrefix> DecodeSavedPrefix(std::string_view bytes);

}  // namespace renga
