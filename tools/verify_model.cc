#include "tools/verify_model.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <thread>
#include <utility>

#include "absl/strings/str_split.h"
#include "frontend/gguf/gguf.h"
#include "frontend/models/model.h"
#include "ir/base/digest.h"
#include "ir/base/status.h"
#include "ir/text/parse.h"
#include "runtime/exec/sequence_forward.h"
#include "runtime/memory/weights.h"
#include "runtime/plan/serialize.h"
#include "tools/cuda_device.h"
#include "tools/file_weights.h"
#include "tools/reference_runner.h"
#include "tools/step_devices.h"
#include "tools/trace_model.h"
#include "tools/verify_log.h"
#include "tools/verify_steps.h"

namespace renga {
namespace {

// Of a plan made for the nodes' steps: beyond a page, and soon filled.
constexpr int64_t kContext = 96;

// In the log.
constexpr std::string_view kWhole = "the whole";

// Of log-softmax of rows of logits: the interpreter's in double.
std::vector<double> LogSoftmax(absl::Span<const float> logits) {
  const double most = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - most);
  const double all = most + std::log(sum);
  std::vector<double> log(logits.begin(), logits.end());
  for (double& x : log) x -= all;
  return log;
}

double Divergence(absl::Span<const float> p, absl::Span<const float> q) {
  const std::vector<double> p_log = LogSoftmax(p), q_log = LogSoftmax(q);
  double sum = 0;
  for (size_t i = 0; i < p_log.size(); ++i) sum += std::exp(p_log[i]) * (p_log[i] - q_log[i]);
  return std::isnan(sum) ? std::numeric_limits<double>::infinity() : std::max(0.0, sum);
}

// Logits at every token of `ids`, in steps of `step` tokens, given row by row.
using OnRow = std::function<void(int64_t position, absl::Span<const float> logits)>;
absl::Status RunText(Forward& forward, absl::Span<const int32_t> ids, int64_t step,
                     const std::atomic<bool>* cancel, const OnRow& on_row) {
  RENGA_RETURN_IF_ERROR(forward.Truncate(0));
  const size_t vocab = static_cast<size_t>(forward.vocab());
  std::vector<float> logits;
  for (size_t begin = 0; begin < ids.size();) {
    if (cancel != nullptr && *cancel) return absl::CancelledError("interrupted");
    const auto part = ids.subspan(begin, static_cast<size_t>(step));
    std::vector<int32_t> rows(part.size());
    std::iota(rows.begin(), rows.end(), 0);
    RENGA_RETURN_IF_ERROR(forward.Run(part, rows, &logits));
    for (size_t row = 0; row < rows.size(); ++row) {
      on_row(static_cast<int64_t>(begin + row),
             absl::MakeConstSpan(logits).subspan(row * vocab, vocab));
    }
    begin += part.size();
  }
  return absl::OkStatus();
}

bool AllFinite(absl::Span<const float> values) {
  return std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); });
}

Fidelity Summarise(std::string steps, std::vector<double> divergences, int64_t agreeing) {
  Fidelity fidelity;
  fidelity.steps = std::move(steps);
  fidelity.positions = static_cast<int64_t>(divergences.size());
  if (divergences.empty()) {
    fidelity.top1 = 1;
    return fidelity;
  }
  std::sort(divergences.begin(), divergences.end());
  const double count = static_cast<double>(divergences.size());
  fidelity.kl_mean = std::accumulate(divergences.begin(), divergences.end(), 0.0) / count;
  fidelity.kl_p99 = divergences[static_cast<size_t>(std::ceil(0.99 * count)) - 1];
  fidelity.kl_max = divergences.back();
  fidelity.top1 = static_cast<double>(agreeing) / count;
  return fidelity;
}

class ModelVerifier {
 public:
  ModelVerifier(const std::string& model, const VerifyModelOptions& options)
      : model_(model), options_(options) {}

