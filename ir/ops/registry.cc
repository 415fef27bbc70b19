// The list of all operators, sorted by name. An explicit list, because a linker drops the
// registrars of a static library that nothing refers to.
#include "ir/core/op_def.h"
#include "ir/ops/ops.h"

namespace renga {
namespace {

constexpr const OpDef* kOps[] = {
#define RENGA_OP(name) &name,
#include "ir/ops/ops.def"
#undef RENGA_OP
};

}  // namespace

absl::Span<const OpDef* const> AllOps() { return kOps; }

const OpDef* FindOp(std::string_view name) {
  for (const OpDef* op : kOps) {
    if (op->name == name) return op;
  }
  return nullptr;
}

}  // namespace renga
