#include "tools/open_model.h"

#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <system_error>
#include <thread>
#include <utility>

#include "codegen/lower/recompile.h"
#include "codegen/nvrtc/target.h"
#include "ir/base/digest.h"
#include "ir/base/mapped_file.h"
#include "ir/base/output_file.h"
#include "ir/base/status.h"
#include "runtime/device/cuda/plan_code.h"
#include "runtime/exec/cpu_runner.h"
#include "runtime/exec/cpu_timeline.h"
#include "runtime/exec/sequence_forward.h"
#include "runtime/exec/timeline_runner.h"
#include "runtime/memory/weights.h"
#include "runtime/plan/serialize.h"
#include "tools/auto_context.h"
#include "tools/cache_folder.h"
#include "tools/cuda_device.h"
#include "tools/given_steps.h"
#include "tools/nvrtc.h"
#include "tools/open_on_cuda.h"
#include "tools/own_file.h"
#include "tools/reference_runner.h"
#include "tools/step_watch.h"

namespace renga {
namespace {

// Identifies this build, so that a cached plan of another version is never used. (Of a program that
// has loaded Renga as a shared library, that library counts.)
std::string ProgramIdentity() {
  const auto self = MappedFile::Open(OwnFile());
  return self.ok() ? DigestOf(self->bytes()).ToHex() : "unknown";
}

// Path, size and time of the file and everything that shapes the plan; the weights' digests are
// checked when the plan is used.
std::string CacheKey(const std::string& model, const CompileOptions& options) {
  struct stat info;
  if (stat(model.c_str(), &info) != 0) return "";
  std::error_code error;
  const std::string absolute = std::filesystem::absolute(model, error).string();
  return DigestOf(StrCat(absolute, "\n", info.st_size, "\n", info.st_mtim.tv_sec, ".",
                         info.st_mtim.tv_nsec, "\n", Describe(options), "\n", ProgramIdentity()))
      .ToHex();
}

// The plan caches of many models must not fill a disk: the oldest files beyond this many go.
constexpr size_t kMaxCachedPlans = 64;

void TrimCache(const std::string& folder) {
  std::error_code error;
  std::vector<std::pair<std::filesystem::file_time_type, std::filesystem::path>> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".plan") {
      files.emplace_back(entry.last_write_time(error), entry.path());
    }
  }
  if (files.size() <= kMaxCachedPlans) return;
  std::sort(files.begin(), files.end());
  for (size_t i = 0; i + kMaxCachedPlans < files.size(); ++i) {
    std::filesystem::remove(files[i].second, error);
  }
}

void StoreInCache(const std::string& folder, const std::string& path, const plan::Plan& plan) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  const auto bytes = plan::Serialize(plan);
  if (!bytes.ok()) return;
  if (WriteFileAtomically(path, {std::string_view(*bytes)}).ok()) TrimCache(folder);
}

// A plan in the cache that does not load, or whose weights changed, is simply compiled again.
absl::StatusOr<OpenedPlan> FromCache(const std::string& path) {
  RENGA_ASSIGN_OR_RETURN(plan::Plan cached, plan::LoadPlan(path));
  return OpenedPlan{std::make_shared<const plan::Plan>(std::move(cached)), PlanOrigin::kCached,
                    path};
}

absl::StatusOr<OpenedPlan> CompilePlan(const std::string& model, const CompileOptions& options,
                                       const std::string& cache_path) {
  RENGA_ASSIGN_OR_RETURN(Compilation compilation, Compile(model, options));
  OpenedPlan opened;
  opened.plan = std::make_shared<const plan::Plan>(std::move(compilation.plan));
  opened.origin = PlanOrigin::kCompiled;
  if (!cache_path.empty()) {
    StoreInCache(PlanCacheFolder(), cache_path, *opened.plan);
    opened.path = cache_path;
  }
  return opened;
}

CompileOptions EffectiveOptions(const OpenOptions& options) {
  CompileOptions compile = options.compile;
  if (options.device == "reference" && !options.kv_type_given) {
    compile.k_type = compile.v_type = DType::kF32;
  }
  return compile;
}

