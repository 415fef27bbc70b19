// Threads for the reference interpreter: whole rows are handed out, nothing smarter.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace renga {

// Not thread safe: one caller at a time.
class RowThreads {
 public:
  explicit RowThreads(int threads);  // including the caller's
  ~RowThreads();
  RowThreads(const RowThreads&) = delete;
  RowThreads& operator=(const RowThreads&) = delete;

  // Runs fn(0) .. fn(n - 1), each once, and returns when all are done.
  void Run(int64_t n, const std::function<void(int64_t)>& fn);

 private:
  void Work();
  void Drain(const std::function<void(int64_t)>& fn, int64_t n);

  std::mutex mutex_;
  std::condition_variable start_, done_;
  const std::function<void(int64_t)>* fn_ = nullptr;
  int64_t next_ = 0, n_ = 0;
  int busy_ = 0;
  int64_t generation_ = 0;
  bool stop_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace renga
