// NVIDIA's runtime compiler, loaded when it is first needed: Renga builds and runs without it, and
// with it makes GPU code on machines that have no GPU and no CUDA toolkit.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "codegen/nvrtc/search.h"
#include "codegen/nvrtc/target.h"

namespace renga::codegen {

// The entry points we use, declared here because no CUDA header is needed to build. All return
// nvrtcResult, of which 0 is success. Source: "NVRTC" in the CUDA Toolkit documentation.
struct NvrtcApi {
  using Program = void*;
  int (*version)(int* major, int* minor);
  int (*num_supported_archs)(int* count);
  int (*supported_archs)(int* archs);
  const char* (*error_string)(int result);
  int (*create_program)(Program* program, const char* source, const char* name, int headers,
                        const char* const* header_texts, const char* const* header_names);
  int (*destroy_program)(Program* program);
  int (*compile_program)(Program program, int options, const char* const* option_texts);
  int (*cubin_size)(Program program, size_t* bytes);
  int (*cubin)(Program program, char* out);
  int (*ptx_size)(Program program, size_t* bytes);
  int (*ptx)(Program program, char* out);
  int (*log_size)(Program program, size_t* bytes);
  int (*log)(Program program, char* out);
};

// The oldest version that the tests of this folder have passed with.
inline constexpr NvrtcVersion kOldestNvrtc = {12, 1};

// A loaded libnvrtc. Immutable, and usable from any number of threads (NVRTC itself is). It stays
// in the process when the object goes: the library is not made to be unloaded.
class NvrtcLibrary {
 public:
  // The first place of `search` with a usable library: libnvrtc.so.13 or .12, all entry points,
  // not older than kOldestNvrtc, and its libnvrtc-builtins. Unavailable otherwise, saying what was
  // tried, why each did not do, and how to install one.
  static absl::StatusOr<std::shared_ptr<const NvrtcLibrary>> Load(const NvrtcSearch& search);

  const NvrtcApi& api() const { return api_; }
  NvrtcVersion version() const { return version_; }
  const std::string& path() const { return path_; }  // of the file
  // Tells apart what may compile differently: the version and the file's size, because releases
  // that only repair something have the version of what they repair.
  std::string identity() const;
  bool Supports(const GpuTarget& target) const;
  // Names of the targets it can compile for, in the order of GpuTargets().
  std::vector<std::string_view> SupportedTargets() const;

 private:
  friend class NvrtcLoader;
  NvrtcLibrary() = default;

  NvrtcApi api_ = {};
  NvrtcVersion version_;
  std::string path_;
  uint64_t file_bytes_ = 0;
  std::vector<int> archs_;  // 80, 90, ...
};

}  // namespace renga::codegen
