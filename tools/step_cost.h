// What one run of a plan's steps must read and compute at least: the bound beside every measured
// speed. Taken from the plan's graph, whose fused nodes count as the primitive ones they stand for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ir/core/graph.h"
#include "runtime/exec/step_inputs.h"
#include "runtime/plan/plan.h"

namespace renga {

// Tokens appended to one sequence in one run.
struct StepShape {
  int64_t position = 0;  // of the first of them: tokens that the sequence had before
  int64_t tokens = 1;
  int64_t rows = 1;  // that logits are asked for
  friend bool operator==(const StepShape&, const StepShape&) = default;
};

// What a run does to each sequence that takes part in it. The tokens of a sequence stand side by
// side, in order.
std::vector<StepShape> ShapesOf(const StepInputs& inputs);

struct StepCost {
  // Read: each weight once, in its layout, and the keys and values that each sequence sees.
  double bytes = 0;
  double flops = 0;  // of products and attention; a multiplication and an addition are two
  StepCost& operator+=(const StepCost& other) {
    bytes += other.bytes;
    flops += other.flops;
    return *this;
  }
};

class StepCosts {
 public:
  // Errors are those of the plan's graph, which a plan from elsewhere may have broken: of its
  // parser, or InvalidArgument for a weight that the plan does not hold.
  static absl::StatusOr<StepCosts> Of(const plan::Plan& plan);

  // Of one run with these sequences.
  StepCost Cost(absl::Span<const StepShape> sequences) const;
  StepCost Cost(const StepShape& sequence) const { return Cost(absl::MakeConstSpan(&sequence, 1)); }

 private:
  // Reading a weight takes `bytes`, or `unit_bytes` for each of the `units` that a token or row
  // asks for where that is less: a row of an embedding, a matrix of an expert.
  struct Read {
    ValueId weight;
    double bytes;
    double unit_bytes;  // 0: all of it
    int64_t units;
    bool by_row;  // of logits, instead of by token
  };
  struct Product {
    double flops;  // for one token or row
    bool by_row;
  };
  struct Attention {
    double flops;       // for one query and one key in its sight, all heads
    double cell_bytes;  // of the cache that it reads
    bool causal;
    int64_t window;  // 0: none
  };
  class Builder;

  std::vector<Read> reads_;  // by weight; of one weight the largest counts
  std::vector<Product> products_;
  std::vector<Attention> attentions_;
};

}  // namespace renga
