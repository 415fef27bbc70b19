#include "ir/trace/likely.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "ir/base/status.h"
#include "ir/trace/replay.h"
#include "ir/trace/value_error.h"

namespace renga {
namespace {

// Two values that are the same but for what devices round.
constexpr double kSame = 2e-3;

// What the values themselves say.
std::string FromValues(const TracedValue& expected, const TracedValue& got,
                       const ValueError& error) {
  if (error.b_nans > 0 && error.a_nans == 0) return "holds NaN";
  if (error.b_infs > 0 && error.a_infs == 0) return "holds infinities";
  if (error.rms_b == 0 && error.rms_a > 0) return "holds zeros";
  const std::vector<float> e = AsFloats(expected), g = AsFloats(got);
  if (e.size() != g.size()) return "";
  double dot = 0, squares = 0, both = 0;
  for (size_t i = 0; i < e.size(); ++i) {
    dot += double{e[i]} * g[i];
    squares += double{e[i]} * e[i];
    both += double{g[i]} * g[i];
  }
  // The scale that fits best, and what it leaves.
  const double scale = squares > 0 ? dot / squares : 0;
  const double rest = both - 2 * scale * dot + scale * scale * squares;
  if (scale != 0 && both > 0 && std::sqrt(std::max(0.0, rest) / both) < kSame) {
    return StrCat("is ", static_cast<float>(scale), " times what it should be");
  }
  const int64_t rows = expected.shape.empty() ? 0 : expected.shape[0];
  if (rows < 3) return "";
  const size_t width = e.size() / static_cast<size_t>(rows);
  const auto shifted = [&](size_t expected_from, size_t got_from) {
    double errors = 0, all = 0;
    for (size_t i = 0; i < (static_cast<size_t>(rows) - 1) * width; ++i) {
      const double a = e[expected_from * width + i], b = g[got_from * width + i];
      errors += (a - b) * (a - b);
      all += a * a;
    }
    return all > 0 && std::sqrt(errors / all) < kSame;
  };
  if (shifted(0, 1)) return "each row is that of the one before";
  if (shifted(1, 0)) return "each row is that of the one after";
  return "";
}

// One thing that a node may do otherwise.
struct Guess {
  std::string text;
  std::string pairing;             // in place of its attribute; empty: none
  std::vector<std::string> zeros;  // weights without their values
  std::function<int32_t(int32_t)> position;
};

class Guesses {
 public:
  Guesses(const LikelyInputs& inputs, ValueId id, const TracedValue& got)
      : inputs_(inputs),
        id_(id),
        got_(got),
        index_(static_cast<size_t>(ComputeUses(inputs.graph).producer[id])),
        node_(inputs.graph.nodes[index_]) {
    AddPairing();
    AddZeros();
    AddPositions();
  }

  // One alone, else two of different kinds.
  std::string First() const {
    for (const Guess& guess : guesses_) {
      if (Gives(guess)) return guess.text;
    }
    for (const Guess& a : guesses_) {
      for (const Guess& b : guesses_) {
        if (a.pairing.empty() || !b.pairing.empty() || b.position) continue;
        Guess both = b;
        both.pairing = a.pairing;
        if (Gives(both)) return StrCat(a.text, ", and ", b.text);
      }
    }
    return "";
  }

 private:
  void AddPairing() {
    const auto pairing = node_.attrs.find("pairing");
    if (pairing == node_.attrs.end()) return;
    const auto* is = std::get_if<std::string>(&pairing->second);
    if (is == nullptr || (*is != "neox" && *is != "norm")) return;
    int64_t dims = 0;
    if (const auto found = node_.attrs.find("dims"); found != node_.attrs.end()) {
      if (const auto* number = std::get_if<int64_t>(&found->second)) dims = *number;
    }
    const std::string halves = StrCat("(i, i+", dims / 2, ")"), pairs = "(2i, 2i+1)";
    const bool half = *is == "neox";
    guesses_.push_back({.text = StrCat("rotates the pairs ", half ? pairs : halves,
                                       ", the model's are ", half ? halves : pairs),
                        .pairing = half ? "norm" : "neox",
                        .zeros = {},
                        .position = nullptr});
  }

