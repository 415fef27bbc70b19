#include "ir/trace/likely.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "ir/base/status.h"
#include "ir/trace/guess.h"
#include "ir/trace/replay.h"

namespace renga {
namespace {

// Nodes of an operator that nothing explained: the next would cost as much, so of it no more is
// tried than what explained others.
constexpr int kMostFailures = 2;

// Whether the node, computed so, gives what the device has.
class Trial {
 public:
  Trial(const GuessNode& node, const TracedValue& got, double error)
      // A guess that changes next to nothing explains nothing.
      : node_(node), got_(got), most_(std::min(kSameValue, error / 4)) {}

  bool Gives(std::initializer_list<const Guess*> guesses) const {
    Alternative other{node_.graph(), node_.index, {}, {}, nullptr};
    for (const Guess* guess : guesses) {
      if (!guess->apply(&other)) return false;
    }
    const WeightBytes weights =
        [&](const std::string& name) -> absl::StatusOr<absl::Span<const uint8_t>> {
      const auto changed = other.weights.find(name);
      if (changed != other.weights.end()) return absl::MakeConstSpan(changed->second);
      return node_.inputs.weights(name);
    };
    const RecordedValue recorded = [&](ValueId value) -> absl::StatusOr<std::optional<HostTensor>> {
      RENGA_ASSIGN_OR_RETURN(std::optional<HostTensor> tensor, node_.inputs.recorded(value));
      const auto change = other.operands.find(value);
      if (change != other.operands.end() && tensor.has_value()) change->second(&*tensor);
      return tensor;
    };
    const Replayer replayer(other.graph, weights, node_.inputs.threads);
    auto made = replayer.Replay(node_.id, recorded, node_.inputs.recorded.symbols());
    if (!made.ok()) return false;
    if (other.result) other.result(&*made);
    std::vector<uint8_t> bytes;
    TracedValue value = ToTracedValue(*made, &bytes);
    value.name = got_.name;
    value.axes = got_.axes;
    const auto error = CompareValues(value, got_, kSameValue);
    return error.ok() && error->relative < most_ && error->lone_nonfinite == 0;
  }

 private:
  const GuessNode& node_;
  const TracedValue& got_;
  const double most_;
};

struct Candidate {
  const Guess* first;
  const Guess* second = nullptr;  // both at once
  std::string key() const {
    return second == nullptr ? first->key : StrCat(first->key, " & ", second->key);
  }
};

// One alone, then two at once.
std::vector<Candidate> Candidates(const Guesses& guesses) {
  std::vector<Candidate> all;
  for (const Guess& guess : guesses) all.push_back({&guess});
  for (const Guess& a : guesses) {
    if (!a.leads) continue;
    for (const Guess& b : guesses) {
      if (b.joins && &a != &b) all.push_back({&a, &b});
    }
  }
  return all;
}

// What a cache held before the node that writes to it.
std::optional<std::vector<float>> Before(const GuessNode& node) {
  const OpDef& op = *node.node().op;
  for (const Alias& alias : op.aliases) {
    if (node.node().results[alias.result] != node.id) continue;
    const auto tensor = node.inputs.recorded(node.node().operands[alias.operand]);
    if (tensor.ok() && tensor->has_value()) return (*tensor)->f;
  }
  return std::nullopt;
}

}  // namespace

Likely LikelyCauses::Find(ValueId id, const TracedValue& expected, const TracedValue& got) {
  const size_t index = static_cast<size_t>(ComputeUses(inputs_.graph).producer[id]);
  const GuessNode node{inputs_, id, index};
  const auto error = CompareValues(expected, got, kSameValue);
  if (!error.ok()) return {};
  const std::optional<std::vector<float>> before = Before(node);
  if (Likely likely =
          LikelyFromValues(expected, got, *error, before.has_value() ? &*before : nullptr);
      !likely.text.empty()) {
    return likely;
  }
  Known& known = known_[std::string(node.node().op->name)];
  Guesses guesses;
  AddInputGuesses(node, &guesses);
  AddWeightGuesses(node, &guesses);
  std::vector<Candidate> candidates = Candidates(guesses);
  const auto rank = [&known](const Candidate& candidate) {
    return std::find(known.keys.begin(), known.keys.end(), candidate.key()) - known.keys.begin();
  };
  std::stable_sort(candidates.begin(), candidates.end(),
                   [&rank](const Candidate& a, const Candidate& b) { return rank(a) < rank(b); });
  if (known.failures >= kMostFailures) {
    std::erase_if(candidates, [&](const Candidate& candidate) {
      return rank(candidate) == std::ssize(known.keys);
    });
  }
  const Trial trial(node, got, error->relative);
  for (const Candidate& candidate : candidates) {
    const Guess *a = candidate.first, *b = candidate.second;
    if (!(b == nullptr ? trial.Gives({a}) : trial.Gives({a, b}))) continue;
    std::erase(known.keys, candidate.key());
    known.keys.insert(known.keys.begin(), candidate.key());
    if (b == nullptr) return {a->kind, a->text};
    return {StrCat(a->kind, ", ", b->kind), StrCat(a->text, ", and ", b->text)};
  }
  ++known.failures;
  return {};
}

}  // namespace renga
