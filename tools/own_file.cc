#include "tools/own_file.h"

#include <link.h>

#include <cstdint>

namespace renga {
namespace {

// What dl_iterate_phdr shows of a file that is loaded; 1 where it holds OwnFile, which ends the
// search. The program itself comes without a name.
int HoldsOwnFile(dl_phdr_info* info, size_t, void* name) {
  const auto address = reinterpret_cast<uintptr_t>(&OwnFile);
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = info->dlpi_phdr[i];
    const uintptr_t begin = info->dlpi_addr + segment.p_vaddr;
    if (segment.p_type != PT_LOAD || address < begin || address - begin >= segment.p_memsz) {
      continue;
    }
    *static_cast<std::string*>(name) = info->dlpi_name;
    return 1;
  }
  return 0;
}

}  // namespace

std::string OwnFile() {
  std::string name;
  dl_iterate_phdr(&HoldsOwnFile, &name);
  return name.empty() ? "/proc/self/exe" : name;
}

}  // namespace renga
