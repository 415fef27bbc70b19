// Comparisons of values as data for scripts.
#pragma once

#include "ir/trace/compare.h"
#include "ir/trace/compare_log.h"
#include "tools/compare_values.h"
#include "tools/renga/output.h"

namespace renga {

// {equal, verdict, tolerance, reason, first, nodes[{a, b, op, layer, kind: "value", ...}], ...};
// what is infinite or no number is null.
Json ComparisonJson(const TraceComparison& comparison);

// The same with weights and ids.
Json ValuesReportJson(const ValuesReport& report);

// {equal, verdict, matched, tensors, first, nodes[{a: ours, b: the log's, ...}], unmatched[...]}.
Json LogComparisonJson(const LogComparison& comparison);

}  // namespace renga
