// From what a user names (a GGUF or a plan) to something that runs.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "runtime/exec/forward.h"
#include "runtime/exec/step_runner.h"
#include "runtime/exec/timeline.h"
#include "runtime/plan/plan.h"
#include "runtime/text/tokenizer.h"
#include "tools/compiler.h"

namespace renga {

struct GivenSteps;

// Bytes of weights loaded, and all of them.
using LoadProgress = std::function<void(int64_t done, int64_t total)>;

struct OpenOptions {
  CompileOptions compile;       // for a GGUF; a plan is what it is
  bool auto_context = false;    // compile.context is what fits (auto_context.h); of no plan
  bool kv_type_given = false;   // else the device chooses: f16 on cpu, f32 on reference
  std::string device = "auto";  // auto, cpu, cuda[:N], reference
  int threads = 0;              // 0: all cores
  bool use_cache = true;        // compiled plans under $XDG_CACHE_HOME/renga/plans
  bool check_steps = false;     // see CudaOptions
  bool paranoid = false;        // likewise; elsewhere digests are of the bytes in use anyway
  // Every value is looked at, and NaN, infinity and outputs that a step left unwritten end the run
  // (tools/step_watch.h). On a GPU steps are then waited for as with check_steps.
  bool check = false;
  std::string check_folder;  // where what was found is kept; empty: nowhere
  // On a GPU with check or check_steps, where there is one: it has what a step that fails there was
  // given (tools/given_steps.h).
  GivenSteps* given = nullptr;
  double patience_seconds = 60;  // see CudaOptions
  // Of a plan for other GPUs: its kernels are compiled here from their sources. The file stays as
  // it is.
  bool recompile = false;
  // Where there is one, it has what the device does, and the calls that say so. Not on reference.
  Timeline* timeline = nullptr;
  LoadProgress progress;  // from one thread at a time
};

// How a plan came about.
enum class PlanOrigin { kFile, kCached, kCompiled };

struct OpenedPlan {
  std::shared_ptr<const plan::Plan> plan;
  PlanOrigin origin = PlanOrigin::kFile;
  std::string path;  // of the plan file; empty when it was compiled and could not be cached
};

struct ModelFacts {
  OpenedPlan plan;
  std::unique_ptr<Tokenizer> tokenizer;
  std::string device_note;  // "cpu, 2 threads, avx2" and why not another, for people
  // On a GPU: kernels that this machine compiled because the plan had no code for the GPU.
  std::optional<int64_t> kernels_compiled;
  double load_seconds = 0;  // everything from opening the file to being ready for tokens
};

// For many sequences.
struct RunnableModel : ModelFacts {
  std::unique_ptr<StepRunner> runner;
};

// For one.
struct OpenedModel : ModelFacts {
  std::unique_ptr<Forward> forward;
};

// True when the file at `path` is a plan. Errors as MappedFile::Open.
absl::StatusOr<bool> IsPlan(const std::string& path);

// The plan of `model`: read from it, found in the cache, or compiled (and then cached; a cache that
// cannot be written is no error).
absl::StatusOr<OpenedPlan> OpenPlan(const std::string& model, const OpenOptions& options);

// Unavailable when the machine has no such device.
absl::StatusOr<RunnableModel> OpenToRun(const std::string& model, const OpenOptions& options);
absl::StatusOr<OpenedModel> OpenModel(const std::string& model, const OpenOptions& options);

// The folder of the plan cache; empty when neither XDG_CACHE_HOME nor HOME is set.
std::string PlanCacheFolder();

}  // namespace renga
