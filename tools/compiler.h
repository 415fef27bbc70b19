// GGUF -> plan: the whole data flow of the compiler in one function.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "codegen/lower/build_kernels.h"
#include "frontend/models/model.h"
#include "ir/base/kv_types.h"
#include "passes/core/ledger.h"
#include "passes/core/pass.h"
#include "runtime/plan/plan.h"

namespace renga {

struct CompileOptions {
  std::string target = "cpu";  // or GPUs, separated by commas (codegen/nvrtc/target.h)
  std::optional<int64_t>
      context;  // tokens a sequence can hold; default: the model's, at most 4,096
  int64_t max_sequences = 1;
  std::optional<int64_t> kv_tokens;        // of all sequences together; default: each its context
  std::optional<int64_t> max_step_tokens;  // default: MaxStepTokens
  std::optional<int64_t> max_rows;         // of logits that a step may ask for; default: MaxRows
  int64_t page_tokens = 64;
  DType k_type = DType::kF16;
  DType v_type = DType::kF16;
  std::vector<KvTypesOfLayers> kv_of_layers;  // others than those two
  std::optional<std::vector<std::string>> only_passes;
  std::vector<std::string> disabled_passes;
  // Single rewrites that are left out (RunPassesOptions).
  std::vector<std::string> sites_off;
  bool sites_may_be_gone = false;
  // Which kernels compute nodes that several can, each "NODE=KERNEL"
  // (codegen/emit/kernel_requests.h).
  std::vector<std::string> kernels;
  bool kernels_may_be_gone = false;
  // Instead of the target's own; borrowed. The plan cache knows nothing of it (Describe), so it is
  // for those who call Compile themselves.
  absl::Span<const Pass> pipeline;
  std::string dump_dir;  // created if missing; empty: no dump
  int threads = 0;       // 0: all cores
  // Of a GPU plan: leaves its kernels as sources, which needs no NVRTC.
  bool only_lower = false;
  // Kernels done and in all, from the building threads. May be empty.
  std::function<void(int64_t done, int64_t total)> on_kernel;
  // Once, where compiled kernels cannot be kept. May be empty.
  std::function<void(std::string_view message)> on_cache_problem;
};

// Tokens that a step may take: as given, else what keeps the device busy, and one of every
// sequence.
int64_t MaxStepTokens(const CompileOptions& options);

// Rows of logits that a step may ask for: as given, else enough for every sequence and for a few
// tokens to be looked at together. The logits of all tokens of a step would be most of its memory.
int64_t MaxRows(const CompileOptions& options);

// What the frontend is told. Errors as DefaultContext.
absl::StatusOr<GraphOptions> GraphOptionsOf(const GgufFile& file, const CompileOptions& options);

// The graph as text at one point of the pipeline.
struct StageText {
  std::string name;  // "frontend", then each pass
  std::string ir;
};

struct CompileSeconds {
  double read = 0;  // container and graph
  double passes = 0;
  double digest = 0;  // of the weights
  double lower = 0;
  double kernels = 0;  // NVRTC and the cache
  double total = 0;
};

struct Compilation {
  plan::Plan plan;
  std::vector<StageText> stages;
  CompileSeconds seconds;
  codegen::PlanKernels kernels;  // of a GPU plan
};

// Compiles the model in `gguf` (its first part, where it is split). For GPUs that takes NVRTC
// (tools/nvrtc.h): Unavailable without, saying how to get it.
absl::StatusOr<Compilation> Compile(const std::string& gguf, const CompileOptions& options);

// A ledger's choices as a plan holds them.
std::vector<plan::Choice> PlanChoices(std::vector<Choice> choices);

// Everything about the options that changes the plan, as text: part of the plan cache's key.
std::string Describe(const CompileOptions& options);

}  // namespace renga
