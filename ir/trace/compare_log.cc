#include "ir/trace/compare_log.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_format.h"
#include "ir/base/status.h"
#include "ir/text/parse.h"
#include "ir/trace/compare.h"
#include "ir/trace/error_sources.h"
#include "ir/trace/log_values.h"
#include "ir/trace/value_error.h"

namespace renga {
namespace {

// Half of the last digit, and what the decimal itself rounds off.
constexpr double kPrint = 5.01e-5;
constexpr double kPrintSum = 5.01e-7;

// Tensors [begin, end) of one run: a log may hold a warm-up, or several batches.
struct LogRun {
  int begin = 0, end = 0;
  int64_t tokens = 0;
  int embedding = -1;  // the tensor that looks the tokens up
};

std::vector<LogRun> RunsOf(const LlamaLog& log) {
  std::vector<LogRun> runs;
  for (int i = 0; i < static_cast<int>(log.tensors.size()); ++i) {
    const LogTensor& tensor = log.tensors[i];
    const bool lookup = tensor.op == "GET_ROWS" && tensor.inputs.size() == 2 &&
                        tensor.inputs[0].name == "token_embd.weight";
    if (!lookup) continue;
    if (!runs.empty()) runs.back().end = i;
    runs.push_back({i, static_cast<int>(log.tensors.size()), tensor.ne[1], i});
  }
  return runs;
}

std::string CountsText(const std::vector<LogRun>& runs) {
  std::vector<int64_t> counts;
  for (const LogRun& run : runs) counts.push_back(run.tokens);
  return StrJoin(counts, ", ");
}

absl::StatusOr<LogRun> RunOfTokens(const LlamaLog& log, int64_t tokens) {
  const std::vector<LogRun> runs = RunsOf(log);
  if (runs.empty()) {
    return absl::InvalidArgumentError(
        "the log: expected GET_ROWS of token_embd.weight, with which a run begins, got none");
  }
  for (const LogRun& run : runs) {
    if (run.tokens == tokens) return run;
  }
  return absl::InvalidArgumentError(StrCat("the log is of another prompt: it runs ",
                                           CountsText(runs), " tokens, the trace ", tokens,
                                           "; trace the log's prompt"));
}

int LayersOf(const LlamaLog& log, const LogRun& run) {
  int layers = 0;
  for (int i = run.begin; i < run.end; ++i) {
    layers = std::max(layers, RoleOf(log.tensors[i].name).layer + 1);
  }
  return layers;
}

int LayersOf(const Trace& trace) {
  int layers = 0;
  for (const TracedValue& value : trace.values) layers = std::max(layers, LayerOf(value.name) + 1);
  return layers;
}

// What the elements beyond the tolerance leave out.
class Equal {
 public:
  Equal(const OurValues& ours) : rows_(ours.rows), channels_(ours.channels) {
    if (!ours.axes.empty()) axis_ = ours.axes[0];
  }
  void Mark(int64_t place, bool beyond) {
    (place / channels_ == 0 ? first_ : others_) |= beyond;
    first_seen_ |= place / channels_ == 0;
  }
  std::string Text() const {
    return first_seen_ && !first_ && others_ && rows_ > 1 ? StrCat(axis_, " 0 equal") : "";
  }

 private:
  int64_t rows_, channels_;
  std::string axis_ = "row";
  bool first_ = false, others_ = false, first_seen_ = false;
};

class TensorComparer {
 public:
  TensorComparer(const LogTensor& tensor, const LogMatch& match, const OurValues& ours,
                 const LogPlaces& places, double rtol)
      : tensor_(tensor), match_(match), ours_(ours), places_(places), rtol_(rtol) {
    double squares = 0;
    for (int64_t i = places.begin(); i < places.end(); ++i) {
      const double x = ours.numbers[i];
      if (!std::isfinite(x)) continue;
      squares += x * x;
      sum_ += x;
      sum_abs_ += std::abs(x);
    }
    const int64_t count = places.end() - places.begin();
    if (count > 0) rms_ = std::sqrt(squares / static_cast<double>(count));
    rms_ = std::max(rms_, ours_.rms_floor);
  }

