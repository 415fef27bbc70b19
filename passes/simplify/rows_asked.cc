#include "passes/simplify/rows_asked.h"

#include <string>
#include <utility>
#include <vector>

#include "ir/base/status.h"
#include "passes/core/provenance.h"

namespace renga {
namespace {

// gather_rows(x, rows)
constexpr int kX = 0;
constexpr int kRows = 1;

// Index of the one operand of `node` whose rows are the rows of the result; -1 when there is none
// or several. A weight has no rows of this kind.
int RowOperand(const Graph& graph, const Node& node) {
  int found = -1;
  for (size_t i = 0; i < node.operands.size(); ++i) {
    const ValueId id = node.operands[i];
    if (id == kNoValue || graph.value(id).kind == ValueKind::kWeight) continue;
    if (found >= 0) return -1;
    found = static_cast<int>(i);
  }
  return found;
}

int64_t Largest(const Graph& graph, const Dim& dim) {
  return dim.is_symbol() ? graph.FindSymbol(dim.symbol)->max : dim.value;
}

// Outside layers, where the rows asked for are no longer a layer's.
std::string RowsName(const Graph& graph, ValueId id) {
  return StrCat("rows.", graph.value(id).name);
}

// Why the gather at node `g` cannot move above the producer of what it gathers; empty when it can.
std::string Obstacle(const Graph& graph, const Uses& uses, int g) {
  const Node& gather = graph.nodes[g];
  const ValueId x = gather.operands[kX];
  const int p = uses.producer[x];
  if (p < 0) return "it is an input of the graph";
  const Node& producer = graph.nodes[p];
  const OpDef& op = *producer.op;
  if (!op.row_wise) return StrCat(op.name, " is not row-wise");
  if (!op.aliases.empty()) return StrCat(op.name, " overwrites an operand");
  if (op.results != 1) return StrCat(op.name, " has ", op.results, " results");
  if (uses.count[x] != 1) return StrCat("it has ", uses.count[x], " users");
  const int row_operand = RowOperand(graph, producer);
  if (row_operand < 0) return StrCat(op.name, " reads several values by row");
  const ValueId source = producer.operands[row_operand];
  if (graph.value(source).type.shape[0] != graph.value(x).type.shape[0]) {
    return StrCat(op.name, " changes the rows from ", ToString(graph.value(source).type), " to ",
                  ToString(graph.value(x).type));
  }
  const Dim& all = graph.value(x).type.shape[0];
  const Dim& few = graph.value(gather.results[0]).type.shape[0];
  if (few == all || Largest(graph, few) > Largest(graph, all)) {
    return StrCat(ToString(few), " rows of ", ToString(all), " save nothing");
  }
  const ValueId rows = gather.operands[kRows];
  if (uses.producer[rows] >= p) {
    return StrCat(RefText(graph.value(rows)), " is computed after it");
  }
  if (graph.FindValue(RowsName(graph, source), /*weight=*/false) != kNoValue) {
    return StrCat("the name ", RowsName(graph, source), " is taken");
  }
  if (!InferTypes(graph, *gather.op, {source, rows}, gather.attrs).ok()) {
    return StrCat("rows of ", ToString(graph.value(source).type), " cannot be gathered");
  }
  return "";
}

// Swaps the gather at node `g` with the producer of what it gathers; returns the gather's new
// index.
absl::StatusOr<int> MoveUp(Graph& graph, int p, int g, bool first) {
  Node gather = std::move(graph.nodes[g]);
  graph.nodes.erase(graph.nodes.begin() + g);
  Node producer = std::move(graph.nodes[p]);

  const int row_operand = RowOperand(graph, producer);
  const ValueId source = producer.operands[row_operand];
  const ValueId all_rows = producer.results[0];
  const ValueId few_rows = gather.results[0];  // keeps its users, and so is what the producer makes

  std::vector<std::string> gather_provenance = ProvenanceOf(graph, gather);
  std::vector<std::string> producer_provenance = ProvenanceOf(graph, producer);
  // The first time, few_rows carries the name the rest of the world knows; later only the gather's
  // made-up one, which gives way to the producer's own.
  const std::string name = std::exchange(graph.values[all_rows].name, "");
  if (!first) graph.values[few_rows].name = name;

  gather.operands[kX] = source;
  RENGA_ASSIGN_OR_RETURN(std::vector<TensorType> types,
                         InferTypes(graph, *gather.op, gather.operands, gather.attrs));
  gather.results[0] =
      graph.AddValue(RowsName(graph, source), std::move(types[0]), ValueKind::kResult);
  gather.provenance = std::move(gather_provenance);

  producer.operands[row_operand] = gather.results[0];
  producer.results[0] = few_rows;
  RENGA_ASSIGN_OR_RETURN(types, InferTypes(graph, *producer.op, producer.operands, producer.attrs));
  graph.values[few_rows].type = std::move(types[0]);
  producer.provenance = std::move(producer_provenance);
  if (producer.provenance == std::vector<std::string>{graph.values[few_rows].name}) {
    producer.provenance.clear();  // it is that node
  }

  graph.nodes[p] = std::move(producer);
  graph.nodes.insert(graph.nodes.begin() + p, std::move(gather));
  return p;
}

}  // namespace

absl::StatusOr<bool> RowsAsked(Graph& graph, Ledger& ledger) {
  const OpDef* const gather_rows = FindOp("gather_rows");
  bool changed = false;
  Uses uses = ComputeUses(graph);
  for (int i = 0; i < static_cast<int>(graph.nodes.size()); ++i) {
    if (graph.nodes[i].op != gather_rows) continue;
    const std::string name(NodeName(graph, graph.nodes[i]));
    bool first = true;
    std::string moved;  // above what, and what that saves; not yet in the ledger
    std::string above;
    int g = i;
    while (true) {
      const Value x = graph.value(graph.nodes[g].operands[kX]);
      if (const std::string obstacle = Obstacle(graph, uses, g); !obstacle.empty()) {
        const std::string stop = StrCat("stops at ", RefText(x), ": ", obstacle);
        if (first) {
          ledger.Rejected(name, stop);
        } else {
          ledger.Matched(above, StrCat(moved, "; ", stop));
        }
        break;
      }
      const TensorType few = graph.value(graph.nodes[g].results[0]).type;
      RENGA_ASSIGN_OR_RETURN(g,
                             MoveUp(graph, uses.producer[graph.nodes[g].operands[kX]], g, first));
      if (!first) ledger.Matched(above, std::move(moved));
      above = x.name;
      moved = StrCat("computes ", ToString(few), " instead of ", ToString(x.type));
      first = false;
      changed = true;
      uses = ComputeUses(graph);
    }
  }
  return changed;
}

}  // namespace renga