std::string CachePath(const std::string& model, const CompileOptions& compile, bool use_cache) {
  const std::string folder = PlanCacheFolder();
  if (!use_cache || folder.empty()) return "";
  const std::string key = CacheKey(model, compile);
  return key.empty() ? "" : StrCat(folder, "/", key, ".plan");
}

// Where a model runs, and what people are told about that.
struct Device {
  enum Kind { kCpu, kReference, kCuda } kind = kCpu;
  CudaDevice cuda;   // of kCuda
  std::string note;  // why not another
};

std::unique_ptr<StepRunner> Noted(std::unique_ptr<StepRunner> runner, Timeline* timeline) {
  if (timeline == nullptr) return runner;
  return std::make_unique<TimelineRunner>(std::move(runner), timeline);
}

absl::StatusOr<std::unique_ptr<StepRunner>> OpenRunner(const OpenedPlan& opened,
                                                       const Device& device, int threads,
                                                       const OpenOptions& open,
                                                       std::optional<int64_t>* kernels_compiled) {
  if (open.timeline != nullptr && (open.check || device.kind == Device::kReference)) {
    return absl::InvalidArgumentError(
        "--timeline: of the cpu and of GPUs, without --check; leave out what does not go with it");
  }
  if (device.kind == Device::kReference) {
    WeightOptions options;
    options.plan_path = opened.path;
    options.threads = threads;
    options.packed = false;
    options.progress = open.progress;
    RENGA_ASSIGN_OR_RETURN(WeightStore store, WeightStore::Open(*opened.plan, options));
    Observer observer;
    if (open.check) {
      RENGA_ASSIGN_OR_RETURN(observer, WatchInterpreter(opened.plan->ir));
    }
    return OpenReference(opened.plan, std::make_shared<const WeightStore>(std::move(store)),
                         threads, std::move(observer));
  }
  if (device.kind == Device::kCuda) {
    RENGA_ASSIGN_OR_RETURN(std::unique_ptr<StepRunner> runner,
                           OpenOnCuda(opened, device.cuda, threads, open, kernels_compiled));
    return Noted(std::move(runner), open.timeline);
  }
  ExecutorOptions options;
  options.plan_path = opened.path;
  options.threads = threads;
  options.progress = open.progress;
  RENGA_ASSIGN_OR_RETURN(std::unique_ptr<CpuRunner> runner,
                         CpuRunner::Create(opened.plan, options));
  if (open.check) {
    RENGA_ASSIGN_OR_RETURN(
        StepHooks hooks,
        StepWatch::Hooks(
            std::make_shared<CpuMemory>(runner->executor()),
            {.plan_path = opened.path, .folder = open.check_folder, .threads = threads}));
    runner->executor().SetHooks(std::move(hooks));
  }
  if (open.timeline != nullptr) NoteSteps(&runner->executor(), open.timeline);
  return Noted(std::move(runner), open.timeline);
}

// Why a plan for GPUs does not run here, and what does.
absl::Status NotHere(const std::string& path, const plan::Plan& plan, std::string_view reason) {
  const std::string gguf = plan.files.empty() ? "MODEL.gguf" : plan.files[0].path;
  return absl::UnavailableError(
      StrCat(path, ": compiled for ", plan.target, ", which needs such a GPU; ", reason,
             "\n  run  renga run ", gguf, "                  (on the cpu)\n  or   renga compile ",
             gguf, " --target cpu -o X.plan\n  or   renga run ", path,
             " --device reference   (the plan's graph, slowly)"));
}

