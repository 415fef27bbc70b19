// The activation arena over time: which buffer holds which bytes at which step, layer by layer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/plan/lifetime.h"
#include "runtime/plan/plan.h"

namespace renga {

// Steps of one layer in a row, or of none, and the buffers alive at them.
struct MemorySection {
  std::vector<int> layers;  // all whose sections look like this one; empty outside layers
  int first_step = 0;       // of the first of them
  int last_step = 0;
  std::vector<int> buffers;  // into Plan::buffers, by offset, then by first step; no views
};

// In the order of the steps; sections of layers that place the same in the same way are one. With
// `layer`, that layer's alone.
std::vector<MemorySection> MemorySections(const plan::Plan& plan,
                                          const std::vector<plan::Lifetime>& lives,
                                          std::optional<int> layer);

// By buffer: the arena buffers of the same layer that lie on some of the same bytes, at another
// time; at most kMaxSharers of them.
inline constexpr size_t kMaxSharers = 64;
std::vector<std::vector<int>> Sharers(const plan::Plan& plan,
                                      const std::vector<plan::Lifetime>& lives);

// The step at which most bytes are alive, the first of equals. step -1 in a plan without steps.
struct Peak {
  int step = -1;
  uint64_t bytes = 0;
};
Peak FullestStep(const plan::Plan& plan, const std::vector<plan::Lifetime>& lives);

// A section drawn: a row for every range of addresses, a column for every step, a letter for every
// buffer; then what the letters mean.
std::string MemorySectionText(const plan::Plan& plan, const std::vector<plan::Lifetime>& lives,
                              const MemorySection& section);

// One line for a section that is not drawn.
std::string MemorySectionLine(const plan::Plan& plan, const MemorySection& section);

}  // namespace renga
