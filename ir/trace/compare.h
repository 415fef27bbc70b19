// Two runs of the same tokens, value by value: how far each value of b is from its counterpart of
// a, and where the first error enters that the errors before it do not explain.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "ir/core/graph.h"
#include "ir/trace/trace.h"
#include "ir/trace/value_error.h"

namespace renga {

struct CompareTracesOptions {
  std::optional<double> rtol;  // default: DefaultTolerance of the two runs
};

// Where a device other than the interpreter is involved. Sums of n terms in f32 are off by 2^-24
// sqrt(n), 1e-5 for ten thousand, and by more where large terms cancel: the attention of
// Qwen2.5-Coder adds scores of 7,700 to -7,700, and the cpu is 2.3e-4 from the interpreter behind
// it (stories260K: 6e-7).
inline constexpr double kDeviceTolerance = 5e-4;

// The same where it rounds the operands of products to f16: kHalfNodeTolerance (verify.h).
inline constexpr double kHalfDeviceTolerance = 4e-3;

// By the name of a device; the interpreter's is 0, since it is what others are held against.
double DeviceTolerance(std::string_view device);

// The relative RMS error that a node may add without being worth a word.
struct Tolerance {
  double rtol = 0;
  std::string reason;  // "both on the reference interpreter: f32 results of double sums"
};
Tolerance DefaultTolerance(const TraceRun& a, const TraceRun& b);

struct ComparedValue {
  std::string a_name, b_name;  // without sigil
  std::string op;              // b's
  int layer = -1;              // of b's name; -1 outside layers
  ValueError error;
  double tolerance = 0;    // rtol, or what an element type narrower than f32 rounds off
  double input_error = 0;  // what the errors of the inputs amount to here (error_sources.h)
  std::string input;       // the input that says so; empty where all are exact
  bool unexplained = false;
  // Relative error of b's nodes alone on a's inputs, where it was asked for (confirm.h).
  std::optional<double> replayed;

  bool within() const { return error.relative <= tolerance && error.lone_nonfinite == 0; }
};

// A pair that cannot be compared, with the reason.
struct SkippedPair {
  std::string a_name, b_name;
  std::string reason;
};

struct TraceComparison {
  TraceRun a, b;
  Tolerance tolerance;
  std::vector<int32_t> positions;     // of the tokens compared; empty: all
  std::vector<ComparedValue> values;  // in b's order
  std::vector<int> unexplained;       // indices into values, in order; the first is the verdict
  int worst = -1;                     // largest relative error
  std::vector<SkippedPair> skipped;
  std::vector<std::string> a_only, b_only;  // traced there, without a counterpart

  // Every value is within its tolerance, and nothing that should match was left out.
  bool equal() const;
};

// InvalidArgument for runs of other tokens, naming the first that differs; for traces that keep
// no position in common; for traces without their
// graph or with one that does not parse.
absl::StatusOr<TraceComparison> CompareTraces(const Trace& a, const Trace& b,
                                              const CompareTracesOptions& options = {});

// The same with the line-up given: `pairs` of a's and b's values in the order of b's nodes, `b`'s
// graph. What CompareTraces does once it has parsed and matched.
absl::StatusOr<TraceComparison> CompareMatched(
    const Trace& a, const Graph& a_graph, const Trace& b, const Graph& b_graph,
    const std::vector<std::pair<ValueId, ValueId>>& pairs, const CompareTracesOptions& options);

// InvalidArgument unless both ran the same tokens.
absl::Status CheckSameTokens(const TraceRun& a, const TraceRun& b);

// Aligned lines of the unexplained and the worst values, by layers where there are many, then the
// verdict. Ends with a line break.
std::string TraceComparisonText(const TraceComparison& comparison);

// "first difference that its inputs do not explain:  %0.q   max 4.1 at [token 1, head 9, dim 12]
// (token 0 equal)", or "equal within 1e-05: 482 values, worst 3.2e-06 at ...". One line, no break.
std::string VerdictText(const TraceComparison& comparison);

}  // namespace renga
