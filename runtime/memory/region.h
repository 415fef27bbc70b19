// Zeroed memory that costs nothing until it is touched: a KV arena for a long context is mostly
// never used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"

namespace renga {

// Owns an anonymous mapping; move-only. Page aligned.
class Region {
 public:
  // ResourceExhausted, naming `what`, when the address space is not to be had. Zero bytes are fine.
  static absl::StatusOr<Region> Allocate(uint64_t bytes, std::string_view what);

  Region() = default;
  Region(Region&& other) noexcept;
  Region& operator=(Region&& other) noexcept;
  ~Region();

  // Advice to the kernel, for memory that is used as a whole; failures are harmless and ignored.
  void AdviseHugePages() const;

  uint8_t* data() const { return data_; }
  uint64_t size() const { return size_; }

 private:
  uint8_t* data_ = nullptr;
  uint64_t size_ = 0;
};

}  // namespace renga