  ComparedTensor Run() {
    result_.name = tensor_.name;
    result_.op = tensor_.op;
    result_.line = tensor_.line;
    result_.value = match_.value;
    result_.how = std::string(ToString(match_.derivation));
    result_.layer = LayerOf(match_.value);
    Equal equal(ours_);
    const bool differences = match_.derivation == LogDerivation::kUpToBias;
    const auto first_row = FirstRow();
    for (const LogNumber& number : tensor_.numbers) {
      const int64_t place = places_.Place(number.index);
      if (place == LogPlaces::kAbsent) continue;
      double ours = place == LogPlaces::kZero ? 0 : double{ours_.numbers[place]};
      double logged = number.value;
      double print = kPrint;
      if (differences) {
        const auto base = first_row.find(number.index % tensor_.ne[0]);
        if (place < ours_.channels || base == first_row.end()) continue;
        ours -= ours_.numbers[place % ours_.channels];
        logged -= base->second;
        print *= 2;
      }
      const double ratio = Take(ours, logged, print + rtol_ * (std::abs(ours) + rms_), place);
      const double beyond_print = std::max(0.0, std::abs(ours - logged) - print);
      squared_errors_ += beyond_print * beyond_print;
      if (place >= 0) equal.Mark(place, ratio > 1);
    }
    if (result_.numbers > 0) {
      CompareSum();
      result_.rms = rms_;
      const double squares = squared_errors_ / static_cast<double>(result_.numbers);
      const double printed = Ratio(std::sqrt(squares), rms_);
      result_.relative = std::max(result_.relative, printed);
      result_.carried = std::max(result_.carried, printed);
    }
    result_.observation = equal.Text();
    return std::move(result_);
  }

 private:
  // `error` over `size`, which is 0 where all numbers are.
  static double Ratio(double error, double size) {
    if (error == 0) return 0;
    return size > 0 ? error / size : std::numeric_limits<double>::infinity();
  }

  absl::flat_hash_map<int64_t, double> FirstRow() const {
    absl::flat_hash_map<int64_t, double> row;
    if (match_.derivation != LogDerivation::kUpToBias) return row;
    for (const LogNumber& number : tensor_.numbers) {
      if (places_.Place(number.index) < ours_.channels) row.emplace(number.index, number.value);
    }
    return row;
  }

  // The error in tolerances.
  double Take(double ours, double logged, double tolerance, int64_t place) {
    const double error = std::abs(ours - logged);
    double ratio = error / tolerance;
    if (!std::isfinite(ours) || !std::isfinite(logged)) {
      const bool same = ours == logged || (std::isnan(ours) && std::isnan(logged));
      ratio = same ? 0 : std::numeric_limits<double>::infinity();
    }
    if (result_.numbers++ == 0 || ratio > result_.worst) {
      result_.worst = ratio;
      result_.error = error;
      result_.ours = ours;
      result_.logged = logged;
      TracedValue value;
      value.shape = ours_.shape;
      value.axes = ours_.axes;
      result_.at = place >= 0 ? CoordinatesText(value, place) : "padding";
    }
    return ratio;
  }

  void CompareSum() {
    const bool all_rows = places_.covers_log();
    const bool comparable = match_.derivation != LogDerivation::kUpToBias && all_rows;
    if (!comparable || !tensor_.sum.has_value() || !std::isfinite(*tensor_.sum)) return;
    const double count = static_cast<double>(tensor_.elements());
    result_.our_sum = sum_;
    result_.logged_sum = *tensor_.sum;
    const double tolerance = kPrintSum + (rtol_ + 0x1p-24 * std::sqrt(count)) * sum_abs_;
    const double error = std::abs(sum_ - *tensor_.sum);
    result_.sum_worst = error / tolerance;
    const double rounding = kPrintSum + 0x1p-24 * std::sqrt(count) * sum_abs_;
    const double beyond = std::max(0.0, error - rounding);
    result_.relative = Ratio(beyond, sum_abs_);
    result_.carried = Ratio(beyond, rms_ * std::sqrt(count));
  }

  const LogTensor& tensor_;
  const LogMatch& match_;
  const OurValues& ours_;
  const LogPlaces& places_;
  const double rtol_;
  double rms_ = 0, sum_ = 0, sum_abs_ = 0, squared_errors_ = 0;
  ComparedTensor result_;
};

// Errors on their way through the log's graph. Tensors go by name; a name may be used again, and
// its readers mean the last one before them.
class LogErrors {
 public:
  // `cache_roundoff`: of the run's caches, for those that were not compared.
  explicit LogErrors(double cache_roundoff) : cache_roundoff_(cache_roundoff) {}

