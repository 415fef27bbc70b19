// --kv-type: what the caches of K and V keep.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "tools/compiler.h"

namespace renga {

// Parts separated by commas, `[LAYERS:][k=|v=]TYPE`: without k= or v= both, without LAYERS (a
// number from 0 on, or two as in 0-3) all layers. What names layers counts before what names all,
// and among those a later part before an earlier one. InvalidArgument with the flag's name.
//   k=q8_0,v=f16    q8_0    q8_0,0-1:f16    k=q4_0,v=q8_0,0:k=f16,23:k=q8_0
absl::Status ParseKvType(const std::string& text, CompileOptions* options);

}  // namespace renga
