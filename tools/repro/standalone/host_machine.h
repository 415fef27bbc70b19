// A GPU's block of threads on one thread of the host: enough of a machine to run a kernel alone,
// without watching it. Included behind primitives_host.h in repro.cu where no CUDA compiler reads
// it. What only the newest GPUs have (copy engine, wgmma) is not there: it ends the program.
#pragma once

#include <ucontext.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

namespace repro {

namespace machine = renga::emulator;

class HostMachine final : public machine::Runtime {
 public:
  void Run(machine::KernelThunk kernel, machine::Dim3 grid, unsigned threads, size_t shared,
           void* block) {
    kernel_ = kernel;
    arguments_[0] = block;
    shared_.assign(shared + kAlignment, 0xff);
    renga_emulator_attachment.runtime = this;
    for (unsigned z = 0; z < grid.z; ++z) {
      for (unsigned y = 0; y < grid.y; ++y) {
        for (unsigned x = 0; x < grid.x; ++x) RunBlock({x, y, z}, grid, threads);
      }
    }
  }

  void Access(const void*, size_t, machine::AccessKind, const void*) override {}
  void CheckNonCoherent(const void*, size_t) override {}
  void CheckAligned(const void*, size_t) override {}
  void Fail(const char* what, const void*) override { Stop(what); }
  void CheckStack(uintptr_t, const void*) override {}

  void SyncThreads() override { Meet(&barriers_[0], threads_.size(), true); }
  void SyncBarrier(int id, int threads, bool waits) override {
    Meet(&barriers_[id], static_cast<size_t>(threads), waits);
  }
  void SyncWarp(uint32_t lanes) override { MeetLanes(lanes, nullptr, 0, nullptr); }
  uint32_t Shuffle(uint32_t lanes, uint32_t value, int source_lane) override {
    std::memcpy(&value, MeetLanes(lanes, &value, sizeof(value), nullptr)[source_lane],
                sizeof(value));
    return value;
  }
  uint32_t Vote(uint32_t lanes, bool condition) override {
    const auto* const slots = MeetLanes(lanes, &condition, sizeof(condition), nullptr);
    uint32_t votes = 0;
    for (int lane = 0; lane < 32; ++lane) {
      if ((lanes >> lane & 1) != 0 && slots[lane][0] != 0) votes |= 1u << lane;
    }
    return votes;
  }
  void Trap() override { Stop("the kernel gave up (Trap)"); }

  void* Take(uint32_t offset, size_t bytes, int) override {
    if (offset + bytes > shared_.size() - kAlignment)
      Stop("more shared memory than the launch has");
    const auto start = reinterpret_cast<uintptr_t>(shared_.data());
    return reinterpret_cast<void*>((start + kAlignment - 1) / kAlignment * kAlignment + offset);
  }

  uint64_t Atomic(void* address, int bytes, machine::AtomicFunction function, uint64_t operand,
                  uint64_t expected, machine::Order) override {
    uint64_t old = 0;
    std::memcpy(&old, address, static_cast<size_t>(bytes));
    const uint64_t value = function(old, operand, expected);
    std::memcpy(address, &value, static_cast<size_t>(bytes));
    return old;
  }
  uint32_t LoadAcquire(const uint32_t* address) override {
    const uint32_t value = *static_cast<const volatile uint32_t*>(address);
    Yield();  // whoever reads in a loop waits for another thread
    return value;
  }
  void ThreadFence() override {}
  void WaitForPreviousKernel() override {}
  void LetNextKernelStart() override {}

