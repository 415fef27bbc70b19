#include "passes/layout/pack_weights.h"

#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "ir/base/packing.h"
#include "ir/base/strings.h"

namespace renga {
namespace {

constexpr std::string_view kFile = "file", kMma = "mma";

// What a type's products are computed from on the cpu target, and why.
struct TypeChoice {
  DType type;
  std::string_view layout;  // empty: the file's
  std::string_view reason;
};

// Measured with cpu_linear_bench, one thread, AVX2 and AVX-512 VNNI: the lower and the higher ratio
// of the two, one run each on a busy machine (docs/benchmarks/packed-weights.md).
constexpr TypeChoice kChoices[] = {
    {DType::kQ4_0, "rows8",
     "1.3x to 1.9x the file's layout for a prompt, 1.1x to 1.2x for a token"},
    {DType::kQ4_1, "rows8",
     "1.2x to 2.3x the file's layout for a prompt, 1.2x to 1.5x for a token"},
    {DType::kQ5_0, "rows8",
     "1.8x to 2.0x the file's layout for a prompt, 1.0x to 1.3x for a token"},
    {DType::kQ5_1, "rows8",
     "1.3x to 2.2x the file's layout for a prompt, 1.0x to 1.3x for a token"},
    {DType::kQ8_0, "rows8", "1.2x the file's layout for a prompt, 1.0x to 1.1x for a token"},
    {DType::kQ4_K, "rows8",
     "1.2x to 2.0x the file's layout for a prompt, 0.8x to 1.3x for a token"},
    {DType::kQ5_K, "rows8",
     "1.0x to 1.8x the file's layout for a prompt, 1.0x to 1.1x for a token"},
    {DType::kQ6_K, "", "rows8 is no faster: 0.6x to 0.9x the file's layout for a prompt"},
    {DType::kIQ4_NL, "rows8",
     "1.2x to 1.9x the file's layout for a prompt, 1.1x to 1.2x for a token"},
    {DType::kMXFP4, "rows8",
     "its kernel is that of iq4_nl but for the scale; not measured by itself"},
};

struct Decision {
  std::string_view layout;  // empty: the file's
  std::string reason;
};

struct Readers;
using Decide = Decision (*)(const TensorType& type, const Readers& readers);

Decision DecideByType(DType type) {
  for (const TypeChoice& choice : kChoices) {
    if (choice.type == type) return {choice.layout, std::string(choice.reason)};
  }
  if (!Info(type).quantized) {
    return {"", StrCat("rows of ", Name(type), " need no regrouping: whole vectors already")};
  }
  return {"", StrCat("no layout has a kernel for ", Name(type))};
}

// What reads a weight.
struct Readers {
  int products = 0;
  std::string other;  // operator of a reader that is no product; "return" for the graph's end
};

using Names = absl::flat_hash_set<std::string>;

// A name that no weight has yet.
std::string NewName(const std::string& name, Names& names) {
  std::string packed = StrCat(name, ".packed");
  while (!names.insert(packed).second) packed += "_";
  return packed;
}

Decision DecideForCpu(const TensorType& type, const Readers& readers) {
  Decision decision = DecideByType(type.dtype);
  if (!decision.layout.empty() && !readers.other.empty()) {
    return {"", StrCat(readers.other,
                       " reads it too: packed for products it would be in memory twice")};
  }
  return decision;
}

Decision DecideForGpu(const TensorType& type, const Readers& readers) {
  if (type.rank() != 2) return {"", StrCat("only matrices are packed, not ", ToString(type))};
  if (!Accepts(*FindLayout(kMma), type.dtype)) {
    return {"", StrCat("no kernel has ", Name(type.dtype))};
  }
  if (readers.other.empty()) return {kMma, "kernels stream it to mma without rearranging"};
  return {kMma, StrCat("kernels stream it to mma; ", readers.other,
                       " reads the file's layout, so it is in memory twice")};
}

absl::StatusOr<bool> Pack(Graph& graph, Ledger& ledger, std::string_view layout, Decide decide) {
  std::vector<Readers> readers(graph.values.size());
  for (const Node& node : graph.nodes) {
    for (size_t i = 0; i < node.operands.size(); ++i) {
      if (node.operands[i] == kNoValue) continue;
      Readers& of = readers[node.operands[i]];
      if (node.op->operands[i].product) {
        ++of.products;
      } else {
        of.other = std::string(node.op->name);
      }
    }
  }
  for (const ValueId id : graph.returns) readers[id].other = "return";

  std::vector<ValueId> packed_of(graph.values.size(), kNoValue);
  const std::vector<ValueId> weights = graph.weights;
  Names names;
  for (const ValueId id : weights) names.insert(graph.value(id).name);
  std::vector<ValueId> order;  // a packed weight behind its source
  for (const ValueId id : weights) {
    order.push_back(id);
    const Value value = graph.value(id);  // a copy: AddPacked moves the values
    if (readers[id].products == 0 || value.packed()) continue;
    Decision decision = decide(value.type, readers[id]);
    if (!decision.layout.empty() && !ledger.Allows(value.name))
      decision = {"", std::string(kLeftOut)};
    const bool pack = !decision.layout.empty();
    ledger.choices.push_back({value.name,
                              "layout",
                              std::string(pack ? decision.layout : kFile),
                              {std::string(kFile), std::string(layout)},
                              decision.reason});
    if (!pack) continue;
    const ValueId packed =
        graph.AddPacked(NewName(value.name, names), id, std::string(decision.layout));
    packed_of[id] = packed;
    order.push_back(packed);
  }
  if (order.size() == weights.size()) return false;
  graph.weights = std::move(order);
  for (Node& node : graph.nodes) {
    for (size_t i = 0; i < node.operands.size(); ++i) {
      const ValueId id = node.operands[i];
      if (id == kNoValue || !node.op->operands[i].product) continue;
      if (packed_of[id] != kNoValue) node.operands[i] = packed_of[id];
    }
  }
  return true;
}

}  // namespace

absl::StatusOr<bool> PackWeights(Graph& graph, Ledger& ledger) {
  return Pack(graph, ledger, "rows8", DecideForCpu);
}

absl::StatusOr<bool> PackWeightsForGpu(Graph& graph, Ledger& ledger) {
  return Pack(graph, ledger, kMma, DecideForGpu);
}

}  // namespace renga
