#include "codegen/nvrtc/cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <system_error>
#include <vector>

#include "ir/base/output_file.h"
#include "ir/base/status.h"

namespace renga::codegen {
namespace {

// An entry: this header, then cubin, PTX and log. The digest covers the sizes and the three texts;
// the key is there so that a renamed file is not taken for another kernel. Little-endian, like
// every machine that has these GPUs.
struct EntryHeader {
  std::array<char, 8> magic;
  uint64_t key_high, key_low;
  uint64_t cubin_bytes, ptx_bytes, log_bytes;
  uint64_t digest_high, digest_low;
};
static_assert(sizeof(EntryHeader) == 64);

constexpr std::array<char, 8> kMagic = {'R', 'N', 'G', 'C', 'U', 'B', '0', '1'};
constexpr std::string_view kExtension = ".cubin";

// Larger files are none of ours; bounds what a damaged folder can make us read.
constexpr uint64_t kMaxEntryBytes = uint64_t{64} << 20;

// A temporary lives for milliseconds; one this old belongs to a process that was killed.
constexpr time_t kStaleSeconds = 3600;

// The folder is looked through again after adding this fraction of what it may hold: others add
// too.
constexpr uint64_t kLooks = 16;

Digest DigestOfContent(const EntryHeader& header, std::string_view cubin, std::string_view ptx,
                       std::string_view log) {
  DigestStream digest;
  digest.Add(StrCat(header.cubin_bytes, " ", header.ptx_bytes, " ", header.log_bytes, ":"));
  digest.Add(cubin);
  digest.Add(ptx);
  digest.Add(log);
  return digest.Finish();
}

// The bytes of a regular file; nullopt where there is none that can be read. No mapping: a file
// that shrinks meanwhile must not fault.
std::optional<std::string> ReadEntryFile(const std::string& path, bool* exists) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  *exists = fd >= 0;
  if (fd < 0) return std::nullopt;
  std::optional<std::string> bytes;
  struct stat info;
  if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) &&
      static_cast<uint64_t>(info.st_size) <= kMaxEntryBytes) {
    bytes.emplace(static_cast<size_t>(info.st_size), '\0');
    size_t have = 0;
    while (have < bytes->size()) {
      const ssize_t got = read(fd, bytes->data() + have, bytes->size() - have);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) break;
      have += static_cast<size_t>(got);
    }
    bytes->resize(have);
    futimens(fd, nullptr);  // used now, for Trim; fails on a read-only folder, where nothing is
                            // trimmed either
  }
  close(fd);
  return bytes;
}

std::optional<KernelBinary> Decode(const Digest& key, std::string_view bytes) {
  EntryHeader header;
  if (bytes.size() < sizeof(header)) return std::nullopt;
  memcpy(&header, bytes.data(), sizeof(header));
  bytes.remove_prefix(sizeof(header));
  if (header.magic != kMagic || header.key_high != key.high || header.key_low != key.low) {
    return std::nullopt;
  }
  const auto take = [&bytes](uint64_t size, std::string* out) {
    if (size > bytes.size()) return false;
    *out = std::string(bytes.substr(0, size));
    bytes.remove_prefix(size);
    return true;
  };
  KernelBinary binary;
  if (!take(header.cubin_bytes, &binary.cubin) || !take(header.ptx_bytes, &binary.ptx) ||
      !take(header.log_bytes, &binary.log) || !bytes.empty()) {
    return std::nullopt;
  }
  const Digest digest = DigestOfContent(header, binary.cubin, binary.ptx, binary.log);
  if (digest.high != header.digest_high || digest.low != header.digest_low) return std::nullopt;
  return binary;
}

struct EntryFile {
  std::filesystem::path path;
  timespec used;
  uint64_t bytes;
};

// The entries of a folder. Removes temporaries of processes that did not live to rename them,
// unless `only_look`.
std::vector<EntryFile> ListEntries(const std::string& folder, bool only_look) {
  std::vector<EntryFile> entries;
  std::error_code error;
  for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end;
       at.increment(error)) {
    const std::string name = at->path().filename().string();
    struct stat info;
    if (lstat(at->path().c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
    if (name.ends_with(kExtension)) {
      entries.push_back({at->path(), info.st_mtim, static_cast<uint64_t>(info.st_size)});
    } else if (!only_look && name.find(StrCat(kExtension, ".tmp.")) != name.npos &&
               info.st_mtim.tv_sec < time(nullptr) - kStaleSeconds) {
      unlink(at->path().c_str());
    }
  }
  return entries;
}

}  // namespace

