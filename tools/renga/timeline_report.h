// --timeline: the file, for chrome://tracing and ui.perfetto.dev, and what it says in a few
// numbers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "runtime/exec/timeline.h"
#include "tools/renga/output.h"

namespace renga {

// Of a timeline from its Begin to its End.
struct TimelineSummary {
  double seconds = 0;
  int64_t runs = 0;    // of the plan, that began in it
  int64_t graphs = 0;  // of them: CUDA graphs
  // From the end of one run to the beginning of the next, runs one after the other: of graphs alone
  // where there are any.
  int64_t gaps = 0;
  double mean_gap_us = 0, median_gap_us = 0, largest_gap_us = 0;
  double short_gaps = 0;     // share of those below kShortGapUs
  double device_share = 0;   // of the time, in which a run was under way on the device
  double waiting_share = 0;  // of the time, in which the host waited for one
  // Of one core: the thread that runs the model, and all of the process.
  double thread_share = 0, process_share = 0;
  // Of the whole timeline: graphs that were made, and what each took the host.
  int64_t captures = 0;
  double mean_capture_us = 0;
  double precision_us = 0;     // TimelineClock
  double cost_us_per_run = 0;  // likewise
  int64_t dropped = 0;
};

inline constexpr double kShortGapUs = 5;

TimelineSummary Summarize(const Timeline& timeline);

Json ToJson(const TimelineSummary& summary);
// Lines for people.
std::string ToText(const TimelineSummary& summary);

// Writes the spans as Chrome's "Trace Event Format" and the summary as its `otherData`, all or
// nothing. Errors also those of the timeline.
absl::Status WriteTimeline(const std::string& path, const Timeline& timeline,
                           std::string_view device);

}  // namespace renga