  absl::StatusOr<VerifyReport> Run() {
    const absl::Status status = RunAll();
    if (absl::IsCancelled(status) && log_.kept()) {
      return absl::CancelledError(
          "interrupted; what was right is kept, and the same command goes on from there (--fresh "
          "starts over)");
    }
    RENGA_RETURN_IF_ERROR(status);
    log_.End();
    return std::move(report_);
  }

 private:
  absl::Status RunAll() {
    const auto start = std::chrono::steady_clock::now();
    if (options_.ids.size() < 2) {
      return absl::InvalidArgumentError(
          StrCat("expected two tokens or more, for at position 0 much cannot be seen, got ",
                 options_.ids.size()));
    }
    report_.ids = options_.ids;
    // Read first: what is wrong with it would else be told after minutes.
    std::optional<LlamaLog> log;
    if (!options_.log.empty()) {
      RENGA_ASSIGN_OR_RETURN(log, ReadLlamaLog(options_.log));
    }
    if (!options_.plan.empty()) RENGA_RETURN_IF_ERROR(OpenBeside());
    RENGA_RETURN_IF_ERROR(Whole());
    RENGA_RETURN_IF_ERROR(Nodes());
    if (log) RENGA_RETURN_IF_ERROR(Against(*log));
    report_.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return absl::OkStatus();
  }

  // All that what is found depends on.
  absl::Status OpenLog() {
    if (!options_.open.use_cache) return absl::OkStatus();
    plan::Plan bare = *ran_.plan;
    bare.passes.clear();  // they took other times before
    RENGA_ASSIGN_OR_RETURN(const std::string bytes, plan::Serialize(bare));
    const std::string subject =
        StrCat(report_.device, "\n", DigestOf(bytes).ToHex(), "\n",
               truth_ ? DigestOfWeights(*truth_->plan) : "", "\n", Describe(options_.open.compile),
               "\n", StrJoin(options_.ids, ","), "\n", StrJoin(options_.text_ids, ","), "\n",
               options_.nodes.rtol.value_or(0));
    RENGA_ASSIGN_OR_RETURN(log_, VerifyLog::Open(subject, options_.fresh));
    return absl::OkStatus();
  }

  OpenOptions ForAllRows(const OpenOptions& open, int64_t tokens) const {
    OpenOptions options = open;
    CompileOptions& compile = options.compile;
    if (!compile.max_rows) {
      compile.max_rows = std::min(MaxStepTokens(compile), std::max<int64_t>(tokens, 16));
    }
    return options;
  }

  // The plan and what it should be.
  absl::Status OpenBeside() {
    RENGA_ASSIGN_OR_RETURN(const bool is_plan, IsPlan(model_));
    if (is_plan) {
      return absl::InvalidArgumentError(StrCat(
          "--plan: expected MODEL to be the GGUF that it is to be held against, got the plan ",
          model_));
    }
    RENGA_ASSIGN_OR_RETURN(const bool plan, IsPlan(options_.plan));
    if (!plan) {
      return absl::InvalidArgumentError(
          StrCat("--plan: expected a plan, got ", options_.plan, ", which is none"));
    }
    RENGA_ASSIGN_OR_RETURN(const OpenedPlan opened, OpenPlan(options_.plan, options_.open));
    RENGA_ASSIGN_OR_RETURN(truth_, OpenTruth(model_, opened, Threads()));
    report_.weights = truth_->faults;
    return absl::OkStatus();
  }

  // What runs.
  const std::string& Subject() const { return options_.plan.empty() ? model_ : options_.plan; }

  absl::Status Against(const LlamaLog& log) {
    TraceModelOptions trace_options;
    trace_options.open = options_.open;
    trace_options.open.device = report_.device;
    trace_options.ids = options_.text_ids;
    trace_options.cancel = options_.nodes.cancel;
    RENGA_ASSIGN_OR_RETURN(const Trace trace, TraceModel(Subject(), trace_options));
    absl::StatusOr<LogComparison> comparison = CompareWithLog(trace, log);
    if (!comparison.ok()) {
      return Annotate(comparison.status(), StrCat("--against ", options_.log, ", a run of ",
                                                  trace.run.ids.size(), " tokens (-p or --ids)"));
    }
    report_.against = *std::move(comparison);
    return absl::OkStatus();
  }

