#include "tools/compiler.h"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <thread>
#include <utility>

#include "codegen/emit/cuda_cache.h"
#include "codegen/emit/emitter.h"
#include "codegen/lower/lower.h"
#include "frontend/gguf/gguf.h"
#include "ir/base/digest.h"
#include "ir/base/output_file.h"
#include "ir/base/status.h"
#include "ir/core/cache_rounding.h"
#include "ir/text/print.h"
#include "passes/core/pipeline.h"
#include "passes/core/runner.h"
#include "tools/nvrtc.h"

namespace renga {
namespace {

class Stopwatch {
 public:
  double Lap() {
    const auto now = std::chrono::steady_clock::now();
    return std::chrono::duration<double>(now - std::exchange(start_, now)).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// Digest of one weight, in pieces that leave the resident set again: compiling a large model must
// not take its size in memory.
Digest DigestOfWeight(const MappedFile& file, const WeightSource& source) {
  constexpr uint64_t kPiece = uint64_t{4} << 20;
  DigestStream digest;
  for (uint64_t done = 0; done < source.bytes; done += kPiece) {
    const uint64_t bytes = std::min(kPiece, source.bytes - done);
    digest.Add(file.bytes().subspan(source.offset + done, bytes));
    file.Release(source.offset + done, bytes);
  }
  return digest.Finish();
}

std::vector<plan::Weight> DigestWeights(const GgufFile& file, std::vector<WeightSource> sources,
                                        int threads) {
  std::vector<plan::Weight> weights(sources.size());
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    for (size_t i = next++; i < sources.size(); i = next++) {
      weights[i].digest = DigestOfWeight(file.parts()[sources[i].file].file, sources[i]);
      weights[i].source = std::move(sources[i]);
    }
  };
  std::vector<std::thread> pool;
  for (int i = 1; i < threads; ++i) pool.emplace_back(work);
  work();
  for (std::thread& thread : pool) thread.join();
  return weights;
}

absl::Status MakeFolder(const std::string& path) {
  if (mkdir(path.c_str(), 0777) == 0 || errno == EEXIST) return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat(path, ": cannot create the folder: ", strerror(errno)));
}

// The pass that GPU targets cannot do without.
constexpr std::string_view kPackWeights = "pack-weights";

absl::Span<const Pass> PipelineOf(const CompileOptions& options) {
  if (!options.pipeline.empty()) return options.pipeline;
  return options.target == "cpu" ? DefaultPipeline() : GpuPipeline();
}

// NVRTC for each kernel and target, and what the kernels are in the dump folder.
absl::Status BuildKernels(const CompileOptions& options, Compilation* result) {
  RENGA_ASSIGN_OR_RETURN(const auto nvrtc, LoadNvrtc());
  codegen::CubinCache cache({.folder = CubinCacheFolder(), .on_problem = options.on_cache_problem});
  codegen::BuildOptions build;
  build.jobs = options.threads;
  build.cache = &cache;
  if (options.on_kernel) {
    build.on_progress = [&](const codegen::BuildProgress& progress) {
      options.on_kernel(progress.done, progress.total);
    };
  }
  RENGA_ASSIGN_OR_RETURN(result->kernels, codegen::BuildPlanKernels(*nvrtc, build, &result->plan));
  return absl::OkStatus();
}

absl::Status WriteKernelFiles(const std::string& folder, const plan::Plan& plan) {
  for (const plan::GpuKernel& kernel : plan.gpu.kernels) {
    const std::string path = StrCat(folder, "/", kernel.name);
    RENGA_RETURN_IF_ERROR(WriteFileAtomically(StrCat(path, ".cu"), {kernel.source}));
    for (const plan::GpuImage& image : kernel.images) {
      const std::string& target = plan.gpu.targets[image.target].name;
      const std::string log = StrCat(target, ": ", image.registers, " registers, ",
                                     image.stack_bytes, " bytes of stack, ", image.static_shared,
                                     " bytes of static shared memory\n", image.log);
      RENGA_RETURN_IF_ERROR(WriteFileAtomically(StrCat(path, ".", target, ".log"), {log}));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckOptions(const CompileOptions& options) {
  const auto in_range = [](std::string_view flag, int64_t value, int64_t max) {
    if (value >= 1 && value <= max) return absl::OkStatus();
    return absl::InvalidArgumentError(StrCat(flag, ": expected 1..", max, ", got ", value));
  };
  if (options.context) RENGA_RETURN_IF_ERROR(in_range("-c", *options.context, int64_t{1} << 24));
  RENGA_RETURN_IF_ERROR(in_range("--max-seqs", options.max_sequences, 4096));
  if (options.kv_tokens) {
    RENGA_RETURN_IF_ERROR(in_range("--kv-tokens", *options.kv_tokens, int64_t{1} << 30));
  }
  RENGA_RETURN_IF_ERROR(in_range("--max-step", MaxStepTokens(options), 65536));
  if (options.max_rows) {
    RENGA_RETURN_IF_ERROR(in_range("--max-rows", *options.max_rows, MaxStepTokens(options)));
  }
  RENGA_ASSIGN_OR_RETURN(const auto gpus, codegen::GpusOf(options.target));
  std::vector<DType> cache_types = {options.k_type, options.v_type};
  for (const KvTypesOfLayers& some : options.kv_of_layers) {
    if (some.k) cache_types.push_back(*some.k);
    if (some.v) cache_types.push_back(*some.v);
  }
  for (const DType type : cache_types) {
    const absl::Span<const DType> types = gpus.empty() ? CacheTypes() : codegen::GpuCacheTypes();
    if (std::find(types.begin(), types.end(), type) != types.end()) continue;
    std::vector<std::string_view> names;
    for (const DType known : types) names.push_back(Name(known));
    return absl::InvalidArgumentError(StrCat("--kv-type: expected one of ", StrJoin(names, ", "),
                                             ", which kernels for ", options.target, " have, got ",
                                             Name(type)));
  }
  const std::vector<std::string>& disabled = options.disabled_passes;
  if (!gpus.empty() &&
      std::find(disabled.begin(), disabled.end(), kPackWeights) != disabled.end()) {
    return absl::InvalidArgumentError(StrCat("--disable-pass ", kPackWeights, ": kernels for ",
                                             options.target,
                                             " read packed weights only; leave it on"));
  }
  for (const std::string& site : options.sites_off) {
    if (gpus.empty() || !site.starts_with(StrCat(kPackWeights, ":"))) continue;
    return absl::InvalidArgumentError(StrCat("--disable-pass ", site, ": kernels for ",
                                             options.target, " read packed weights only"));
  }
  return absl::OkStatus();
}

constexpr int64_t kFewRows = 16;

// On the cpu more bring nothing. A GPU wants many, but a prompt is to stop within 0.1 s when that
// is wanted, and an 8B model does some 20,000 tokens a second (docs/benchmarks).
constexpr int64_t kCpuStep = 128, kGpuStep = 1024;

}  // namespace

int64_t MaxStepTokens(const CompileOptions& options) {
  if (options.max_step_tokens) return *options.max_step_tokens;
  return std::max(options.target == "cpu" ? kCpuStep : kGpuStep, options.max_sequences);
}

int64_t MaxRows(const CompileOptions& options) {
  return options.max_rows.value_or(
      std::min(MaxStepTokens(options), std::max(options.max_sequences, kFewRows)));
}

absl::StatusOr<GraphOptions> GraphOptionsOf(const GgufFile& file, const CompileOptions& options) {
  RENGA_RETURN_IF_ERROR(CheckOptions(options));
  GraphOptions graph;
  if (options.context) {
    graph.context = *options.context;
  } else {
    RENGA_ASSIGN_OR_RETURN(graph.context, DefaultContext(file));
  }
  if (options.kv_tokens && *options.kv_tokens < graph.context) {
    return absl::InvalidArgumentError(
        StrCat("--kv-tokens: expected at least the context of a sequence, ", graph.context,
               " (-c), got ", *options.kv_tokens));
  }
  graph.max_sequences = options.max_sequences;
  graph.kv_tokens = options.kv_tokens;
  graph.max_step_tokens = MaxStepTokens(options);
  graph.max_rows = MaxRows(options);
  graph.page_tokens = options.page_tokens;
  graph.k_type = options.k_type;
  graph.v_type = options.v_type;
  graph.kv_of_layers = options.kv_of_layers;
  return graph;
}

std::vector<plan::Choice> PlanChoices(std::vector<Choice> choices) {
  std::vector<plan::Choice> result;
  for (Choice& choice : choices) {
    result.push_back({std::move(choice.subject), std::move(choice.what), std::move(choice.chosen),
                      std::move(choice.considered), std::move(choice.reason)});
  }
  return result;
}

std::string Describe(const CompileOptions& options) {
  std::string text = StrCat("target=", options.target, " c=", options.context.value_or(0),
                            " seqs=", options.max_sequences, " kv=", options.kv_tokens.value_or(0),
                            " step=", MaxStepTokens(options), " rows=", MaxRows(options),
                            " page=", options.page_tokens, " k=", Name(options.k_type),
                            " v=", Name(options.v_type));
  if (!options.kv_of_layers.empty()) StrAppend(&text, " ", KvTypesText(options.kv_of_layers));
  if (options.only_passes) StrAppend(&text, " only=", StrJoin(*options.only_passes, ","));
  StrAppend(&text, " disabled=", StrJoin(options.disabled_passes, ","));
  if (!options.sites_off.empty()) StrAppend(&text, " off=", StrJoin(options.sites_off, ","));
  if (!options.kernels.empty()) StrAppend(&text, " kernels=", StrJoin(options.kernels, ","));
  return text;
}

absl::StatusOr<Compilation> Compile(const std::string& gguf, const CompileOptions& options) {
  RENGA_RETURN_IF_ERROR(CheckOptions(options));
  const int threads = options.threads > 0
                          ? options.threads
                          : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  Compilation result;
  Stopwatch total, lap;

  RENGA_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(gguf));
  RENGA_ASSIGN_OR_RETURN(const GraphOptions graph_options, GraphOptionsOf(file, options));
  RENGA_ASSIGN_OR_RETURN(Model model, BuildModel(file, graph_options));
  result.seconds.read = lap.Lap();

  RunPassesOptions pass_options;
  pass_options.only = options.only_passes;
  pass_options.disabled = options.disabled_passes;
  pass_options.sites_off = options.sites_off;
  pass_options.sites_may_be_gone = options.sites_may_be_gone;
  pass_options.dump_dir = options.dump_dir;
  pass_options.on_dump = [&](int, std::string_view name, std::string_view text) {
    result.stages.push_back({std::string(name), std::string(text)});
  };
  if (!options.dump_dir.empty()) RENGA_RETURN_IF_ERROR(MakeFolder(options.dump_dir));
  Ledger ledger;
  const bool gpu = options.target != "cpu";
  if (gpu && pass_options.only) pass_options.only->emplace_back(kPackWeights);
  RENGA_ASSIGN_OR_RETURN(const std::vector<PassRecord> passes,
                         RunPasses(model.graph, PipelineOf(options), pass_options, &ledger));
  result.seconds.passes = lap.Lap();

  std::vector<plan::Weight> weights = DigestWeights(file, std::move(model.weights), threads);
  result.seconds.digest = lap.Lap();

  codegen::LowerInput input{.graph = model.graph};
  input.target = options.target;
  input.model = std::move(model.info);
  input.tokenizer = std::move(model.tokenizer);
  input.files = std::move(model.files);
  for (ModelFile& part : input.files) {
    // A plan is run from other folders than the one it was compiled in.
    std::error_code error;
    const std::filesystem::path absolute = std::filesystem::absolute(part.path, error);
    if (!error) part.path = absolute.lexically_normal().string();
  }
  input.weights = std::move(weights);
  input.ignored = std::move(model.ignored);
  input.geometry = {.page_tokens = options.page_tokens,
                    .context = graph_options.context,
                    .max_sequences = options.max_sequences,
                    .max_step_tokens = MaxStepTokens(options)};
  input.source_ir = result.stages.front().ir;
  input.ir = result.stages.back().ir;
  for (const PassRecord& pass : passes) {
    input.passes.push_back({pass.name, pass.changed, pass.nodes_before, pass.nodes_after, pass.ms});
  }
  for (LedgerEntry& entry : ledger.entries) {
    input.ledger.push_back(
        {std::move(entry.pass), std::move(entry.node), entry.layer,
         entry.matched ? plan::LedgerResult::kMatched : plan::LedgerResult::kRejected,
         std::move(entry.reason)});
  }
  input.kernels = options.kernels;
  input.kernels_may_be_gone = options.kernels_may_be_gone;
  input.choices = PlanChoices(std::move(ledger.choices));
  RENGA_ASSIGN_OR_RETURN(result.plan, codegen::Lower(std::move(input)));
  result.seconds.lower = lap.Lap();
  if (!result.plan.gpu.targets.empty()) {
    // Sources first: they are there to look at when a kernel does not compile.
    if (!options.dump_dir.empty()) {
      RENGA_RETURN_IF_ERROR(WriteKernelFiles(options.dump_dir, result.plan));
    }
    if (!options.only_lower) {
      RENGA_RETURN_IF_ERROR(BuildKernels(options, &result));
      if (!options.dump_dir.empty()) {
        RENGA_RETURN_IF_ERROR(WriteKernelFiles(options.dump_dir, result.plan));
      }
    }
    result.seconds.kernels = lap.Lap();
  }
  result.seconds.total = total.Lap();
  return result;
}

}  // namespace renga
