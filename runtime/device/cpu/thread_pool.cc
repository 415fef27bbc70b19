#include "runtime/device/cpu/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <new>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace renga::cpu {
namespace {

constexpr size_t kAlign = 64;

// Long enough to bridge the serial work between two loops of a step (token sampling included),
// short enough that an idle pool is asleep within a fraction of a millisecond.
constexpr std::chrono::microseconds kSpin(200);

// Parts a thread: some slack for a thread that the system takes the core from.
constexpr int64_t kPartsPerThread = 4;

void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

void ThreadPool::AlignedFree::operator()(std::byte* data) const {
  ::operator delete(data, std::align_val_t(kAlign));
}

ThreadPool::ThreadPool(int threads) {
  threads = std::max(threads, 1);
  arenas_.resize(threads + 1);
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { WorkerMain(i); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    closing_.store(true);
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

std::byte* ThreadPool::Scratch(int worker, size_t bytes) {
  Arena& arena = arenas_[worker];
  if (arena.asked < bytes) {
    arena.asked = bytes;
    Grow(arena, bytes);
  }
  return arena.data.get();
}

void ThreadPool::Grow(Arena& arena, size_t bytes) {
  if (arena.bytes >= bytes) return;
  arena.data.reset();  // free first: the content is not kept
  arena.data.reset(static_cast<std::byte*>(::operator new(bytes, std::align_val_t(kAlign))));
  arena.bytes = bytes;
}

void ThreadPool::Reserve(const ScratchBytes& bytes) {
  for (int worker = 0; worker < threads(); ++worker) Grow(arenas_[worker], bytes.worker);
  Grow(arenas_[threads()], bytes.shared);
}

void ThreadPool::ParallelFor(int64_t n, int64_t grain, Body body) {
  if (n <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  if (workers_.empty() || n <= grain) {
    body(0, n, 0);
    return;
  }
  const int64_t parts = std::min((n + grain - 1) / grain, threads() * kPartsPerThread);
  const int64_t part = (n + parts - 1) / parts;
  job_ = {&body, n, (part + grain - 1) / grain * grain};
  next_.store(0, std::memory_order_relaxed);
  open_.store(true);
  epoch_.fetch_add(1);
  // Pairs with WaitForWork: a worker counts itself as sleeper before it looks at epoch_ a last
  // time.
  if (sleepers_.load() > 0) {
    { std::lock_guard<std::mutex> lock(mutex_); }
    wake_.notify_all();
  }
  Help(0);
  // Closing before reading active_ (both sequentially consistent) against entering before reading
  // open_ in WorkerMain: either the worker sees the loop closed, or we see the worker and wait for
  // it.
  open_.store(false);
  for (int spins = 0; active_.load() != 0; ++spins) {
    Pause();
    if (spins >= 1000) std::this_thread::yield();  // the worker may need this very core
  }
}

void ThreadPool::Help(int worker) {
  const Job& job = job_;
  while (true) {
    const int64_t begin = next_.fetch_add(job.chunk, std::memory_order_relaxed);
    if (begin >= job.n) return;
    (*job.body)(begin, std::min(begin + job.chunk, job.n), worker);
  }
}

void ThreadPool::WaitForWork(uint64_t seen) {
  const auto until = std::chrono::steady_clock::now() + kSpin;
  while (std::chrono::steady_clock::now() < until) {
    for (int i = 0; i < 16; ++i) {
      if (epoch_.load(std::memory_order_acquire) != seen) return;
      Pause();
    }
    if (closing_.load(std::memory_order_relaxed)) return;
  }
  std::unique_lock<std::mutex> lock(mutex_);
  sleepers_.fetch_add(1);
  wake_.wait(lock, [&] { return epoch_.load() != seen || closing_.load(); });
  sleepers_.fetch_sub(1);
}

void ThreadPool::WorkerMain(int worker) {
  uint64_t seen = 0;
  while (true) {
    WaitForWork(seen);
    if (closing_.load()) return;
    seen = epoch_.load();
    active_.fetch_add(1);
    if (open_.load()) Help(worker);
    active_.fetch_sub(1);
  }
}

}  // namespace renga::cpu
