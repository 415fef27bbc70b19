#include "tools/renga/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "tools/renga/errors.h"

namespace renga {
namespace {

// A signal handler can reach nothing but statics.
std::atomic<bool> g_graceful = false;  // the next SIGINT only sets g_interrupted
std::atomic<bool> g_interrupted = false;
static_assert(std::atomic<bool>::is_always_lock_free);

void OnInterrupt(int) {
  if (!g_graceful.exchange(false)) _exit(kExitInterrupted);
  g_interrupted = true;
}

}  // namespace

void InstallSignalHandlers() {
  struct sigaction action = {};
  sigemptyset(&action.sa_mask);
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, nullptr);
  struct sigaction before = {};
  sigaction(SIGINT, nullptr, &before);
  // A background job of a shell script has SIGINT ignored, and keeps it so.
  if (before.sa_handler == SIG_IGN) return;
  action.sa_handler = OnInterrupt;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
}

void LeaveInterrupted() {
  fflush(nullptr);
  std::quick_exit(kExitInterrupted);
}

InterruptScope::InterruptScope() {
  g_interrupted = false;
  g_graceful = true;
}

InterruptScope::~InterruptScope() { g_graceful = false; }

const std::atomic<bool>& InterruptScope::flag() const { return g_interrupted; }

void InterruptScope::Request() { g_interrupted = true; }

}  // namespace renga
