#include "ir/trace/positions.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <utility>

#include "ir/base/status.h"
#include "ir/trace/stats.h"

namespace renga {
namespace {

int64_t BytesOfRow(const TracedValue& value) {
  return value.shape[0] == 0 ? 0 : static_cast<int64_t>(value.data.size()) / value.shape[0];
}

std::vector<int32_t> KeptPositions(const TraceRun& run) {
  if (!run.positions.empty()) return run.positions;
  std::vector<int32_t> all(run.ids.size());
  std::iota(all.begin(), all.end(), 0);
  return all;
}

// Of the rows of a value: the last of those that the run keeps. Empty where it has more than that.
std::vector<int32_t> PositionsOf(const TraceRun& run, const TracedValue& value) {
  std::vector<int32_t> kept = KeptPositions(run);
  const int64_t count = static_cast<int64_t>(kept.size());
  if (value.shape[0] > count) return {};
  kept.erase(kept.begin(), kept.begin() + (count - value.shape[0]));
  return kept;
}

std::vector<int32_t> Intersection(absl::Span<const int32_t> a, absl::Span<const int32_t> b) {
  std::vector<int32_t> both;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both));
  return both;
}

// The rows of `value` at `wanted`, which are among its own, `positions`.
TracedValue TakeRows(const TracedValue& value, absl::Span<const int32_t> positions,
                     const std::vector<int32_t>& wanted, std::vector<uint8_t>* bytes) {
  const int64_t row_bytes = BytesOfRow(value);
  size_t row = 0;
  for (const int32_t position : wanted) {
    while (positions[row] != position) ++row;
    const uint8_t* from = value.data.data() + static_cast<int64_t>(row) * row_bytes;
    bytes->insert(bytes->end(), from, from + row_bytes);
  }
  TracedValue taken = value;
  taken.shape[0] = static_cast<int64_t>(wanted.size());
  taken.positions = wanted;
  taken.data = *bytes;
  taken.stats = ComputeStats(taken);
  return taken;
}

}  // namespace

bool RowsAreTokens(const TracedValue& value) {
  return !value.axes.empty() && !value.shape.empty() &&
         (value.axes[0] == "token" || value.axes[0] == "row");
}

std::vector<uint8_t> TakeKept(const TraceRun& run, TracedValue* value) {
  const auto all = [value] { return std::vector<uint8_t>(value->data.begin(), value->data.end()); };
  if (value->axes.empty()) return all();
  const int64_t tokens = static_cast<int64_t>(run.ids.size());
  if (value->axes[0] == "cell" && value->shape[0] > tokens) {
    const int64_t bytes = tokens * BytesOfRow(*value);
    value->shape[0] = tokens;
    return std::vector<uint8_t>(value->data.begin(), value->data.begin() + bytes);
  }
  if (run.positions.empty() || !RowsAreTokens(*value)) return all();
  if (value->axes[0] == "row") {
    value->positions = PositionsOf(run, *value);
    return all();
  }
  const int64_t row_bytes = BytesOfRow(*value);
  std::vector<uint8_t> bytes;
  bytes.reserve(run.positions.size() * static_cast<size_t>(row_bytes));
  for (const int32_t position : run.positions) {
    const uint8_t* from = value->data.data() + position * row_bytes;
    bytes.insert(bytes.end(), from, from + row_bytes);
  }
  value->shape[0] = static_cast<int64_t>(run.positions.size());
  value->positions = run.positions;
  return bytes;
}

absl::StatusOr<std::vector<int32_t>> CommonPositions(const TraceRun& a, const TraceRun& b) {
  if (a.positions.empty() && b.positions.empty()) return std::vector<int32_t>();
  std::vector<int32_t> common = Intersection(KeptPositions(a), KeptPositions(b));
  if (!common.empty()) return common;
  return absl::InvalidArgumentError(StrCat(
      "expected traces with a position in common, got ", StrJoin(a.positions, ","), " in a and ",
      StrJoin(b.positions, ","), " in b; trace both with the same --positions"));
}

absl::StatusOr<ValueError> CompareAtPositions(const TraceRun& a_run, const TracedValue& a,
                                              const TraceRun& b_run, const TracedValue& b,
                                              absl::Span<const int32_t> positions, double rtol) {
  if (!RowsAreTokens(a) || !RowsAreTokens(b)) return CompareValues(a, b, rtol);
  const std::vector<int32_t> of_a = PositionsOf(a_run, a), of_b = PositionsOf(b_run, b);
  const std::vector<int32_t> wanted = Intersection(Intersection(of_a, of_b), positions);
  if (wanted.empty()) {
    return absl::InvalidArgumentError(
        StrCat("%", b.name, ": expected rows of the same tokens, got ", a.shape[0], " rows in a, ",
               b.shape[0], " in b, none of them at a position that both traces keep"));
  }
  std::vector<uint8_t> a_bytes, b_bytes;
  return CompareValues(TakeRows(a, of_a, wanted, &a_bytes), TakeRows(b, of_b, wanted, &b_bytes),
                       rtol);
}

}  // namespace renga
