#include "tools/renga/timeline_report.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <vector>

#include "absl/strings/str_format.h"
#include "ir/base/status.h"

namespace renga {
namespace {

// A run on the device.
struct DeviceRun {
  int64_t number = 0;
  double begin_us = 0, end_us = 0;
  bool graph = false;
};

bool IsWithin(const Timeline& timeline, const TimelineSpan& span) {
  return span.begin_us >= timeline.begin_us() && span.end_us <= timeline.end_us();
}

std::vector<DeviceRun> RunsOf(const Timeline& timeline) {
  std::map<int64_t, DeviceRun> by_number;
  for (const TimelineSpan& span : timeline.spans()) {
    if (span.row != TimelineRow::kRuns || !IsWithin(timeline, span)) continue;
    const auto [found, added] = by_number.try_emplace(span.run);
    DeviceRun& run = found->second;
    run.number = span.run;
    run.graph |= span.name == "graph";
    run.begin_us = added ? span.begin_us : std::min(run.begin_us, span.begin_us);
    run.end_us = std::max(run.end_us, span.end_us);
  }
  std::vector<DeviceRun> runs;
  for (const auto& [number, run] : by_number) runs.push_back(run);
  return runs;
}

bool IsWait(const TimelineSpan& span) {
  return span.row == TimelineRow::kHost && (span.name == "wait" || span.name == "run");
}

std::string Percent(double share) { return absl::StrFormat("%.1f %%", 100 * share); }

// Where a row is drawn: the host's in the first process, the device's in the second.
struct Place {
  int process, thread;
  const char* name;
};
Place PlaceOf(TimelineRow row) {
  constexpr Place kPlaces[] = {{1, 1, "host"}, {2, 1, "runs"}, {2, 2, "steps"}};
  return kPlaces[static_cast<size_t>(row)];
}

std::string Quoted(std::string_view text) {
  return Json(std::string(text)).dump(-1, ' ', true, Json::error_handler_t::replace);
}

void AppendName(std::string_view what, int process, int thread, std::string_view name,
                std::string* text) {
  StrAppend(text, "{\"ph\":\"M\",\"name\":\"", what, "\",\"pid\":", process, ",\"tid\":", thread,
            ",\"args\":{\"name\":", Quoted(name), "}},\n");
}

void AppendSpan(const TimelineSpan& span, std::string* text) {
  const Place place = PlaceOf(span.row);
  StrAppend(text, "{\"ph\":\"X\",\"name\":", Quoted(span.name), ",\"pid\":", place.process,
            ",\"tid\":", place.thread,
            absl::StrFormat(",\"ts\":%.3f,\"dur\":%.3f", span.begin_us,
                            std::max(0.0, span.end_us - span.begin_us)));
  if (span.run >= 0) {
    StrAppend(text, ",\"args\":{\"run\":", span.run);
    if (span.tokens > 0) StrAppend(text, ",\"tokens\":", span.tokens);
    StrAppend(text, "}");
  }
  StrAppend(text, "},\n");
}

}  // namespace

TimelineSummary Summarize(const Timeline& timeline) {
  TimelineSummary summary;
  const double time = std::max(timeline.end_us() - timeline.begin_us(), 1e-3);
  const std::vector<DeviceRun> runs = RunsOf(timeline);
  summary.seconds = time * 1e-6;
  summary.runs = static_cast<int64_t>(runs.size());
  double busy = 0;
  for (const DeviceRun& run : runs) {
    summary.graphs += run.graph ? 1 : 0;
    busy += run.end_us - run.begin_us;
  }
  std::vector<double> gaps;
  for (size_t i = 1; i < runs.size(); ++i) {
    if (runs[i].number != runs[i - 1].number + 1) continue;
    if (summary.graphs > 0 && !(runs[i].graph && runs[i - 1].graph)) continue;
    gaps.push_back(std::max(0.0, runs[i].begin_us - runs[i - 1].end_us));
  }
  std::sort(gaps.begin(), gaps.end());
  summary.gaps = static_cast<int64_t>(gaps.size());
  if (!gaps.empty()) {
    const double count = static_cast<double>(gaps.size());
    for (const double gap : gaps) summary.mean_gap_us += gap / count;
    summary.median_gap_us = gaps[gaps.size() / 2];
    summary.largest_gap_us = gaps.back();
    const auto end = std::lower_bound(gaps.begin(), gaps.end(), kShortGapUs);
    summary.short_gaps = static_cast<double>(end - gaps.begin()) / count;
  }
  double waited = 0;
  for (const TimelineSpan& span : timeline.spans()) {
    if (span.row == TimelineRow::kHost && span.name == "capture") {
      ++summary.captures;
      summary.mean_capture_us += span.end_us - span.begin_us;
    }
    if (IsWait(span) && IsWithin(timeline, span)) waited += span.end_us - span.begin_us;
  }
  if (summary.captures > 0) summary.mean_capture_us /= static_cast<double>(summary.captures);
  summary.device_share = busy / time;
  summary.waiting_share = waited / time;
  summary.thread_share = timeline.thread_us() / time;
  summary.process_share = timeline.process_us() / time;
  summary.precision_us = timeline.clock.precision_us;
  if (summary.runs > 0) {
    summary.cost_us_per_run = timeline.clock.cost_us / static_cast<double>(summary.runs);
  }
  summary.dropped = timeline.dropped();
  return summary;
}

Json ToJson(const TimelineSummary& summary) {
  return {{"seconds", summary.seconds},
          {"runs", summary.runs},
          {"graphs", summary.graphs},
          {"gaps", summary.gaps},
          {"mean_gap_us", summary.mean_gap_us},
          {"median_gap_us", summary.median_gap_us},
          {"largest_gap_us", summary.largest_gap_us},
          {"gaps_below_5us", summary.short_gaps},
          {"device_busy", summary.device_share},
          {"host_waiting", summary.waiting_share},
          {"host_thread_cpu", summary.thread_share},
          {"host_process_cpu", summary.process_share},
          {"captures", summary.captures},
          {"mean_capture_us", summary.mean_capture_us},
          {"clock_precision_us", summary.precision_us},
          {"cost_us_per_run", summary.cost_us_per_run},
          {"dropped_spans", summary.dropped}};
}

std::string ToText(const TimelineSummary& summary) {
  std::string text =
      absl::StrFormat("timeline: %d runs (%d graphs) in %.3f s, the device busy for %s of it\n",
                      summary.runs, summary.graphs, summary.seconds, Percent(summary.device_share));
  if (summary.gaps > 0) {
    StrAppend(&text, absl::StrFormat(
                         "  between runs  mean %.1f us, median %.1f, largest %.1f; %s of %d below "
                         "%.0f us\n",
                         summary.mean_gap_us, summary.median_gap_us, summary.largest_gap_us,
                         Percent(summary.short_gaps), summary.gaps, kShortGapUs));
  }
  StrAppend(&text, "  host          ", Percent(summary.thread_share),
            " of a core in the thread that runs the model, ", Percent(summary.process_share),
            " in all threads; it waited for ", Percent(summary.waiting_share), " of the time\n");
  if (summary.captures > 0) {
    StrAppend(&text, absl::StrFormat("  graphs made   %d, %.0f us each\n", summary.captures,
                                     summary.mean_capture_us));
  }
  if (summary.precision_us > 0) {
    StrAppend(&text, absl::StrFormat(
                         "  device beside host to %.1f us; noting it cost the host %.2f us a run\n",
                         summary.precision_us, summary.cost_us_per_run));
  }
  if (summary.dropped > 0) {
    StrAppend(&text, "  ", summary.dropped, " spans more than are kept are not in it\n");
  }
  return text;
}

absl::Status WriteTimeline(const std::string& path, const Timeline& timeline,
                           std::string_view device) {
  RENGA_RETURN_IF_ERROR(Annotate(timeline.status(), "--timeline"));
  std::vector<const TimelineSpan*> spans;
  for (const TimelineSpan& span : timeline.spans()) spans.push_back(&span);
  // What lies in another comes behind it.
  const auto key = [](const TimelineSpan* span) {
    return std::tuple(span->row, span->begin_us, -span->end_us);
  };
  std::stable_sort(spans.begin(), spans.end(),
                   [&](const auto* a, const auto* b) { return key(a) < key(b); });
  std::string text = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n";
  AppendName("process_name", 1, 1, "renga", &text);
  AppendName("process_name", 2, 1, device, &text);
  for (const TimelineRow row : {TimelineRow::kHost, TimelineRow::kRuns, TimelineRow::kSteps}) {
    const Place place = PlaceOf(row);
    AppendName("thread_name", place.process, place.thread, place.name, &text);
  }
  for (const TimelineSpan* span : spans) AppendSpan(*span, &text);
  text.resize(text.size() - 2);  // the last comma
  StrAppend(&text, "\n],\"otherData\":", ToJson(Summarize(timeline)).dump(), "}\n");
  return Annotate(WriteResult(path, text), "--timeline");
}

}  // namespace renga
