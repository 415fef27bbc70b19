#include "tools/nvrtc.h"

#include <cstdlib>
#include <optional>

#include "codegen/nvrtc/search.h"
#include "tools/cache_folder.h"

namespace renga {

absl::StatusOr<std::shared_ptr<const codegen::NvrtcLibrary>> LoadNvrtc() {
  return codegen::NvrtcLibrary::Load(
      codegen::UsualNvrtcSearch([](const char* name) -> std::optional<std::string> {
        const char* value = std::getenv(name);
        if (value == nullptr) return std::nullopt;
        return value;
      }));
}

std::string CubinCacheFolder() { return CacheFolder("cubins"); }

}  // namespace renga
