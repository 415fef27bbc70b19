#include "runtime/plan/pack_weight.h"

#include "ir/base/dtype.h"

namespace renga::plan {

PackWeightArgs PackWeightArgsOf(const MmaLayout& layout) {
  PackWeightArgs args;
  args.row_bytes = RowBytes(layout.type, layout.k);
  for (int i = 0; i < layout.planes; ++i) args.plane[i] = layout.plane[i].offset;
  args.tail = layout.tail_offset;
  args.steps = static_cast<int32_t>(layout.steps);
  args.step_blocks = layout.step_blocks;
  return args;
}

}  // namespace renga::plan
