#include "tools/renga/progress.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "ir/base/strings.h"
#include "tools/renga/text.h"

namespace renga {

Progress::Progress(std::string_view what) : what_(EscapeForTerminal(what)) {
  if (isatty(STDERR_FILENO) == 0) return;
  // Signals are for the main thread, which may be writing a file.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { Draw(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void Progress::Update(int64_t done, int64_t total) {
  done_ = done;
  total_ = total;
}

void Progress::Stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopped_ = true;
  }
  stop_.notify_all();
  thread_.join();
}

std::string Progress::Line(double seconds) const {
  std::string line = StrCat(what_, "  ");
  const int64_t total = total_, done = std::clamp<int64_t>(done_, 0, total);
  if (total > 0) {
    constexpr int kWidth = 24;
    const int filled = static_cast<int>(done * kWidth / total);
    StrAppend(&line, "[", std::string(filled, '#'), std::string(kWidth - filled, '.'), "] ",
              WithCommas(done), "/", WithCommas(total), "  ");
  }
  return StrCat(line, SecondsText(seconds));
}

void Progress::Draw() {
  using std::chrono::steady_clock;
  const auto start = steady_clock::now();
  bool drawn = false;
  std::unique_lock<std::mutex> lock(mutex_);
  auto wait = std::chrono::milliseconds(1000);
  while (!stop_.wait_for(lock, wait, [this] { return stopped_; })) {
    wait = std::chrono::milliseconds(100);
    const double seconds = std::chrono::duration<double>(steady_clock::now() - start).count();
    const std::string line = StrCat("\r", Line(seconds), "\033[K");
    fwrite(line.data(), 1, line.size(), stderr);
    fflush(stderr);
    drawn = true;
  }
  if (drawn) {
    fputs("\r\033[K", stderr);
    fflush(stderr);
  }
}

}  // namespace renga
