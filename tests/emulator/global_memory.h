// The emulated GPU's global memory: buffers with names, far from each other, so that an access
// outside of all of them is seen and named.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "tests/emulator/shadow.h"

namespace renga::emulator {

struct Buffer {
  std::string name;
  uint8_t* base = nullptr;
  size_t bytes = 0;
  std::unique_ptr<Shadow> shadow;  // null: kernels only read it, all of it is initialised
  bool writable = true;            // by kernels; the host may always write where there is a shadow
};

class GlobalMemory {
 public:
  GlobalMemory() = default;
  ~GlobalMemory();
  GlobalMemory(const GlobalMemory&) = delete;
  GlobalMemory& operator=(const GlobalMemory&) = delete;

  // Fresh memory, 4096-byte aligned, full of NaN (0xff) and not initialised.
  absl::StatusOr<void*> Allocate(std::string name, size_t bytes);
  // Memory of the caller's that kernels may read, not write; it must outlive this.
  absl::Status AddReadOnly(std::string name, const void* base, size_t bytes);
  absl::Status Free(void* base);

  // Host copies. The range must lie in one buffer; reading bytes nothing has written is an error
  // that says where.
  absl::Status Write(void* to, absl::Span<const uint8_t> bytes);
  absl::Status Read(const void* from, absl::Span<uint8_t> bytes) const;
  // Whether kernels may write to the buffer that starts at `base`, of Allocate.
  absl::Status SetWritable(const void* base, bool writable);
  // The first of the bytes that nothing has written, as an offset; `bytes` where all are. The range
  // must lie in one buffer of Allocate.
  absl::StatusOr<size_t> FirstUnwritten(const void* from, size_t bytes) const;
  // As if just allocated.
  absl::Status Forget(void* from, size_t bytes);

  // The buffer that holds all of [address, address + bytes), or null.
  Buffer* Find(const void* address, size_t bytes);
  // How an address lies to the buffer nearest to it: "12 bytes beyond the end of buffer 'y' (400
  // bytes)".
  std::string Describe(const void* address) const;

 private:
  // A stretch without a buffer on either side of each: as far as an index may stray and still be
  // seen.
  static constexpr size_t kGap = 1 << 20;

  absl::StatusOr<Buffer*> Writable(const void* address, size_t bytes);

  std::map<uintptr_t, Buffer> buffers_;  // by address
  Buffer* last_ = nullptr;               // found; accesses come in runs
};

}  // namespace renga::emulator