CubinCache::CubinCache(CubinCacheOptions options) : options_(std::move(options)) {}

std::string CubinCache::PathOf(const Digest& key) const {
  return StrCat(options_.folder, "/", key.ToHex(), kExtension);
}

std::optional<KernelBinary> CubinCache::Find(const Digest& key) {
  if (options_.folder.empty()) return std::nullopt;
  const std::string path = PathOf(key);
  bool exists = false;
  const std::optional<std::string> bytes = ReadEntryFile(path, &exists);
  std::optional<KernelBinary> binary;
  if (bytes.has_value()) binary = Decode(key, *bytes);
  if (exists && !binary.has_value()) {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
    const std::lock_guard lock(mutex_);
    ++damaged_;
  }
  return binary;
}

void CubinCache::Store(const Digest& key, const KernelBinary& binary) {
  if (options_.folder.empty()) return;
  {
    const std::lock_guard lock(mutex_);
    if (broken_) return;
  }
  EntryHeader header = {kMagic,           key.high, key.low, binary.cubin.size(), binary.ptx.size(),
                        binary.log.size()};
  const Digest digest = DigestOfContent(header, binary.cubin, binary.ptx, binary.log);
  header.digest_high = digest.high;
  header.digest_low = digest.low;
  const uint64_t bytes =
      sizeof(header) + binary.cubin.size() + binary.ptx.size() + binary.log.size();
  if (bytes > kMaxEntryBytes || bytes > options_.max_bytes) return;

  std::error_code error;
  std::filesystem::create_directories(options_.folder, error);
  absl::Status status;
  if (error) {
    status =
        absl::UnavailableError(StrCat(options_.folder, ": cannot be created: ", error.message()));
  } else {
    const std::string_view head(reinterpret_cast<const char*>(&header), sizeof(header));
    status = WriteFileAtomically(PathOf(key), {head, binary.cubin, binary.ptx, binary.log});
  }
  const std::lock_guard lock(mutex_);
  if (!status.ok()) {
    if (!broken_ && options_.on_problem) {
      options_.on_problem(StrCat("compiled kernels are not kept: ", status.message()));
    }
    broken_ = true;
    return;
  }
  added_ += bytes;
  if (!bytes_.has_value() || *bytes_ + added_ > options_.max_bytes ||
      added_ > options_.max_bytes / kLooks) {
    Trim();
  }
}

// Looks through the folder, and removes the least recently used entries until a tenth of the room
// is free again, so that not every Store has to.
void CubinCache::Trim() {
  std::vector<EntryFile> entries = ListEntries(options_.folder, /*only_look=*/false);
  uint64_t bytes = 0;
  for (const EntryFile& entry : entries) bytes += entry.bytes;
  if (bytes > options_.max_bytes) {
    std::sort(entries.begin(), entries.end(), [](const EntryFile& a, const EntryFile& b) {
      if (a.used.tv_sec != b.used.tv_sec) return a.used.tv_sec < b.used.tv_sec;
      if (a.used.tv_nsec != b.used.tv_nsec) return a.used.tv_nsec < b.used.tv_nsec;
      return a.path < b.path;
    });
    const uint64_t goal = options_.max_bytes - options_.max_bytes / 10;
    for (const EntryFile& entry : entries) {
      if (bytes <= goal) break;
      // Another process may have removed it already: gone is gone.
      unlink(entry.path.c_str());
      bytes -= entry.bytes;
    }
  }
  bytes_ = bytes;
  added_ = 0;
}

int64_t CubinCache::damaged() const {
  const std::lock_guard lock(mutex_);
  return damaged_;
}

CubinCacheUsage UsageOfCubinCache(const std::string& folder) {
  CubinCacheUsage usage;
  if (folder.empty()) return usage;
  for (const EntryFile& entry : ListEntries(folder, /*only_look=*/true)) {
    ++usage.count;
    usage.bytes += entry.bytes;
  }
  return usage;
}

}  // namespace renga::codegen
