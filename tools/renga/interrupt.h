// Ctrl-C. Outside of a generation it ends the program at once with exit code 130; during one it
// asks for an end, so that what has been generated is kept, and only the second one ends it.
#pragma once

#include <atomic>

namespace renga {

// Call once, first thing in main. Also makes writes to a closed pipe errors instead of deaths.
void InstallSignalHandlers();

// Ends the program with exit code 130 when all that is to be kept has been written: what gigabytes
// of memory it has the system takes back sooner than the program could give them.
[[noreturn]] void LeaveInterrupted();

// While it lives, the first SIGINT sets flag(). One at a time.
class InterruptScope {
 public:
  InterruptScope();
  ~InterruptScope();
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;

  const std::atomic<bool>& flag() const;

  // Sets the flag, as if interrupted: for a result that nobody takes any more.
  void Request();
};

}  // namespace renga
