// Which kernel computes attention: converting keys and values to f32 once for all rows of queries
// that see them, or reading them as they are stored for each few rows. A token has a row for each
// query head that shares a key head. Measured on AVX2 with one token (decode), f16 caches and 64 to
// 4096 positions: with 1, 3 and 7 query heads to a key head the latter takes 0.5 to 0.75, 0.7 and
// 0.85 to 0.95 of the time; with more tokens at once both do the same.
#include "codegen/emit/families.h"
#include "ir/base/status.h"
#include "ir/base/strings.h"

namespace renga::codegen {
namespace {

constexpr std::string_view kDirect = "_direct";
constexpr int64_t kMostHeads = 8;      // the kernel reads directly for up to so many rows
constexpr int64_t kWholeVectors = 16;  // numbers of a head, as the kernel reads them

// Constant size of axis `axis` of operand `operand`; 0 where it is none, which no rule takes.
int64_t SizeOf(const Node& node, const Graph& graph, size_t operand, size_t axis) {
  const std::vector<Dim>& shape = graph.value(node.operands[operand]).type.shape;
  return axis < shape.size() && !shape[axis].is_symbol() ? shape[axis].value : 0;
}

}  // namespace

absl::Status EmitAttention(const Node& node, std::string_view kernel, PlanBuilder& builder) {
  constexpr size_t kQ = 0, kKeys = 1, kValues = 2, kKeyBias = 7;
  const Graph& graph = builder.graph();
  const int64_t heads = SizeOf(node, graph, kQ, 1), kv_heads = SizeOf(node, graph, kKeys, 1);
  const int64_t k_width = SizeOf(node, graph, kKeys, 2);
  const int64_t v_width = SizeOf(node, graph, kValues, 2);
  const int64_t shared = kv_heads == 0 ? 0 : heads / kv_heads;
  const std::string direct = StrCat(kernel, kDirect);
  std::string usual(kernel), reason;
  bool has_direct = false;
  const std::string sharing = StrCat(shared, " query heads share a key head");
  const auto is_coarse = [&](size_t operand) {
    return IsCoarse(graph.value(node.operands[operand]).type.dtype);
  };
  if (is_coarse(kKeys) || is_coarse(kValues)) {
    reason = "a cache is quantised: unpacking it once serves all query heads";
  } else if (node.operands[kKeyBias] != kNoValue) {
    reason = "the bias of keys is added to them once for all query heads";
  } else if (k_width % kWholeVectors != 0 || v_width % kWholeVectors != 0) {
    reason = StrCat("heads of ", k_width, " and ", v_width, " are no multiples of ", kWholeVectors,
                    ", so that their rows must be padded");
  } else if (shared > kMostHeads) {
    reason = StrCat(sharing, ": converting its keys once serves them all");
    has_direct = true;
  } else {
    usual = direct;
    has_direct = true;
    reason = StrCat(sharing, ": for a token at a time, no more than ", kMostHeads,
                    ", converting its keys costs more than it saves");
  }
  const std::vector<std::string> both = {std::string(kernel), direct};
  const std::vector<std::string> one = {std::string(kernel)};
  RENGA_ASSIGN_OR_RETURN(
      const std::string chosen,
      builder.ChooseKernel(node, usual, has_direct ? both : one, both, std::move(reason)));
  return EmitScores(node, chosen, builder);
}

}  // namespace renga::codegen
