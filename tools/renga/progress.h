// A line on stderr about what takes long, for people: it appears after a second, only on a
// terminal, and is gone when the step is done.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace renga {

// Covers one step, from construction to destruction or Stop().
class Progress {
 public:
  // "loading model.gguf"
  explicit Progress(std::string_view what);
  ~Progress() { Stop(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // How far the step is; from any thread. Without it the line shows the time alone.
  void Update(int64_t done, int64_t total);

  // Takes the line away. Nothing happens the second time.
  void Stop();

 private:
  void Draw();
  std::string Line(double seconds) const;

  const std::string what_;
  std::atomic<int64_t> done_ = 0;
  std::atomic<int64_t> total_ = 0;
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopped_ = false;  // guarded by mutex_
  std::thread thread_;    // only on a terminal
};

}  // namespace renga
