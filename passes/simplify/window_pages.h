// window-pages: gives the caches of layers that see only a window of keys cells and page tables of
// their own, so that the runtime can take back the pages that no token sees any more
// (ir/base/windows.h has the names).
#pragma once

#include "absl/status/statusor.h"
#include "ir/core/graph.h"
#include "passes/core/ledger.h"

namespace renga {

inline constexpr std::string_view kWindowPages = "window-pages";

// A layer is rewritten where all that reads its caches masks by one window, and where that takes
// fewer pages than the context has. Its caches are then [C_w<window>, ...], written through
// %cells.w<window> and read through %pages.w<window>. A site is the node of the scores.
absl::StatusOr<bool> PagesOfWindows(Graph& graph, Ledger& ledger);

}  // namespace renga
