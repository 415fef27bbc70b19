#include "frontend/gguf/byte_cursor.h"

#include "frontend/gguf/format_error.h"
#include "ir/base/status.h"

namespace renga {

absl::Status ByteCursor::Skip(uint64_t bytes, std::string_view what) {
  if (bytes > remaining()) {
    return TruncatedError(position_, what, ": expected ", bytes, " bytes, got ", remaining(),
                          " up to the end of the file");
  }
  position_ += bytes;
  return absl::OkStatus();
}

absl::StatusOr<uint32_t> ByteCursor::U32(std::string_view what) {
  const uint8_t* field = data();
  RENGA_RETURN_IF_ERROR(Skip(sizeof(uint32_t), what));
  return Load<uint32_t>(field);
}

absl::StatusOr<uint64_t> ByteCursor::U64(std::string_view what) {
  const uint8_t* field = data();
  RENGA_RETURN_IF_ERROR(Skip(sizeof(uint64_t), what));
  return Load<uint64_t>(field);
}

absl::StatusOr<std::string_view> ByteCursor::String(std::string_view what) {
  ByteCursor ahead = *this;
  RENGA_ASSIGN_OR_RETURN(const uint64_t length, ahead.U64(what));
  if (length > ahead.remaining()) {
    return TruncatedError(position_, "length of ", what, ": expected at most ", ahead.remaining(),
                          " bytes, which are left in the file, got ", length);
  }
  const std::string_view text(reinterpret_cast<const char*>(ahead.data()), length);
  ahead.position_ += length;
  *this = ahead;
  return text;
}

}  // namespace renga
