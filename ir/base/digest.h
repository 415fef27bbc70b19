// Content digests (XXH3, 128 bits): identity of weights, files, plans and cache entries. They
// detect change and damage; they are not a signature.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/types/span.h"

namespace renga {

struct Digest {
  uint64_t high = 0;
  uint64_t low = 0;
  friend bool operator==(const Digest&, const Digest&) = default;
  std::string ToHex() const;  // 32 lower-case digits
};

Digest DigestOf(absl::Span<const uint8_t> bytes);
Digest DigestOf(std::string_view bytes);

// The same digest, of bytes that come in pieces.
class DigestStream {
 public:
  DigestStream();
  void Add(absl::Span<const uint8_t> bytes);
  void Add(std::string_view bytes);
  Digest Finish() const;

 private:
  struct State;
  struct Free {
    void operator()(State* state) const;
  };
  std::unique_ptr<State, Free> state_;
};

}  // namespace renga
