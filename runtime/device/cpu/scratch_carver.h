// Divides one scratch allocation into aligned parts: add all parts, allocate bytes(), then At().
#pragma once

#include <cstddef>
#include <cstdint>

namespace renga::cpu {

class ScratchCarver {
 public:
  // Offset of `count` elements of T, aligned to 64 bytes.
  template <typename T>
  size_t Add(int64_t count) {
    const size_t at = bytes_;
    bytes_ += (static_cast<size_t>(count) * sizeof(T) + 63) / 64 * 64;
    return at;
  }
  size_t bytes() const { return bytes_; }

  template <typename T>
  static T* At(std::byte* base, size_t offset) {
    return reinterpret_cast<T*>(base + offset);
  }

 private:
  size_t bytes_ = 0;
};

}  // namespace renga::cpu
