#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "ir/base/status.h"
#include "ir/text/parse.h"
#include "runtime/exec/cpu_runner.h"
#include "runtime/exec/sequence_forward.h"
#include "runtime/memory/weights.h"
#include "runtime/plan/serialize.h"
#include "tools/bisect/knobs.h"
#include "tools/file_weights.h"
#include "tools/step_values.h"

namespace renga {
namespace {

// A plan on the cpu some of whose steps the interpreter computes.
class MixedForward final : public SequenceForward {
 public:
  MixedForward(std::unique_ptr<CpuRunner> runner, WeightStore store, StepValues values,
               std::shared_ptr<const Graph> good, std::set<int> interpreted, int threads)
      : SequenceForward(std::move(runner)),
        store_(std::move(store)),
        values_(std::move(values)),
        good_(std::move(good)),
        interpreted_(std::move(interpreted)),
        threads_(threads) {}

  static absl::StatusOr<std::unique_ptr<Forward>> Open(const OpenedPlan& opened,
                                                       const std::shared_ptr<const Graph>& good,
                                                       const std::set<int>& interpreted,
                                                       int threads) {
    ExecutorOptions options;
    options.threads = threads;
    options.plan_path = opened.path;
    RENGA_ASSIGN_OR_RETURN(std::unique_ptr<CpuRunner> runner,
                           CpuRunner::Create(opened.plan, options));
    Executor& executor = runner->executor();
    WeightOptions weights;
    weights.plan_path = opened.path;
    weights.threads = threads;
    weights.packed = false;
    RENGA_ASSIGN_OR_RETURN(WeightStore store, WeightStore::Open(*opened.plan, weights));
    RENGA_ASSIGN_OR_RETURN(StepValues values, StepValues::Create(executor));
    auto self = std::make_unique<MixedForward>(std::move(runner), std::move(store),
                                               std::move(values), good, interpreted, threads);
    executor.SetHooks({.before = [mixed = self.get()](int step) { return mixed->Before(step); }});
    return std::unique_ptr<Forward>(std::move(self));
  }

 private:
  absl::StatusOr<bool> Before(int step) const {
    if (!interpreted_.contains(step)) return false;
    const plan::Plan& plan = runner().plan();
    absl::StatusOr<NodeCase> part = values_.CutOutStep(*good_, step);
    if (absl::IsInvalidArgument(part.status())) part = values_.CutOutStep(values_.graph(), step);
    RENGA_RETURN_IF_ERROR(part.status());
    RENGA_ASSIGN_OR_RETURN(const std::vector<HostTensor> results,
                           Evaluate(*part, FileWeights(plan, store_), threads_));
    const std::vector<int32_t>& outputs = plan.steps[static_cast<size_t>(step)].outputs;
    for (size_t i = 0; i < outputs.size(); ++i) {
      RENGA_RETURN_IF_ERROR(values_.Write(outputs[i], results[i]));
    }
    return true;
  }

  const WeightStore store_;
  const StepValues values_;
  const std::shared_ptr<const Graph> good_;
  const std::set<int> interpreted_;
  const int threads_;
};

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
  Steps(OpenedPlan plan, std::string good_ir, int threads)
      : plan_(std::move(plan)), good_ir_(std::move(good_ir)), threads_(threads) {}

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
      return MixedForward::Open(plan_, good_, interpreted, threads_);
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
  const std::string good_ir_;
  const int threads_;
  std::shared_ptr<const Graph> good_;
  std::vector<std::string> others_;  // steps that good_ cannot compute
  Digest digest_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Knobs>> StepKnobs(const OpenedPlan& plan, std::string good_ir,
                                                 int threads) {
  if (plan.plan->target != "cpu") {
    return absl::UnimplementedError(StrCat("expected a plan for the cpu, whose steps can be given ",
                                           "to the interpreter one by one, got one for ",
                                           plan.plan->target));
  }
  auto knobs = std::make_unique<Steps>(plan, std::move(good_ir), threads);
  RENGA_RETURN_IF_ERROR(knobs->Prepare());
  return knobs;
}

}  // namespace renga
