// A fixed set of threads for loops of a few microseconds to a few milliseconds.
//
// A decode step runs hundreds of such loops, so a dispatch must cost about a microsecond: workers
// spin for a short while after a loop before they sleep, the calling thread takes its share of the
// work, and it never waits for a worker that has not begun (one that wakes late finds the loop
// closed).
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"

namespace renga::cpu {

// Scratch memory, in bytes.
struct ScratchBytes {
  size_t worker = 0;  // each of them
  size_t shared = 0;

  void Include(const ScratchBytes& other) {
    worker = std::max(worker, other.worker);
    shared = std::max(shared, other.shared);
  }
};

class ThreadPool {
 public:
  // A part [begin, end) of a loop. `worker` is in [0, threads()) and no two parts run at once with
  // the same number, so it may select scratch memory.
  using Body = absl::FunctionRef<void(int64_t begin, int64_t end, int worker)>;

  // `threads` counts the calling thread; values below 1 mean 1. Starts threads - 1 threads.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls `body` over disjoint parts that together are [0, n); every part but the last has a
  // multiple of `grain` elements and starts at one. Returns when all are done. One caller at a
  // time; a body must not call ParallelFor.
  void ParallelFor(int64_t n, int64_t grain, Body body);

  // 64-byte aligned memory of at least `bytes` for `worker`, valid until the next call with the
  // same worker; grows to the largest size asked for and is then reused, so the steady state
  // allocates nothing. Content is unspecified.
  std::byte* Scratch(int worker, size_t bytes);

  // The same for memory that all parts of a loop read; only the calling thread may ask.
  std::byte* SharedScratch(size_t bytes) { return Scratch(threads(), bytes); }

  // The most that was asked for so far, Reserve apart; of worker threads() what is shared.
  size_t AskedOfScratch(int worker) const { return arenas_[worker].asked; }

  // Takes that much at once, so that nobody has to ask for more later.
  void Reserve(const ScratchBytes& bytes);

 private:
  struct AlignedFree {
    void operator()(std::byte* data) const;
  };
  struct Arena {
    std::unique_ptr<std::byte, AlignedFree> data;
    size_t bytes = 0;
    size_t asked = 0;
  };
  struct Job {
    const Body* body = nullptr;
    int64_t n = 0;
    int64_t chunk = 1;
  };

  static void Grow(Arena& arena, size_t bytes);
  void WorkerMain(int worker);
  void Help(int worker);
  // True when a loop newer than `seen` was opened or the pool is closing; spins, then sleeps.
  void WaitForWork(uint64_t seen);

  Job job_;                                   // written only while open_ is false and active_ is 0
  alignas(64) std::atomic<int64_t> next_{0};  // first element nobody has claimed
  alignas(64) std::atomic<uint64_t> epoch_{0};  // number of loops opened
  alignas(64) std::atomic<bool> open_{false};   // job_ may be read by workers counted in active_
  alignas(64) std::atomic<int> active_{0};      // workers between entering and leaving a loop
  alignas(64) std::atomic<int> sleepers_{0};
  std::atomic<bool> closing_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Arena> arenas_;  // one a worker, then the shared one
  std::vector<std::thread> workers_;
};

}  // namespace renga::cpu
