// A run of ours against a log of llama.cpp's run of the same model and tokens: every number that
// the log holds of a tensor that we have too, and the tensor's sum.
//
// A number x of ours agrees with v of the log where
//   |x - v| <= print + rtol * (|x| + rms)          rms: of the whole value
// print is half of the last printed digit, 5e-5. rtol is what two right computations in f32 differ
// by, or what an element type narrower than f32 rounds off (LogTolerance). A sum agrees within
// print (5e-7 there) + (rtol + 2^-24 sqrt(n)) * sum of |x|: the log adds n numbers up in f32.
//
// The log's caches are f32. Where ours are narrower, their rounding goes on through everything that
// comes after, and by how much depends on the model: the scores of keys whose biases reach -34 are
// sums of thousands that cancel. So a tensor beyond its tolerance disagrees only if its error is
// also more than the errors of its inputs explain, by the rule of error_sources.h over the log's
// own graph. The size of an error is the larger of two relative ones: that of the printed numbers
// (less print), and that of the sum. Of the latter an output must answer for what it is if all
// elements err to one side, |difference| / sum of |x|; as an input it may have what it is if they
// err independently, |difference| / (rms sqrt(n)), since the numbers that are not printed count
// there too.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "ir/trace/llama_log.h"
#include "ir/trace/llama_names.h"
#include "ir/trace/trace.h"

namespace renga {

struct ComparedTensor {
  std::string name;   // the log's
  std::string op;     // the log's: "ROPE"
  int line = 0;       // of the log
  std::string value;  // ours, without sigil
  std::string how;    // what makes ours the log's: "before its scale"; empty: nothing
  int layer = -1;
  int64_t numbers = 0;  // compared
  double worst = 0;     // largest error, in tolerances: above 1 disagrees
  double error = 0;     // |ours - log| there
  double ours = 0, logged = 0;
  std::string at;        // "token 1, head 9, dim 12" in our value
  double sum_worst = 0;  // of the sum, in tolerances; 0 where it was not compared
  double our_sum = 0, logged_sum = 0;
  std::string observation;  // "token 0 equal"
  double rms = 0;           // of ours
  double relative = 0;      // size of the error as an output's, see above
  double carried = 0;       // and as an input's
  double input_error = 0;   // what the errors of its inputs come to
  bool explained = false;   // by kAmplification times that

  bool within() const { return worst <= 1 && sum_worst <= 1; }
  bool agrees() const { return within() || explained; }
};

struct UnmatchedTensor {
  std::string name, op;
  int line = 0;
  std::string why;  // "cut short", "no value of ours has this role"
};

struct LogComparison {
  TraceRun run;
  std::vector<ComparedTensor> tensors;  // in the log's order
  std::vector<UnmatchedTensor> unmatched;
  std::vector<int> disagree;  // indices into tensors; the first is the verdict
  int worst = -1;             // index into tensors, by ComparedTensor::worst, of those within
  int worst_explained = -1;   // the same of those that are not, but explained
  int explained = 0;          // tensors beyond their tolerance that follow from narrower caches
  bool cut_short = false;     // the log ends before its run does

  double matched_share() const {
    const double all = static_cast<double>(tensors.size() + unmatched.size());
    return all > 0 ? static_cast<double>(tensors.size()) / all : 0;
  }
  bool equal() const { return !tensors.empty() && disagree.empty(); }
};

// The rtol above for a value of `type` that `device` computed.
double LogTolerance(std::string_view device, DType type);

// InvalidArgument for a log of another prompt (token count, or rows of the embedding) or of another
// model (layers, sizes), and for a trace without its graph.
absl::StatusOr<LogComparison> CompareWithLog(const Trace& trace, const LlamaLog& log);

// Counts, the first tensors that disagree, what was not matched, then the verdict.
std::string LogComparisonText(const LogComparison& comparison);

// One line, no break: "first disagreement: Qcur-0 (ROPE, line 94) is %0.q ...", or "all 1,234
// matched tensors agree ...".
std::string VerdictText(const LogComparison& comparison);

}  // namespace renga