// `opened`, with code for the GPU, and how many kernels NVRTC compiled for that.
absl::Status RecompileHere(const CudaDevice& cuda, int threads, OpenedPlan* opened,
                           std::optional<int64_t>* compiled) {
  RENGA_ASSIGN_OR_RETURN(const codegen::GpuTarget* target, codegen::FindGpuTarget(cuda.target));
  RENGA_RETURN_IF_ERROR(Annotate(codegen::CheckLaunchesFit(*opened->plan, *target), opened->path));
  RENGA_ASSIGN_OR_RETURN(const auto nvrtc, LoadNvrtc());
  codegen::CubinCache cache({.folder = CubinCacheFolder()});
  codegen::BuildOptions build;
  build.jobs = threads;
  build.cache = &cache;
  plan::Plan plan = *opened->plan;
  RENGA_ASSIGN_OR_RETURN(const codegen::PlanKernels kernels,
                         codegen::RecompilePlan(*nvrtc, build, *target, &plan));
  *compiled = kernels.compiled;
  opened->plan = std::make_shared<const plan::Plan>(std::move(plan));
  return absl::OkStatus();
}

// A GPU as the flag asks for it. `auto` takes none where that is not possible at all.
absl::StatusOr<CudaDevice> FindCuda(const std::string& device) {
  if (device == "auto") return OpenCuda(0);
  RENGA_ASSIGN_OR_RETURN(const int ordinal, CudaOrdinal(device));
  return OpenCuda(ordinal);
}

// The device for what `model` is: `plan` where it is a plan, else null.
absl::StatusOr<Device> ChooseDevice(const std::string& model, const plan::Plan* plan,
                                    const OpenOptions& options) {
  Device device;
  if (options.device == "reference") {
    device.kind = Device::kReference;
    return device;
  }
  const bool wants_cpu = options.device == "cpu", is_auto = options.device == "auto";
  const bool gpu_plan = plan != nullptr && !plan->gpu.targets.empty();
  if (plan != nullptr && !gpu_plan) {
    if (wants_cpu || is_auto) return device;
    RENGA_RETURN_IF_ERROR(CudaOrdinal(options.device).status());
    return absl::InvalidArgumentError(
        StrCat("--device ", options.device, ": ", model, " was compiled for ", plan->target,
               "; compile it with --target for the GPU (renga devices names it)"));
  }
  if (wants_cpu) {
    return gpu_plan ? absl::StatusOr<Device>(NotHere(model, *plan, "--device cpu is none"))
                    : device;
  }
  absl::StatusOr<CudaDevice> cuda = FindCuda(options.device);
  if (gpu_plan) {
    if (absl::IsUnavailable(cuda.status())) {
      return NotHere(model, *plan, Reason(cuda.status()));
    }
  } else if (cuda.ok()) {
    // Compiling takes NVRTC.
    if (const absl::Status nvrtc = LoadNvrtc().status(); !nvrtc.ok()) cuda = nvrtc;
  }
  if (cuda.ok()) {
    device.kind = Device::kCuda;
    device.cuda = *std::move(cuda);
    return device;
  }
  if (!is_auto || gpu_plan) return cuda.status();
  device.note = StrCat(" (cuda: ", BriefReason(cuda.status()), ")");
  return device;
}

absl::StatusOr<int64_t> ContextThatFits(const std::string& gguf, const Device& device,
                                        const OpenOptions& options) {
  uint64_t free_bytes = 0;
  if (device.kind == Device::kCuda) {
    RENGA_ASSIGN_OR_RETURN(free_bytes, device.cuda.context->FreeBytes());
  } else {
    RENGA_ASSIGN_OR_RETURN(free_bytes, FreeHostBytes());
  }
  return AutoContext(gguf, EffectiveOptions(options), free_bytes);
}

}  // namespace

std::string PlanCacheFolder() { return CacheFolder("plans"); }

absl::StatusOr<bool> IsPlan(const std::string& path) {
  RENGA_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  return plan::IsPlanFile(file.bytes());
}

absl::StatusOr<OpenedPlan> OpenPlan(const std::string& model, const OpenOptions& options) {
  RENGA_ASSIGN_OR_RETURN(const bool is_plan, IsPlan(model));
  if (is_plan) {
    RENGA_ASSIGN_OR_RETURN(plan::Plan loaded, plan::LoadPlan(model));
    return OpenedPlan{std::make_shared<const plan::Plan>(std::move(loaded)), PlanOrigin::kFile,
                      model};
  }
  const CompileOptions compile = EffectiveOptions(options);
  const std::string cache_path = CachePath(model, compile, options.use_cache);
  if (!cache_path.empty()) {
    if (auto cached = FromCache(cache_path); cached.ok()) return cached;
  }
  return CompilePlan(model, compile, cache_path);
}

