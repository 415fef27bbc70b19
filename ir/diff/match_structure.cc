// Lining up by structure: weights, then fingerprints. The fingerprint "down" of a node is its
// operator, attributes and those of everything it reads, down to values that are lined up already;
// "up" is how its results are used, up to nodes that are lined up. Equal "down" means that both
// compute the same from the same.
#include <vector>

#include "ir/diff/buckets.h"
#include "ir/diff/matchers.h"

namespace renga {
namespace {

// Each round lines nodes up that the next one takes as known; that many chains of look-alikes
// within look-alikes is no graph's need, and bounds the work.
constexpr int kMaxRounds = 8;

struct Fingerprints {
  std::vector<uint64_t> down;
  std::vector<uint64_t> up;
  std::vector<uint64_t> near;  // operators and operand places of the direct users
};

uint64_t LeafPrint(const Value& value) {
  uint64_t print = MixPrint(11, static_cast<uint64_t>(value.kind));
  print = MixPrint(print, static_cast<uint64_t>(value.type.dtype));
  for (const Dim& dim : value.type.shape) {
    print = MixPrint(print, dim.is_symbol() ? PrintOf(dim.symbol) : dim.value);
  }
  return print;
}

Fingerprints FingerprintsOf(const LineUp& line_up, const LineUpSide& side) {
  const int count = side.nodes();
  Fingerprints prints;
  prints.down.resize(count);
  prints.up.resize(count);
  prints.near.resize(count);
  for (int n = 0; n < count; ++n) {
    if (side.match_of[n] >= 0) continue;
    uint64_t print = side.local_print[n];
    for (const ValueId id : side.graph.nodes[n].operands) {
      uint64_t operand = line_up.ValueKey(side, id);
      if (operand == 0) {
        const int producer = side.producer[id];
        operand = producer < 0 ? LeafPrint(side.graph.value(id))
                               : MixPrint(prints.down[producer], side.result_index[id]);
      }
      print = MixPrint(print, operand);
    }
    prints.down[n] = print;
  }
  for (int n = count - 1; n >= 0; --n) {
    if (side.match_of[n] >= 0) continue;
    uint64_t up = 0, near = 0;  // sums, as the order of the users means nothing
    for (const ValueId id : side.graph.nodes[n].results) {
      for (const ValueUse& use : side.UsesOf(id)) {
        const uint64_t place = MixPrint(side.result_index[id], use.node < 0 ? 0 : use.slot + 1);
        if (use.node < 0) {
          up += place;
          near += place;
          continue;
        }
        const int match = side.match_of[use.node];
        up +=
            MixPrint(place, match >= 0 ? MixPrint(13, match)
                                       : MixPrint(side.local_print[use.node], prints.up[use.node]));
        near += MixPrint(place, side.local_print[use.node]);
      }
    }
    prints.up[n] = MixPrint(17, up);
    prints.near[n] = MixPrint(19, near);
  }
  return prints;
}

// Whether all that the node reads is lined up or a leaf.
bool IsFrontier(const LineUpSide& side, int n) {
  for (const ValueId id : side.graph.nodes[n].operands) {
    if (id != kNoValue && side.producer[id] >= 0 && side.match_of[side.producer[id]] < 0) {
      return false;
    }
  }
  return true;
}

}  // namespace

void MatchByWeights(LineUp* line_up) {
  PairBuckets(line_up, BucketRule::kUnique, [](const LineUpSide& side, int n) -> uint64_t {
    const Node& node = side.graph.nodes[n];
    uint64_t print = side.op_print[n];
    bool any = false;
    for (size_t slot = 0; slot < node.operands.size(); ++slot) {
      const ValueId id = node.operands[slot];
      if (id == kNoValue || side.graph.value(id).kind != ValueKind::kWeight) continue;
      if (side.leaf_pair[id] < 0) return 0;
      any = true;
      print = MixPrint(MixPrint(print, slot), side.leaf_pair[id]);
    }
    return any ? print : 0;
  });
}

void MatchByFingerprint(LineUp* line_up) {
  for (int round = 0; round < kMaxRounds; ++round) {
    const Fingerprints of_a = FingerprintsOf(*line_up, line_up->a);
    const Fingerprints of_b = FingerprintsOf(*line_up, line_up->b);
    const auto prints = [&](const LineUpSide& side) -> const Fingerprints& {
      return &side == &line_up->a ? of_a : of_b;
    };
    const auto exact = [&](const LineUpSide& side, int n) {
      return MixPrint(prints(side).down[n], prints(side).up[n]);
    };
    int pairs = PairBuckets(line_up, BucketRule::kUnique, exact);
    pairs += PairBuckets(line_up, BucketRule::kUnique,
                         [&](const LineUpSide& side, int n) { return prints(side).down[n]; });
    if (pairs > 0) continue;

    // Look-alikes, and of those only the ones that read lined-up values: which of them meet decides
    // for all that follow them, which the next round then tells apart.
    pairs = PairBuckets(line_up, BucketRule::kEqual, [&](const LineUpSide& side, int n) {
      return IsFrontier(side, n) ? exact(side, n) : 0;
    });
    if (pairs > 0) continue;
    pairs = PairBuckets(line_up, BucketRule::kEqual, [&](const LineUpSide& side, int n) {
      return IsFrontier(side, n) ? MixPrint(prints(side).down[n], prints(side).near[n]) : 0;
    });
    if (pairs > 0) continue;
    pairs = PairBuckets(line_up, BucketRule::kInOrder, [&](const LineUpSide& side, int n) {
      return IsFrontier(side, n) ? prints(side).down[n] : 0;
    });
    if (pairs == 0) return;
  }
}

}  // namespace renga
