#include "codegen/nvrtc/library.h"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "ir/base/status.h"

namespace renga::codegen {
namespace {

constexpr const char* kSonames[] = {"libnvrtc.so.13", "libnvrtc.so.12"};

constexpr std::string_view kInstall =
    "install it with tools/fetch-nvrtc, with 'pip install nvidia-cuda-nvrtc' or with a CUDA "
    "toolkit "
    "12.8 or newer, or name its folder in RENGA_NVRTC";

std::string LoaderError() {
  const char* error = dlerror();
  return error == nullptr ? "the loader gave no reason" : error;
}

// A library that is closed again unless it turns out to be the one.
struct Handle {
  void* handle = nullptr;
  ~Handle() {
    if (handle != nullptr) dlclose(handle);
  }
};

absl::Status Resolve(void* handle, const char* name, void** function) {
  *function = dlsym(handle, name);
  if (*function != nullptr) return absl::OkStatus();
  return absl::UnavailableError(StrCat("it has no ", name));
}

absl::StatusOr<NvrtcApi> ResolveAll(void* handle) {
  NvrtcApi api = {};
  const struct {
    const char* name;
    void** function;
  } functions[] = {
      {"nvrtcVersion", reinterpret_cast<void**>(&api.version)},
      {"nvrtcGetNumSupportedArchs", reinterpret_cast<void**>(&api.num_supported_archs)},
      {"nvrtcGetSupportedArchs", reinterpret_cast<void**>(&api.supported_archs)},
      {"nvrtcGetErrorString", reinterpret_cast<void**>(&api.error_string)},
      {"nvrtcCreateProgram", reinterpret_cast<void**>(&api.create_program)},
      {"nvrtcDestroyProgram", reinterpret_cast<void**>(&api.destroy_program)},
      {"nvrtcCompileProgram", reinterpret_cast<void**>(&api.compile_program)},
      {"nvrtcGetCUBINSize", reinterpret_cast<void**>(&api.cubin_size)},
      {"nvrtcGetCUBIN", reinterpret_cast<void**>(&api.cubin)},
      {"nvrtcGetPTXSize", reinterpret_cast<void**>(&api.ptx_size)},
      {"nvrtcGetPTX", reinterpret_cast<void**>(&api.ptx)},
      {"nvrtcGetProgramLogSize", reinterpret_cast<void**>(&api.log_size)},
      {"nvrtcGetProgramLog", reinterpret_cast<void**>(&api.log)},
  };
  for (const auto& [name, function] : functions) {
    RENGA_RETURN_IF_ERROR(Resolve(handle, name, function));
  }
  return api;
}

// The file that a function comes from; empty where the loader does not say.
std::string FileOf(const void* function) {
  Dl_info info;
  if (dladdr(function, &info) == 0 || info.dli_fname == nullptr) return "";
  std::error_code error;
  const auto path = std::filesystem::canonical(info.dli_fname, error);
  return error ? info.dli_fname : path.string();
}

// NVRTC opens its builtins by soname when it first compiles and does not look beside itself. Loaded
// here first, for all, they are found; and a library without them is noticed now.
absl::Status LoadBuiltins(const std::string& library, NvrtcVersion version) {
  const std::string name = StrCat("libnvrtc-builtins.so.", ToString(version));
  const std::string beside = (std::filesystem::path(library).parent_path() / name).string();
  if (dlopen(beside.c_str(), RTLD_NOW | RTLD_GLOBAL) != nullptr) return absl::OkStatus();
  const std::string error = LoaderError();
  if (dlopen(name.c_str(), RTLD_NOW | RTLD_GLOBAL) != nullptr) return absl::OkStatus();
  return absl::UnavailableError(StrCat("its ", name, " cannot be loaded (", error, ")"));
}

}  // namespace

// Goes through the places and remembers why each did not do.
class NvrtcLoader {
 public:
  // Null when `file` (a path or a soname) is not usable; then Tried() has the reason.
  std::shared_ptr<const NvrtcLibrary> Try(const std::string& file, std::string_view place) {
    absl::StatusOr<std::shared_ptr<const NvrtcLibrary>> library = Open(file);
    if (library.ok()) return *std::move(library);
    Note(StrCat(place, ": ", library.status().message()));
    return nullptr;
  }
  void Note(std::string reason) { tried_.push_back(std::move(reason)); }
  const std::vector<std::string>& tried() const { return tried_; }

