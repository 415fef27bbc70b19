#include "tests/emulator/fiber.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <cstdlib>

// Defined for a build that tries the way of other machines on this one.
#if defined(__x86_64__) && !defined(RENGA_EMULATOR_UCONTEXT)
#define RENGA_EMULATOR_SWITCH
// Saves what the System V ABI makes a function keep, changes stacks, restores.
extern "C" void renga_emulator_switch(void** from, void* to);
asm(R"(.text
.type renga_emulator_switch,@function
renga_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size renga_emulator_switch,.-renga_emulator_switch
.type renga_emulator_begin,@function
renga_emulator_begin:
  movq %r13, %rdi
  call *%r12
  ud2
.size renga_emulator_begin,.-renga_emulator_begin)");
extern "C" void renga_emulator_begin();
#endif

namespace renga::emulator {
namespace {

constexpr size_t kMapBytes = Fiber::kOverflowBytes + Fiber::kStackBytes + Fiber::kLocalBytes;

#if !defined(RENGA_EMULATOR_SWITCH)
void Begin(unsigned entry_high, unsigned entry_low, unsigned high, unsigned low) {
  const auto join = [](unsigned a, unsigned b) { return static_cast<uintptr_t>(a) << 32 | b; };
  reinterpret_cast<void (*)(void*)>(join(entry_high, entry_low))(
      reinterpret_cast<void*>(join(high, low)));
}
#endif

}  // namespace

Fiber::~Fiber() {
  if (stack_ != nullptr) munmap(stack_, kMapBytes);
#if !defined(RENGA_EMULATOR_SWITCH)
  delete static_cast<ucontext_t*>(saved_);
#endif
}

void Fiber::Start(void (*entry)(void*), void* argument) {
  if (stack_ == nullptr) {
    stack_ = mmap(nullptr, kMapBytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack_ == MAP_FAILED) abort();
  }
#if defined(RENGA_EMULATOR_SWITCH)
  // As renga_emulator_switch leaves a stack: r15, r14, r13, r12, rbx, rbp, where to return.
  auto** top = reinterpret_cast<void**>(local());
  *--top = reinterpret_cast<void*>(renga_emulator_begin);
  *--top = nullptr;
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(entry);
  *--top = argument;
  *--top = nullptr;
  *--top = nullptr;
  saved_ = top;
#else
  if (saved_ == nullptr) saved_ = new ucontext_t;
  auto* context = static_cast<ucontext_t*>(saved_);
  getcontext(context);
  context->uc_stack.ss_sp = static_cast<char*>(stack_) + kOverflowBytes;
  context->uc_stack.ss_size = kStackBytes;
  context->uc_link = nullptr;
  const auto high = [](auto p) {
    return static_cast<unsigned>(reinterpret_cast<uintptr_t>(p) >> 32);
  };
  const auto low = [](auto p) { return static_cast<unsigned>(reinterpret_cast<uintptr_t>(p)); };
  makecontext(context, reinterpret_cast<void (*)()>(Begin), 4, high(entry), low(entry),
              high(argument), low(argument));
#endif
}

void Fiber::Switch(Fiber* from, Fiber* to) {
#if defined(RENGA_EMULATOR_SWITCH)
  renga_emulator_switch(&from->saved_, to->saved_);
#else
  if (from->saved_ == nullptr) from->saved_ = new ucontext_t;
  swapcontext(static_cast<ucontext_t*>(from->saved_), static_cast<ucontext_t*>(to->saved_));
#endif
}

}  // namespace renga::emulator
