#include "ir/trace/verify.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <thread>
#include <utility>

#include "ir/base/status.h"
#include "ir/base/windows.h"
#include "ir/reference/dequant.h"
#include "ir/trace/likely.h"
#include "ir/trace/recorded.h"
#include "ir/trace/replay.h"
#include "ir/trace/stats.h"

namespace renga {
namespace {

// What a node's error can do to a number that is kept in whole steps: those near a boundary, a
// share e s of them where s is their root mean square in steps, end up a step away, which is
// sqrt(e s) / s of all. A block's largest number is 127 steps (q8_0) or 8 (q4_0), a third of that
// is usual. Of f8_e4m3 every number has a step of its own, at most an eighth of it, so that s is 8
// at least: as of blocks whose largest number is 24 steps.
double OfSteps(double error, double largest) {
  const double s = largest / 3;
  return std::sqrt(error * s) / s;
}

double ToleranceOf(DType type, double node) {
  if (type == DType::kQ8_0) return OfSteps(node, 127);
  if (type == DType::kQ4_0) return OfSteps(node, 8);
  if (type == DType::kF8_E4M3) return OfSteps(node, 24);
  return std::max(node, Roundoff(type));
}

class Verifier {
 public:
  Verifier(const Trace& trace, const Graph& graph, const WeightBytes& weights,
           const VerifyOptions& options, const StepState* state)
      : graph_(graph),
        weights_(weights),
        options_(options),
        threads_(options.threads > 0
                     ? options.threads
                     : std::max(1, static_cast<int>(std::thread::hardware_concurrency()))),
        recorded_(graph, trace.run, ValuesOf(trace, graph), state),
        replayer_(graph, weights, threads_),
        causes_({graph_, weights_, recorded_, threads_}) {}

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
    if (options_.known) {
      if (const std::optional<double> share = options_.known(value.name)) {
        ++verdict_.known;
        NoteRight(value, *share);
        return absl::OkStatus();
      }
    }
    if (&node != replayed_) {
      const RecordedValue lookup = [this](ValueId of) { return recorded_(of); };
      made_ = replayer_.ReplayAll(id, lookup, recorded_.symbols());
      replayed_ = &node;
    }
    if (!made_.ok()) return Skip(value, made_.status());
    const auto result = std::find(node.results.begin(), node.results.end(), id);
    const size_t at = static_cast<size_t>(result - node.results.begin());
    std::vector<uint8_t> bytes;
    TracedValue expected = ToTracedValue((*made_)[at], &bytes);
    expected.name = value.name;
    expected.axes = got.axes;
    expected.stats = ComputeStats(expected);
    if (value.type.dtype == DType::kI32) return CheckChoice(node, value, expected, got);
    NoteModelFault(node, value, expected);
    const double tolerance = options_.rtol.value_or(ToleranceOf(value.type.dtype, options_.node));
    const absl::StatusOr<ValueError> error = CompareValues(expected, got, tolerance);
    if (!error.ok()) return Skip(value, error.status());
    if (error->relative <= tolerance && error->lone_nonfinite == 0) {
      const double share = error->relative / tolerance;
      NoteRight(value, share);
      return options_.on_right && Finite((*made_)[at].f) ? options_.on_right(value.name, share)
                                                         : absl::OkStatus();
    }
    BadValue bad = BadOf(node, value);
    bad.error = *error;
    bad.tolerance = tolerance;
    if (Likely likely = causes_.Find(id, expected, got); !likely.text.empty()) {
      bad.kind = std::move(likely.kind);
      bad.likely = std::move(likely.text);
    } else {
      bad.kind = error->lone_nonfinite > 0 ? "not a number" : "differs";
    }
    verdict_.bad.push_back(std::move(bad));
    return absl::OkStatus();
  }

  void NoteRight(const Value& value, double share) {
    if (!(share > verdict_.worst_share)) return;
    verdict_.worst_share = share;
    verdict_.worst = value.name;
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
        if (!Finite(absl::MakeConstSpan(rows).subspan(row * width, width))) {
          should[row] = static_cast<int32_t>(ElementAt(got, static_cast<int64_t>(row)));
          continue;  // no token is right
        }
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
      bad.kind = "choice";
      bad.likely = StrCat("expected ", should[i], ", got ", is);
      verdict_.bad.push_back(std::move(bad));
      break;
    }
    return absl::OkStatus();
  }

