#include "runtime/memory/saved_prefix.h"

#include <cstring>

#include "ir/base/dtype.h"
#include "ir/base/status.h"
#include "ir/base/strings.h"

namespace renga {
namespace {

constexpr std::string_view kMagic("RNGAKV\0\0", 8);
constexpr uint32_t kVersion = 1, kVersionWithWindows = 2;

struct Header {
  char magic[8];
  uint32_t version;
  uint32_t page_tokens;
  uint64_t identity_high, identity_low;
  uint64_t tokens;
  uint64_t page_bytes;
};
static_assert(sizeof(Header) == 48);

struct Trailer {
  uint64_t high, low;
};

template <typename T>
std::string_view Bytes(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

// The symbols' limits are sizes, whatever else the text says is meaning.
void AddGraph(std::string_view text, DigestStream* digest) {
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end == text.npos ? end : end + 1);
    if (line.substr(0, 4) != "dim ") digest->Add(line);
    text.remove_prefix(line.size());
  }
}

}  // namespace

Digest IdentityOf(const plan::Plan& plan) {
  DigestStream digest;
  digest.Add(StrCat(plan.target, "\n", plan.geometry.page_tokens, "\n"));
  for (const plan::Cache& cache : plan.caches) {
    digest.Add(StrCat(cache.name, " ", Name(cache.dtype), " ", cache.heads, " ", cache.head_dim,
                      " ", cache.cell_bytes, "\n"));
  }
  for (const plan::Weight& weight : plan.weights) {
    digest.Add(StrCat(weight.source.name, " ", weight.digest.ToHex(), "\n"));
  }
  AddGraph(plan.ir, &digest);
  return digest.Finish();
}

std::string Encode(const SavedPrefix& prefix) {
  Header header = {};
  std::memcpy(header.magic, kMagic.data(), kMagic.size());
  header.version = prefix.windows.empty() ? kVersion : kVersionWithWindows;
  header.page_tokens = static_cast<uint32_t>(prefix.page_tokens);
  header.identity_high = prefix.identity.high;
  header.identity_low = prefix.identity.low;
  header.tokens = prefix.tokens.size();
  header.page_bytes = prefix.page_bytes;
  std::string bytes(Bytes(header));
  if (!prefix.tokens.empty()) {
    bytes.append(reinterpret_cast<const char*>(prefix.tokens.data()),
                 prefix.tokens.size() * sizeof(int32_t));
  }
  bytes += prefix.pages;
  for (const std::string& window : prefix.windows) {
    const uint64_t size = window.size();
    bytes += Bytes(size);
    bytes += window;
  }
  const Digest digest = DigestOf(bytes);
  const Trailer trailer = {digest.high, digest.low};
  bytes += Bytes(trailer);
  return bytes;
}

absl::StatusOr<SavedPrefix> DecodeSavedPrefix(std::string_view bytes) {
  if (bytes.size() < sizeof(Header) + sizeof(Trailer) || bytes.substr(0, kMagic.size()) != kMagic) {
    return absl::InvalidArgumentError("expected keys and values that were saved, got another file");
  }
  Header header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (header.version != kVersion && header.version != kVersionWithWindows) {
    return absl::InvalidArgumentError(StrCat("expected format version ", kVersion, " or ",
                                             kVersionWithWindows, ", got ", header.version));
  }
  Trailer trailer;
  const std::string_view content = bytes.substr(0, bytes.size() - sizeof(trailer));
  std::memcpy(&trailer, bytes.data() + content.size(), sizeof(trailer));
  if (DigestOf(content) != Digest{trailer.high, trailer.low}) {
    return absl::InvalidArgumentError("damaged: its digest is not that of its content");
  }
  // The digest is no signature: sizes are looked at all the same. Divided, nothing overflows.
  const uint64_t rest = content.size() - sizeof(header);
  const bool whole = header.page_tokens > 0 && header.tokens % header.page_tokens == 0 &&
                     header.tokens <= rest / sizeof(int32_t);
  const uint64_t pages = whole ? header.tokens / header.page_tokens : 0;
  const uint64_t space = whole ? rest - header.tokens * sizeof(int32_t) : 0;
  const bool windows = header.version == kVersionWithWindows;
  const bool fits = pages == 0 ? space == 0
                    : windows  ? header.page_bytes <= space / pages
                               : space % pages == 0 && space / pages == header.page_bytes;
  if (!whole || !fits) {
    return absl::InvalidArgumentError(StrCat("expected whole pages of ", header.page_tokens,
                                             " tokens and ", header.page_bytes, " bytes for ",
                                             header.tokens, " tokens, got ", rest, " bytes"));
  }
  SavedPrefix prefix;
  prefix.identity = {header.identity_high, header.identity_low};
  prefix.page_tokens = header.page_tokens;
  prefix.page_bytes = header.page_bytes;
  prefix.tokens.resize(header.tokens);
  if (header.tokens > 0) {
    std::memcpy(prefix.tokens.data(), content.data() + sizeof(header),
                header.tokens * sizeof(int32_t));
  }
  std::string_view left = content.substr(sizeof(header) + header.tokens * sizeof(int32_t));
  prefix.pages = left.substr(0, pages * header.page_bytes);
  left.remove_prefix(prefix.pages.size());
  while (!left.empty()) {
    uint64_t size = 0;
    if (left.size() >= sizeof(size)) std::memcpy(&size, left.data(), sizeof(size));
    if (left.size() < sizeof(size) || size > left.size() - sizeof(size)) {
      return absl::InvalidArgumentError(
          StrCat("expected the pages of a window, got ", left.size(), " bytes"));
    }
    prefix.windows.emplace_back(left.substr(sizeof(size), size));
    left.remove_prefix(sizeof(size) + size);
  }
  return prefix;
}

}  // namespace renga
