// dump X.trace: the values of a run.
#include "ir/base/status.h"
#include "tools/renga/dump_filter.h"
#include "tools/renga/dump_input.h"
#include "tools/renga/trace_report.h"

namespace renga {

absl::StatusOr<std::string> DumpTrace(const DumpFlags& flags, FileKind kind) {
  RENGA_ASSIGN_OR_RETURN(const Trace trace, ReadTrace(flags.model.model));
  DumpFilter filter(flags, "values");
  for (const TracedValue& value : trace.values) filter.Keeps(value.name);
  RENGA_RETURN_IF_ERROR(filter.CheckFound());
  const KeepValue keep = [&flags](const TracedValue& value) { return flags.Keeps(value.name); };
  return flags.json ? JsonText(TraceJson(trace, keep)) : TraceText(trace, keep);
}

}  // namespace renga
