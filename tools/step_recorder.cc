#include "tools/step_recorder.h"

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "ir/base/status.h"
#include "ir/text/parse.h"
#include "tools/cpu_recorder.h"

namespace renga {
namespace {

class CpuSteps final : public StepRecorder {
 public:
  CpuSteps(std::unique_ptr<Executor> executor, Graph graph, CpuStepOptions options)
      : executor_(std::move(executor)), graph_(std::move(graph)), options_(std::move(options)) {}

  const plan::Plan& plan() const override { return executor_->plan(); }
  const Graph& graph() const override { return graph_; }
  std::string_view device() const override { return "cpu"; }

  absl::Status Run(const StepInputs& inputs, int64_t cells, RecordedStep* record) override {
    if (record == nullptr) return executor_->Run(inputs);
    record->state = StateOf(plan(), graph_, inputs, cells);
    const std::vector<plan::Buffer>& buffers = plan().buffers;
    for (size_t i = 0; i < buffers.size(); ++i) {
      if (buffers[i].space != plan::Space::kCache || buffers[i].view_of >= 0) continue;
      const plan::Cache& cache = plan().caches[buffers[i].index];
      HostTensor& before = record->state.caches[cache.name];
      before.dtype = cache.dtype;
      before.shape = {cells, cache.heads, cache.head_dim};
      before.f = CellsOf(*executor_, static_cast<int>(i), cells);
    }
    record->trace.run = RunOfStep(plan(), inputs, device());
    CpuRecorder recorder(*executor_, graph_, cells, options_.keep, options_.cancel, &record->trace);
    RENGA_RETURN_IF_ERROR(
        executor_->Run(inputs, [&recorder](int step) { return recorder.AfterStep(step); }));
    recorder.SortValues();
    return absl::OkStatus();
  }

  absl::Status Forget() override {
    const KvArena& kv = executor_->kv();
    for (size_t i = 0; i < plan().caches.size(); ++i) {
      const uint64_t bytes = plan().caches[i].cell_bytes * static_cast<uint64_t>(kv.cells());
      std::memset(kv.cache(static_cast<int>(i)), 0, bytes);
    }
    return absl::OkStatus();
  }

 private:
  std::unique_ptr<Executor> executor_;
  const Graph graph_;
  const CpuStepOptions options_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<StepRecorder>> OpenCpuSteps(const OpenedPlan& opened,
                                                           const CpuStepOptions& options) {
  RENGA_ASSIGN_OR_RETURN(Graph graph, Parse(opened.plan->ir, "the plan's graph"));
  ExecutorOptions executor_options;
  executor_options.threads = options.threads;
  executor_options.plan_path = opened.path;
  executor_options.find_kernel = options.find_kernel;
  RENGA_ASSIGN_OR_RETURN(std::unique_ptr<Executor> executor,
                         Executor::Create(opened.plan, executor_options));
  return std::make_unique<CpuSteps>(std::move(executor), std::move(graph), options);
}

StepState StateOf(const plan::Plan& plan, const Graph& graph, const StepInputs& inputs,
                  int64_t cells) {
  StepState state;
  std::vector<int64_t> sizes(plan.symbols.size());
  BindSymbols(plan, inputs, &sizes);
  for (size_t i = 0; i < sizes.size(); ++i) state.symbols[plan.symbols[i].name] = sizes[i];
  state.symbols["C"] = cells;
  for (const ValueId id : graph.params) {
    const Value& value = graph.value(id);
    HostTensor& tensor = state.params[value.name];
    tensor.dtype = DType::kI32;
    for (const Dim& dim : value.type.shape) {
      tensor.shape.push_back(dim.is_symbol() ? state.symbols[dim.symbol] : dim.value);
    }
    const auto values = ValuesOf(inputs, value.name);
    tensor.i.assign(values.begin(), values.end());
  }
  return state;
}

TraceRun RunOfStep(const plan::Plan& plan, const StepInputs& inputs, std::string_view device) {
  TraceRun run;
  run.device = std::string(device);
  run.target = plan.target;
  run.producer = plan.producer;
  run.ids.assign(inputs.tokens.begin(), inputs.tokens.end());
  run.ir = plan.ir;
  return run;
}

}  // namespace renga
