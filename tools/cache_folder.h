// Where Renga keeps what it can make again.
#pragma once

#include <string>
#include <string_view>

namespace renga {

// The folder `name` ("plans", "cubins") of the cache, $XDG_CACHE_HOME/renga or ~/.cache/renga;
// empty when neither XDG_CACHE_HOME nor HOME is set. It need not exist.
std::string CacheFolder(std::string_view name);

}  // namespace renga
