// renga compile MODEL.gguf -o X.plan
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "absl/strings/str_format.h"
#include "ir/base/digest.h"
#include "ir/base/status.h"
#include "passes/simplify/key_bias_apart.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/serialize.h"
#include "tools/compiler.h"
#include "tools/embed_weights.h"
#include "tools/fusion_summary.h"
#include "tools/renga/command.h"
#include "tools/renga/compile_flags.h"
#include "tools/renga/dump_input.h"
#include "tools/renga/errors.h"
#include "tools/renga/output.h"
#include "tools/renga/progress.h"
#include "tools/renga/table.h"
#include "tools/renga/text.h"

namespace renga {
namespace {

struct Flags {
  std::string model;
  std::string output;
  std::vector<std::string> targets;
  std::string dump_dir;
  int threads = 0;
  bool require_fusion = false;
  bool json = false;
  bool embed_weights = false;
  CompileFlags compile;
};

// The flag's values as one target.
absl::StatusOr<std::string> TargetOf(const std::vector<std::string>& targets) {
  if (targets.size() > 1 && std::find(targets.begin(), targets.end(), "cpu") != targets.end()) {
    return absl::InvalidArgumentError(
        "--target: cpu and GPUs need a plan each; give cpu to a compilation of its own");
  }
  return targets.empty() ? "cpu" : StrJoin(targets, ",");
}

std::vector<std::string> TargetNames(const plan::Plan& plan) {
  std::vector<std::string> names;
  for (const plan::GpuTarget& target : plan.gpu.targets) names.push_back(target.name);
  return names;
}

absl::Status CheckInput(const Flags& flags) {
  if (flags.output.empty()) {
    return absl::InvalidArgumentError("-o: expected a file name, got an empty one");
  }
  if (SameFile(flags.model, flags.output)) {
    return absl::InvalidArgumentError(
        StrCat("-o ", flags.output, ": is the model itself; name another file"));
  }
  RENGA_ASSIGN_OR_RETURN(const FileKind kind, SniffFile(flags.model));
  if (kind == FileKind::kGguf) return absl::OkStatus();
  return absl::InvalidArgumentError(
      StrCat(flags.model, ": expected a GGUF, got ",
             kind == FileKind::kPlan
                 ? "a plan, which is compiled already; compile the GGUF it was made from"
                 : "the text of a graph, which has no weights; compile the GGUF"));
}

absl::Status CheckOutput(const Flags& flags, const plan::Plan& plan) {
  for (const ModelFile& file : plan.files) {
    if (SameFile(file.path, flags.output)) {
      return absl::InvalidArgumentError(
          StrCat("-o ", flags.output, ": is a part of the model; name another file"));
    }
  }
  return absl::OkStatus();
}

// Of what the plan says and does: two compilations of the same model agree, so the times that the
// passes took are left out.
absl::StatusOr<Digest> DigestOfPlan(plan::Plan plan) {
  for (plan::PassRecord& pass : plan.passes) pass.milliseconds = 0;
  RENGA_ASSIGN_OR_RETURN(const plan::PlanEnds ends, plan::SerializeEnds(plan));
  return DigestOf(StrCat(ends.head, ends.trailer));
}

// "f32 41, q4_k 7": the most frequent first.
std::string TypesText(const plan::Plan& plan) {
  std::map<std::string_view, int> counts;
  for (const plan::Weight& weight : plan.weights) ++counts[Name(weight.source.dtype)];
  std::vector<std::pair<int, std::string_view>> sorted;
  for (const auto& [name, count] : counts) sorted.emplace_back(-count, name);
  std::sort(sorted.begin(), sorted.end());
  std::vector<std::string> parts;
  for (const auto& [count, name] : sorted) parts.push_back(StrCat(name, " ", -count));
  return StrJoin(parts, ", ");
}

std::string KvTypes(const plan::Plan& plan) {
  std::vector<std::string_view> names;
  for (const plan::Cache& cache : plan.caches) {
    const std::string_view name = Name(cache.dtype);
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return StrJoin(names, "/");
}

// With --require-fusion: names whatever was not fused. AnswerIsNo where that is anything.
absl::Status RequireFusion(const plan::Plan& plan) {
  const FusionSummary summary = SummarizeFusion(plan.passes, plan.ledger);
  const std::vector<std::string> left_out = FusionsLeftOut(plan.passes);
  if (summary.rejected.empty() && left_out.empty()) return absl::OkStatus();
  TextTable table;
  for (const plan::LedgerEntry* entry : summary.rejected) {
    table.Add({entry->pass, entry->node, entry->reason});
  }
  for (const std::string& pass : left_out) {
    table.Add({pass, "all nodes", "left out by --passes or --disable-pass"});
  }
  const std::string text =
      StrCat("not fused:\n", table.Text("  "), "--require-fusion: ", summary.rejected.size(),
             " rejected, ", left_out.size(), left_out.size() == 1 ? " pass" : " passes",
             " left out; no plan was written\n");
  std::fputs(text.c_str(), stderr);
  return AnswerIsNo();
}

Json FusionJson(const FusionSummary& summary) {
  Json fusion = Json::object();
  for (const FusionCount& count : summary.passes) {
    fusion[count.name] = {{"matched", count.matched}, {"candidates", count.candidates}};
  }
  return fusion;
}

// "19 kernels for sm_90a: 17 from cache, 2 compiled in 0.21 s, no spills"
std::string KernelsText(const Compilation& compilation) {
  const plan::Plan& plan = compilation.plan;
  if (plan.gpu.targets.empty()) {
    return StrCat(plan.kernels.size(), " kernels for ", plan.target, ", built in");
  }
  const codegen::PlanKernels& kernels = compilation.kernels;
  std::vector<std::string> parts;
  if (kernels.cached > 0) parts.push_back(StrCat(kernels.cached, " from cache"));
  if (kernels.compiled > 0) {
    parts.push_back(StrCat(kernels.compiled, " compiled in ", SecondsText(kernels.seconds)));
  }
  // A kernel with spills does not compile.
  parts.push_back("no spills");
  if (kernels.relaxed > 0) {
    parts.push_back(StrCat(kernels.relaxed,
                           " with one block a multiprocessor for want of registers",
                           " (dump --stage kernels)"));
  }
  return StrCat(kernels.kernels, " kernels for ", StrJoin(TargetNames(plan), ", "), ": ",
                StrJoin(parts, ", "));
}

std::string StepsText(const Compilation& compilation) {
  const plan::Plan& plan = compilation.plan;
  int64_t in_layers = 0;
  for (const plan::Step& step : plan.steps) in_layers += step.layer >= 0;
  std::string text = StrCat(plan.steps.size(), " steps");
  if (plan.model.layers > 0) StrAppend(&text, " (", in_layers / plan.model.layers, " a layer)");
  return StrCat(text, ", ", KernelsText(compilation));
}

// "4,096 tokens", "4,096 tokens x 8", "4,096 tokens x 8, 16,384 in all".
std::string KvTokensText(const plan::Plan& plan) {
  const plan::Geometry& geometry = plan.geometry;
  std::string text = StrCat(WithCommas(geometry.context), " tokens");
  if (geometry.max_sequences == 1) return text;
  StrAppend(&text, " x ", geometry.max_sequences);
  const int64_t each =
      (geometry.context + geometry.page_tokens - 1) / geometry.page_tokens * geometry.page_tokens;
  const int64_t cells = plan::CacheCells(plan);
  if (cells < each * geometry.max_sequences) StrAppend(&text, ", ", WithCommas(cells), " in all");
  return text;
}

// A line for each window: "window 512 keys in 21 layers: 704 tokens x 8".
std::string WindowsText(const plan::Plan& plan) {
  std::string text;
  for (int group = 1; group < plan::GroupsOf(plan); ++group) {
    std::set<int32_t> layers;
    for (const plan::Cache& cache : plan.caches) {
      if (cache.group == group) layers.insert(cache.layer);
    }
    StrAppend(
        &text, "window ", WithCommas(plan::WindowOf(plan, group)), " keys in ", layers.size(),
        layers.size() == 1 ? " layer: " : " layers: ", WithCommas(plan::CacheCells(plan, group)),
        " tokens kept of all sequences together", "\n");
  }
  return text;
}

// Layers whose cache of keys is without their bias.
int64_t KeyBiasesApart(const plan::Plan& plan) {
  return std::count_if(plan.ledger.begin(), plan.ledger.end(), [](const plan::LedgerEntry& entry) {
    return entry.pass == kKeyBiasApart && entry.result == plan::LedgerResult::kMatched;
  });
}

std::string KeysText(const plan::Plan& plan) {
  const int64_t apart = KeyBiasesApart(plan);
  if (apart == 0) return "";
  return StrCat("keys   kept without their bias in ", apart, apart == 1 ? " layer" : " layers",
                "\n");
}

std::string Text(const Flags& flags, const Compilation& compilation, uint64_t bytes) {
  const plan::Plan& plan = compilation.plan;
  const ModelInfo& model = plan.model;
  const plan::Memory& memory = plan.memory;
  std::string text =
      StrCat(EscapeForTerminal(model.architecture), "  ", model.layers, " layers  ",
             model.embedding, " wide  ", model.heads, "/", model.kv_heads, " heads x ",
             model.head_dim, "  vocab ", WithCommas(model.vocab), "  ",
             model.file_type.empty() ? "" : StrCat(EscapeForTerminal(model.file_type), " "), "(",
             TypesText(plan), ")\n");
  StrAppend(&text, "fused  ", FusionText(SummarizeFusion(plan.passes, plan.ledger)), "\n",
            KeysText(plan), "plan   ", StepsText(compilation), "\n");
  StrAppend(&text, "needs  weights ", BytesText(memory.weights), " + kv ", BytesText(memory.kv),
            " (", KvTokensText(plan), ", ", KvTypes(plan), ") + activations ",
            BytesText(memory.activations), " = ", BytesText(memory.total()),
            plan.gpu.targets.empty() ? "" : " on the device", "\n", WindowsText(plan));
  StrAppend(&text, "wrote  ", EscapeForTerminal(flags.output), " (", BytesText(bytes),
            plan.data_bytes > 0 ? ", weights included"
                                : StrCat(", weights stay in ", EscapeForTerminal(flags.model)),
            ")  ", SecondsText(compilation.seconds.total), "\n");
  return text;
}

Json ToJson(const Flags& flags, const Compilation& compilation, const Digest& digest,
            uint64_t bytes) {
  const plan::Plan& plan = compilation.plan;
  const CompileSeconds& seconds = compilation.seconds;
  const FusionSummary fusion = SummarizeFusion(plan.passes, plan.ledger);
  // The cpu target's kernels are part of the program: none is compiled or cached.
  const size_t kernels = plan.gpu.targets.empty() ? plan.kernels.size() : plan.gpu.kernels.size();
  return {{"plan", flags.output},
          {"digest", digest.ToHex()},
          {"bytes", bytes},
          {"target", plan.target},
          {"targets",
           plan.gpu.targets.empty() ? std::vector<std::string>{plan.target} : TargetNames(plan)},
          {"kernels", kernels},
          {"compiled", compilation.kernels.compiled},
          {"cached", compilation.kernels.cached},
          {"one_block_per_sm", compilation.kernels.relaxed},
          {"steps", plan.steps.size()},
          {"fusion", FusionJson(fusion)},
          {"rejected", fusion.rejected.size()},
          {"key_bias", {{"apart", KeyBiasesApart(plan)}}},
          {"seconds",
           {{"read", seconds.read},
            {"passes", seconds.passes},
            {"digest", seconds.digest},
            {"lower", seconds.lower},
            {"kernels", seconds.kernels},
            {"total", seconds.total}}},
          {"memory",
           {{"weights", plan.memory.weights},
            {"kv", plan.memory.kv},
            {"activations", plan.memory.activations},
            {"total", plan.memory.total()}}}};
}

absl::Status Run(const Flags& flags) {
  using std::chrono::steady_clock;
  const auto start = steady_clock::now();
  RENGA_ASSIGN_OR_RETURN(CompileOptions options, flags.compile.Options());
  RENGA_ASSIGN_OR_RETURN(options.target, TargetOf(flags.targets));
  options.dump_dir = flags.dump_dir;
  options.threads = flags.threads;
  if (flags.threads < 0 || flags.threads > 1024) {
    return absl::InvalidArgumentError(
        StrCat("-j: expected 1..1024, or 0 for all cores, got ", flags.threads));
  }
  RENGA_RETURN_IF_ERROR(CheckInput(flags));
  Progress progress(StrCat("compiling ", flags.model));
  options.on_kernel = [&](int64_t done, int64_t total) { progress.Update(done, total); };
  options.on_cache_problem = [](std::string_view message) {
    std::fputs(StrCat("note: ", EscapeForTerminal(message), "\n").c_str(), stderr);
  };
  RENGA_ASSIGN_OR_RETURN(Compilation compilation, Compile(flags.model, options));
  RENGA_RETURN_IF_ERROR(CheckOutput(flags, compilation.plan));
  if (flags.require_fusion) {
    progress.Stop();
    RENGA_RETURN_IF_ERROR(RequireFusion(compilation.plan));
  }
  uint64_t bytes = 0;
  if (flags.embed_weights) {
    RENGA_ASSIGN_OR_RETURN(const auto file, EmbedWeights(&compilation.plan, flags.threads));
    bytes = file->bytes;
    RENGA_RETURN_IF_ERROR(WriteResult(flags.output, file->parts));
  } else {
    RENGA_ASSIGN_OR_RETURN(const std::string text, plan::Serialize(compilation.plan));
    bytes = text.size();
    RENGA_RETURN_IF_ERROR(WriteResult(flags.output, std::string_view(text)));
  }
  RENGA_ASSIGN_OR_RETURN(const Digest digest, DigestOfPlan(compilation.plan));
  progress.Stop();
  compilation.seconds.total = std::chrono::duration<double>(steady_clock::now() - start).count();
  return WriteStdout(flags.json ? JsonText(ToJson(flags, compilation, digest, bytes))
                                : Text(flags, compilation, bytes));
}

RunFn Add(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  app.add_option("-m,--model,MODEL", flags->model, "a GGUF; of a split one the first part")
      ->required();
  app.add_option("-o,--output", flags->output, "the plan to write, all or nothing")->required();
  app.add_option("--target", flags->targets,
                 "what the plan runs on: cpu (default), or a GPU: sm_80, sm_86, sm_89, sm_90a, "
                 "sm_100a, sm_120a; several GPUs share a plan")
      ->allow_extra_args(false);
  AddCompileFlags(app, &flags->compile);
  app.add_flag("--embed-weights", flags->embed_weights,
               "put the weights into the plan, as the target reads them; the GGUF is then not "
               "needed to run");
  app.add_option("--dump-dir", flags->dump_dir,
                 "write the graph after every pass into this folder, for GPUs kernels and "
                 "logs too");
  app.add_flag("--require-fusion", flags->require_fusion,
               "exit 1 and write nothing where a fusion was rejected or left out, naming each");
  app.add_option("-j,--threads", flags->threads, "threads (default: all cores)");
  app.add_flag(
      "--json", flags->json,
      "one JSON object: plan, digest, target, kernels, compiled, cached, fusion, rejected, "
      "seconds, memory");
  return [flags] { return Run(*flags); };
}

}  // namespace

const Command kCompileCommand = {
    .name = "compile",
    .summary = "makes a plan of a GGUF",
    .examples =
        "  renga compile model.gguf -o model.plan                 # then: renga run model.plan\n"
        "  renga compile model.gguf -o model.plan -c 8192 --dump-dir stages    # keep every graph\n"
        "  renga compile model.gguf -o model.plan --target sm_90a --target sm_80  # no GPU needed\n"
        "  renga compile model.gguf -o model.plan --require-fusion  # exit 1 unless all was fused",
    .add = Add,
};

}  // namespace renga