  void Mma(float* c, const uint32_t* a, const uint32_t* b, bool bfloat) override {
    MmaLane mine;
    std::memcpy(mine.c, c, sizeof(mine.c));
    std::memcpy(mine.a, a, sizeof(mine.a));
    std::memcpy(mine.b, b, sizeof(mine.b));
    const auto* const slots =
        MeetLanes(~0u, &mine, sizeof(mine), bfloat ? Multiply<true> : Multiply<false>);
    std::memcpy(c, slots[Lane()], sizeof(mine.c));
  }
  void LoadMatrix(uint32_t* r, int matrices, bool transposed, const void* row) override {
    const int lane = Lane();
    uint8_t mine[16] = {};
    if (lane < 8 * matrices) std::memcpy(mine, row, sizeof(mine));
    const auto* const slots = MeetLanes(~0u, mine, sizeof(mine), nullptr);
    for (int m = 0; m < matrices; ++m) {
      for (int i = 0; i < 2; ++i) {
        const int line = lane / 4, column = lane % 4 * 2 + i;
        const uint8_t* const from =
            transposed ? slots[m * 8 + column] + line * 2 : slots[m * 8 + line] + column * 2;
        std::memcpy(reinterpret_cast<uint8_t*>(&r[m]) + i * 2, from, 2);
      }
    }
  }

  void CopyAsync(void* shared, const void* global, int bytes, int source_bytes) override {
    std::memset(shared, 0, static_cast<size_t>(bytes));
    std::memcpy(shared, global, static_cast<size_t>(source_bytes));
  }
  void CommitCopies() override {}
  void WaitForCopies(int) override {}

  void InitMbarrier(uint64_t*, int) override { NotHere(); }
  void ArriveAtMbarrier(uint64_t*, int) override { NotHere(); }
  void WaitForMbarrier(uint64_t*, int) override { NotHere(); }
  void LoadTile(void*, const void*, int, const int*, uint64_t*) override { NotHere(); }
  void LoadBulk(void*, const void*, int, uint64_t*) override { NotHere(); }
  void FenceForAsyncProxy() override {}
  uint64_t WgmmaTile(const void*, int) override {
    NotHere();
    return 0;
  }
  void Wgmma(float*, int, const uint32_t*, uint64_t, bool) override { NotHere(); }
  void FenceWgmma() override {}
  void CommitWgmma() override {}
  void WaitForWgmma(int) override {}

 private:
  static constexpr size_t kStackBytes = size_t{256} << 10, kAlignment = 1024;
  static constexpr long kMostTurns = 200000000;  // without an end in sight

  struct Thread {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    machine::ThreadView view;
    bool ended = false;
  };
  struct Barrier {
    size_t arrived = 0;
    unsigned generation = 0;
  };
  using Slot = uint8_t[64];
  struct Meeting {
    uint32_t arrived = 0;
    unsigned generation = 0;
    Slot slots[2][32] = {};
  };
  struct MmaLane {
    float c[4];
    uint32_t a[4], b[2];
  };

  [[noreturn]] static void Stop(const char* what) {
    std::fprintf(stderr, "on the host: %s\n", what);
    std::exit(2);
  }
  static void NotHere() {
    Stop("the kernel uses what only a GPU has (sm_90a); build it with nvcc");
  }

  static void Begin(unsigned high, unsigned low) {
    auto* const self = reinterpret_cast<HostMachine*>(static_cast<uintptr_t>(high) << 32 | low);
    self->kernel_(self->arguments_);
    self->threads_[self->current_].ended = true;
    self->Yield();
  }

  void RunBlock(machine::Dim3 block, machine::Dim3 grid, unsigned threads) {
    if (threads_.size() != threads) threads_ = std::vector<Thread>(threads);
    barriers_.assign(16, Barrier());
    meetings_.clear();
    for (unsigned t = 0; t < threads; ++t) {
      Thread& thread = threads_[t];
      thread.ended = false;
      thread.view.thread = {t, 0, 0};
      thread.view.block = block;
      thread.view.block_size = {threads, 1, 1};
      thread.view.grid_size = grid;
      if (!thread.stack) thread.stack.reset(new char[kStackBytes]);
      getcontext(&thread.context);
      thread.context.uc_stack.ss_sp = thread.stack.get();
      thread.context.uc_stack.ss_size = kStackBytes;
      thread.context.uc_link = nullptr;
      const auto self = reinterpret_cast<uintptr_t>(this);
      makecontext(&thread.context, reinterpret_cast<void (*)()>(Begin), 2,
                  static_cast<unsigned>(self >> 32), static_cast<unsigned>(self));
    }
    turns_ = 0;
    current_ = 0;
    renga_emulator_attachment.thread = &threads_[0].view;
    swapcontext(&main_, &threads_[0].context);
  }

