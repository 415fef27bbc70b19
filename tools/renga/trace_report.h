// A trace as text and data: what `trace` and `dump X.trace` print.
#pragma once

#include <functional>
#include <string>

#include "ir/trace/trace.h"
#include "tools/renga/output.h"

namespace renga {

using KeepValue = std::function<bool(const TracedValue& value)>;

// "119 values  5 tokens  1.2 MiB  cpu"
std::string TraceSummary(const Trace& trace);

// What was run, then a line a value: name, operator, type and axes, statistics.
std::string TraceText(const Trace& trace, const KeepValue& keep);

// {model, device, ..., ids, nodes[{name, op, layer, type, shape, axes, stats...}]}
Json TraceJson(const Trace& trace, const KeepValue& keep);

// Positions that are kept or compared: a list, null for all.
Json PositionsJson(const std::vector<int32_t>& positions);

}  // namespace renga
