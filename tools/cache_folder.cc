#include "tools/cache_folder.h"

#include <cstdlib>

#include "ir/base/strings.h"

namespace renga {

std::string CacheFolder(std::string_view name) {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && *cache != '\0') return StrCat(cache, "/renga/", name);
  const char* home = std::getenv("HOME");
  if (home != nullptr && *home != '\0') return StrCat(home, "/.cache/renga/", name);
  return "";
}

}  // namespace renga
