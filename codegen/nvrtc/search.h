// Where to look for libnvrtc.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace renga::codegen {

// The value of an environment variable; nullopt or empty where it is not set. Passed in, so that
// only tools read the environment.
using GetVariable = std::function<std::optional<std::string>(const char* name)>;

struct NvrtcSearch {
  // Folders that hold the library itself, in the order to try.
  std::vector<std::string> folders;
  // Whether the dynamic loader looks first (LD_LIBRARY_PATH, /etc/ld.so.conf).
  bool loader = true;
  // Who named the only folder ("RENGA_NVRTC"); empty: nobody did, `folders` are the usual places.
  std::string origin;
};

// RENGA_NVRTC alone where it is set: who names a folder gets that library or an error. Else the
// loader, then the folders that exist among: those of CUDA_HOME and CUDA_PATH, of toolkits in
// /usr/local and /opt, of what tools/fetch-nvrtc put into the cache, and of NVIDIA's Python wheels
// in the active environment, the user's and the system's site-packages; newer versions first.
NvrtcSearch UsualNvrtcSearch(const GetVariable& variable);

// That one folder; `origin` says in errors where it comes from ("--nvrtc").
NvrtcSearch NvrtcSearchIn(std::string_view folder, std::string_view origin);

}  // namespace renga::codegen
