// Reads the little-endian fields of a file one after another, never past its end.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace renga {

// A value of type T stored unaligned at `data`. The machines we run on are little-endian, as the
// files are.
template <typename T>
T Load(const uint8_t* data) {
  T value;
  std::memcpy(&value, data, sizeof(T));
  return value;
}

// Borrows the bytes. `what` names the field in the error, which is DataLoss with the byte offset.
// A failed read leaves the position where it was.
class ByteCursor {
 public:
  explicit ByteCursor(absl::Span<const uint8_t> bytes, uint64_t position = 0)
      : bytes_(bytes), position_(position) {}

  uint64_t position() const { return position_; }
  uint64_t remaining() const { return bytes_.size() - position_; }
  const uint8_t* data() const { return bytes_.data() + position_; }

  absl::StatusOr<uint32_t> U32(std::string_view what);
  absl::StatusOr<uint64_t> U64(std::string_view what);

  // u64 length, then that many bytes; a view into the borrowed bytes.
  absl::StatusOr<std::string_view> String(std::string_view what);

  absl::Status Skip(uint64_t bytes, std::string_view what);

 private:
  absl::Span<const uint8_t> bytes_;
  uint64_t position_;  // never past bytes_.size()
};

}  // namespace renga
