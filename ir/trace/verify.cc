#include "ir/trace/verify.h"

#include <algorithm>
#include <cmath>
#include <thread>
#include <utility>

#include "ir/base/status.h"
#include "ir/trace/likely.h"
#include "ir/trace/recorded.h"
#include "ir/trace/replay.h"

namespace renga {
namespace {

// Of each operator: the cause of a wrong node is nearly always that of its like in other layers.
constexpr int kMostGuesses = 8;

// What a node's error can do to a number that is kept in whole steps: those near a boundary, a
// share e s of them where s is their root mean square in steps, end up a step away, which is
// sqrt(e s) / s of all. A block's largest number is 127 steps (q8_0) or 8 (q4_0), a third of that
// is usual.
double OfSteps(double largest) {
  const double s = largest / 3;
  return std::sqrt(kNodeTolerance * s) / s;
}

double ToleranceOf(DType type) {
  if (type == DType::kQ8_0) return OfSteps(127);
  if (type == DType::kQ4_0) return OfSteps(8);
  return std::max(kNodeTolerance, Roundoff(type));
}

class Verifier {
 public:
  Verifier(const Trace& trace, const Graph& graph, const WeightBytes& weights,
           const VerifyOptions& options)
      : graph_(graph),
        weights_(weights),
        options_(options),
        threads_(options.threads > 0
                     ? options.threads
                     : std::max(1, static_cast<int>(std::thread::hardware_concurrency()))),
        recorded_(graph, trace.run, ValuesOf(trace, graph)),
        replayer_(graph, weights, threads_) {}

  absl::StatusOr<Verdict> Run() {
    std::vector<std::pair<const Node*, ValueId>> results;
    for (const Node& node : graph_.nodes) {
      for (const ValueId id : node.results) {
        if (recorded_.Find(id) == nullptr) continue;
        if (options_.keep && !options_.keep(graph_.value(id).name)) continue;
        results.emplace_back(&node, id);
      }
    }
    if (results.empty()) {
      return absl::InvalidArgumentError("expected a trace of the graph's values, got none of them");
    }
    for (const auto& [node, id] : results) {
      if (options_.cancel != nullptr && *options_.cancel) {
        return absl::CancelledError("interrupted");
      }
      RENGA_RETURN_IF_ERROR(Check(*node, id));
      if (options_.progress) {
        options_.progress(verdict_.values, static_cast<int64_t>(results.size()));
      }
    }
    return std::move(verdict_);
  }

 private:
  static absl::flat_hash_map<ValueId, const TracedValue*> ValuesOf(const Trace& trace,
                                                                   const Graph& graph) {
    absl::flat_hash_map<std::string_view, const TracedValue*> by_name;
    for (const TracedValue& value : trace.values) by_name.emplace(value.name, &value);
    absl::flat_hash_map<ValueId, const TracedValue*> values;
    for (const Node& node : graph.nodes) {
      for (const ValueId id : node.results) {
        const auto found = by_name.find(graph.value(id).name);
        if (found != by_name.end()) values.emplace(id, found->second);
      }
    }
    return values;
  }

  absl::Status Check(const Node& node, ValueId id) {
    const Value& value = graph_.value(id);
    const TracedValue& got = *recorded_.Find(id);
    ++verdict_.values;
    const RecordedValue lookup = [this](ValueId of) { return recorded_(of); };
    const absl::StatusOr<HostTensor> made = replayer_.Replay(id, lookup, recorded_.symbols());
    if (!made.ok()) return Skip(value, made.status());
    std::vector<uint8_t> bytes;
    TracedValue expected = ToTracedValue(*made, &bytes);
    expected.name = value.name;
    expected.axes = got.axes;
    if (value.type.dtype == DType::kI32) return CheckChoice(node, value, expected, got);
    const double tolerance = options_.rtol.value_or(ToleranceOf(value.type.dtype));
    const absl::StatusOr<ValueError> error = CompareValues(expected, got, tolerance);
    if (!error.ok()) return Skip(value, error.status());
    if (error->relative <= tolerance && error->lone_nonfinite == 0) {
      if (const double share = error->relative / tolerance; share > verdict_.worst_share) {
        verdict_.worst_share = share;
        verdict_.worst = value.name;
      }
      return absl::OkStatus();
    }
    BadValue bad = BadOf(node, value);
    bad.error = *error;
    bad.tolerance = tolerance;
    if (guesses_[node.op->name]++ < kMostGuesses) {
      bad.likely = LikelyCause({graph_, weights_, recorded_, threads_}, id, expected, got);
    }
    verdict_.bad.push_back(std::move(bad));
    return absl::OkStatus();
  }

  // The token that greedy decoding goes on with: that of the logits the device has, ties to the
  // lower id; what the interpreter's logits say may differ where two are nearly tied.
  absl::Status CheckChoice(const Node& node, const Value& value, const TracedValue& expected,
                           const TracedValue& got) {
    const TracedValue* logits = nullptr;
    for (const ValueId other : node.results) {
      if (graph_.value(other).type.dtype != DType::kI32) logits = recorded_.Find(other);
    }
    std::vector<int32_t> should(static_cast<size_t>(expected.elements()));
    for (size_t i = 0; i < should.size(); ++i) {
      should[i] = static_cast<int32_t>(ElementAt(expected, static_cast<int64_t>(i)));
    }
    if (logits != nullptr && logits->shape.size() == 2 && logits->shape[0] == got.elements()) {
      const std::vector<float> rows = AsFloats(*logits);
      const size_t width = static_cast<size_t>(logits->shape[1]);
      for (size_t row = 0; row < should.size(); ++row) {
        const auto begin = rows.begin() + static_cast<int64_t>(row * width);
        should[row] = static_cast<int32_t>(
            std::max_element(begin, begin + static_cast<int64_t>(width)) - begin);
      }
    }
    for (size_t i = 0; i < should.size(); ++i) {
      const double is = ElementAt(got, static_cast<int64_t>(i));
      if (is == should[i]) continue;
      BadValue bad = BadOf(node, value);
      bad.error.elements = got.elements();
      bad.error.worst = static_cast<int64_t>(i);
      bad.error.worst_at = CoordinatesText(got, static_cast<int64_t>(i));
      bad.error.a_at_worst = should[i];
      bad.error.b_at_worst = is;
      bad.error.max_abs = std::abs(is - should[i]);
      bad.likely = StrCat("expected ", should[i], ", got ", is);
      verdict_.bad.push_back(std::move(bad));
      break;
    }
    return absl::OkStatus();
  }

  BadValue BadOf(const Node& node, const Value& value) const {
    BadValue bad;
    bad.name = value.name;
    bad.op = std::string(node.op->name);
    bad.layer = LayerOf(value.name);
    return bad;
  }

  absl::Status Skip(const Value& value, const absl::Status& status) {
    verdict_.skipped.push_back(StrCat(value.name, ": ", ToStd(status.message())));
    return absl::OkStatus();
  }

  const Graph& graph_;
  const WeightBytes& weights_;
  const VerifyOptions& options_;
  const int threads_;
  const Recorded recorded_;
  const Replayer replayer_;
  absl::flat_hash_map<std::string_view, int> guesses_;  // made, by operator
  Verdict verdict_;
};

}  // namespace

absl::StatusOr<Verdict> VerifyTrace(const Trace& trace, const Graph& graph,
                                    const WeightBytes& weights, const VerifyOptions& options) {
  return Verifier(trace, graph, weights, options).Run();
}

}  // namespace renga
