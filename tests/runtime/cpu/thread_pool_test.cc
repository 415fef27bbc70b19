#include "runtime/device/cpu/thread_pool.h"

#include <atomic>
#include <chrono>
#include <ctime>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace renga::cpu {
namespace {

TEST(ThreadPoolTest, EveryElementOnceAndPartsStartAtGrain) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (const int64_t n : {0, 1, 2, 15, 16, 17, 1000}) {
      for (const int64_t grain : {1, 7, 16}) {
        std::vector<std::atomic<int>> seen(n);
        std::atomic<int> bad{0};
        pool.ParallelFor(n, grain, [&](int64_t begin, int64_t end, int worker) {
          if (begin % grain != 0 || worker < 0 || worker >= threads || begin >= end) ++bad;
          for (int64_t i = begin; i < end; ++i) ++seen[i];
        });
        EXPECT_EQ(bad, 0);
        for (const std::atomic<int>& count : seen) EXPECT_EQ(count, 1);
      }
    }
  }
}

TEST(ThreadPoolTest, WorkerNumbersAreExclusive) {
  ThreadPool pool(4);
  std::atomic<int> busy[4] = {};
  std::atomic<int> clashes{0};
  for (int round = 0; round < 2000; ++round) {
    pool.ParallelFor(16, 1, [&](int64_t, int64_t, int worker) {
      if (busy[worker].fetch_add(1) != 0) ++clashes;
      busy[worker].fetch_sub(1);
    });
  }
  EXPECT_EQ(clashes, 0);
}

TEST(ThreadPoolTest, LoopsAfterSleepStillRun) {
  ThreadPool pool(3);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
    std::atomic<int64_t> sum{0};
    pool.ParallelFor(100, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) sum += i;
    });
    EXPECT_EQ(sum, 4950);
  }
}

TEST(ThreadPoolTest, IdlePoolSleeps) {
  ThreadPool pool(4);
  pool.ParallelFor(8, 1, [](int64_t, int64_t, int) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const std::clock_t before = std::clock();  // processor time of all threads
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_LT(std::clock() - before, CLOCKS_PER_SEC / 50);
}

TEST(ThreadPoolTest, ScratchIsAlignedKeptAndGrows) {
  ThreadPool pool(2);
  std::byte* small = pool.Scratch(1, 100);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(small) % 64, 0u);
  EXPECT_EQ(pool.Scratch(1, 50), small);
  std::byte* large = pool.Scratch(1, 1 << 20);
  large[(1 << 20) - 1] = std::byte{1};
  EXPECT_EQ(pool.Scratch(1, 100), large);
  EXPECT_NE(pool.SharedScratch(8), pool.Scratch(0, 8));
}

}  // namespace
}  // namespace renga::cpu
