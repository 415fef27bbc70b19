// What one thread knows of the others: vector clocks, by which the emulator decides whether an
// access of one thread happened before that of another.
//
// An agent is whatever accesses memory: a thread, or the copy engine filling the stages of one
// mbarrier, or the tensor cores of one warpgroup. It counts ticks; its tick grows whenever it
// releases what it did. "Thread A knows agent B up to tick n": all that B did up to its tick n
// happened before what A does now.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "tests/emulator/ref.h"

namespace renga::emulator {

// Of the agents of one block, the tick up to which each is known. Not changed once shared.
struct Ticks {
  std::vector<uint32_t> at;
  mutable int references = 0;
};

// Not changed once shared; threads that met share one.
struct Knowledge {
  // Blocks something is known of, in order of their number in the grid.
  std::vector<std::pair<uint32_t, Ref<const Ticks>>> blocks;
  bool previous_kernel_done = false;  // by WaitForPreviousKernel, own or that of one known
  mutable int references = 0;

  // Null where nothing is known.
  const Ticks* Of(uint32_t block) const;
  void Set(uint32_t block, Ref<const Ticks> ticks);
};

using KnowledgeRef = Ref<const Knowledge>;

// All that either knows. Either may be null.
KnowledgeRef Join(const KnowledgeRef& a, const KnowledgeRef& b);

// `known`, and `agent` of `block` up to `tick`.
KnowledgeRef With(const KnowledgeRef& known, uint32_t block, uint32_t agent, uint32_t tick);

}  // namespace renga::emulator
