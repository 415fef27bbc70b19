#include "runtime/plan/lifetime.h"

#include <algorithm>

#include "absl/container/flat_hash_set.h"

namespace renga::plan {

std::vector<Lifetime> Lifetimes(const Plan& plan) {
  std::vector<Lifetime> lives(plan.buffers.size());
  const auto owner = [&plan](int32_t buffer) {
    const int32_t view_of = plan.buffers[buffer].view_of;
    return view_of >= 0 ? view_of : buffer;
  };
  const int32_t steps = static_cast<int32_t>(plan.steps.size());
  for (int32_t i = 0; i < steps; ++i) {
    for (int32_t input : plan.steps[i].inputs) {
      if (input >= 0) lives[owner(input)].last = i;
    }
    for (const std::vector<int32_t>* written : {&plan.steps[i].outputs, &plan.steps[i].scratch}) {
      for (int32_t buffer : *written) {
        Lifetime& life = lives[owner(buffer)];
        if (life.first < 0) life.first = i;
        life.last = i;
      }
    }
  }
  const absl::flat_hash_set<std::string> outputs(plan.outputs.begin(), plan.outputs.end());
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    const Buffer& buffer = plan.buffers[i];
    if (buffer.space != Space::kWeight && outputs.contains(buffer.name)) {
      lives[owner(static_cast<int32_t>(i))].last = std::max(0, steps - 1);
    }
  }
  for (size_t i = 0; i < lives.size(); ++i) lives[i] = lives[owner(static_cast<int32_t>(i))];
  return lives;
}

}  // namespace renga::plan