 private:
  static absl::StatusOr<std::shared_ptr<const NvrtcLibrary>> Open(const std::string& file) {
    Handle opened{dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL)};
    if (opened.handle == nullptr) return absl::UnavailableError(LoaderError());
    std::shared_ptr<NvrtcLibrary> library(new NvrtcLibrary);
    RENGA_ASSIGN_OR_RETURN(library->api_, ResolveAll(opened.handle));
    const NvrtcApi& api = library->api_;
    NvrtcVersion& version = library->version_;
    if (api.version(&version.major, &version.minor) != 0) {
      return absl::UnavailableError("it does not say its version");
    }
    if (version < kOldestNvrtc) {
      return absl::UnavailableError(StrCat("version ", ToString(version), " is too old, expected ",
                                           ToString(kOldestNvrtc), " or newer"));
    }
    int count = 0;
    if (api.num_supported_archs(&count) != 0 || count < 1 || count > 1000) {
      return absl::UnavailableError("it does not say which GPUs it compiles for");
    }
    library->archs_.resize(static_cast<size_t>(count));
    if (api.supported_archs(library->archs_.data()) != 0) {
      return absl::UnavailableError("it does not say which GPUs it compiles for");
    }
    library->path_ = FileOf(reinterpret_cast<const void*>(api.version));
    if (library->path_.empty()) library->path_ = file;
    std::error_code error;
    const uintmax_t bytes = std::filesystem::file_size(library->path_, error);
    library->file_bytes_ = error ? 0 : bytes;
    RENGA_RETURN_IF_ERROR(LoadBuiltins(library->path_, version));
    opened.handle = nullptr;  // stays
    return std::shared_ptr<const NvrtcLibrary>(std::move(library));
  }

  std::vector<std::string> tried_;
};

absl::StatusOr<std::shared_ptr<const NvrtcLibrary>> NvrtcLibrary::Load(const NvrtcSearch& search) {
  NvrtcLoader loader;
  if (search.loader) {
    for (const char* soname : kSonames) {
      if (auto library = loader.Try(soname, "the system's loader")) return library;
    }
  }
  for (const std::string& folder : search.folders) {
    bool found = false;
    for (const char* soname : kSonames) {
      const std::string file = StrCat(folder, "/", soname);
      if (access(file.c_str(), F_OK) != 0) continue;
      found = true;
      if (auto library = loader.Try(file, file)) return library;
    }
    if (!found) loader.Note(StrCat(folder, ": no libnvrtc.so.13 or libnvrtc.so.12 in it"));
  }
  const std::string where =
      search.origin.empty() ? "" : StrCat(" in the folder of ", search.origin);
  return absl::UnavailableError(StrCat("nvrtc: no usable libnvrtc", where, "; tried ",
                                       StrJoin(loader.tried(), "; "), "; ", kInstall));
}

std::string NvrtcLibrary::identity() const {
  return StrCat(ToString(version_), " of ", file_bytes_, " bytes");
}

bool NvrtcLibrary::Supports(const GpuTarget& target) const {
  return version_ >= target.since &&
         std::find(archs_.begin(), archs_.end(), target.sm) != archs_.end();
}

std::vector<std::string_view> NvrtcLibrary::SupportedTargets() const {
  std::vector<std::string_view> names;
  for (const GpuTarget& target : GpuTargets()) {
    if (Supports(target)) names.push_back(target.name);
  }
  return names;
}

}  // namespace renga::codegen
