// What a device can read and compute at best, as measured: the other half of a speed's bound.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "tools/step_cost.h"

namespace renga {

struct DeviceRates {
  std::optional<double> bytes_per_second;  // of reading memory
  std::optional<double> flops_per_second;  // of a large product of matrices in the fast type
  std::string source;                      // where the figures are from, or why there are none
};

// Of StepRunner::device(). A GPU is looked up by its name; the cpu's memory is read for some tenths
// of a second with `threads` threads. What nobody measured stays empty.
DeviceRates RatesOf(std::string_view device, int threads);

enum class TestKind {
  kPrompt,
  kDecode,
  kServing,  // prompts, and decoding behind them
};

// Tokens a second that `rates` allow where one costs `token_cost`: reading and computing at once,
// each at its best. Nothing where prompts are read without a figure for arithmetic, which alone
// says how fast that can be; nor for anything without one for reading.
std::optional<double> BoundOf(TestKind kind, const StepCost& token_cost, const DeviceRates& rates);

}  // namespace renga
