// Threads of the emulated GPU: stacks among which one thread of the host switches. On x86-64 a
// switch is 14 instructions (a few ns); elsewhere ucontext, whose signal mask makes it some 16
// times slower.
#pragma once

#include <cstddef>
#include <cstdint>

namespace renga::emulator {

class Fiber {
 public:
  // The fiber that runs already: what to switch back to.
  Fiber() = default;
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Makes this a fresh fiber that calls `entry(argument)`, which must never return, when first
  // switched to. Whatever it ran before is dropped without unwinding.
  void Start(void (*entry)(void*), void* argument);
  bool started() const { return stack_ != nullptr; }

  // Runs `to` in place of `from`, which must be running, until something switches to `from` again.
  static void Switch(Fiber* from, Fiber* to);

  // The part of the stack that may be used. Below it lies more memory, so that a frame that is too
  // large is found by a comparison rather than by a signal.
  uintptr_t stack_low() const { return reinterpret_cast<uintptr_t>(stack_) + kOverflowBytes; }
  static constexpr size_t kStackBytes = 128 << 10;
  static constexpr size_t kOverflowBytes = 1 << 20;
  // Memory of the fiber's own, above its stack.
  void* local() const { return reinterpret_cast<void*>(stack_low() + kStackBytes); }
  static constexpr size_t kLocalBytes = 256;

 private:
  void* stack_ = nullptr;
  void* saved_ = nullptr;  // the stack pointer, or the ucontext_t
};

}  // namespace renga::emulator
