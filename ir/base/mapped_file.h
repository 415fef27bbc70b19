// A read-only memory-mapped file: weights are used in place, never copied.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace renga {

// Owns the mapping; move-only. The bytes stay valid and unchanged in address while it lives.
// Truncating the file while it is mapped makes a later read fault, as with every mmap.
class MappedFile {
 public:
  // NotFound when there is no such file, InvalidArgument when it is a directory or not readable.
  // An empty file maps to an empty span.
  static absl::StatusOr<MappedFile> Open(const std::string& path);

  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  const std::string& path() const { return path_; }
  absl::Span<const uint8_t> bytes() const { return {data_, size_}; }
  uint64_t size() const { return size_; }

  // Copies bytes without touching the mapping: no page of it becomes resident, and a file that was
  // truncated meanwhile is an error instead of a fault. Unavailable where they cannot be read,
  // OutOfRange where the file no longer has them. For any number of threads at a time.
  absl::Status Read(uint64_t offset, absl::Span<uint8_t> to) const;

  // Advice to the kernel; failures are harmless and ignored.
  void Prefetch(uint64_t offset, uint64_t bytes) const;  // will be needed soon
  void Release(uint64_t offset, uint64_t bytes) const;   // may leave this process' resident set

 private:
  std::string path_;
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
  int fd_ = -1;
};

}  // namespace renga
