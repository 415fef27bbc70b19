// Plans that say as much as pages of caches need.
#pragma once

#include "ir/base/strings.h"
#include "runtime/plan/plan.h"

namespace renga {

// Caches of f32[1,2] cells, `pages` pages of `page_tokens` cells.
inline plan::Plan PlanOf(int64_t context, int64_t sequences, int64_t pages, int caches = 2,
                         int64_t page_tokens = 4) {
  plan::Plan plan;
  plan.geometry = {page_tokens, context, sequences, 16};
  plan.symbols = {{"C", pages * page_tokens}};
  for (int i = 0; i < caches; ++i) {
    plan.caches.push_back({StrCat(i, ".k_cache"), i, DType::kF32, 1, 2, 8});
  }
  return plan;
}

}  // namespace renga
