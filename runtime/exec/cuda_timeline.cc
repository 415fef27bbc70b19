#include "runtime/exec/cuda_timeline.h"

#include <algorithm>
#include <utility>

#include "ir/base/status.h"

namespace renga {
namespace {

// The driver says times between events as float milliseconds: of a second, to 0.06 microseconds.
constexpr double kMovesAfterUs = 1e6;

constexpr int kAlignments = 16;

// Over less the clocks' difference is smaller than the alignments' own error.
constexpr double kLeastToScaleUs = 1e5;

// Adds what a scope takes.
class Cost {
 public:
  Cost(const Timeline* timeline, double* sum)
      : timeline_(timeline), sum_(sum), begin_(timeline->Now()) {}
  ~Cost() { *sum_ += timeline_->Now() - begin_; }

 private:
  const Timeline* timeline_;
  double* sum_;
  double begin_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<CudaTimeline>> CudaTimeline::Create(cuda::ContextRef context,
                                                                   const cuda::Stream& stream,
                                                                   Timeline* timeline) {
  std::unique_ptr<CudaTimeline> made(new CudaTimeline(timeline));
  std::vector<cuda::Event*> events = {&made->bases_[0], &made->bases_[1], &made->step_begin_,
                                      &made->step_end_};
  for (Events& of_run : made->events_) {
    events.insert(events.end(), {&of_run.begin, &of_run.end});
  }
  for (cuda::Event* event : events) {
    RENGA_ASSIGN_OR_RETURN(*event, cuda::Event::Create(context));
  }
  RENGA_RETURN_IF_ERROR(stream.Record(made->bases_[0]));
  RENGA_ASSIGN_OR_RETURN(made->first_, made->Align(stream));
  return made;
}

absl::StatusOr<CudaTimeline::Alignment> CudaTimeline::Align(const cuda::Stream& stream) {
  Alignment best;
  for (int i = 0; i < kAlignments; ++i) {
    const double before = timeline_->Now();
    RENGA_RETURN_IF_ERROR(stream.Record(step_end_));
    RENGA_RETURN_IF_ERROR(step_end_.Wait());
    const double after = timeline_->Now();
    const double precision = (after - before) / 2;
    RENGA_ASSIGN_OR_RETURN(const double device, TimeOf(step_end_));
    if (i == 0 || precision < best.precision_us) best = {device, before + precision, precision};
  }
  return best;
}

absl::StatusOr<double> CudaTimeline::TimeOf(const cuda::Event& event) const {
  RENGA_ASSIGN_OR_RETURN(const float ms, cuda::Event::Milliseconds(bases_[base_], event));
  return base_us_ + static_cast<double>(ms) * 1e3;
}

absl::Status CudaTimeline::Begin(int64_t run, const cuda::Stream& stream, bool captured) const {
  const cuda::Event& event = events_[run % 2].begin;
  return captured ? stream.RecordEachTime(event) : stream.Record(event);
}

absl::Status CudaTimeline::End(int64_t run, const cuda::Stream& stream, bool captured) const {
  const cuda::Event& event = events_[run % 2].end;
  return captured ? stream.RecordEachTime(event) : stream.Record(event);
}

absl::Status CudaTimeline::Finish(int64_t run, std::string name, int64_t tokens,
                                  const cuda::Stream& stream) {
  const Cost cost(timeline_, &cost_us_);
  const Events& events = events_[run % 2];
  RENGA_ASSIGN_OR_RETURN(const double begin, TimeOf(events.begin));
  RENGA_ASSIGN_OR_RETURN(const double end, TimeOf(events.end));
  if (spans_.size() == Timeline::kMostSpans) {
    ++dropped_;
  } else {
    spans_.push_back({TimelineRow::kRuns, std::move(name), begin, end, run, tokens});
  }
  // Recorded behind the run that may have been started since; the one after it has ended by then.
  if (base_moves_ && run >= moved_in_ + 2) {
    RENGA_ASSIGN_OR_RETURN(base_us_, TimeOf(bases_[1 - base_]));
    base_ = 1 - base_;
    base_moves_ = false;
  } else if (!base_moves_ && end - base_us_ > kMovesAfterUs) {
    RENGA_RETURN_IF_ERROR(stream.Record(bases_[1 - base_]));
    base_moves_ = true;
    moved_in_ = run;
  }
  return absl::OkStatus();
}

absl::Status CudaTimeline::BeginStep(const cuda::Stream& stream) const {
  return stream.Record(step_begin_);
}

absl::Status CudaTimeline::EndStep(const cuda::Stream& stream) const {
  return stream.Record(step_end_);
}

absl::Status CudaTimeline::FinishStep(const std::string& name, int64_t run) {
  RENGA_ASSIGN_OR_RETURN(const double begin, TimeOf(step_begin_));
  RENGA_ASSIGN_OR_RETURN(const double end, TimeOf(step_end_));
  if (spans_.size() == Timeline::kMostSpans) {
    ++dropped_;
  } else {
    spans_.push_back({TimelineRow::kSteps, name, begin, end, run, 0});
  }
  return absl::OkStatus();
}

absl::Status CudaTimeline::Close(const cuda::Stream& stream) {
  RENGA_ASSIGN_OR_RETURN(const Alignment last, Align(stream));
  const double device = last.device_us - first_.device_us;
  const double scale = device > kLeastToScaleUs ? (last.host_us - first_.host_us) / device : 1.0;
  for (TimelineSpan& span : spans_) {
    span.begin_us = first_.host_us + (span.begin_us - first_.device_us) * scale;
    span.end_us = first_.host_us + (span.end_us - first_.device_us) * scale;
    timeline_->Add(std::move(span));
  }
  timeline_->clock = {std::max(first_.precision_us, last.precision_us), cost_us_};
  timeline_->Drop(dropped_);
  spans_.clear();
  return absl::OkStatus();
}

}  // namespace renga
