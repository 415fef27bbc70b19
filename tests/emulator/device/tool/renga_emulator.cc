// renga_emulator run MODEL -p TEXT -n N: generates greedily with a GPU's kernels on this machine's
// processor, every access watched. For whoever looks for what is wrong with a plan and has no GPU.
#include <cstdio>
#include <map>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "ir/base/status.h"
#include "runtime/exec/generate.h"
#include "runtime/plan/serialize.h"
#include "runtime/text/tokenizer.h"
#include "tests/emulator/device/emulator_forward.h"
#include "tests/emulator/device/plan_kernels.h"
#include "tests/emulator/device/step_reference.h"
#include "tools/compiler.h"
#include "tools/open_model.h"

namespace renga::emulator {
namespace {

struct Flags {
  std::string model, prompt, target = "sm_90a", headers = RENGA_SOURCE_DIR;
  int64_t tokens = 16, context = 256;
  Schedule schedule;
  bool arena = false, no_order = false, compare = false;
};

absl::StatusOr<std::shared_ptr<const plan::Plan>> ReadPlan(const Flags& flags) {
  RENGA_ASSIGN_OR_RETURN(const bool is_plan, IsPlan(flags.model));
  if (is_plan) {
    RENGA_ASSIGN_OR_RETURN(plan::Plan plan, plan::LoadPlan(flags.model));
    return std::make_shared<const plan::Plan>(std::move(plan));
  }
  renga::CompileOptions options;
  options.target = flags.target;
  options.context = flags.context;
  options.only_lower = true;
  RENGA_ASSIGN_OR_RETURN(Compilation compilation, Compile(flags.model, options));
  return std::make_shared<const plan::Plan>(std::move(compilation.plan));
}

absl::Status Run(const Flags& flags) {
  RENGA_ASSIGN_OR_RETURN(const auto plan, ReadPlan(flags));
  fprintf(stderr, "compiling %zu kernels for the emulator\n", plan->gpu.kernels.size());
  const plan::Plan* const plans[] = {plan.get()};
  RENGA_ASSIGN_OR_RETURN(auto kernels,
                         CompilePlans(plans, {.compiler = RENGA_CXX_COMPILER,
                                              .root = flags.headers,
                                              .cache_folder = RENGA_BINARY_DIR "/emulator_cache",
                                              .flags = {}}));
  DeviceOptions options;
  options.kernels.push_back(std::move(kernels));
  options.schedule = flags.schedule;
  options.check_order = !flags.no_order;
  options.placement = flags.arena ? Placement::kArena : Placement::kApart;
  options.plan_path = flags.model;
  RENGA_ASSIGN_OR_RETURN(const auto forward, EmulatorForward::Create(plan, options));
  std::unique_ptr<StepReference> reference;
  if (flags.compare) {
    RENGA_ASSIGN_OR_RETURN(reference, StepReference::Watch(*forward));
  }
  RENGA_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Create(plan->tokenizer));
  RENGA_ASSIGN_OR_RETURN(const std::vector<int32_t> prompt, tokenizer->Encode(flags.prompt));
  GenerateOptions generate;
  generate.max_tokens = flags.tokens;
  generate.sampling.temperature = 0;
  generate.on_token = [](const GeneratedToken& token) {
    fputs(token.text.c_str(), stdout);
    fflush(stdout);
  };
  RENGA_RETURN_IF_ERROR(Generate(*forward, *tokenizer, prompt, generate).status());
  fputs("\n", stdout);
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  CLI::App app("Plans for GPUs on the emulator.");
  app.require_subcommand(1);
  Flags flags;
  CLI::App* run = app.add_subcommand("run", "Generate text, greedily");
  run->add_option("model", flags.model, "Plan for a GPU, or a GGUF, which is lowered for --target")
      ->required();
  run->add_option("-p,--prompt", flags.prompt, "Prompt")->required();
  run->add_option("-n,--tokens", flags.tokens, "Tokens to generate")->check(CLI::Range(1, 1 << 20));
  run->add_option("-c,--context", flags.context, "Context of a GGUF's plan");
  run->add_option("--target", flags.target, "GPU that a GGUF is lowered for");
  run->add_option("--headers", flags.headers, "Repository whose codegen/kernels to use");
  const std::map<std::string, Schedule::Kind> kinds = {{"forward", Schedule::Kind::kForward},
                                                       {"reverse", Schedule::Kind::kReverse},
                                                       {"random", Schedule::Kind::kRandom},
                                                       {"skewed", Schedule::Kind::kSkewed}};
  run->add_option("--schedule", flags.schedule.kind, "Whose turn it is: forward, reverse, ...")
      ->transform(CLI::CheckedTransformer(kinds));
  run->add_option("--seed", flags.schedule.seed, "Of the schedules random and skewed");
  run->add_flag("--arena", flags.arena, "Activations at the plan's offsets, not each by itself");
  run->add_flag("--no-order", flags.no_order, "Do not look for races: faster");
  run->add_flag("--compare", flags.compare, "Compare every step with the reference interpreter");
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = Run(flags);
  if (status.ok()) return 0;
  fprintf(stderr, "renga_emulator: %s\n", std::string(status.message()).c_str());
  return 1;
}

}  // namespace
}  // namespace renga::emulator

int main(int argc, char** argv) { return renga::emulator::Main(argc, argv); }
