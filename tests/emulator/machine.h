// The emulated GPU at work: runs a launch's threads as fibers and judges all they do. Parts of it
// by concept: machine.cc (running), machine_access.cc (memory), machine_meet.cc (barriers, warps),
// machine_atomic.cc (atomics, dependent launch), machine_copy.cc (asynchronous copies, mbarriers),
// machine_matrix.cc (matrix products). Users want emulator.h.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "tests/emulator/fiber.h"
#include "tests/emulator/global_memory.h"
#include "tests/emulator/kernel_library.h"
#include "tests/emulator/knowledge.h"
#include "tests/emulator/runtime_interface.h"
#include "tests/emulator/schedule.h"
#include "tests/emulator/shadow.h"
#include "tests/emulator/tensor_map.h"

namespace renga::emulator {

struct LaunchOptions {
  Schedule schedule;
  // As cudaLaunchAttributeProgrammaticStreamSerialization: may start while the launch before it
  // runs.
  bool overlaps_previous = false;
  // All blocks take turns, for kernels whose blocks wait for each other; otherwise one block runs
  // after another.
  bool cooperative = false;
  // Whether accesses are checked for their order. Without, races and missing waits between kernels
  // go unseen; bounds, values never written and copies in flight do not.
  bool check_order = true;
  // Loads, stores and waits for others after which a launch is taken to run for ever.
  uint64_t max_accesses = 20'000'000'000;
};

inline constexpr size_t kMaxSharedBytes = 227 << 10;  // of a block on sm_90a

class Machine final : public Runtime {
 public:
  explicit Machine(GlobalMemory* memory) : memory_(*memory) {}
  ~Machine();

  absl::Status Launch(const Kernel& kernel, Dim3 grid, Dim3 block, size_t shared_bytes,
                      void** arguments, const LaunchOptions& options);

  void Access(const void* address, size_t bytes, AccessKind kind, const void* pc) override;
  void CheckNonCoherent(const void* address, size_t bytes) override;
  void CheckAligned(const void* address, size_t bytes) override;
  void Fail(const char* what, const void* pc) override;
  void CheckStack(uintptr_t stack_pointer, const void* pc) override;
  void SyncThreads() override;
  void SyncBarrier(int id, int threads, bool waits) override;
  void SyncWarp(uint32_t lanes) override;
  uint32_t Shuffle(uint32_t lanes, uint32_t value, int source_lane) override;
  uint32_t Vote(uint32_t lanes, bool condition) override;
  void Trap() override;
  void* Take(uint32_t offset, size_t bytes, int alignment) override;
  uint64_t Atomic(void* address, int bytes, AtomicFunction function, uint64_t operand,
                  uint64_t expected, Order order) override;
  uint32_t LoadAcquire(const uint32_t* address) override;
  void ThreadFence() override;
  void WaitForPreviousKernel() override;
  void LetNextKernelStart() override;
  void Mma(float* c, const uint32_t* a, const uint32_t* b, bool bfloat) override;
  void LoadMatrix(uint32_t* r, int matrices, bool transposed, const void* row) override;
  void CopyAsync(void* shared, const void* global, int bytes, int source_bytes) override;
  void CommitCopies() override;
  void WaitForCopies(int pending) override;
  void InitMbarrier(uint64_t* barrier, int arrivals) override;
  void ArriveAtMbarrier(uint64_t* barrier, int expected_bytes) override;
  void WaitForMbarrier(uint64_t* barrier, int parity) override;
  void LoadTile(void* shared, const void* map, int rank, const int* coordinates,
                uint64_t* barrier) override;
  void LoadBulk(void* shared, const void* global, int bytes, uint64_t* barrier) override;
  void FenceForAsyncProxy() override;
  uint64_t WgmmaTile(const void* shared_tile, int k16) override;
  void Wgmma(float* d, int sums, const uint32_t* a, uint64_t b, bool accumulate) override;
  void FenceWgmma() override;
  void CommitWgmma() override;
  void WaitForWgmma(int pending) override;

 private:
  struct Block;

  // A stretch of bytes on the way from global to shared memory.
  struct Copy {
    uint8_t* to;
    const uint8_t* from;  // null: zeros
    size_t bytes;
    const void* pc;
  };

  struct WgmmaOperation {
    float* d;
    int sums;
    const uint32_t* a_address;
    uint32_t a[4];
    uint64_t b;
    bool accumulate;
    const void* pc;
  };
  struct PendingSums {  // the true sums, while those of the kernel are poisoned
    float* d;
    std::vector<float> values;
    int operations = 0;
  };