  static bool Finite(absl::Span<const float> values) {
    return std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); });
  }

  // Where the interpreter gets no numbers out of numbers, and in which weight that lies.
  void NoteModelFault(const Node& node, const Value& value, const TracedValue& expected) {
    if (Finite(AsFloats(expected))) return;
    std::vector<std::string> weights;
    for (const ValueId operand : node.operands) {
      if (operand == kNoValue) continue;
      const Value& of = graph_.value(operand);
      if (of.kind == ValueKind::kWeight) {
        const std::string text = NotFiniteText(of.packed() ? graph_.value(of.source) : of);
        if (!text.empty()) weights.push_back(text);
        continue;
      }
      const auto tensor = recorded_(operand);
      if (tensor.ok() && tensor->has_value() && !Finite((*tensor)->f)) {
        const std::string_view first = graph_.value(operand).type.shape[0].symbol;
        if (of.kind != ValueKind::kCache && SplitWindow(first).base != "C") {
          return;  // it came from before
        }
      }
    }
    // Of attention: keys and values of earlier steps are a layer's own.
    if (weights.empty() && !node.op->aliases.empty()) return;
    ModelFault fault;
    fault.name = value.name;
    fault.op = std::string(node.op->name);
    fault.layer = LayerOf(value.name);
    fault.what = weights.empty() ? "its numbers grow beyond all bounds" : StrJoin(weights, ", ");
    const bool known = std::any_of(verdict_.model.begin(), verdict_.model.end(),
                                   [&](const ModelFault& each) { return each.what == fault.what; });
    if (!known) verdict_.model.push_back(std::move(fault));
  }

  // Empty where all values of the weight are numbers.
  std::string NotFiniteText(const Value& weight) const {
    const auto bytes = weights_(weight.name);
    if (!bytes.ok()) return "";
    int64_t elements = 1;
    for (const Dim& dim : weight.type.shape) elements *= dim.value;
    std::vector<float> values(static_cast<size_t>(elements));
    if (!DequantRow(weight.type.dtype, *bytes, absl::MakeSpan(values)).ok()) return "";
    int64_t nans = 0, infinities = 0, first = -1;
    for (size_t i = 0; i < values.size(); ++i) {
      if (std::isfinite(values[i])) continue;
      ++(std::isnan(values[i]) ? nans : infinities);
      if (first < 0) first = static_cast<int64_t>(i);
    }
    if (first < 0) return "";
    const int64_t columns = weight.type.shape.back().value;
    const std::string at = weight.type.rank() == 1
                               ? StrCat("[", first, "]")
                               : StrCat("[", first / columns, ",", first % columns, "]");
    std::vector<std::string> counts;
    if (nans > 0) counts.push_back(StrCat(nans, " NaN"));
    if (infinities > 0) counts.push_back(StrCat(infinities, " infinite"));
    return StrCat("@", weight.name, " holds ", StrJoin(counts, " and "), " of ", elements,
                  " values, the first at ", at);
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
  // What the last node should have given: those with several results are evaluated once.
  const Node* replayed_ = nullptr;
  absl::StatusOr<std::vector<HostTensor>> made_ = absl::UnknownError("no node");
  LikelyCauses causes_;
  Verdict verdict_;
};

}  // namespace

absl::StatusOr<Verdict> VerifyTrace(const Trace& trace, const Graph& graph,
                                    const WeightBytes& weights, const VerifyOptions& options,
                                    const StepState* state) {
  return Verifier(trace, graph, weights, options, state).Run();
}

void AddStep(std::string_view step, Verdict found, Verdict* verdict) {
  verdict->values += found.values;
  verdict->known += found.known;
  if (found.worst_share > verdict->worst_share) {
    verdict->worst_share = found.worst_share;
    verdict->worst = std::move(found.worst);
  }
  for (std::string& skipped : found.skipped) {
    verdict->skipped.push_back(StrCat(skipped, " (", step, ")"));
  }
  for (ModelFault& fault : found.model) {
    const bool known = std::any_of(verdict->model.begin(), verdict->model.end(),
                                   [&](const ModelFault& each) { return each.what == fault.what; });
    if (!known) verdict->model.push_back(std::move(fault));
  }
  for (BadValue& bad : found.bad) {
    const auto known = std::find_if(verdict->bad.begin(), verdict->bad.end(),
                                    [&](const BadValue& each) { return each.name == bad.name; });
    if (known != verdict->bad.end()) {
      known->steps.emplace_back(step);
      // What more tokens, or a filled cache, tell apart.
      if ((known->likely.empty() || known->kind == "zeros") && !bad.likely.empty()) {
        known->likely = std::move(bad.likely);
        known->kind = std::move(bad.kind);
      }
      continue;
    }
    bad.steps = {std::string(step)};
    verdict->bad.push_back(std::move(bad));
  }
}

}  // namespace renga
