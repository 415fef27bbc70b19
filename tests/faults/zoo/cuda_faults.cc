#include "tests/faults/zoo/cuda_faults.h"

#include <algorithm>
#include <utility>

#include "frontend/gguf/gguf.h"
#include "ir/base/status.h"
#include "tests/emulator/device/tests/faulty_kernels.h"
#include "tests/faults/zoo/emulator_steps.h"

namespace renga::faults {
namespace {

using emulator::CompilePlans;
using emulator::CompileSome;
using emulator::DeviceOptions;
using emulator::KernelHeaders;
using emulator::KernelOptions;
using emulator::Replace;
using Wrong = std::map<std::string, std::string>;

// Kernels compute with f16 operands and f32 sums: one rounding of an operand is 2^-11 at most, and
// a product of two has the root of their squares.
constexpr double kHalfOperands = 2e-3;

// An endless loop is known by that: far more than any kernel of a tiny model takes.
constexpr uint64_t kMostAccesses = 20'000'000;

std::string Always(const ZooModel&) { return ""; }
std::string OneKvHead(const ZooModel& model) {
  return model.kv_heads == 1 ? "one head of K and V" : "";
}
// Experts have products of their own.
std::string NoGateUp(const ZooModel& model) { return model.HasExperts() ? "experts" : ""; }

// In the sources of kernels whose names begin so.
std::function<absl::Status(plan::Plan*)> InSource(
    const std::string& kernel, std::function<absl::Status(std::string* source)> change) {
  return [=](plan::Plan* plan) {
    for (plan::GpuKernel& each : plan->gpu.kernels) {
      if (each.name.find(kernel) == 0) RENGA_RETURN_IF_ERROR(change(&each.source));
    }
    return absl::OkStatus();
  };
}

absl::Status OtherPairs(std::string* source) {
  const std::string neox = "RopePairing::kNeox", norm = "RopePairing::kNorm";
  const bool is_neox = source->find(neox) != std::string::npos;
  return Replace(is_neox ? neox : norm, is_neox ? norm : neox, source);
}

// As many logits as the model is wide: "Packed<F32, 512, 64>" with 64 rows.
absl::Status RowsOfTheWidth(std::string* source) {
  const size_t begin = source->find("Packed<");
  if (begin == std::string::npos) return absl::NotFoundError("no weight in the kernel's source");
  const size_t rows = source->find(", ", begin) + 2, width = source->find(", ", rows) + 2;
  const size_t end = source->find('>', width);
  source->replace(rows, width - 2 - rows, source->substr(width, end - width));
  return absl::OkStatus();
}

absl::Status OverAnOperand(plan::Plan* plan) {
  int changed = 0;
  for (plan::Step& step : plan->steps) {
    for (plan::Variant& variant : step.variants) {
      for (plan::Launch& launch : variant.launches) {
        if (plan->gpu.kernels[launch.kernel].name.find("gate_up") == std::string::npos) continue;
        int32_t x = -1;
        for (const plan::Arg& arg : launch.args) x = arg.name == "x" ? arg.buffer : x;
        for (plan::Arg& arg : launch.args) {
          if (arg.name == "y") arg.buffer = x;
        }
        ++changed;
      }
    }
  }
  return changed > 0 ? absl::OkStatus() : absl::NotFoundError("no launch of gate_up");
}

std::function<Wrong(const Graph&)> Results(std::string op, std::vector<std::string> suffixes,
                                           std::string says) {
  return [=](const Graph& graph) {
    Wrong wrong;
    for (const std::string& name : ResultsOf(graph, op, suffixes)) wrong[name] = says;
    return wrong;
  };
}

std::vector<CudaFault> All() {
  return {
      {"f01_one_lane_stores_q",
       Always,
       {{"attention.cuh", "if (d >= kPaddedDim) continue;\n      const float x",
         "if (d >= kPaddedDim || lane_ > 0) continue;\n      const float x"}},
       nullptr,
       "attention",
       "that nothing has written: shared"},
      {"f02_pairs_of_rope",
       Always,
       {},
       InSource("qkv_rope", OtherPairs),
       "",
       "",
       Results("qkv_rope", {".q", ".k_cells"}, "rotates the pairs ")},
      {"f08_as_many_logits_as_the_model_is_wide",
       Always,
       {},
       InSource("head_", RowsOfTheWidth),
       "head",
       "did not write all of its output logits"},
      {"f10_cells_by_position",
       Always,
       {{"attention_keys.cuh", "at * Config::kPageTokens + key % Config::kPageTokens", "key"}},
       nullptr,
       "",
       "",
       Results("attention", {".mix"}, "as if every sequence had the pages 0, 1, 2")},
      {"f11_not_written_in_decode",
       Always,
       {{"qkv_rope.cuh", "args.cells[t], head, values",
         "args.tokens == 1 ? -1 : args.cells[t], head, values"},
        {"qkv_rope.cuh", "if (args.cells[t] < 0) continue;",
         "if (args.cells[t] < 0 || args.tokens == 1) continue;"}},
       nullptr,
       "qkv_rope",
       "did not write all of cell"},
      {"f12_second_head_not_written",
       OneKvHead,
       {{"kv_cache.cuh", "if (cell < 0) return;", "if (cell < 0 || head > 0) return;"},
        {"qkv_rope.cuh", "if (args.cells[t] < 0) continue;",
         "if (args.cells[t] < 0 || row >= kHeadDim) continue;"}},
       nullptr,
       "qkv_rope",
       "did not write all of cell"},
      {"f13_position_ignored",
       Always,
       {{"rope.cuh", "const double turns = position * frequency",
         "const double turns = 0 * frequency"}},
       nullptr,
       "",
       "",
       Results("qkv_rope", {".q", ".k_cells"}, "as if every position were 0")},
      {"f14_over_an_operand", NoGateUp, {}, OverAnOperand, "gate_up", "read-only memory: buffer '"},
      {"f15_halving_that_never_ends",
       Always,
       {{"numbers.cuh", "for (int lane_mask = 16; lane_mask > 0; lane_mask /= 2) {",
         "for (int lane_mask = 16; lane_mask > 0; lane_mask = max(lane_mask / 2, 1)) {"}},
       nullptr,
       "attention",
       "does a loop not end?"},
      // A race, or what is read before it is written, as the schedule has it.
      {"f16_missing_barrier",
       Always,
       {{"linear.cuh", "const float* all = tile_sums.Put(sums);\n    SyncThreads();",
         "const float* all = tile_sums.Put(sums);"}},
       nullptr,
       "linear_add",
       "shared array "},
  };
}

}  // namespace

absl::Span<const CudaFault> CudaFaults() {
  static const auto& all = *new std::vector<CudaFault>(All());
  return all;
}

absl::StatusOr<CudaModel> CudaModel::Open(const std::string& path,
                                          std::vector<std::string> kernels) {
  CudaModel model;
  RENGA_ASSIGN_OR_RETURN(model.zoo_, OpenZooModel(path));
  CompileOptions options = CompileOptionsOf({.fused = true, .context = 32, .page_tokens = 4});
  options.target = "sm_90a";
  options.only_lower = true;
  options.kernels = std::move(kernels);
  options.max_step_tokens = options.max_rows = 8;  // the kernels for few tokens
  RENGA_ASSIGN_OR_RETURN(Compilation compilation, Compile(path, options));
  model.plan_ = std::make_shared<const plan::Plan>(std::move(compilation.plan));
  const plan::Plan* const plans[] = {model.plan_.get()};
  RENGA_ASSIGN_OR_RETURN(model.kernels_, CompilePlans(plans, KernelOptions()));
  return model;
}

absl::StatusOr<StepsVerdict> CudaModel::Verify(std::shared_ptr<const plan::Plan> plan,
                                               DeviceOptions options,
                                               const std::vector<int32_t>& ids,
                                               Graph* graph) const {
  RENGA_ASSIGN_OR_RETURN(const auto recorder,
                         OpenEmulatorSteps(std::move(plan), std::move(options)));
  *graph = recorder->graph();
  RENGA_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(zoo_.path));
  const WeightBytes weights =
      [&](const std::string& name) -> absl::StatusOr<absl::Span<const uint8_t>> {
    const GgufTensor* tensor = file.FindTensor(name);
    if (tensor == nullptr) return absl::NotFoundError(name);
    return file.data(*tensor);
  };
  VerifyStepsOptions verify{ids, {}, true, {}};
  verify.nodes.rtol = kHalfOperands;
  verify.nodes.threads = 1;
  return VerifySteps(*recorder, weights, verify);
}

