// Zeroed pages of memory that take room only once touched.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>

namespace renga::emulator {

// Ends the program where even addresses run out.
inline void* MapPages(size_t bytes) {
  void* pages = mmap(nullptr, bytes + 1, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED) abort();
  return pages;
}

inline void UnmapPages(void* pages, size_t bytes) { munmap(pages, bytes + 1); }

}  // namespace renga::emulator
