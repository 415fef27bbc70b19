#include "codegen/emit/families.h"

namespace renga::codegen {

absl::Status EmitView(const Node& node, std::string_view kernel, PlanBuilder& builder) {
  return builder.AddView(node.results[0], node.operands[0]);
}

}  // namespace renga::codegen