  void AddZeros() {
    std::vector<std::string> biases, others;
    for (const ValueId operand : node_.operands) {
      if (operand == kNoValue) continue;
      const Value& value = inputs_.graph.value(operand);
      if (value.kind != ValueKind::kWeight) continue;
      const std::string& name =
          value.packed() ? inputs_.graph.value(value.source).name : value.name;
      (name.ends_with(".bias") ? biases : others).push_back(name);
    }
    // A bias is forgotten more often than a matrix.
    std::vector<std::vector<std::string>> sets;
    for (const std::string& name : biases) sets.push_back({name});
    for (const std::string& name : others) sets.push_back({name});
    if (biases.size() > 1) sets.push_back(biases);
    for (std::vector<std::string>& zeros : sets) {
      std::string text = StrCat("as if @", StrJoin(zeros, " and @"),
                                zeros.size() == 1 ? " were zeros" : " were all zeros");
      guesses_.push_back(
          {.text = std::move(text), .pairing = "", .zeros = std::move(zeros), .position = nullptr});
    }
  }

  void AddPositions() {
    positions_ = inputs_.graph.FindValue("positions", false);
    if (positions_ == kNoValue || std::find(node_.operands.begin(), node_.operands.end(),
                                            positions_) == node_.operands.end()) {
      return;
    }
    const auto add = [this](std::string text, std::function<int32_t(int32_t)> position) {
      guesses_.push_back({std::move(text), "", {}, std::move(position)});
    };
    add("as if every position were 0", [](int32_t) { return 0; });
    add("as if each position were one more", [](int32_t at) { return at + 1; });
    add("as if each position were one less", [](int32_t at) { return std::max(0, at - 1); });
  }

  // Whether the node, so changed, gives what the device has.
  bool Gives(const Guess& guess) const {
    Graph graph = inputs_.graph;
    if (!guess.pairing.empty()) graph.nodes[index_].attrs["pairing"] = guess.pairing;
    // Its bytes must not move once they have been given.
    std::string blank;
    for (const std::string& name : guess.zeros) {
      if (const auto bytes = inputs_.weights(name); bytes.ok()) {
        blank.resize(std::max(blank.size(), bytes->size()));
      }
    }
    const WeightBytes weights =
        [&](const std::string& name) -> absl::StatusOr<absl::Span<const uint8_t>> {
      RENGA_ASSIGN_OR_RETURN(const absl::Span<const uint8_t> bytes, inputs_.weights(name));
      const bool zero =
          std::find(guess.zeros.begin(), guess.zeros.end(), name) != guess.zeros.end();
      if (!zero) return bytes;
      return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(blank.data()), bytes.size());
    };
    const RecordedValue recorded = [&](ValueId value) -> absl::StatusOr<std::optional<HostTensor>> {
      RENGA_ASSIGN_OR_RETURN(std::optional<HostTensor> tensor, inputs_.recorded(value));
      if (value == positions_ && guess.position && tensor.has_value()) {
        for (int32_t& at : tensor->i) at = guess.position(at);
      }
      return tensor;
    };
    const Replayer replayer(graph, weights, inputs_.threads);
    const auto made = replayer.Replay(id_, recorded, inputs_.recorded.symbols());
    if (!made.ok()) return false;
    std::vector<uint8_t> bytes;
    TracedValue value = ToTracedValue(*made, &bytes);
    value.name = got_.name;
    value.axes = got_.axes;
    const auto error = CompareValues(value, got_, kSame);
    return error.ok() && error->relative < kSame && error->lone_nonfinite == 0;
  }

  const LikelyInputs& inputs_;
  const ValueId id_;
  const TracedValue& got_;
  const size_t index_;
  const Node& node_;
  ValueId positions_ = kNoValue;
  std::vector<Guess> guesses_;
};

}  // namespace

std::string LikelyCause(const LikelyInputs& inputs, ValueId id, const TracedValue& expected,
                        const TracedValue& got) {
  if (const auto error = CompareValues(expected, got, kSame); error.ok()) {
    if (std::string text = FromValues(expected, got, *error); !text.empty()) return text;
  }
  return Guesses(inputs, id, got).First();
}

}  // namespace renga
