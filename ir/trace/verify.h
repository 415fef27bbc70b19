// Every node of a graph alone: what a device recorded of it against what the reference interpreter
// makes of the same inputs, those that the device had. So each wrong node is found, in one run,
// whatever the others did to what comes after them; and nothing is wrong for being large.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "ir/core/graph.h"
#include "ir/reference/interpreter.h"
#include "ir/trace/trace.h"
#include "ir/trace/value_error.h"

namespace renga {

struct VerifyOptions {
  // The relative RMS error that a node may have; default kNodeTolerance, or what an element type
  // narrower than f32 rounds off, or what that error makes of numbers kept in steps.
  std::optional<double> rtol;
  int threads = 0;                                  // 0: all cores
  std::function<bool(std::string_view name)> keep;  // which values; null: all
  std::function<void(int64_t done, int64_t of)> progress;
  const std::atomic<bool>* cancel = nullptr;  // set: Cancelled at the next value
};

// A node alone on a device that computes in f32, its products on activations of 15 bits or better:
// measured at most 2.3e-4 (docs/verify.md). One wrong element in a thousand is some 0.03.
inline constexpr double kNodeTolerance = 1e-3;

struct BadValue {
  std::string name;  // without sigil
  std::string op;
  int layer = -1;
  ValueError error;  // a: the interpreter's, b: the device's
  double tolerance = 0;
  std::string likely;  // what would give just these values; empty: nothing that was tried does
};

struct Verdict {
  int64_t values = 0;  // compared
  std::vector<BadValue> bad;
  std::string worst;                 // of those that are not bad: the one nearest to its tolerance
  double worst_share = 0;            // of its tolerance
  std::vector<std::string> skipped;  // "0.x: why", of what could not be compared
  bool ok() const { return bad.empty() && skipped.empty(); }
};

// `trace` is of a run of `graph` on some device, of all values of its nodes (or those kept). Both
// and `weights`, the bytes of the model's file, must be of the same model. Errors: InvalidArgument
// for a trace that has no value of the graph; Cancelled.
absl::StatusOr<Verdict> VerifyTrace(const Trace& trace, const Graph& graph,
                                    const WeightBytes& weights, const VerifyOptions& options);

}  // namespace renga