  // Fills in what the inputs explain. `roundoff`: of our value's type.
  void Judge(const LogTensor& tensor, double roundoff, ComparedTensor* compared) {
    for (const Error& input : Inputs(tensor)) {
      const double scale = compared->rms > 0 ? std::max(1.0, input.rms / compared->rms) : 1.0;
      compared->input_error = std::max(compared->input_error, input.relative * scale);
    }
    compared->explained =
        !compared->within() && compared->relative <= kAmplification * compared->input_error;
    // Of a tensor that only moves numbers, few of them may be printed: its input's say more.
    if (MovesOnly(tensor)) {
      compared->carried = std::max({compared->carried, compared->input_error, roundoff});
    }
    Keep(tensor, {{compared->carried, compared->rms}});
  }

  // Of a tensor that was not compared: its readers see its inputs.
  void Pass(const LogTensor& tensor) {
    std::vector<Error> errors = Inputs(tensor);
    if (tensor.op == "SET_ROWS") errors.push_back({cache_roundoff_, 0});
    Keep(tensor, std::move(errors));
  }

 private:
  struct Error {
    double relative = 0, rms = 0;
  };

  void Keep(const LogTensor& tensor, std::vector<Error> errors) {
    // What is written into a cache is read under the cache's own name.
    if (tensor.op == "SET_ROWS") latest_[tensor.name.substr(0, tensor.name.find(" ("))] = errors;
    latest_[tensor.name] = std::move(errors);
  }

  static bool MovesOnly(const LogTensor& tensor) {
    constexpr std::string_view kMovers[] = {"CONT",    "CPY",      "GET_ROWS",  "PERMUTE",
                                            "RESHAPE", "SET_ROWS", "TRANSPOSE", "VIEW"};
    return std::find(std::begin(kMovers), std::end(kMovers), tensor.op) != std::end(kMovers);
  }

  // The two that can explain most, as in FindErrorSources.
  std::vector<Error> Inputs(const LogTensor& tensor) const {
    Error by_relative, by_absolute;
    for (const LogInput& input : tensor.inputs) {
      const auto found = latest_.find(input.name);
      if (found == latest_.end()) continue;
      for (const Error& error : found->second) {
        if (error.relative > by_relative.relative) by_relative = error;
        if (error.relative * error.rms > by_absolute.relative * by_absolute.rms) {
          by_absolute = error;
        }
      }
    }
    return {by_relative, by_absolute};
  }

