#include "tools/repro/captured_node.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <utility>

#include "ir/base/status.h"
#include "ir/text/parse.h"
#include "ir/trace/value_error.h"
#include "ir/trace/verify.h"
#include "runtime/exec/cpu_runner.h"
#include "runtime/exec/sequence_forward.h"
#include "tools/file_weights.h"

namespace renga {
namespace {

// Largest share of what is allowed.
double ShareOf(const CapturedNode& node) {
  double share = 0;
  for (size_t i = 0; i < node.errors.size(); ++i) {
    share = std::max(share, node.errors[i] / node.tolerances[i]);
  }
  return share;
}

class Capturer {
 public:
  Capturer(const CaptureOptions& options, const StepValues& values, const Graph& good,
           std::shared_ptr<const PlanWeights> weights)
      : options_(options), values_(values), good_(good), weights_(std::move(weights)) {
    const std::vector<plan::Step>& steps = values.plan().steps;
    for (size_t i = 0; i < steps.size(); ++i) {
      const Node* const node = values.NodeOf(static_cast<int>(i));
      if (node == nullptr) continue;
      for (const ValueId id : node->results) {
        if (Wants(values.graph().value(id).name) || Wants(steps[i].name)) {
          wanted_[static_cast<int>(i)];
        }
      }
    }
  }

  absl::Status After(int step) {
    const auto wanted = wanted_.find(step);
    if (wanted == wanted_.end() || (wanted->second && wanted->second->wrong())) {
      return absl::OkStatus();
    }
    RENGA_ASSIGN_OR_RETURN(CapturedNode node,
                           CaptureStep(values_, good_, step, weights_, options_.threads));
    if (!wanted->second || node.wrong() || ShareOf(node) > ShareOf(*wanted->second)) {
      wanted->second = std::move(node);
    }
    return absl::OkStatus();
  }

  bool Done() const {
    return std::all_of(wanted_.begin(), wanted_.end(),
                       [](const auto& entry) { return entry.second && entry.second->wrong(); });
  }

  std::vector<CapturedNode> Take() {
    std::vector<CapturedNode> nodes;
    for (auto& [step, node] : wanted_) {
      if (node) nodes.push_back(*std::move(node));
    }
    return nodes;
  }

 private:
  bool Wants(std::string_view name) const {
    return std::find(options_.nodes.begin(), options_.nodes.end(), name) != options_.nodes.end();
  }

  const CaptureOptions& options_;
  const StepValues& values_;
  const Graph& good_;
  const std::shared_ptr<const PlanWeights> weights_;
  std::map<int, std::optional<CapturedNode>> wanted_;  // by step
};

// The prompt, then greedily on.
absl::Status RunThrough(Forward& forward, const CaptureOptions& options, const Capturer& capturer) {
  std::vector<int32_t> next = options.ids;
  std::vector<float> logits;
  for (int64_t made = 0; !capturer.Done();) {
    const size_t most = static_cast<size_t>(forward.max_step_tokens());
    for (size_t begin = 0; begin < next.size(); begin += most) {
      if (options.cancel != nullptr && *options.cancel) return absl::CancelledError("interrupted");
      const auto piece = absl::MakeConstSpan(next).subspan(begin, most);
      RENGA_RETURN_IF_ERROR(forward.Run(piece, {static_cast<int32_t>(piece.size()) - 1}, &logits));
    }
    if (++made >= options.tokens || forward.position() >= forward.context()) break;
    const auto best = std::max_element(logits.begin(), logits.end());
    next = {static_cast<int32_t>(best - logits.begin())};
  }
  return absl::OkStatus();
}

}  // namespace

double RelativeError(const HostTensor& expected, const HostTensor& got) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (expected.shape != got.shape || expected.f.size() != got.f.size()) return kInfinity;
  if (!expected.i.empty()) return expected.i == got.i ? 0 : kInfinity;
  double error = 0, size = 0;
  for (size_t k = 0; k < expected.f.size(); ++k) {
    const double a = expected.f[k], b = got.f[k];
    if (a == b || (std::isnan(a) && std::isnan(b))) {
      if (std::isfinite(a)) size += a * a;
      continue;
    }
    if (!std::isfinite(a) || !std::isfinite(b)) return kInfinity;
    error += (a - b) * (a - b);
    size += a * a;
  }
  if (error == 0) return 0;
  return size == 0 ? kInfinity : std::sqrt(error / size);
}

