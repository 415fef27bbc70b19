// Memory that blocks share: atomics, releases and acquires, fences; and what runs beside the kernel
// before.

#include <algorithm>
#include <cstring>

#include "ir/base/status.h"
#include "tests/emulator/machine.h"

namespace renga::emulator {
namespace {

constexpr uint64_t kMaxPollsOfAThread = 2000;

}  // namespace

// The C++ memory model with fences: a relaxed access after a fence releases what came before the
// fence; what a relaxed access could acquire counts from the next fence on.
uint64_t Machine::Atomic(void* address, int bytes, AtomicFunction function, uint64_t operand,
                         uint64_t expected, Order order) {
  const void* pc = __builtin_return_address(0);
  Thread& thread = current();
  const auto at = reinterpret_cast<uintptr_t>(address);
  if (at % bytes != 0) FailAt(StrCat("misaligned atomic access of ", bytes, " bytes"), pc);
  Access(address, bytes, AccessKind::kAtomic, pc);

  const bool shared = at - reinterpret_cast<uintptr_t>(thread.block->shared) < kArenaBytes;
  KnowledgeRef& released = (shared ? thread.block->released : released_)[address];
  const bool acquires = order == Order::kAcquire || order == Order::kAcquireRelease;
  const bool releases = order == Order::kRelease || order == Order::kAcquireRelease;
  if (acquires) {
    Learn(&thread, released);
  } else {
    thread.acquired_by_fence = Join(thread.acquired_by_fence, released);
  }
  released = Join(released, releases ? Release(&thread) : thread.released_by_fence);

  uint64_t old = 0;
  memcpy(&old, address, bytes);
  const uint64_t fresh = function(old, operand, expected);
  memcpy(address, &fresh, bytes);
  YieldIfRandom();
  return old;
}

uint32_t Machine::LoadAcquire(const uint32_t* address) {
  const void* pc = __builtin_return_address(0);
  Thread& thread = current();
  const uint64_t polls = polls_ + 1;  // Access resets them
  Access(address, sizeof(*address), AccessKind::kAtomic, pc);
  polls_ = polls;
  if (polls_ > kMaxPollsOfAThread * block_threads_ * (options_.cooperative ? blocks_.size() : 1)) {
    FailAt(StrCat("deadlock: LoadAcquire polls a value that no running thread changes",
                  options_.cooperative ? "" : "; blocks run one after another here"),
           pc);
  }
  const auto released = released_.find(address);
  if (released != released_.end()) Learn(&thread, released->second);
  const uint32_t value = *address;
  // Whoever polls lets others run first; the value is that of before.
  ready_.PushLast(thread.index);
  SwitchFrom(&thread);
  return value;
}

void Machine::ThreadFence() {
  Thread& thread = current();
  Learn(&thread, thread.acquired_by_fence);
  thread.released_by_fence = Release(&thread);
}

void Machine::WaitForPreviousKernel() {
  Thread& thread = current();
  thread.block->waited = true;
  if (thread.known->previous_kernel_done) return;
  auto* known = new Knowledge{thread.known->blocks, true};
  SetKnown(&thread, KnowledgeRef(known));
}

void Machine::LetNextKernelStart() {
  Block& block = *current().block;
  if (!block.waited) block.triggered_early = true;
}

}  // namespace renga::emulator
