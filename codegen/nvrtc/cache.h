// Compiled kernels on disk, by what they were made of: the second compilation of a model, and every
// model that shares kernels with it, needs no compiler run.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "codegen/nvrtc/compile.h"
#include "ir/base/digest.h"

namespace renga::codegen {

struct CubinCacheOptions {
  // Made when the first kernel is stored. Empty: nothing is kept.
  std::string folder;
  // What entries may take together; beyond that the least recently used ones go. Processes that
  // store at the same time can each exceed it by a sixteenth.
  uint64_t max_bytes = uint64_t{256} << 20;
  // Called at most once, with why the cache cannot be written; Store does nothing from then on.
  std::function<void(std::string_view message)> on_problem;
};

// One file an entry, "<key>.cubin", written whole or not at all, checked by size and digest when it
// is read. Any number of processes and threads may use one folder; the worst that a race, a crash
// or damage does is that a kernel is compiled again. Errors of the file system are never errors of
// the cache's user.
class CubinCache {
 public:
  explicit CubinCache(CubinCacheOptions options);

  // The entry, now most recently used; nullopt where there is none. A damaged one is removed.
  std::optional<KernelBinary> Find(const Digest& key);
  void Store(const Digest& key, const KernelBinary& binary);

  // Entries found damaged and removed by this object.
  int64_t damaged() const;

  // The file of that key, whether it exists or not.
  std::string PathOf(const Digest& key) const;

 private:
  void Trim();

  const CubinCacheOptions options_;
  mutable std::mutex mutex_;
  bool broken_ = false;            // a problem was reported
  std::optional<uint64_t> bytes_;  // of all entries, when the folder was last looked through
  uint64_t added_ = 0;             // bytes stored since
  int64_t damaged_ = 0;
};

struct CubinCacheUsage {
  int64_t count = 0;
  uint64_t bytes = 0;
};

// What the folder holds; nothing where it cannot be read.
CubinCacheUsage UsageOfCubinCache(const std::string& folder);

}  // namespace renga::codegen