  // First, for it says which device it is.
  absl::Status Whole() {
    absl::Span<const int32_t> text = options_.text_ids;
    RENGA_ASSIGN_OR_RETURN(
        OpenedModel device,
        OpenModel(Subject(), ForAllRows(options_.open, static_cast<int64_t>(text.size()))));
    report_.device = std::string(device.forward->device());
    ran_ = device.plan;
    RENGA_RETURN_IF_ERROR(OpenLog());
    text = text.first(std::min(text.size(), static_cast<size_t>(device.forward->context())));
    const int64_t tokens = static_cast<int64_t>(text.size());
    if (report_.device == "reference" || tokens == 0) return absl::OkStatus();
    // The graph as the frontend wrote it, so that a pass that changed its meaning shows; caches
    // have the same types. Where those are coarse, a pass decides what is rounded
    // (passes/simplify/key_bias_apart.h): then the plan's own graph.
    auto plain = std::make_shared<plan::Plan>(*device.plan.plan);
    const bool blocks = std::any_of(plain->caches.begin(), plain->caches.end(),
                                    [](const auto& c) { return IsCoarse(c.dtype); });
    if (!plain->source_ir.empty() && !blocks) plain->ir = plain->source_ir;
    std::shared_ptr<const plan::Plan> right = plain;
    std::shared_ptr<const WeightStore> store;
    if (truth_ && !blocks) {
      right = truth_->plan;
      store = truth_->store;
    } else {
      RENGA_ASSIGN_OR_RETURN(WeightStore own, FileBytes(device.plan));
      store = std::make_shared<const WeightStore>(std::move(own));
    }
    RENGA_ASSIGN_OR_RETURN(std::unique_ptr<StepRunner> runner,
                           OpenReference(right, store, Threads()));
    SequenceForward reference(std::move(runner));
    const int64_t most = std::min(reference.max_step_tokens(), reference.max_rows());
    std::vector<int64_t> ways = {most};
    for (const int64_t step : {int64_t{1}, int64_t{7}}) {
      if (!options_.quick && step < std::min(most, tokens)) ways.push_back(step);
    }
    std::vector<std::optional<Fidelity>> known;
    for (const int64_t step : ways) known.push_back(Known(WayText(step, tokens), blocks));
    report_.known_ways = std::count_if(known.begin(), known.end(), [](auto& k) { return !!k; });
    const int64_t left = static_cast<int64_t>(ways.size()) - report_.known_ways;
    // Half of it all; the nodes are the other.
    int64_t rows = 0;
    const int64_t all_rows = tokens * (1 + left);
    const auto progress = [&] {
      if (options_.nodes.progress) options_.nodes.progress(++rows, 2 * all_rows);
    };
    std::vector<std::vector<float>> expected;
    if (left > 0) {
      RENGA_RETURN_IF_ERROR(RunText(reference, text, most, options_.nodes.cancel,
                                    [&](int64_t, absl::Span<const float> row) {
                                      expected.emplace_back(row.begin(), row.end());
                                      progress();
                                    }));
    }
    for (size_t way = 0; way < ways.size(); ++way) {
      if (known[way]) {
        report_.fidelity.push_back(*std::move(known[way]));
        continue;
      }
      std::vector<double> divergences;
      int64_t agreeing = 0, not_numbers = 0;
      const auto arg_max = [](absl::Span<const float> row) {
        return std::max_element(row.begin(), row.end()) - row.begin();
      };
      RENGA_RETURN_IF_ERROR(RunText(*device.forward, text, ways[way], options_.nodes.cancel,
                                    [&](int64_t at, absl::Span<const float> row) {
                                      progress();
                                      const std::vector<float>& should =
                                          expected[static_cast<size_t>(at)];
                                      if (!AllFinite(should) && !AllFinite(row)) {
                                        ++not_numbers;
                                        return;
                                      }
                                      divergences.push_back(Divergence(should, row));
                                      agreeing += arg_max(should) == arg_max(row) ? 1 : 0;
                                    }));
      report_.fidelity.push_back(
          Summarise(WayText(ways[way], tokens), std::move(divergences), agreeing));
      report_.fidelity.back().coarse = blocks;
      report_.fidelity.back().not_numbers = not_numbers;
      RENGA_RETURN_IF_ERROR(Keep(report_.fidelity.back()));
    }
    return absl::OkStatus();
  }

