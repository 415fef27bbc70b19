#include "tools/renga/model_flags.h"

#include <cstdio>

#include "ir/base/status.h"
#include "tools/renga/errors.h"
#include "tools/renga/failed_step.h"
#include "tools/renga/text.h"

namespace renga {

absl::StatusOr<OpenOptions> ModelFlags::Options() const {
  if (threads < 0 || threads > 1024) {
    return absl::InvalidArgumentError(
        StrCat("--threads: expected 1..1024, or 0 for all cores, got ", threads));
  }
  OpenOptions options;
  RENGA_ASSIGN_OR_RETURN(const bool is_plan, IsPlan(model));
  CompileFlags flags = compile;
  options.auto_context = compile.context == kAutoContext && !is_plan;
  if (compile.context == kAutoContext) flags.context.reset();  // a plan is what it is
  RENGA_ASSIGN_OR_RETURN(options.compile, flags.Options());
  if (is_plan) RENGA_RETURN_IF_ERROR(compile.CheckForPlan(model));
  options.kv_type_given = !compile.kv_type.empty();
  options.compile.threads = threads;
  options.device = device;
  options.threads = threads;
  options.use_cache = !no_cache;
  options.check_steps = check_steps;
  options.check = check;
  options.check_folder = repro;
  if (!repro.empty() && !check && !check_steps) {
    return absl::InvalidArgumentError(
        StrCat("--repro ", repro, ": expected --check or --check-steps, whose finds it keeps"));
  }
  if (!repro.empty()) options.given = given.get();
  options.paranoid = paranoid;
  options.recompile = recompile;
  return options;
}

absl::Status ModelFlags::CheckedAnswer(const absl::Status& status) const {
  if (given->failed_step >= 0 && absl::IsUnavailable(status)) {
    return WithKeptStep(status, *given, repro, threads);
  }
  if (!check || !absl::IsDataLoss(status)) return status;
  fprintf(stderr, "check: %s\n", EscapeForTerminal(ToStd(status.message())).c_str());
  return AnswerIsNo();
}

absl::StatusOr<int64_t> ModelFlags::Context(const plan::Plan& plan) const {
  const int64_t has = plan.geometry.context;
  if (compile.context == kAutoContext) return has;
  const int64_t wants = compile.context.value_or(has);
  if (wants >= 1 && wants <= has) return wants;
  return absl::InvalidArgumentError(StrCat("-c: expected 1..", has, ", the context that ", model,
                                           " was compiled for, got ", wants,
                                           "; compile it again with -c"));
}

void AddModelArgument(CLI::App& app, std::string* model) {
  app.add_option("-m,--model,MODEL", *model, "a GGUF (first part of a split one) or a plan")
      ->required();
}

void AddModelFlags(CLI::App& app, ModelFlags* flags) {
  AddModelArgument(app, &flags->model);
  AddCompileFlags(app, &flags->compile);
  app.add_flag("--no-cache", flags->no_cache, "compile anew, and keep no plan in the cache");
}

void AddDeviceFlags(CLI::App& app, ModelFlags* flags) {
  app.add_option("--device", flags->device, "auto, cpu, cuda[:N] or reference (default auto)");
  app.add_option("-t,--threads", flags->threads, "compute threads (default: all cores)");
  app.add_flag("--check-steps", flags->check_steps,
               "on a GPU: wait for every step, so that one that fails or hangs is named; slow");
  app.add_flag("--paranoid", flags->paranoid,
               "on a GPU: read the weights back from it and check them; slow. Other devices check "
               "the bytes that they use in any case");
  app.add_flag("--recompile", flags->recompile,
               "on a GPU that the plan has no code for: compile its kernels here, from the sources "
               "in it, by NVRTC; the plan's file stays as it is");
}

void AddCheckFlags(CLI::App& app, ModelFlags* flags) {
  app.add_flag(
      "--check", flags->check,
      "look at every value, on every device: the first NaN, infinity or element that a step "
      "leaves unwritten ends the run with exit code 1; a GPU's steps are waited for as with "
      "--check-steps, and their results copied");
  app.add_option("--repro", flags->repro,
                 "folder for the step with its inputs, as a program: what --check finds, or what "
                 "fails or hangs on a GPU under --check or --check-steps, which is then run again "
                 "by itself");
}

}  // namespace renga
