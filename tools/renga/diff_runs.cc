// diff of two traces, and of a trace with a log of llama.cpp.
#include "ir/base/status.h"
#include "ir/trace/compare.h"
#include "ir/trace/compare_log.h"
#include "tools/renga/compare_json.h"
#include "tools/renga/diff.h"

namespace renga {
namespace {

constexpr int64_t kSniffedBytes = 1 << 16;

// A model's own messages come before its first tensor; a safetensors or GGUF file has no such line.
bool BeginsAsBinary(std::string_view text) {
  return text.starts_with("GGUF") || text.find('\0') < 64;
}

}  // namespace

bool IsLlamaLog(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadLogText(path, kSniffedBytes);
  return text.ok() && !BeginsAsBinary(*text) && LooksLikeLlamaLog(*text);
}

absl::StatusOr<DiffAnswer> DiffTraceFiles(const DiffFlags& flags) {
  RENGA_ASSIGN_OR_RETURN(const Trace a, ReadTrace(flags.a));
  RENGA_ASSIGN_OR_RETURN(const Trace b, ReadTrace(flags.b));
  CompareTracesOptions options;
  options.rtol = flags.rtol;
  RENGA_ASSIGN_OR_RETURN(const TraceComparison comparison, CompareTraces(a, b, options));
  DiffAnswer answer;
  answer.equal = comparison.equal();
  answer.text = TraceComparisonText(comparison);
  answer.json = ComparisonJson(comparison);
  answer.json["kind"] = "trace";
  return answer;
}

absl::StatusOr<DiffAnswer> DiffTraceWithLog(const std::string& trace_path,
                                            const std::string& log_path) {
  RENGA_ASSIGN_OR_RETURN(const FileKind kind, SniffFile(trace_path));
  if (kind != FileKind::kTrace) {
    return absl::InvalidArgumentError(StrCat(
        log_path, " is a log of llama.cpp: expected a trace to compare it with, got ", trace_path,
        "; `renga trace MODEL -p TEXT -o X.trace` makes one of the same prompt"));
  }
  RENGA_ASSIGN_OR_RETURN(const Trace trace, ReadTrace(trace_path));
  RENGA_ASSIGN_OR_RETURN(const LlamaLog log, ReadLlamaLog(log_path));
  RENGA_ASSIGN_OR_RETURN(const LogComparison comparison, CompareWithLog(trace, log));
  DiffAnswer answer;
  answer.equal = comparison.equal();
  answer.text = LogComparisonText(comparison);
  answer.json = LogComparisonJson(comparison);
  answer.json["kind"] = "log";
  answer.json["a"] = trace_path;  // as in nodes[], whichever was named first
  answer.json["b"] = log_path;
  return answer;
}

}  // namespace renga
