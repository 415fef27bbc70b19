#include "runtime/exec/timeline.h"

#include <time.h>

#include <utility>

namespace renga {
namespace {

double ClockMicroseconds(clockid_t clock) {
  timespec time = {};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) * 1e-3;
}

}  // namespace

Timeline::Timeline() : start_(Clock::now()) {}

void Timeline::Add(TimelineSpan span) {
  if (spans_.size() == kMostSpans) {
    ++dropped_;
    return;
  }
  spans_.push_back(std::move(span));
}

void Timeline::Begin() {
  begin_us_ = Now();
  begin_thread_us_ = ClockMicroseconds(CLOCK_THREAD_CPUTIME_ID);
  begin_process_us_ = ClockMicroseconds(CLOCK_PROCESS_CPUTIME_ID);
}

void Timeline::End() {
  end_us_ = Now();
  end_thread_us_ = ClockMicroseconds(CLOCK_THREAD_CPUTIME_ID);
  end_process_us_ = ClockMicroseconds(CLOCK_PROCESS_CPUTIME_ID);
}

}  // namespace renga