  struct Thread {
    Fiber fiber;
    ThreadView* view = nullptr;  // in the fiber's memory
    Block* block = nullptr;
    uint32_t index = 0;  // in the machine
    uint32_t agent = 0;  // in the block: its number
    uint32_t lane = 0, warp = 0;
    bool done = true;
    const char* waits_for = nullptr;  // null: runs or can run
    const void* pc = nullptr;         // of what it waits for
    int barrier = -1;                 // or mbarrier, that it waits for

    KnowledgeRef known;
    const Ticks* own = nullptr;  // of its block in `known`
    uint32_t tick = 1;
    KnowledgeRef released_by_fence, acquired_by_fence;
    uint32_t async_fence_tick = 0;  // writes of earlier ticks are visible to the async proxy

    size_t arrays_taken = 0;
    std::vector<Copy> open_copies;
    std::deque<std::vector<Copy>> copy_groups;
    std::vector<WgmmaOperation> open_wgmma;
    std::deque<std::vector<WgmmaOperation>> wgmma_groups;
    uint64_t wgmma_committed = 0;
    std::vector<PendingSums> sums;
    bool wgmma_fenced = false;
  };

  struct SharedArray {
    uint32_t offset;  // on the GPU
    uint8_t* base;
    size_t bytes;
    const void* pc;
  };

  struct Barrier {
    std::vector<Thread*> waiting;
    int arrived = 0;
    int expected = 0;
    const void* pc = nullptr;  // of the first to come
    KnowledgeRef arrivals;     // of those that only arrived
  };

  // Lanes of a warp that do one thing together.
  struct Meeting {
    static constexpr size_t kSlotBytes = 64;
    uint32_t lanes = 0, arrived = 0;
    const char* what = nullptr;
    const void* pc = nullptr;
    uint32_t generation = 0;
    // What each lane brings. Two sets: one lane may come for the next meeting while another has not
    // yet left this one.
    alignas(16) uint8_t slots[2][32][kSlotBytes];
    std::vector<Thread*> waiting;
  };

  struct TileLoad {
    uint8_t* to;
    TensorMapSpec map;  // rank 0: a plain stretch of memory
    int at[3];
    const uint8_t* from;
    size_t bytes;
    uint32_t tick;
    const void* pc;
  };

  struct Mbarrier {
    uint64_t* address = nullptr;
    Block* block = nullptr;
    uint32_t agent = 0;  // of the loads that count on it
    int count = 0, pending = 0;
    int64_t missing_bytes = 0;
    uint32_t phase = 0;
    KnowledgeRef arriving, completed;
    std::vector<TileLoad> loads;
    std::vector<Thread*> waiting;
  };

  struct Warpgroup {
    uint64_t executed = 0;  // groups of operations
    // The tile last checked, and by whose knowledge: the other warps' is mostly the same.
    uint64_t checked_tile = 0;
    KnowledgeRef checked_by;
    // What a thread that knew the one knows after waiting for `executed`: the other.
    KnowledgeRef before_wait, after_wait;
  };

  struct Block {
    Dim3 index;
    uint32_t number = 0;
    uint32_t first_thread = 0;  // in the machine
    uint32_t live = 0;
    std::vector<uint32_t> live_lanes;  // by warp
    std::vector<Barrier> barriers;
    std::vector<std::vector<std::unique_ptr<Meeting>>> meetings;  // by warp
    std::vector<Mbarrier> mbarriers;
    std::vector<Warpgroup> warpgroups;
    uint8_t* shared = nullptr;  // kArenaBytes
    std::unique_ptr<Shadow> shadow;
    size_t shared_used = 0;  // with the zones between arrays
    std::vector<SharedArray> arrays;
    std::unordered_map<const void*, KnowledgeRef> released;  // by what atomics in shared memory
    bool waited = false;                                     // for the previous kernel
    bool triggered_early = false;                            // let the next start before that
  };

  // Memory of either kind as checks see it.
  struct Region {
    uint8_t* base = nullptr;
    size_t bytes = 0;
    Shadow* shadow = nullptr;  // null: read-only
    Block* block = nullptr;    // of shared memory
    bool writable = true;
  };
  struct Who {
    uint32_t agent, tick;
  };
  struct LaunchRecord {
    std::string kernel;
    const KernelModule* module;
    std::vector<uint32_t> may_run_before_wait;  // launches that may run beside it until it waits
    std::vector<uint32_t> may_run_after_wait;
    bool waited = false, let_next_start_early = false;
  };

  static constexpr size_t kArenaBytes = 256 << 10;
  static constexpr size_t kZoneBytes = 64;
  static constexpr uint32_t kMaxMbarriers = 64;
  static constexpr uint32_t kMaxWarpgroups = 8;

