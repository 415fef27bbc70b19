// What a program and its device did when, for people who look at a picture of it. Nobody has one
// unless it was asked for: whoever notes something does so where there is one, and costs nothing
// else where there is none.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace renga {

// Where a span is drawn. Spans of a row follow each other or lie in each other.
enum class TimelineRow : uint8_t {
  kHost,   // what the thread that runs the model does: schedule, start, wait, sample, text
  kRuns,   // runs of the plan on the device: from the first of a run's launches to its last
  kSteps,  // single steps of the plan, where the device can tell
};

struct TimelineSpan {
  TimelineRow row = TimelineRow::kHost;
  std::string name;
  double begin_us = 0, end_us = 0;  // since the timeline began
  int64_t run = -1;                 // of the plan, counted from 0; -1: of none
  int64_t tokens = 0;               // of that run, where it is known
};

// How far a device's spans may lie beside the host's, in microseconds; 0 where both have one clock.
struct TimelineClock {
  double precision_us = 0;
  // Of the thread's time, what noting the device's spans took.
  double cost_us = 0;
};

// Not thread-safe.
class Timeline {
 public:
  using Clock = std::chrono::steady_clock;

  // More are counted, not kept.
  static constexpr size_t kMostSpans = 2'000'000;

  Timeline();

  double Now() const { return Since(Clock::now()); }
  double Since(Clock::time_point time) const {
    return std::chrono::duration<double, std::micro>(time - start_).count();
  }

  void Add(TimelineSpan span);
  // Spans that whoever collects them did not keep.
  void Drop(int64_t count) { dropped_ += count; }

  // What is summed up lies between the last calls of these.
  void Begin();
  void End();

  // The device could not say what it did.
  void Fail(absl::Status status) { status_ = std::move(status); }
  const absl::Status& status() const { return status_; }

  const std::vector<TimelineSpan>& spans() const { return spans_; }
  int64_t dropped() const { return dropped_; }
  double begin_us() const { return begin_us_; }
  double end_us() const { return end_us_; }
  // Processor time between Begin and End, of the thread that called both, and of all of them.
  double thread_us() const { return end_thread_us_ - begin_thread_us_; }
  double process_us() const { return end_process_us_ - begin_process_us_; }

  TimelineClock clock;

  // A span of the host's, while it lives; without a timeline nothing.
  class Scope {
   public:
    Scope(Timeline* timeline, std::string_view name, int64_t run = -1)
        : timeline_(timeline), name_(name), run_(run) {
      if (timeline_ != nullptr) begin_us_ = timeline_->Now();
    }
    ~Scope() {
      if (timeline_ == nullptr) return;
      timeline_->Add(
          {TimelineRow::kHost, std::string(name_), begin_us_, timeline_->Now(), run_, 0});
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Timeline* timeline_;
    std::string_view name_;
    int64_t run_;
    double begin_us_ = 0;
  };

 private:
  Clock::time_point start_;
  std::vector<TimelineSpan> spans_;
  int64_t dropped_ = 0;
  double begin_us_ = 0, begin_thread_us_ = 0, begin_process_us_ = 0;
  double end_us_ = 0, end_thread_us_ = 0, end_process_us_ = 0;
  absl::Status status_;
};

}  // namespace renga
