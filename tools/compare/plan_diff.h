// What differs between two plans beyond their graphs: what they were built for, what they need,
// which kernels they use, and the contents of the weights.
#pragma once

#include <string>
#include <vector>

#include "ir/diff/graph_diff.h"
#include "runtime/plan/plan.h"

namespace renga {

// One figure or setting of a plan.
struct FactChange {
  std::string name;    // "target", "context", "memory.activations", "kernel attention"
  std::string before;  // empty where a lacks it
  std::string after;   // empty where b lacks it
};

// In a fixed order. Where the model's files lie, when a pass ran how long, and who wrote the plan
// are no differences.
std::vector<FactChange> DiffPlanFacts(const plan::Plan& a, const plan::Plan& b);

// Weights that both plans use and whose bytes differ although their type and sizes do not: groups
// of kind kWeightValues, one a role. `changes` stays empty.
std::vector<ChangeGroup> DiffPlanWeights(const plan::Plan& a, const plan::Plan& b);

}  // namespace renga
