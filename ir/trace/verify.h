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
#include "ir/trace/step_state.h"
#include "ir/trace/trace.h"
#include "ir/trace/value_error.h"

namespace renga {

// A node alone on a device that computes in f32, its products on activations of 15 bits or better:
// measured at most 2.3e-4 (docs/verify.md). One wrong element in a thousand is some 0.03.
inline constexpr double kNodeTolerance = 1e-3;

// The same on a device whose products round both operands to f16: 2^-11 of each at most, 2^-12.3 in
// the root mean square. Weights with a minimum (Q4_K: scale q - minimum) are made of two such
// numbers some three times as large as their difference, 6e-4, and an activation of one product
// times another doubles it: 1.2e-3, measured up to 1.4e-3 (docs/verify.md).
inline constexpr double kHalfNodeTolerance = 4e-3;

struct VerifyOptions {
  // The relative RMS error that a node may have, whatever its type; default `node`.
  std::optional<double> rtol;
  // The one that a node may have whose result is f32. Element types narrower than that have what
  // they round off where that is more, types that keep numbers in steps what it makes of those.
  double node = kNodeTolerance;
  int threads = 0;                                  // 0: all cores
  std::function<bool(std::string_view name)> keep;  // which values; null: all
  std::function<void(int64_t done, int64_t of)> progress;
  const std::atomic<bool>* cancel = nullptr;  // set: Cancelled at the next value
  // Of values that were found right before the share of their tolerance that they took: they are
  // counted, and not looked at again. Null: there are none.
  std::function<std::optional<double>(std::string_view name)> known;
  // Told of each other value that is right and has nothing but numbers. Its error ends it.
  std::function<absl::Status(std::string_view name, double share)> on_right;
};

struct BadValue {
  std::string name;  // without sigil
  std::string op;
  int layer = -1;
  ValueError error;  // a: the interpreter's, b: the device's
  double tolerance = 0;
  std::string kind;    // of what is likely (likely.h), else "not a number" or "differs"
  std::string likely;  // what would give just these values; empty: nothing that was tried does
  std::vector<std::string> steps;  // of several, those in which it is wrong; the first is told
};

// What the model itself makes that is no number: the interpreter, too, gets NaN or infinities out
// of numbers here. No device can do better.
struct ModelFault {
  std::string name;  // the value, without sigil
  std::string op;
  int layer = -1;
  std::string what;  // "@blk.1.ffn_norm.weight holds 1 NaN, the first at [20]"
};

struct Verdict {
  int64_t values = 0;  // compared
  int64_t known = 0;   // of these, before (VerifyOptions::known)
  std::vector<ModelFault> model;
  std::vector<BadValue> bad;
  std::string worst;                 // of those that are not bad: the one nearest to its tolerance
  double worst_share = 0;            // of its tolerance
  std::vector<std::string> skipped;  // "0.x: why", of what could not be compared
  bool device_ok() const { return bad.empty() && skipped.empty(); }
  bool ok() const { return device_ok() && model.empty(); }
};

// `trace` is of a run of `graph` on some device, of all values of its nodes (or those kept). Both
// and `weights`, the bytes of the model's file, must be of the same model. Errors: InvalidArgument
// for a trace that has no value of the graph; Cancelled. `state`: of a step that is not the first
// of an only sequence.
absl::StatusOr<Verdict> VerifyTrace(const Trace& trace, const Graph& graph,
                                    const WeightBytes& weights, const VerifyOptions& options,
                                    const StepState* state = nullptr);

// Adds what was found in another step of the same graph, `step`, to `verdict`: a value that is
// wrong in both is told once.
void AddStep(std::string_view step, Verdict found, Verdict* verdict);

}  // namespace renga
