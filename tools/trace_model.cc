#include "tools/trace_model.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <numeric>
#include <set>
#include <thread>
#include <utility>

#include "ir/base/digest.h"
#include "ir/base/status.h"
#include "ir/text/parse.h"
#include "ir/trace/cache_types_text.h"
#include "ir/trace/run_params.h"
#include "ir/trace/trace_graph.h"
#include "runtime/exec/executor.h"
#include "runtime/exec/step_batch.h"
#include "runtime/plan/layout.h"
#include "tools/file_weights.h"
#include "tools/value_recorder.h"

namespace renga {
namespace {

std::string CacheTypes(const plan::Plan& plan, std::string_view suffix) {
  std::vector<DType> types;
  for (const plan::Cache& cache : plan.caches) {
    if (cache.name.ends_with(suffix)) types.push_back(cache.dtype);
  }
  return CacheTypesText(types);
}

TraceRun RunOf(const plan::Plan& plan, const TraceModelOptions& options) {
  TraceRun run;
  if (!plan.files.empty()) {
    run.model = std::filesystem::path(plan.files[0].path).filename().string();
  }
  run.model_digest = DigestOfWeights(plan);
  run.target = plan.target;
  run.producer = plan.producer;
  run.prompt = options.prompt;
  run.ids = options.ids;
  run.positions = options.positions;
  run.k_type = CacheTypes(plan, "k_cache");
  run.v_type = CacheTypes(plan, "v_cache");
  run.ir = plan.ir;
  return run;
}

absl::StatusOr<Trace> TraceOnReference(const OpenedPlan& opened, const Graph& graph, int threads,
                                       const TraceModelOptions& options) {
  const plan::Plan& plan = *opened.plan;
  WeightOptions weight_options;
  weight_options.plan_path = opened.path;
  weight_options.threads = threads;
  weight_options.packed = false;
  RENGA_ASSIGN_OR_RETURN(const WeightStore store, WeightStore::Open(plan, weight_options));
  TraceGraphOptions graph_options;
  graph_options.ids = options.ids;
  graph_options.positions = options.positions;
  graph_options.threads = threads;
  graph_options.keep = options.keep;
  graph_options.cancel = options.cancel;
  RENGA_ASSIGN_OR_RETURN(Trace trace, TraceGraph(graph, FileWeights(plan, store), graph_options));
  trace.run = RunOf(plan, options);
  trace.run.device = "reference";
  return trace;
}

absl::StatusOr<Trace> TraceOnCpu(const OpenedPlan& opened, const Graph& graph, int threads,
                                 const TraceModelOptions& options) {
  ExecutorOptions executor_options;
  executor_options.threads = threads;
  executor_options.plan_path = opened.path;
  RENGA_ASSIGN_OR_RETURN(const std::unique_ptr<Executor> executor,
                         Executor::Create(opened.plan, executor_options));
  KvArena& kv = executor->kv();
  RENGA_ASSIGN_OR_RETURN(const int sequence, kv.NewSequence());
  const int64_t tokens = static_cast<int64_t>(options.ids.size());
  std::vector<int32_t> cells, positions(tokens), sequences(tokens, 0);
  RENGA_RETURN_IF_ERROR(kv.Append(sequence, tokens, &cells));
  std::iota(positions.begin(), positions.end(), 0);
  StepInputs inputs;
  inputs.tokens = options.ids;
  inputs.positions = positions;
  const std::vector<int32_t> rows =
      RowsAsked(tokens, options.positions, plan::SymbolMax(*opened.plan, "R", tokens));
  inputs.rows = rows;
  inputs.sequences = sequences;
  inputs.cells = absl::MakeConstSpan(cells).first(options.ids.size());
  inputs.pages = kv.pages(sequence);
  const std::vector<WindowInputs> windows = WindowsOf(kv, sequence, options.ids.size(), cells);
  inputs.windows = windows;
  Trace trace;
  trace.run = RunOf(*opened.plan, options);
  trace.run.device = "cpu";
  const CpuMemory memory(*executor);
  ValueRecorder recorder(memory, graph, tokens, options.keep, options.cancel, &trace);
  RENGA_RETURN_IF_ERROR(
      executor->Run(inputs, [&recorder](int step) { return recorder.AfterStep(step); }));
  recorder.SortValues();
  return trace;
}

}  // namespace

std::string DigestOfWeights(const plan::Plan& plan) {
  std::set<std::string> lines;  // neither order nor layouts count
  for (const plan::Weight& weight : plan.weights) {
    lines.insert(StrCat(weight.source.name, " ", weight.digest.ToHex()));
  }
  return DigestOf(StrJoin(lines, "\n")).ToHex();
}

absl::StatusOr<Trace> TraceModel(const std::string& model, const TraceModelOptions& options) {
  const std::string& device = options.open.device;
  if (device.rfind("cuda", 0) == 0) {
    return absl::UnavailableError(
        StrCat("--device ", device,
               ": traces are of the cpu and the interpreter; verify looks at a GPU's values"));
  }
  if (device != "auto" && device != "cpu" && device != "reference") {
    return absl::InvalidArgumentError(
        StrCat("--device: expected auto, cpu, cuda or reference, got ", device));
  }
  OpenOptions open = options.open;
  const int64_t tokens = static_cast<int64_t>(options.ids.size());
  open.compile.max_step_tokens = std::max(MaxStepTokens(open.compile), tokens);
  open.compile.max_rows = open.compile.max_step_tokens;
  RENGA_ASSIGN_OR_RETURN(const OpenedPlan opened, OpenPlan(model, open));
  const plan::Geometry& geometry = opened.plan->geometry;
  if (tokens < 1 || tokens > geometry.context) {
    return absl::OutOfRangeError(StrCat("expected 1..", geometry.context,
                                        " tokens, which is the context, got ", tokens,
                                        "; shorten the prompt or compile for more with -c"));
  }
  if (tokens > geometry.max_step_tokens) {
    return absl::OutOfRangeError(StrCat("expected at most ", geometry.max_step_tokens,
                                        " tokens, which the plan takes in one step, got ", tokens,
                                        "; name the GGUF, or compile again with --max-step ",
                                        tokens));
  }
  for (const int32_t id : options.ids) {
    if (id < 0 || id >= opened.plan->model.vocab) {
      return absl::OutOfRangeError(
          StrCat("token id: expected 0..", opened.plan->model.vocab - 1, ", got ", id));
    }
  }
  RENGA_ASSIGN_OR_RETURN(const Graph graph, Parse(opened.plan->ir, "the plan's graph"));
  const int threads = open.threads > 0
                          ? open.threads
                          : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  return device == "reference" ? TraceOnReference(opened, graph, threads, options)
                               : TraceOnCpu(opened, graph, threads, options);
}

}  // namespace renga
