#include "ir/base/digest.h"

#include <xxhash.h>

#include "absl/strings/str_format.h"

namespace renga {
namespace {

absl::Span<const uint8_t> Bytes(std::string_view text) {
  return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

Digest FromXxh(const XXH128_hash_t& hash) { return {hash.high64, hash.low64}; }

}  // namespace

std::string Digest::ToHex() const { return absl::StrFormat("%016x%016x", high, low); }

Digest DigestOf(absl::Span<const uint8_t> bytes) {
  return FromXxh(XXH3_128bits(bytes.data(), bytes.size()));
}

Digest DigestOf(std::string_view bytes) { return DigestOf(Bytes(bytes)); }

// xxhash allocates its state itself, because it must be 64-byte aligned.
struct DigestStream::State {
  XXH3_state_t* xxh;
};

void DigestStream::Free::operator()(State* state) const {
  XXH3_freeState(state->xxh);
  delete state;
}

DigestStream::DigestStream() : state_(new State{XXH3_createState()}) {
  XXH3_128bits_reset(state_->xxh);
}

void DigestStream::Add(absl::Span<const uint8_t> bytes) {
  XXH3_128bits_update(state_->xxh, bytes.data(), bytes.size());
}

void DigestStream::Add(std::string_view bytes) { Add(Bytes(bytes)); }

Digest DigestStream::Finish() const { return FromXxh(XXH3_128bits_digest(state_->xxh)); }

}  // namespace renga
