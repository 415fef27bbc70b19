#include "tests/emulator/kernel_library.h"

#include <dlfcn.h>
#include <link.h>

#include <sstream>
#include <utility>

#include "ir/base/status.h"
#include "tests/emulator/compile.h"

namespace renga::emulator {
namespace {

struct Extent {
  uintptr_t base, low, high;
};

// Where a loaded file lies, by the address of something in it.
int FindExtent(dl_phdr_info* info, size_t, void* data) {
  auto* extent = static_cast<Extent*>(data);
  uintptr_t low = UINTPTR_MAX, high = 0;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& segment = info->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD) continue;
    const uintptr_t start = info->dlpi_addr + segment.p_vaddr;
    low = std::min<uintptr_t>(low, start);
    high = std::max<uintptr_t>(high, start + segment.p_memsz);
  }
  if (extent->base < low || extent->base >= high) return 0;
  *extent = {info->dlpi_addr, low, high};
  return 1;
}

bool IsOurs(const std::string& line) {
  return line.find("tests/emulator/primitives_host.h") == std::string::npos &&
         line.find("codegen/kernels/primitives") == std::string::npos;
}

}  // namespace

KernelModule::~KernelModule() {
  if (handle_ != nullptr) dlclose(handle_);
}

bool KernelModule::Holds(const void* address, size_t bytes) const {
  const auto at = reinterpret_cast<uintptr_t>(address);
  return at >= low_ && at < high_ && bytes <= high_ - at;
}

uint32_t KernelModule::SiteOf(const void* pc) const {
  return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(pc) - base_);
}

const std::string& KernelModule::LineOf(uint32_t site) const {
  const auto [entry, fresh] = lines_.try_emplace(site);
  if (!fresh) return entry->second;
  // The address is that after a call, which may belong to the next line.
  const CommandOutput output =
      RunCommand(StrCat("addr2line -i -e ", ShellQuoted(path_), " 0x", absl::Hex(site - 1)));
  std::istringstream lines(output.text);
  std::string place = StrCat("+0x", absl::Hex(site), " (addr2line names no line)");
  for (std::string line; std::getline(lines, line);) {
    line = line.substr(0, line.find(" (discriminator"));
    if (output.exit_code != 0 || line.empty() || line[0] == '?' || !IsOurs(line)) continue;
    place = line;
    break;
  }
  const std::string prefix = StrCat(kSourcePrefix, "/");
  const bool relative = place.compare(0, prefix.size(), prefix) == 0;
  entry->second = relative ? place.substr(prefix.size()) : place;
  return entry->second;
}

absl::Status KernelLibrary::Load(const std::string& path, absl::Span<const KernelSource> sources) {
  modules_.emplace_back(new KernelModule);
  KernelModule* const module = modules_.back().get();
  module->path_ = path;
  module->handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (module->handle_ == nullptr) return absl::InternalError(StrCat(path, ": ", dlerror()));
  module->attachment_ =
      static_cast<Attachment*>(dlsym(module->handle_, "renga_emulator_attachment"));
  if (module->attachment_ == nullptr) return absl::InternalError(StrCat(path, ": ", dlerror()));
  Extent extent{reinterpret_cast<uintptr_t>(module->attachment_), 0, 0};
  dl_iterate_phdr(FindExtent, &extent);
  module->base_ = extent.base;
  module->low_ = extent.low;
  module->high_ = extent.high;
  for (const KernelSource& source : sources) {
    for (const std::string& name : source.kernels) {
      const auto thunk =
          reinterpret_cast<KernelThunk>(dlsym(module->handle_, ThunkName(name).c_str()));
      const auto* bytes = static_cast<const unsigned long*>(
          dlsym(module->handle_, ArgumentBytesName(name).c_str()));
      if (thunk == nullptr || bytes == nullptr) {
        return absl::InternalError(StrCat(path, ": ", dlerror()));
      }
      kernels_[name] = {name, thunk, *bytes, module};
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<KernelLibrary>> KernelLibrary::Compile(
    const CompileOptions& options, absl::Span<const KernelSource> sources) {
  RENGA_ASSIGN_OR_RETURN(const CompiledSources compiled, CompileSources(options, sources));
  std::unique_ptr<KernelLibrary> library(new KernelLibrary);
  library->from_cache_ = compiled.from_cache;
  for (const auto& [path, of_file] : compiled.files) {
    RENGA_RETURN_IF_ERROR(library->Load(path, of_file));
  }
  return library;
}

absl::StatusOr<const Kernel*> KernelLibrary::Find(const std::string& name) const {
  const auto found = kernels_.find(name);
  if (found == kernels_.end()) return absl::NotFoundError(StrCat("no kernel '", name, "'"));
  return &found->second;
}

}  // namespace renga::emulator
