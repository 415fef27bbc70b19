// diff --time: which side is faster, and in which steps?
#include <map>
#include <utility>

#include "absl/strings/str_format.h"
#include "ir/base/status.h"
#include "tools/compare/time_plans.h"
#include "tools/renga/diff.h"
#include "tools/renga/interrupt.h"

namespace renga {
namespace {

absl::StatusOr<OpenedPlan> PlanOfFile(const DiffFlags& flags, const std::string& path,
                                      FileKind kind) {
  if (kind == FileKind::kIr) {
    return absl::InvalidArgumentError(
        StrCat("--time: ", path, " is a graph without weights; name a GGUF or a plan"));
  }
  ModelFlags model = flags.options;
  model.model = path;
  RENGA_ASSIGN_OR_RETURN(const OpenOptions options, model.Options());
  return OpenPlan(path, options);
}

// Microseconds of a plan's steps by the graph node they compute, summed up by match.
void AddTimes(const plan::Plan& plan, const std::vector<double>& step_us, const Graph& graph,
              const std::vector<int>& match_of, std::map<int, MatchTime>* times,
              double MatchTime::*side) {
  std::map<std::string_view, int> nodes;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    nodes[NodeName(graph, graph.nodes[i])] = static_cast<int>(i);
  }
  for (size_t i = 0; i < plan.steps.size() && i < step_us.size(); ++i) {
    const auto node = nodes.find(plan.steps[i].name);
    if (node == nodes.end()) continue;
    const int match = match_of[node->second];
    MatchTime& time = (*times)[match];
    time.match = match;
    time.*side += step_us[i];
  }
}

Json SideJson(double a, double b, double speedup) {
  return {{"a_ms", a}, {"b_ms", b}, {"speedup", speedup}};
}

}  // namespace

absl::Status AddTime(const DiffFlags& flags, FileKind a, FileKind b, DiffAnswer* answer) {
  RENGA_ASSIGN_OR_RETURN(const OpenedPlan plan_a, PlanOfFile(flags, flags.a, a));
  RENGA_ASSIGN_OR_RETURN(const OpenedPlan plan_b, PlanOfFile(flags, flags.b, b));
  InterruptScope interrupt;
  TimePlansOptions options;
  options.threads = flags.options.threads;
  options.cancel = &interrupt.flag();
  RENGA_ASSIGN_OR_RETURN(const TimeReport report, TimePlans(plan_a, plan_b, options));
  answer->text += absl::StrFormat(
      "time    cpu, %d threads, medians of %d rounds in turns\n"
      "  prefill of %d tokens  %.2f -> %.2f ms  %.2f x the speed\n"
      "  decode of a token  %.2f -> %.2f ms  %.2f x the speed\n",
      report.threads, report.rounds, report.prefill, report.a.prefill_ms, report.b.prefill_ms,
      report.prefill_speedup, report.a.decode_ms, report.b.decode_ms, report.decode_speedup);
  Json time = {
      {"threads", report.threads}, {"rounds", report.rounds}, {"prefill_tokens", report.prefill}};
  time["prefill"] = SideJson(report.a.prefill_ms, report.b.prefill_ms, report.prefill_speedup);
  time["decode"] = SideJson(report.a.decode_ms, report.b.decode_ms, report.decode_speedup);
  answer->json["time"] = std::move(time);
  std::map<int, MatchTime> times;
  GraphComparison& graphs = *answer->graphs;
  AddTimes(*plan_a.plan, report.a.prefill_step_us, graphs.a, graphs.diff.match_of_a, &times,
           &MatchTime::a_us);
  AddTimes(*plan_b.plan, report.b.prefill_step_us, graphs.b, graphs.diff.match_of_b, &times,
           &MatchTime::b_us);
  for (const auto& [match, entry] : times) graphs.times.push_back(entry);
  return absl::OkStatus();
}

}  // namespace renga
