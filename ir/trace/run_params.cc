#include "ir/trace/run_params.h"

#include <numeric>
#include <utility>

#include "ir/base/status.h"
#include "ir/base/windows.h"

namespace renga {
namespace {

HostTensor Ints(std::vector<int32_t> values, std::vector<int64_t> shape) {
  HostTensor tensor;
  tensor.dtype = DType::kI32;
  tensor.shape = std::move(shape);
  tensor.i = std::move(values);
  return tensor;
}

std::vector<int32_t> RowsOf(const Graph& graph, int64_t tokens,
                            absl::Span<const int32_t> positions) {
  const SymbolDef* rows = graph.FindSymbol("R");
  return RowsAsked(tokens, positions, rows == nullptr ? tokens : rows->max);
}

}  // namespace

int64_t PageTokens(const Graph& graph) {
  for (const Node& node : graph.nodes) {
    const auto attr = node.attrs.find("page_tokens");
    if (attr == node.attrs.end()) continue;
    if (const int64_t* tokens = std::get_if<int64_t>(&attr->second); tokens && *tokens > 0) {
      return *tokens;
    }
  }
  return 1;
}

std::vector<int32_t> RowsAsked(int64_t tokens, absl::Span<const int32_t> positions,
                               int64_t max_rows) {
  std::vector<int32_t> rows(positions.begin(), positions.end());
  if (rows.empty()) {
    rows.resize(tokens);
    std::iota(rows.begin(), rows.end(), 0);
  }
  const int64_t spare = static_cast<int64_t>(rows.size()) - max_rows;
  if (spare > 0) rows.erase(rows.begin(), rows.begin() + spare);
  return rows;
}

SymbolValues RunSymbols(const Graph& graph, absl::Span<const int32_t> ids,
                        absl::Span<const int32_t> positions) {
  const int64_t tokens = static_cast<int64_t>(ids.size());
  const int64_t page_tokens = PageTokens(graph);
  return {{"T", tokens},
          {"S", 1},
          {"R", static_cast<int64_t>(RowsOf(graph, tokens, positions).size())},
          {"L", tokens},
          {"P", (tokens + page_tokens - 1) / page_tokens}};
}

absl::StatusOr<HostTensor> RunParam(const Graph& graph, ValueId id, absl::Span<const int32_t> ids,
                                    absl::Span<const int32_t> positions) {
  // Those of a window hold everything too: one step has all tokens.
  const std::string_view name = SplitWindow(graph.value(id).name).base;
  const int64_t tokens = static_cast<int64_t>(ids.size());
  if (name == "tokens") return Ints({ids.begin(), ids.end()}, {tokens});
  if (name == "sequences") return Ints(std::vector<int32_t>(tokens, 0), {tokens});
  const int64_t count = name == "pages" ? RunSymbols(graph, ids)["P"] : tokens;
  std::vector<int32_t> ascending(count);
  std::iota(ascending.begin(), ascending.end(), 0);
  if (name == "pages") return Ints(std::move(ascending), {1, count});
  if (name == "rows") {
    std::vector<int32_t> rows = RowsOf(graph, tokens, positions);
    const int64_t asked = static_cast<int64_t>(rows.size());
    return Ints(std::move(rows), {asked});
  }
  if (name == "positions" || name == "cells") {
    return Ints(std::move(ascending), {count});
  }
  return absl::InvalidArgumentError(
      StrCat("expected tokens, positions, sequences, cells, pages and rows as parameters, got ",
             RefText(graph.value(id))));
}

}  // namespace renga
