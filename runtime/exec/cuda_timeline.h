// When a GPU did what it was told, run by run, in a timeline.
//
// Times are those of events in the stream that runs are started on. Events around a CUDA graph's
// launches are nodes of the graph itself: they come to pass when the GPU begins and ends it, not
// when the host has told it so; an event in front of the graph would come to pass as soon as the
// graph before has ended. Of runs without a graph the beginning is when the GPU had come to the
// first launch, which it may have waited for a few microseconds more.
//
// The GPU's clock is lined up with the host's twice, at the beginning and at the end: an event is
// recorded and waited for, and lies between the two looks at the host's clock. In between it is
// taken to run evenly. The narrowest of several tries counts; half of it is the precision.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/device/cuda/resources.h"
#include "runtime/exec/timeline.h"

namespace renga {

// Not thread-safe. Runs are numbered from 0; two at most are under way.
class CudaTimeline {
 public:
  // The timeline must outlive it, the stream be idle. Errors here and below are the driver's.
  static absl::StatusOr<std::unique_ptr<CudaTimeline>> Create(cuda::ContextRef context,
                                                              const cuda::Stream& stream,
                                                              Timeline* timeline);

  // Before the first launch of a run and behind its last, the sampler included; `captured` for what
  // is being captured into a graph, which then does it each time.
  absl::Status Begin(int64_t run, const cuda::Stream& stream, bool captured) const;
  absl::Status End(int64_t run, const cuda::Stream& stream, bool captured) const;

  // Of a run that has ended, before the one after the next is started.
  absl::Status Finish(int64_t run, std::string name, int64_t tokens, const cuda::Stream& stream);

  // Around a step that is waited for (CudaOptions::check_steps).
  absl::Status BeginStep(const cuda::Stream& stream) const;
  absl::Status EndStep(const cuda::Stream& stream) const;
  absl::Status FinishStep(const std::string& name, int64_t run);

  // Hands over all spans; the stream is idle. To be called once.
  absl::Status Close(const cuda::Stream& stream);

 private:
  // The GPU's clock and the host's, at one moment.
  struct Alignment {
    double device_us = 0, host_us = 0, precision_us = 0;
  };
  struct Events {
    cuda::Event begin, end;
  };

  explicit CudaTimeline(Timeline* timeline) : timeline_(timeline) {}

  absl::StatusOr<Alignment> Align(const cuda::Stream& stream);
  // Since the first base.
  absl::StatusOr<double> TimeOf(const cuda::Event& event) const;
  absl::Status MoveBase(const cuda::Stream& stream);

  Timeline* timeline_;
  std::array<Events, 2> events_;  // of runs with even and odd numbers
  std::array<cuda::Event, 2> bases_;
  int base_ = 0;             // of bases_, what times are measured from
  double base_us_ = 0;       // since the first base
  bool base_moves_ = false;  // the other one was recorded
  int64_t moved_in_ = 0;     // in this run
  cuda::Event step_begin_, step_end_;
  Alignment first_;
  std::vector<TimelineSpan> spans_;  // in the GPU's time
  int64_t dropped_ = 0;
  double cost_us_ = 0;
};

}  // namespace renga