  // ---- running ----
  static void FiberEntry(void* machine);
  void RunThread();
  void PrepareBlock(Block* block, uint32_t number, uint32_t slot);
  void RunBlocks(uint32_t count);
  void EndThread();
  void CheckThreadEnd(const Thread& thread);
  void CheckBlockEnd(Block* block);
  void SwitchFrom(Thread* thread);  // runs another; returns when `thread` runs again
  void Park(const char* what, const void* pc);
  void YieldIfRandom();
  void Wake(std::vector<Thread*>* threads);
  bool DeliverWhenIdle();
  std::string DeadlockReport() const;
  void BeginRecord(const Kernel& kernel, const LaunchOptions& options);
  void FailAt(const std::string& what, const void* pc);
  std::string PlaceOf(const Thread& thread) const;
  std::string LineOf(const void* pc) const;
  Thread& current() { return *current_; }
  uint32_t AgentsMask() const { return (1u << agent_bits_) - 1; }

  // ---- knowledge ----
  void SetKnown(Thread* thread, KnowledgeRef known);
  void Learn(Thread* thread, const KnowledgeRef& known);
  KnowledgeRef Release(Thread* thread);
  void Meet(absl::Span<Thread* const> threads, const KnowledgeRef& more);
  bool Before(const AccessRecord& record, const Thread& thread) const;
  bool MayStillRun(uint32_t launch, const Thread& thread) const;

  // ---- memory ----
  bool FindRegion(const void* address, size_t bytes, Region* region);
  Region SharedRegion(Block* block) {
    return {block->shared, kArenaBytes, block->shadow.get(), block};
  }
  // Checks the bytes' states and order and, unless `only_check`, records the access for `who`.
  void CheckRange(const Region& region, const void* address, size_t bytes, AccessKind kind,
                  const void* pc, Who who, bool only_check = false, bool async = false);
  void CheckStates(const Region& region, size_t offset, size_t bytes, AccessKind kind,
                   const void* pc);
  void CheckOrder(const Region& region, size_t offset, size_t bytes, AccessKind kind,
                  const void* pc, Who who, bool only_check, bool async);
  void FailConflict(const AccessRecord& record, const std::string& what, const std::string& where,
                    const void* pc);
  std::string Describe(const Region& region, const void* address) const;
  void RequireShared(const void* address, size_t bytes, size_t alignment, const char* what,
                     const void* pc);
  Region RequireGlobal(const void* address, size_t bytes, const char* what, const void* pc);
  Who Self() { return {current_->agent, current_->tick}; }

  // ---- meetings ----
  using Slots = uint8_t[32][Meeting::kSlotBytes];
  // Each lane brings `bytes` of `mine`; once all are there `last` sees the slots, then every lane
  // gets them.
  Slots& MeetLanes(uint32_t lanes, const char* what, const void* pc, const void* mine, size_t bytes,
                   void (*last)(Slots& slots) = nullptr, bool orders_memory = false);
  Meeting* FindMeeting(uint32_t lanes, const char* what, const void* pc);
  void ReleaseBarrier(Barrier* barrier);

  // ---- copies ----
  Mbarrier* FindMbarrier(uint64_t* address, AccessKind kind, const void* pc);
  void CompleteIfFull(Mbarrier* barrier);
  void StartLoad(TileLoad load, size_t tile_bytes, uint64_t* address, const void* pc);
  static void FillTile(const TileLoad& load);
  void Deliver(Mbarrier* barrier, size_t index);
  void FinishCopy(const Copy& copy);

  // ---- matrix products ----
  const uint8_t* TileRow(uint64_t descriptor, int n, int k8) const;
  void CheckTile(uint64_t descriptor, int columns, const void* pc, Who who, bool only_check);
  void ExecuteWgmma(uint32_t warpgroup, uint64_t upto);
  void RunOperation(Thread* const* lanes, size_t index);

  GlobalMemory& memory_;
  std::vector<std::unique_ptr<Thread>> threads_;
  std::vector<std::unique_ptr<Block>> blocks_;
  Fiber main_;
  Attachment* attachment_ = nullptr;
  Thread* current_ = nullptr;
  ReadyQueue ready_;
  std::vector<uint32_t> woken_;

  const Kernel* kernel_ = nullptr;
  void** arguments_ = nullptr;
  LaunchOptions options_;
  Dim3 grid_, block_size_;
  uint32_t block_threads_ = 0;
  uint32_t agent_bits_ = 0;
  size_t shared_bytes_ = 0;
  uint64_t accesses_ = 0;
  uint64_t polls_ = 0;  // loads that acquire since anything else happened
  std::string error_;
  std::unordered_map<const void*, KnowledgeRef> released_;  // by what atomics in global memory
  KnowledgeRef joined_a_, joined_b_, joined_;  // the last Learn: threads of a warp learn the same

  uint32_t launch_ = 0;  // number of the current one
  std::map<uint32_t, LaunchRecord> launches_;
};

}  // namespace renga::emulator
