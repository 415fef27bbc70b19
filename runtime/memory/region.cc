#include "runtime/memory/region.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "ir/base/status.h"

namespace renga {

absl::StatusOr<Region> Region::Allocate(uint64_t bytes, std::string_view what) {
  Region region;
  if (bytes == 0) return region;
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) {
    return absl::ResourceExhaustedError(StrCat("memory: cannot allocate ", bytes, " bytes for ",
                                               what, ": ", strerror(errno),
                                               "; try a smaller context (-c)"));
  }
  region.data_ = static_cast<uint8_t*>(data);
  region.size_ = bytes;
  return region;
}

void Region::AdviseHugePages() const {
#if defined(MADV_HUGEPAGE)
  if (data_ != nullptr) madvise(data_, size_, MADV_HUGEPAGE);
#endif
}

Region::Region(Region&& other) noexcept { *this = std::move(other); }

Region& Region::operator=(Region&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

Region::~Region() {
  if (data_ != nullptr) munmap(data_, size_);
}

}  // namespace renga