  const double cache_roundoff_;
  absl::flat_hash_map<std::string, std::vector<Error>> latest_;
};

// The embedding of every token is the same numbers in both, so it tells prompts and models apart.
absl::Status CheckEmbedding(const Trace& trace, const LogTensor& tensor) {
  LogMatch match;
  match.value = "embed";
  const TracedValue* embed = trace.Find(match.value);
  if (embed == nullptr || embed->shape.size() != 2 || embed->shape[0] < 1) {
    return absl::InvalidArgumentError(
        "the trace: expected %embed, which tells whether the log is of the same prompt, got none; "
        "trace without --nodes");
  }
  if (tensor.ne[0] != embed->shape[1]) {
    return absl::InvalidArgumentError(StrCat("the log is of another model: it is ", tensor.ne[0],
                                             " wide, the trace ", embed->shape[1]));
  }
  RENGA_ASSIGN_OR_RETURN(const OurValues ours, ValuesOf(trace, match));
  RENGA_ASSIGN_OR_RETURN(const LogPlaces places, LogPlaces::Create(tensor, match, ours));
  std::vector<bool> differs(ours.rows);
  int64_t first = -1;
  double logged = 0;
  for (const LogNumber& number : tensor.numbers) {
    const int64_t place = places.Place(number.index);
    if (place < 0) continue;
    const double x = ours.numbers[place];
    // Rows of the same weights; 1e-3 leaves room for a table that one side rounded.
    if (std::abs(x - number.value) <= kPrint + 1e-3 * std::abs(x)) continue;
    differs[place / ours.channels] = true;
    if (first < 0) {
      first = place;
      logged = number.value;
    }
  }
  const int64_t count = std::count(differs.begin(), differs.end(), true);
  if (count == 0) return absl::OkStatus();
  const std::string where = absl::StrFormat(
      "the embedding of token %d begins to differ at dim %d: %.4f in the log, %.4f in the trace",
      first / ours.channels, first % ours.channels, logged, ours.numbers[first]);
  if (count == ours.rows && ours.rows > 1) {
    return absl::InvalidArgumentError(
        StrCat("the log is of another model or prompt: no token has the same embedding; ", where));
  }
  return absl::InvalidArgumentError(StrCat("the log is of another prompt: ", count, " of ",
                                           ours.rows, " tokens have another embedding; ", where));
}

}  // namespace

double LogTolerance(std::string_view device, DType type) {
  // The log's sums are f32 in f32; with the interpreter's, which are double, every value of the
  // logs of tests/data/eval-callback agrees within 2e-5, a fifth of this. Two f32 computations
  // differ as DefaultTolerance says.
  return std::max({1e-4, DeviceTolerance(device), Roundoff(type)});
}

absl::StatusOr<LogComparison> CompareWithLog(const Trace& trace, const LlamaLog& log) {
  if (trace.run.ir.empty()) {
    return absl::InvalidArgumentError(
        "the trace: expected the graph that was run in its metadata, got none");
  }
  if (!trace.run.positions.empty()) {
    return absl::InvalidArgumentError(
        "the trace: expected all positions, since the log has sums over them, got some only; trace "
        "without --positions");
  }
  RENGA_ASSIGN_OR_RETURN(const Graph graph, Parse(trace.run.ir, "graph of the trace"));
  RENGA_ASSIGN_OR_RETURN(const LogRun run,
                         RunOfTokens(log, static_cast<int64_t>(trace.run.ids.size())));
  RENGA_RETURN_IF_ERROR(CheckEmbedding(trace, log.tensors[run.embedding]));
  const int log_layers = LayersOf(log, run), our_layers = LayersOf(trace);
  // The last tensor of a run, its logits, stands outside the layers.
  const bool last = run.end == static_cast<int>(log.tensors.size());
  const bool cut_short = last && (log.cut_short || RoleOf(log.tensors.back().name).layer >= 0);
  if (log_layers > our_layers || (!cut_short && log_layers != our_layers)) {
    return absl::InvalidArgumentError(StrCat("the log is of another model: it has ", log_layers,
                                             " layers, the trace ", our_layers));
  }

  LogComparison result;
  result.run = trace.run;
  result.cut_short = cut_short;
  const std::vector<LogMatch> matches = LineUpLog(trace, graph, log, run.begin, run.end);
  LogErrors errors(std::max(RoundoffOf(trace.run.k_type), RoundoffOf(trace.run.v_type)));
  size_t next = 0;
  for (int i = run.begin; i < run.end; ++i) {
    const LogTensor& tensor = log.tensors[i];
    const LogMatch* match =
        next < matches.size() && matches[next].tensor == i ? &matches[next++] : nullptr;
    const auto leave_out = [&](std::string_view why) {
      result.unmatched.push_back({tensor.name, tensor.op, tensor.line, std::string(why)});
    };
    if (!tensor.whole) {
      errors.Pass(tensor);
      leave_out(result.cut_short && i + 1 == run.end ? "cut short" : "damaged");
      continue;
    }
    if (match == nullptr) {
      errors.Pass(tensor);
      leave_out("no value of ours has this role");
      continue;
    }
    RENGA_ASSIGN_OR_RETURN(const OurValues ours, ValuesOf(trace, *match));
    const absl::StatusOr<LogPlaces> places = LogPlaces::Create(tensor, *match, ours);
    if (!places.ok()) {
      return absl::InvalidArgumentError(StrCat("the log is of another model: ", tensor.name,
                                               " (line ", tensor.line,
                                               "): ", places.status().message()));
    }
    const double rtol = LogTolerance(trace.run.device, trace.Find(match->value)->dtype);
    ComparedTensor compared = TensorComparer(tensor, *match, ours, *places, rtol).Run();
    errors.Judge(tensor, Roundoff(trace.Find(match->value)->dtype), &compared);
    if (compared.numbers == 0) {
      errors.Pass(tensor);
      leave_out("none of its rows was traced");
      continue;
    }
    const int index = static_cast<int>(result.tensors.size());
    if (!compared.agrees()) result.disagree.push_back(index);
    result.explained += compared.explained ? 1 : 0;
    if (compared.agrees()) {
      int& worst = compared.explained ? result.worst_explained : result.worst;
      if (worst < 0 || compared.worst > result.tensors[worst].worst) worst = index;
    }
    result.tensors.push_back(std::move(compared));
  }
  return result;
}

}  // namespace renga