  // On to the next thread that has not ended; back to RunBlock when all have.
  void Yield() {
    const size_t from = current_;
    if (++turns_ > kMostTurns) Stop("the kernel does not end");
    for (size_t step = 1; step <= threads_.size(); ++step) {
      const size_t next = (from + step) % threads_.size();
      if (threads_[next].ended) continue;
      if (next == from) return;
      current_ = next;
      renga_emulator_attachment.thread = &threads_[next].view;
      swapcontext(&threads_[from].context, &threads_[next].context);
      return;
    }
    setcontext(&main_);
  }

  void Meet(Barrier* barrier, size_t threads, bool waits) {
    const unsigned generation = barrier->generation;
    if (++barrier->arrived == threads) {
      barrier->arrived = 0;
      ++barrier->generation;
      return;
    }
    while (waits && barrier->generation == generation) Yield();
  }

  int Lane() const { return static_cast<int>(current_ % 32); }

  // What each of the lanes brought, once all are there; `last` sees it first.
  const Slot* MeetLanes(uint32_t lanes, const void* mine, size_t bytes, void (*last)(Slot*)) {
    Meeting& meeting = meetings_[{current_ / 32, lanes}];
    const unsigned generation = meeting.generation;
    Slot* const slots = meeting.slots[generation % 2];
    if (bytes > 0) std::memcpy(slots[Lane()], mine, bytes);
    meeting.arrived |= 1u << Lane();
    if (meeting.arrived == lanes) {
      if (last != nullptr) last(slots);
      meeting.arrived = 0;
      ++meeting.generation;
      return slots;
    }
    while (meeting.generation == generation) Yield();
    return slots;
  }

  static float Number(uint32_t bits, bool bfloat) {
    if (bfloat)
      return renga::kernels::ToFloat(renga::kernels::Bfloat16{static_cast<uint16_t>(bits)});
    return renga::kernels::ToFloat(renga::kernels::Half{static_cast<uint16_t>(bits)});
  }

  // PTX ISA, "Matrix Fragments for mma.m16n8k16".
  template <bool kBfloat>
  static void Multiply(Slot* slots) {
    float a[16][16], b[16][8], c[16][8];
    for (int lane = 0; lane < 32; ++lane) {
      MmaLane mine;
      std::memcpy(&mine, slots[lane], sizeof(mine));
      const int g = lane / 4, q = lane % 4;
      for (int i = 0; i < 4; ++i) {
        a[g + i % 2 * 8][q * 2 + i / 2 * 8] = Number(mine.a[i], kBfloat);
        a[g + i % 2 * 8][q * 2 + i / 2 * 8 + 1] = Number(mine.a[i] >> 16, kBfloat);
        c[g + i / 2 * 8][q * 2 + i % 2] = mine.c[i];
      }
      for (int i = 0; i < 2; ++i) {
        b[q * 2 + i * 8][g] = Number(mine.b[i], kBfloat);
        b[q * 2 + i * 8 + 1][g] = Number(mine.b[i] >> 16, kBfloat);
      }
    }
    for (int m = 0; m < 16; ++m) {
      for (int k = 0; k < 16; ++k) {
        for (int n = 0; n < 8; ++n) c[m][n] += a[m][k] * b[k][n];
      }
    }
    for (int lane = 0; lane < 32; ++lane) {
      const int g = lane / 4, q = lane % 4;
      float sums[4];
      for (int i = 0; i < 4; ++i) sums[i] = c[g + i / 2 * 8][q * 2 + i % 2];
      std::memcpy(slots[lane], sums, sizeof(sums));
    }
  }

  machine::KernelThunk kernel_ = nullptr;
  void* arguments_[1] = {};
  std::vector<uint8_t> shared_;
  std::vector<Thread> threads_;
  std::vector<Barrier> barriers_;
  std::map<std::pair<size_t, uint32_t>, Meeting> meetings_;  // by warp and lanes
  ucontext_t main_ = {};
  size_t current_ = 0;
  long turns_ = 0;
};

}  // namespace repro
