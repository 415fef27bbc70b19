// Files of kernels compiled for the host and loaded.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "tests/emulator/runtime_interface.h"

namespace renga::emulator {

// CUDA C++ written with codegen/kernels/primitives.cuh.
struct KernelSource {
  std::string name;  // as messages shall cite it: a path, say
  std::string text;
  std::vector<std::string> kernels;  // extern "C" __global__ functions in it
};

// Reads a file of kernels below the root of the repository, and finds its kernels by `extern "C"
// __global__`.
absl::StatusOr<KernelSource> ReadKernelSource(const std::string& path);

struct CompileOptions {
  std::string compiler;            // of C++20: g++ 12 or newer
  std::string root;                // of the repository, for #include "..."
  std::string cache_folder;        // made where absent; compiled files are kept in it by content
  std::vector<std::string> flags;  // more of them, -D... for instance
};

// One compiled file, loaded for as long as this lives.
class KernelModule {
 public:
  ~KernelModule();
  KernelModule(const KernelModule&) = delete;
  KernelModule& operator=(const KernelModule&) = delete;

  Attachment& attachment() const { return *attachment_; }
  // Whether the bytes are part of the loaded file: its constants.
  bool Holds(const void* address, size_t bytes) const;
  // Of an instruction or the address after a call, from the start of the file.
  uint32_t SiteOf(const void* pc) const;
  // "file:line" of the innermost place that is not in the emulator or the primitives; asks
  // addr2line, once.
  const std::string& LineOf(uint32_t site) const;

 private:
  friend class KernelLibrary;
  KernelModule() = default;

  void* handle_ = nullptr;
  std::string path_;
  uintptr_t low_ = 0, high_ = 0;  // where it is loaded
  uintptr_t base_ = 0;            // what its addresses are relative to
  Attachment* attachment_ = nullptr;
  mutable std::map<uint32_t, std::string> lines_;
};

struct Kernel {
  std::string name;
  KernelThunk thunk = nullptr;
  size_t argument_bytes = 0;  // of all arguments together
  const KernelModule* module = nullptr;
};

// Compiled kernels. Not for use by several threads at once.
class KernelLibrary {
 public:
  // Compiles the sources that the cache does not have, in one file. Each source's own names are put
  // into a namespace of its own, its includes before that. An error has the compiler's output.
  static absl::StatusOr<std::unique_ptr<KernelLibrary>> Compile(
      const CompileOptions& options, absl::Span<const KernelSource> sources);

  absl::StatusOr<const Kernel*> Find(const std::string& name) const;
  const std::map<std::string, Kernel>& kernels() const { return kernels_; }
  bool from_cache() const { return from_cache_; }

 private:
  KernelLibrary() = default;
  absl::Status Load(const std::string& path, absl::Span<const KernelSource> sources);

  std::vector<std::unique_ptr<KernelModule>> modules_;
  std::map<std::string, Kernel> kernels_;
  bool from_cache_ = false;
};

}  // namespace renga::emulator