absl::StatusOr<StepsVerdict> CudaModel::VerifyRight(const std::vector<int32_t>& ids) const {
  DeviceOptions options;
  options.kernels = {kernels_};
  Graph graph;
  return Verify(plan_, std::move(options), ids, &graph);
}

std::vector<std::string> CudaModel::Differences(const CudaFault& fault,
                                                const std::vector<int32_t>& ids) const {
  auto plan = std::make_shared<plan::Plan>(*plan_);
  KernelHeaders headers;
  absl::Status done = fault.change ? fault.change(plan.get()) : absl::OkStatus();
  for (const KernelEdit& edit : fault.headers) {
    if (done.ok()) done = headers.Edit(edit.header, edit.from, edit.to);
  }
  if (!done.ok()) return {done.ToString()};
  const auto changed = [&](const plan::GpuKernel& kernel) {
    const size_t index = &kernel - plan->gpu.kernels.data();
    bool is = kernel.source != plan_->gpu.kernels[index].source;
    for (const KernelEdit& edit : fault.headers) {
      is |= headers.Includes(kernel.source, edit.header);
    }
    return is && (fault.kernel.empty() || kernel.name.starts_with(fault.kernel));
  };
  DeviceOptions options;
  options.max_accesses = kMostAccesses;
  const auto& kernels = plan->gpu.kernels;
  if (std::any_of(kernels.begin(), kernels.end(), changed)) {
    auto faulty = CompileSome(*plan, headers.root(), changed);
    if (!faulty.ok()) return {faulty.status().ToString()};
    options.kernels.push_back(*std::move(faulty));
  }
  options.kernels.push_back(kernels_);
  Graph graph;
  const auto verdict = Verify(plan, std::move(options), ids, &graph);
  if (fault.says.empty()) {
    if (!verdict.ok()) return {verdict.status().ToString()};
    return faults::Differences(fault.wrong(graph), verdict->nodes);
  }
  const std::string message(verdict.status().message());
  std::vector<std::string> differences;
  if (verdict.status().code() != absl::StatusCode::kInternal) {
    differences.push_back(StrCat("got ", verdict.status().ToString()));
  }
  for (const std::string& part :
       {std::string("step "), StrCat("kernel ", fault.kernel), fault.says}) {
    if (message.find(part) == std::string::npos) {
      differences.push_back(StrCat("expected '", part, "' in: ", message));
    }
  }
  return differences;
}

}  // namespace renga::faults
