// A lock that goes to whoever has waited longest. A thread that steps a model in a loop lets go of
// its lock for nanoseconds only: with std::mutex another one that wants to cancel a request might
// wait for as long as the loop runs.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace renga {

// For std::lock_guard.
class FairMutex {
 public:
  void lock() {
    std::unique_lock<std::mutex> hold(mutex_);
    const uint64_t ticket = next_++;
    turn_.wait(hold, [&] { return serving_ == ticket; });
  }
  void unlock() {
    {
      const std::lock_guard<std::mutex> hold(mutex_);
      ++serving_;
    }
    turn_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable turn_;
  uint64_t next_ = 0, serving_ = 0;
};

}  // namespace renga
