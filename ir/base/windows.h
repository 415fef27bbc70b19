// Layers whose attention sees only the last `window` keys have page tables, cells and pages of
// their own, apart from those of layers that see all: here are the names these have in a graph and
// in a plan, and how many pages a sequence needs of them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace renga {

// "cells" and 512: "cells.w512". With window 0, for layers that see all: the name itself.
std::string WindowInput(std::string_view input, int64_t window);

// "C" and 512: "C_w512". Likewise.
std::string WindowSymbol(std::string_view symbol, int64_t window);

// A name of either kind taken apart. {name, 0} for all others.
struct WindowName {
  std::string_view base;
  int64_t window = 0;
};
WindowName SplitWindow(std::string_view name);

// Pages that a sequence needs at most at a time: for the keys that the first token of a step sees,
// for a step's tokens, and for one token more, which is started before it is known whether the step
// counts (KvPages::Append). All arguments are 1..2^31.
int64_t WindowPages(int64_t window, int64_t step_tokens, int64_t page_tokens);

}  // namespace renga
