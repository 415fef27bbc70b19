#include "tools/trace_model.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
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
#include "runtime/memory/kv_pages.h"
#include "runtime/plan/layout.h"
#include "tools/cuda_device.h"
#include "tools/file_weights.h"
#include "tools/step_devices.h"
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

absl::StatusOr<std::unique_ptr<StepDevice>> OpenDevice(const OpenedPlan& opened,
                                                       const std::optional<CudaDevice>& cuda,
                                                       int threads) {
  if (cuda) {
    RENGA_ASSIGN_OR_RETURN(OpenedCudaDevice found, OpenCudaSteps(opened, *cuda, threads));
    if (!found.differences.empty()) return found.differences[0].wrong;
    return std::move(found.device);
  }
  ExecutorOptions options;
  options.threads = threads;
  options.plan_path = opened.path;
  return OpenCpuDevice(opened, options);
}

absl::StatusOr<Trace> TraceOnDevice(StepDevice& device, const Graph& graph,
                                    const TraceModelOptions& options) {
  const plan::Plan& plan = device.memory().plan();
  KvPages pages(plan);
  RENGA_ASSIGN_OR_RETURN(const int sequence, pages.NewSequence());
  const int64_t tokens = static_cast<int64_t>(options.ids.size());
  std::vector<int32_t> cells, positions(tokens), sequences(tokens, 0);
  RENGA_RETURN_IF_ERROR(pages.Append(sequence, tokens, &cells));
  std::iota(positions.begin(), positions.end(), 0);
  StepInputs inputs;
  inputs.tokens = options.ids;
  inputs.positions = positions;
  const std::vector<int32_t> rows =
      RowsAsked(tokens, options.positions, plan::SymbolMax(plan, "R", tokens));
  inputs.rows = rows;
  inputs.sequences = sequences;
  inputs.cells = absl::MakeConstSpan(cells).first(options.ids.size());
  inputs.pages = pages.pages(sequence);
  const std::vector<WindowInputs> windows = WindowsOf(pages, sequence, options.ids.size(), cells);
  inputs.windows = windows;
  Trace trace;
  trace.run = RunOf(plan, options);
  trace.run.device = std::string(device.name());
  ValueRecorder recorder(device.memory(), graph, tokens, options.keep, options.cancel, &trace);
  RENGA_RETURN_IF_ERROR(device.Run(
      inputs, {.before = nullptr, .after = [&](int step) { return recorder.AfterStep(step); }}));
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
  OpenOptions open = options.open;
  std::optional<CudaDevice> cuda;
  if (device.rfind("cuda", 0) == 0) {
    RENGA_ASSIGN_OR_RETURN(const int ordinal, CudaOrdinal(device));
    RENGA_ASSIGN_OR_RETURN(cuda, OpenCuda(ordinal));
    open.compile.target = cuda->target;
  } else if (device != "auto" && device != "cpu" && device != "reference") {
    return absl::InvalidArgumentError(
        StrCat("--device: expected auto, cpu, cuda or reference, got ", device));
  }
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
  const bool for_gpus = !opened.plan->gpu.targets.empty();
  if (for_gpus && device == "auto") {
    absl::StatusOr<CudaDevice> first = OpenCuda(0);
    if (!first.ok()) {
      return absl::UnavailableError(StrCat(
          model, ": compiled for ", opened.plan->target, ", which needs such a GPU; ",
          Reason(first.status()), "; --device reference traces the plan's graph without one"));
    }
    cuda = *std::move(first);
  }
  if (device != "reference" && for_gpus != cuda.has_value()) {
    return absl::InvalidArgumentError(StrCat(model, ": compiled for ", opened.plan->target,
                                             "; trace it with --device ", for_gpus ? "cuda" : "cpu",
                                             " or --device reference"));
  }
  RENGA_ASSIGN_OR_RETURN(const Graph graph, Parse(opened.plan->ir, "the plan's graph"));
  const int threads = open.threads > 0
                          ? open.threads
                          : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  if (device == "reference") return TraceOnReference(opened, graph, threads, options);
  RENGA_ASSIGN_OR_RETURN(const std::unique_ptr<StepDevice> steps,
                         OpenDevice(opened, cuda, threads));
  return TraceOnDevice(*steps, graph, options);
}

}  // namespace renga