absl::StatusOr<std::shared_ptr<const PlanWeights>> PlanWeights::Open(
    std::shared_ptr<const plan::Plan> plan, const std::string& plan_path, int threads) {
  auto self = std::make_shared<PlanWeights>();
  WeightOptions options;
  options.plan_path = plan_path;
  options.threads = threads;
  options.packed = false;
  RENGA_ASSIGN_OR_RETURN(self->store_, WeightStore::Open(*plan, options));
  self->plan_ = std::move(plan);
  return std::shared_ptr<const PlanWeights>(std::move(self));
}

WeightBytes PlanWeights::bytes() const { return FileWeights(*plan_, store_); }

bool CapturedNode::wrong() const {
  for (size_t i = 0; i < errors.size(); ++i) {
    if (!(errors[i] <= tolerances[i])) return true;
  }
  return false;
}

bool CapturedNode::graph_is_right() const {
  for (size_t i = 0; i < expected.size(); ++i) {
    if (!(RelativeError(expected[i], as_written[i]) <= tolerances[i])) return false;
  }
  return true;
}

double ToleranceOf(const plan::Plan& plan, DType type) {
  const bool gpu = !plan.gpu.targets.empty();
  // Numbers kept in steps: some are moved by one.
  if (type == DType::kQ8_0) return gpu ? 0.01 : 0.005;
  if (type == DType::kQ4_0) return 0.02;
  const double node = gpu ? kHalfNodeTolerance : kNodeTolerance;
  // A step is an eighth of a number or less, and moves as many numbers as an error is parts of it.
  if (type == DType::kF8_E4M3) return std::sqrt(node / 8);
  return std::max(node, Roundoff(type));
}

absl::StatusOr<CapturedNode> CaptureStep(const StepValues& values, const Graph& good, int step,
                                         std::shared_ptr<const PlanWeights> weights, int threads) {
  const plan::Step& of = values.plan().steps[static_cast<size_t>(step)];
  CapturedNode node;
  node.name = of.name;
  node.device = values.plan().target;
  node.weights = std::move(weights);
  RENGA_ASSIGN_OR_RETURN(node.own, values.CutOutStep(values.graph(), step));
  node.op = std::string(values.NodeOf(step)->op->name);
  absl::StatusOr<NodeCase> part = values.CutOutStep(good, step);
  node.part = part.ok() ? *std::move(part) : node.own;
  const WeightBytes bytes = node.weights->bytes();
  RENGA_ASSIGN_OR_RETURN(node.expected, Evaluate(node.part, bytes, threads));
  RENGA_ASSIGN_OR_RETURN(node.as_written, Evaluate(node.own, bytes, threads));
  node.expected.resize(of.outputs.size());
  node.as_written.resize(of.outputs.size());
  for (size_t i = 0; i < of.outputs.size(); ++i) {
    RENGA_ASSIGN_OR_RETURN(node.got.emplace_back(), values.Read(of.outputs[i]));
    node.errors.push_back(RelativeError(node.expected[i], node.got[i]));
    node.tolerances.push_back(ToleranceOf(values.plan(), node.expected[i].dtype));
  }
  return node;
}

absl::StatusOr<std::vector<CapturedNode>> CaptureNodes(
    const std::shared_ptr<const plan::Plan>& plan, const std::string& plan_path,
    const CaptureOptions& options) {
  ExecutorOptions executor_options;
  executor_options.threads = options.threads;
  executor_options.plan_path = plan_path;
  RENGA_ASSIGN_OR_RETURN(std::unique_ptr<CpuRunner> runner,
                         CpuRunner::Create(plan, executor_options));
  Executor& executor = runner->executor();
  RENGA_ASSIGN_OR_RETURN(const auto weights, PlanWeights::Open(plan, plan_path, options.threads));
  RENGA_ASSIGN_OR_RETURN(const StepValues values,
                         StepValues::Create(std::make_shared<CpuMemory>(executor)));
  Graph good = values.graph();
  if (!options.good_ir.empty()) {
    RENGA_ASSIGN_OR_RETURN(good, Parse(options.good_ir, "the good graph"));
    RemovePacking(good);
  }
  Capturer capturer(options, values, good, weights);
  if (capturer.Done()) return std::vector<CapturedNode>();  // none is a step
  executor.SetHooks({.after = [&capturer](int step) { return capturer.After(step); }});
  SequenceForward forward(std::move(runner));
  RENGA_RETURN_IF_ERROR(RunThrough(forward, options, capturer));
  return capturer.Take();
}

}  // namespace renga