  static std::string WayText(int64_t step, int64_t tokens) {
    return step >= tokens ? "all at once"
                          : StrCat(step, step == 1 ? " token" : " tokens", " a step");
  }

  // What the log has of a way: the numbers in Fidelity's order.
  std::optional<Fidelity> Known(const std::string& steps, bool blocks) const {
    const std::optional<std::string> found = log_.Find(kWhole, steps);
    if (!found) return std::nullopt;
    std::vector<double> numbers;
    for (const std::string& text : std::vector<std::string>(absl::StrSplit(*found, ' '))) {
      const std::optional<double> number = ExactNumber(text);
      if (!number) return std::nullopt;
      numbers.push_back(*number);
    }
    if (numbers.size() != 5) return std::nullopt;
    Fidelity fidelity;
    fidelity.steps = steps;
    fidelity.positions = static_cast<int64_t>(numbers[0]);
    fidelity.kl_mean = numbers[1];
    fidelity.kl_p99 = numbers[2];
    fidelity.kl_max = numbers[3];
    fidelity.top1 = numbers[4];
    fidelity.coarse = blocks;
    return fidelity;
  }

  absl::Status Keep(const Fidelity& fidelity) {
    if (!fidelity.ok()) return absl::OkStatus();
    const std::vector<std::string> numbers = {
        StrCat(fidelity.positions), ExactText(fidelity.kl_mean), ExactText(fidelity.kl_p99),
        ExactText(fidelity.kl_max), ExactText(fidelity.top1)};
    return log_.Add(kWhole, fidelity.steps, StrJoin(numbers, " "));
  }

  absl::Status Nodes() { return report_.device == "reference" ? NodesOfTrace() : NodesInSteps(); }

  // What the device made of the file's bytes is what is to be checked: they are read again.
  absl::StatusOr<WeightStore> FileBytes(const OpenedPlan& opened) const {
    WeightOptions options;
    options.plan_path = opened.path;
    options.packed = false;
    options.threads = Threads();
    return WeightStore::Open(*opened.plan, options);
  }