absl::StatusOr<RunnableModel> OpenToRun(const std::string& model, const OpenOptions& given) {
  const auto start = std::chrono::steady_clock::now();
  const int threads = given.threads > 0
                          ? given.threads
                          : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  RunnableModel opened;
  OpenOptions options = given;
  RENGA_ASSIGN_OR_RETURN(const bool is_plan, IsPlan(model));
  if (is_plan) {
    RENGA_ASSIGN_OR_RETURN(opened.plan, OpenPlan(model, options));
  }
  RENGA_ASSIGN_OR_RETURN(Device device,
                         ChooseDevice(model, is_plan ? opened.plan.plan.get() : nullptr, options));
  if (!is_plan) {
    if (device.kind == Device::kCuda) options.compile.target = device.cuda.target;
    if (options.auto_context) {
      RENGA_ASSIGN_OR_RETURN(options.compile.context, ContextThatFits(model, device, options));
    }
    absl::StatusOr<OpenedPlan> plan = OpenPlan(model, options);
    if (device.kind == Device::kCuda && given.device == "auto" &&
        absl::IsUnimplemented(plan.status())) {
      // The model has something that has no kernel for GPUs; the cpu has all.
      device = {.note = StrCat(" (cuda: ", Reason(plan.status()), ")")};
      options.compile.target = given.compile.target;
      plan = OpenPlan(model, options);
    }
    RENGA_RETURN_IF_ERROR(plan.status());
    opened.plan = *std::move(plan);
  }
  if (device.kind == Device::kCuda && is_plan && options.recompile &&
      !cuda::HasCodeFor(*opened.plan.plan, device.cuda.context->gpu().sm)) {
    RENGA_RETURN_IF_ERROR(
        RecompileHere(device.cuda, threads, &opened.plan, &opened.kernels_compiled));
    if (options.given != nullptr) options.given->recompiled = true;
  }
  auto runner = OpenRunner(opened.plan, device, threads, options, &opened.kernels_compiled);
  if (opened.plan.origin == PlanOrigin::kCached &&
      (absl::IsFailedPrecondition(runner.status()) || absl::IsNotFound(runner.status()))) {
    // The file changed under the cached plan, which is nobody's fault: compile again. Any other
    // error would only come back.
    const CompileOptions compile = EffectiveOptions(options);
    RENGA_ASSIGN_OR_RETURN(opened.plan,
                           CompilePlan(model, compile, CachePath(model, compile, true)));
    runner = OpenRunner(opened.plan, device, threads, options, &opened.kernels_compiled);
  }
  RENGA_RETURN_IF_ERROR(runner.status());
  opened.runner = *std::move(runner);
  RENGA_ASSIGN_OR_RETURN(opened.tokenizer, Tokenizer::Create(opened.plan.plan->tokenizer));
  if (device.kind == Device::kReference) {
    opened.device_note = StrCat("reference interpreter, ", threads, " threads");
  } else if (device.kind == Device::kCuda) {
    opened.device_note = device.cuda.name;
  } else {
    opened.device_note =
        StrCat("cpu, ", threads, threads == 1 ? " thread" : " threads", device.note);
  }
  if (options.auto_context) {
    StrAppend(&opened.device_note, ", context of ", opened.plan.plan->geometry.context, " tokens");
  }
  opened.load_seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return opened;
}

absl::StatusOr<OpenedModel> OpenModel(const std::string& model, const OpenOptions& options) {
  RENGA_ASSIGN_OR_RETURN(RunnableModel opened, OpenToRun(model, options));
  OpenedModel one;
  static_cast<ModelFacts&>(one) = std::move(opened);
  one.forward = std::make_unique<SequenceForward>(std::move(opened.runner));
  return one;
}

}  // namespace renga
