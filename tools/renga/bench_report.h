// What `bench` prints: a row a test, with the speed that memory and arithmetic allow at most.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tools/device_rates.h"
#include "tools/measure_speed.h"
#include "tools/renga/output.h"
#include "tools/renga/timeline_report.h"
#include "tools/step_cost.h"

namespace renga {

struct BenchRow {
  std::string test;  // "pp512", "tg128", "tg128x8@1024", "serve256+64x8"
  Speed speed;
  StepCost token_cost;          // of one token, on average over the test
  std::optional<double> bound;  // tokens a second
  // Of serving: the share of the time in which nobody waited for the device.
  std::optional<double> host_share;
  // Of decoding with sampling: what a step takes longer than that of the row before, which is
  // greedy.
  std::optional<double> sampling_seconds;
};

struct BenchReport {
  std::string model;   // as the user named it
  std::string device;  // StepRunner::device()
  DeviceRates rates;
  int repetitions = 0;
  std::vector<BenchRow> rows;
  std::optional<TimelineSummary> timeline;  // --timeline, of all tests
};

Json ToJson(const BenchReport& report);
std::string ToText(const BenchReport& report);

}  // namespace renga
