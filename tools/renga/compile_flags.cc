#include "tools/renga/compile_flags.h"

#include "absl/strings/str_split.h"
#include "ir/base/status.h"
#include "tools/kv_type_flag.h"
#include "tools/renga/pass_names.h"

namespace renga {
absl::StatusOr<CompileOptions> CompileFlags::Options() const {
  CompileOptions options;
  if (context == kAutoContext) {
    return absl::InvalidArgumentError(
        "-c auto: the memory of the machine that will run the plan is not known here; give a "
        "number, or run the GGUF with -c auto");
  }
  if (context && *context < 1) {
    return absl::InvalidArgumentError(
        StrCat("-c: expected a number of tokens from 1 on, got ", *context));
  }
  options.context = context;
  if (max_sequences) options.max_sequences = *max_sequences;
  options.kv_tokens = kv_tokens;
  if (max_step_tokens) options.max_step_tokens = *max_step_tokens;
  options.max_rows = max_rows;
  if (!kv_type.empty()) RENGA_RETURN_IF_ERROR(ParseKvType(kv_type, &options));
  if (passes) {
    options.only_passes.emplace();
    for (const std::string& pass :
         std::vector<std::string>(absl::StrSplit(*passes, ',', absl::SkipEmpty()))) {
      RENGA_ASSIGN_OR_RETURN(options.only_passes->emplace_back(), PassNamed("--passes", pass));
    }
  }
  options.kernels = kernels;
  for (const std::string& pass : disabled_passes) {
    const size_t colon = pass.find(':');  // of a single node: "fuse-norm:3.attn_norm"
    RENGA_ASSIGN_OR_RETURN(std::string name, PassNamed("--disable-pass", pass.substr(0, colon)));
    if (colon == std::string::npos) {
      options.disabled_passes.push_back(std::move(name));
    } else {
      options.sites_off.push_back(name + pass.substr(colon));
    }
  }
  return options;
}

absl::Status CompileFlags::CheckForPlan(const std::string& plan) const {
  std::string flag;
  if (max_sequences) flag = "--max-seqs";
  if (kv_tokens) flag = "--kv-tokens";
  if (max_step_tokens) flag = "--max-step";
  if (max_rows) flag = "--max-rows";
  if (!kv_type.empty()) flag = "--kv-type";
  if (passes) flag = "--passes";
  if (!disabled_passes.empty()) flag = "--disable-pass";
  if (!kernels.empty()) flag = "--kernel";
  if (flag.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      StrCat(flag, ": ", plan,
             " is compiled already; give the flag to `renga compile`, or name the GGUF"));
}

void AddCompileFlags(CLI::App& app, CompileFlags* flags) {
  const CLI::Validator auto_or_number(
      [](std::string& text) {
        if (text == "auto") text = StrCat(kAutoContext);
        return std::string();
      },
      "");
  app.add_option(
         "-c,--context", flags->context,
         "tokens a sequence can hold (default: the model's, at most 4096); auto: as many as "
         "the memory that is left can hold, where the model runs")
      ->transform(auto_or_number);
  app.add_option("--max-seqs", flags->max_sequences, "sequences at a time (default 1)");
  app.add_option(
      "--kv-tokens", flags->kv_tokens,
      "tokens that all sequences together can hold (default: -c times --max-seqs); where "
      "they run out, the youngest sequence waits");
  app.add_option("--max-step", flags->max_step_tokens,
                 "tokens of one step, all sequences together (default 128, on GPUs 1024; at least "
                 "--max-seqs)");
  app.add_option("--max-rows", flags->max_rows,
                 "rows of logits that one step may ask for (default: --max-seqs, at least 16)");
  app.add_option(
      "--kv-type", flags->kv_type,
      "element types of the KV cache: k=f16,v=f16 (f32, f16, bf16, q8_0, q4_0, f8_e4m3), of "
      "some layers others: k=q8_0,v=q8_0,0-1:f16");
  app.add_option("--passes", flags->passes,
                 "run these passes only, separated by commas; \"\" runs none");
  app.add_option("--disable-pass", flags->disabled_passes,
                 "leave this pass out, or PASS:NODE: what it would do there alone; may be repeated")
      ->allow_extra_args(false);
  app.add_option(
         "--kernel", flags->kernels,
         "NODE=KERNEL: what computes a node that several kernels can (dump --stage ledger --json), "
         "*=KERNEL all of them; may be repeated")
      ->allow_extra_args(false);
}

}  // namespace renga
