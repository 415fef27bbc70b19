#include "frontend/gguf/part.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "absl/strings/str_format.h"
#include "frontend/gguf/byte_cursor.h"
#include "frontend/gguf/format_error.h"
#include "ir/base/status.h"

namespace renga {
namespace {

constexpr uint64_t kDefaultAlignment = 32;
constexpr uint64_t kMinAlignment = 8;
constexpr uint64_t kMaxAlignment = uint64_t{1} << 31;
constexpr uint64_t kMagicBytes = 4;
constexpr uint64_t kHeaderBytes = 24;
// Real files have fewer than a hundred keys and a few thousand tensors; caps keep hostile ones from
// costing time and memory.
constexpr uint64_t kMaxMetadataEntries = 65536;
constexpr uint64_t kMaxTensors = 131072;
// An empty key, a type and one byte of value.
constexpr uint64_t kMinMetadataEntryBytes = 8 + 4 + 1;

absl::Status ReadMagic(ByteCursor& cursor) {
  if (cursor.remaining() == 0) {
    return absl::InvalidArgumentError("expected a GGUF model, got an empty file");
  }
  const uint8_t* magic = cursor.data();
  const std::string_view got(reinterpret_cast<const char*>(magic),
                             std::min(kMagicBytes, cursor.remaining()));
  if (got != std::string_view("GGUF").substr(0, got.size())) {
    std::string hex;
    for (char byte : got) absl::StrAppendFormat(&hex, " %02x", static_cast<uint8_t>(byte));
    return CorruptError(0, "not a GGUF file: expected the first bytes 'GGUF' (47 47 55 46), got ",
                        Quote(got), " (", hex.substr(1), ")");
  }
  return cursor.Skip(kMagicBytes, "first bytes 'GGUF'");
}

absl::StatusOr<uint32_t> ReadVersion(ByteCursor& cursor) {
  const uint64_t offset = cursor.position();
  RENGA_ASSIGN_OR_RETURN(const uint32_t version, cursor.U32("version"));
  if (version == 2 || version == 3) return version;
  if (version == 1) {
    return UnsupportedError(offset, "version: expected 2 or 3, got 1, which was replaced in 2023; ",
                            "convert the model again");
  }
  // A small number written by a big-endian machine has its bytes at the other end.
  if (version != 0 && (version & 0xffff) == 0) {
    return UnsupportedError(offset, "version: expected 2 or 3, got a big-endian file of version ",
                            __builtin_bswap32(version),
                            "; convert it to little-endian with gguf-convert-endian");
  }
  return UnsupportedError(offset, "version: expected 2 or 3, got ", version);
}

// A count of things that take at least `min_bytes` bytes each behind the header.
absl::StatusOr<uint64_t> ReadCount(std::string_view what, uint64_t min_bytes, uint64_t max,
                                   uint64_t file_bytes, ByteCursor& cursor) {
  const uint64_t offset = cursor.position();
  RENGA_ASSIGN_OR_RETURN(const uint64_t count, cursor.U64(what));
  const uint64_t most = file_bytes > kHeaderBytes ? (file_bytes - kHeaderBytes) / min_bytes : 0;
  if (count > most) {
    return TruncatedError(offset, what, ": expected at most ", most, ", which fit in a file of ",
                          file_bytes, " bytes, got ", count);
  }
  if (count > max) {
    return UnsupportedError(offset, what, ": expected at most ", max, ", got ", count);
  }
  return count;
}

absl::StatusOr<uint64_t> ReadAlignment(const Metadata& metadata) {
  const MetaValue* value = metadata.Find("general.alignment");
  if (value == nullptr) return kDefaultAlignment;
  absl::StatusOr<uint64_t> alignment = value->AsUint();
  if (!alignment.ok()) {
    return Annotate(alignment.status(), StrCat("byte ", value->offset(), ": general.alignment"));
  }
  if (*alignment < kMinAlignment || *alignment > kMaxAlignment ||
      (*alignment & (*alignment - 1)) != 0) {
    return CorruptError(value->offset(), "general.alignment: expected a power of two from ",
                        kMinAlignment, " to ", kMaxAlignment, ", got ", *alignment);
  }
  return *alignment;
}

absl::Status ReadAll(uint32_t number, GgufPart& part) {
  ByteCursor cursor(part.file.bytes());
  RENGA_RETURN_IF_ERROR(ReadMagic(cursor));
  RENGA_ASSIGN_OR_RETURN(part.version, ReadVersion(cursor));
  RENGA_ASSIGN_OR_RETURN(
      const uint64_t tensors,
      ReadCount("number of tensors", kMinTensorEntryBytes, kMaxTensors, part.file.size(), cursor));
  RENGA_ASSIGN_OR_RETURN(const uint64_t entries,
                         ReadCount("number of metadata", kMinMetadataEntryBytes,
                                   kMaxMetadataEntries, part.file.size(), cursor));
  RENGA_ASSIGN_OR_RETURN(part.metadata, Metadata::Read(part.file.path(), entries, cursor));
  RENGA_ASSIGN_OR_RETURN(part.alignment, ReadAlignment(part.metadata));
  RENGA_ASSIGN_OR_RETURN(part.tensors, ReadTensorTable(tensors, number, cursor));
  part.header_bytes = cursor.position();
  // note: no overflow, a file is far below 2^63 bytes and the alignment is at most 2^31.
  part.data_offset = (part.header_bytes + part.alignment - 1) / part.alignment * part.alignment;
  return PlaceTensors(part.data_offset, part.alignment, part.file.size(), part.tensors);
}

}  // namespace

absl::StatusOr<GgufPart> ReadGgufPart(const std::string& path, uint32_t part) {
  GgufPart read;
  RENGA_ASSIGN_OR_RETURN(read.file, MappedFile::Open(path));
  if (absl::Status status = ReadAll(part, read); !status.ok()) return Annotate(status, path);
  return read;
}

}  // namespace renga