  // Of a GGUF a plan of its own, with room for several sequences and a context that can be filled.
  absl::Status NodesInSteps() {
    RENGA_ASSIGN_OR_RETURN(const bool is_plan, IsPlan(Subject()));
    OpenedPlan opened = ran_;
    if (!is_plan) {
      OpenOptions open = options_.open;
      open.device = report_.device;
      CompileOptions& compile = open.compile;
      compile.target = ran_.plan->target;
      const int64_t tokens = static_cast<int64_t>(options_.ids.size());
      RENGA_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(model_));
      RENGA_ASSIGN_OR_RETURN(const int64_t context, DefaultContext(file));
      if (!compile.context) compile.context = std::min(context, std::max(kContext, tokens));
      compile.max_sequences = std::max<int64_t>(compile.max_sequences, 3);
      compile.max_step_tokens = std::max(MaxStepTokens(compile), tokens);
      compile.max_rows = std::min(*compile.max_step_tokens, std::max<int64_t>(16, tokens));
      RENGA_ASSIGN_OR_RETURN(opened, OpenPlan(Subject(), open));
    }
    report_.llama_cpp = LlamaCppFidelityOf(DigestOfWeights(truth_ ? *truth_->plan : *opened.plan));
    WeightStore own;
    if (!truth_) {
      RENGA_ASSIGN_OR_RETURN(own, FileBytes(opened));
    }
    const WeightBytes bytes =
        truth_ ? FileWeights(*truth_->plan, *truth_->store) : FileWeights(*opened.plan, own);
    RENGA_ASSIGN_OR_RETURN(const std::unique_ptr<StepRecorder> recorder, OpenSteps(opened));
    VerifyStepsOptions checks{options_.ids, options_.text_ids, options_.quick, options_.nodes,
                              &log_};
    if (options_.nodes.progress) {
      checks.nodes.progress = [this](int64_t done, int64_t of) {
        options_.nodes.progress(of + done, 2 * of);
      };
    }
    RENGA_ASSIGN_OR_RETURN(StepsVerdict verdict, VerifySteps(*recorder, bytes, checks));
    report_.nodes = std::move(verdict.nodes);
    report_.steps = std::move(verdict.steps);
    report_.not_run = std::move(verdict.not_run);
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<StepRecorder>> OpenSteps(const OpenedPlan& opened) {
    RecordOptions record;
    record.cancel = options_.nodes.cancel;
    if (opened.plan->gpu.targets.empty()) {
      return OpenCpuSteps(opened, {.threads = Threads(), .record = std::move(record)});
    }
    // "cuda:0 H100 80GB HBM3"
    const std::string_view device =
        std::string_view(report_.device).substr(0, report_.device.find(' '));
    RENGA_ASSIGN_OR_RETURN(const int ordinal, CudaOrdinal(device));
    RENGA_ASSIGN_OR_RETURN(const CudaDevice cuda, OpenCuda(ordinal));
    RENGA_ASSIGN_OR_RETURN(OpenedCudaDevice steps, OpenCudaSteps(opened, cuda, Threads()));
    for (const cuda::WeightDifference& difference : steps.differences) {
      const std::string& name =
          opened.plan->weights[static_cast<size_t>(difference.index)].source.name;
      // Of many the same, so that they are said at once.
      report_.weights.push_back({name, absl::IsUnavailable(difference.wrong)
                                           ? "the GPU has other bytes than the file"
                                           : std::string(difference.wrong.message())});
    }
    return StepRecorder::Create(std::move(steps.device), std::move(record));
  }

  absl::Status NodesOfTrace() {
    TraceModelOptions trace_options;
    trace_options.open = options_.open;
    trace_options.open.device = report_.device;
    trace_options.ids = options_.ids;
    trace_options.cancel = options_.nodes.cancel;
    RENGA_ASSIGN_OR_RETURN(const Trace trace, TraceModel(Subject(), trace_options));
    RENGA_ASSIGN_OR_RETURN(const Graph graph, Parse(trace.run.ir, "the plan's graph"));
    OpenOptions open = options_.open;
    open.compile.max_step_tokens.reset();
    RENGA_ASSIGN_OR_RETURN(const OpenedPlan opened, OpenPlan(Subject(), open));
    RENGA_ASSIGN_OR_RETURN(const WeightStore store, FileBytes(opened));
    RENGA_ASSIGN_OR_RETURN(
        report_.nodes, VerifyTrace(trace, graph, FileWeights(*opened.plan, store), options_.nodes));
    report_.steps = {StrCat(options_.ids.size(), " tokens from an empty cache")};
    return absl::OkStatus();
  }

  int Threads() const {
    return options_.open.threads > 0
               ? options_.open.threads
               : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  }

  const std::string& model_;
  const VerifyModelOptions& options_;
  std::optional<Truth> truth_;  // of a plan beside the model
  OpenedPlan ran_;              // by Whole
  VerifyLog log_;
  VerifyReport report_;
};

}  // namespace

bool VerifyReport::ok() const {
  return (!nodes || nodes->ok()) && weights.empty() && (!against || against->equal()) &&
         std::all_of(fidelity.begin(), fidelity.end(), [](const Fidelity& f) { return f.ok(); });
}

bool VerifyReport::device_ok() const {
  return (!nodes || nodes->device_ok()) && weights.empty() && (!against || against->equal()) &&
         std::all_of(fidelity.begin(), fidelity.end(),
                     [](const Fidelity& f) { return f.device_ok(); });
}

absl::StatusOr<VerifyReport> VerifyModel(const std::string& model,
                                         const VerifyModelOptions& options) {
  return ModelVerifier(model, options).Run();
}

}  // namespace renga
