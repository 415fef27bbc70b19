#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "ir/base/status.h"
#include "ir/text/parse.h"
#include "runtime/exec/cpu_runner.h"
#include "runtime/exec/cuda_runner.h"
#include "runtime/exec/sequence_forward.h"
#include "runtime/plan/serialize.h"
#include "tools/bisect/knobs.h"
#include "tools/cuda_device.h"
#include "tools/interpreted_steps.h"
#include "tools/step_memory.h"

namespace renga {
namespace {

// A plan some of whose steps the interpreter computes in the device's place.
class MixedForward final : public SequenceForward {
 public:
  MixedForward(std::unique_ptr<StepRunner> runner, std::unique_ptr<InterpretedSteps> steps,
               std::set<int> interpreted)
      : SequenceForward(std::move(runner)),
        steps_(std::move(steps)),
        interpreted_(std::move(interpreted)) {}

  absl::StatusOr<bool> Before(int step) const {
    if (!interpreted_.contains(step)) return false;
    RENGA_RETURN_IF_ERROR(steps_->Compute(step));
    return true;
  }

 private:
  const std::unique_ptr<InterpretedSteps> steps_;
  const std::set<int> interpreted_;
};

struct Mixing {
  OpenedPlan plan;
  std::string device;  // "cpu", "cuda:1"
  std::shared_ptr<const Graph> good;
  std::set<int> interpreted;
  int threads = 1;
};

// `executor` is the runner's, and outlives the result with it.
template <typename Memory, typename ExecutorType>
absl::StatusOr<std::unique_ptr<MixedForward>> Mix(const Mixing& mixing,
                                                  std::unique_ptr<StepRunner> runner,
                                                  ExecutorType& executor) {
  RENGA_ASSIGN_OR_RETURN(std::unique_ptr<InterpretedSteps> steps,
                         InterpretedSteps::Create(mixing.plan, std::make_shared<Memory>(executor),
                                                  mixing.good, mixing.threads));
  return std::make_unique<MixedForward>(std::move(runner), std::move(steps), mixing.interpreted);
}

StepHooks HooksOf(const MixedForward* mixed) {
  return {.before = [mixed](int step) { return mixed->Before(step); }, .after = nullptr};
}

absl::StatusOr<std::unique_ptr<Forward>> OpenMixed(const Mixing& mixing) {
  if (mixing.plan.plan->gpu.targets.empty()) {
    ExecutorOptions options;
    options.threads = mixing.threads;
    options.plan_path = mixing.plan.path;
    RENGA_ASSIGN_OR_RETURN(std::unique_ptr<CpuRunner> runner,
                           CpuRunner::Create(mixing.plan.plan, options));
    Executor& executor = runner->executor();
    RENGA_ASSIGN_OR_RETURN(auto mixed, Mix<CpuMemory>(mixing, std::move(runner), executor));
    executor.SetHooks(HooksOf(mixed.get()));
    return std::unique_ptr<Forward>(std::move(mixed));
  }
  RENGA_ASSIGN_OR_RETURN(const int ordinal, CudaOrdinal(mixing.device));
  RENGA_ASSIGN_OR_RETURN(const CudaDevice device, OpenCuda(ordinal));
  CudaOptions options;
  options.threads = mixing.threads;
  options.plan_path = mixing.plan.path;
  options.check_steps = true;
  RENGA_ASSIGN_OR_RETURN(
      std::unique_ptr<CudaRunner> runner,
      CudaRunner::Create(mixing.plan.plan, device.context, options, device.name));
  CudaExecutor& executor = runner->executor();
  RENGA_ASSIGN_OR_RETURN(auto mixed, Mix<CudaMemory>(mixing, std::move(runner), executor));
  RENGA_RETURN_IF_ERROR(executor.SetHooks(HooksOf(mixed.get())));
  return std::unique_ptr<Forward>(std::move(mixed));
}

// Whether every value that the node reads and gives is one of `graph`, of the same type.
bool HasTheSame(const Graph& graph, const Graph& own, const Node& node) {
  for (const std::vector<ValueId>& ids : {node.operands, node.results}) {
    for (const ValueId id : ids) {
      if (id == kNoValue) continue;
      const Value& value = own.value(id);
      const ValueId same = graph.FindValue(value.name, value.kind == ValueKind::kWeight);
      if (same == kNoValue || !(graph.value(same).type == value.type)) return false;
    }
  }
  return true;
}

class Steps final : public Knobs {
 public:
  Steps(OpenedPlan plan, std::string device, std::string good_ir, int threads)
      : plan_(std::move(plan)),
        device_(std::move(device)),
        good_ir_(std::move(good_ir)),
        threads_(threads) {}

  absl::Status Prepare() {
    RENGA_ASSIGN_OR_RETURN(Graph good, Parse(good_ir_, "the good graph"));
    RemovePacking(good);
    RENGA_ASSIGN_OR_RETURN(Graph own, Parse(plan_.plan->ir, "the plan's graph"));
    RemovePacking(own);
    std::map<std::string_view, const Node*> nodes;
    for (const Node& node : own.nodes) nodes[NodeName(own, node)] = &node;
    for (const plan::Step& step : plan_.plan->steps) {
      items_.push_back(step.name);
      const auto node = nodes.find(step.name);
      if (node == nodes.end() || !HasTheSame(good, own, *node->second))
        others_.push_back(step.name);
    }
    good_ = std::make_shared<const Graph>(std::move(good));
    plan::Plan bare = *plan_.plan;
    bare.passes.clear();
    RENGA_ASSIGN_OR_RETURN(const std::string bytes, plan::Serialize(bare));
    digest_ = DigestOf(StrCat(bytes, good_ir_));
    return absl::OkStatus();
  }

  absl::StatusOr<Mixture> Mix(const Subset& bad) override {
    std::set<int> interpreted;
    for (size_t i = 0; i < items_.size(); ++i) interpreted.insert(static_cast<int>(i));
    for (const int i : bad) interpreted.erase(i);
    Mixture mixture;
    mixture.plan = plan_.plan;
    mixture.plan_path = plan_.path;
    mixture.digest = DigestOf(StrCat(digest_.ToHex(), " ", StrJoin(bad, ",")));
    mixture.open = [this, interpreted = std::move(interpreted)] {
      return OpenMixed({plan_, device_, good_, interpreted, threads_});
    };
    return mixture;
  }

  CulpritNodes NodesOf(const Subset& culprit, const plan::Plan&) const override {
    CulpritNodes found;
    for (const int i : culprit) found.nodes.push_back(items_[static_cast<size_t>(i)]);
    found.good_ir = good_ir_;
    return found;
  }

  std::string note() const override {
    if (others_.empty()) return "";
    const size_t shown = std::min<size_t>(others_.size(), 4);
    return StrCat("of ", items_.size(), " steps ", others_.size(),
                  " read or give what the good graph does not have (",
                  StrJoin(absl::MakeConstSpan(others_).first(shown), ", "),
                  others_.size() > shown ? ", ..." : "",
                  "): their kernels are held against the bad plan's own graph");
  }

 private:
  const OpenedPlan plan_;
  const std::string device_;
  const std::string good_ir_;
  const int threads_;
  std::shared_ptr<const Graph> good_;
  std::vector<std::string> others_;  // steps that good_ cannot compute
  Digest digest_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Knobs>> StepKnobs(const OpenedPlan& plan, const std::string& device,
                                                 std::string good_ir, int threads) {
  auto knobs = std::make_unique<Steps>(plan, device, std::move(good_ir), threads);
  RENGA_RETURN_IF_ERROR(knobs->Prepare());
  return knobs;
}

}  // namespace renga
