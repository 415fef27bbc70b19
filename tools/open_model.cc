#include "tools/open_model.h"

#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <system_error>
#include <thread>
#include <utility>

#include "ir/base/digest.h"
#include "ir/base/mapped_file.h"
#include "ir/base/output_file.h"
#include "ir/base/status.h"
#include "runtime/exec/cpu_forward.h"
#include "runtime/memory/weights.h"
#include "runtime/plan/serialize.h"
#include "tools/cache_folder.h"
#include "tools/reference_forward.h"

namespace renga {
namespace {

// Identifies this build, so that a cached plan of another version is never used.
std::string ProgramIdentity() {
  const auto self = MappedFile::Open("/proc/self/exe");
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

absl::StatusOr<std::unique_ptr<Forward>> OpenForward(const OpenedPlan& opened,
                                                     const std::string& device, int threads,
                                                     const LoadProgress& progress) {
  if (device == "reference") {
    WeightOptions options;
    options.plan_path = opened.path;
    options.threads = threads;
    options.packed = false;
    options.progress = progress;
    RENGA_ASSIGN_OR_RETURN(WeightStore store, WeightStore::Open(*opened.plan, options));
    return OpenReference(opened.plan, std::make_shared<const WeightStore>(std::move(store)),
                         threads);
  }
  ExecutorOptions options;
  options.plan_path = opened.path;
  options.threads = threads;
  options.progress = progress;
  RENGA_ASSIGN_OR_RETURN(std::unique_ptr<CpuForward> forward,
                         CpuForward::Create(opened.plan, options));
  return std::unique_ptr<Forward>(std::move(forward));
}

// Why a plan for GPUs does not run here, and what does.
absl::Status CheckRunsHere(const std::string& path, const plan::Plan& plan) {
  if (plan.gpu.targets.empty()) return absl::OkStatus();
  const std::string gguf = plan.files.empty() ? "MODEL.gguf" : plan.files[0].path;
  return absl::UnavailableError(
      StrCat(path, ": compiled for ", plan.target,
             ", which needs such a GPU; this version has no cuda device\n  run  renga run ", gguf,
             "                  (on the cpu)\n  or   renga compile ", gguf,
             " --target cpu -o X.plan\n  or   renga run ", path,
             " --device reference   (the plan's graph, slowly)"));
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

absl::StatusOr<OpenedModel> OpenModel(const std::string& model, const OpenOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  if (options.device.rfind("cuda", 0) == 0) {
    return absl::UnavailableError(
        StrCat("--device ", options.device, ": this version has no cuda device; use --device cpu"));
  }
  if (options.device != "auto" && options.device != "cpu" && options.device != "reference") {
    return absl::InvalidArgumentError(
        StrCat("--device: expected auto, cpu, cuda or reference, got ", options.device));
  }
  const int threads = options.threads > 0
                          ? options.threads
                          : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  OpenedModel opened;
  RENGA_ASSIGN_OR_RETURN(opened.plan, OpenPlan(model, options));
  if (options.device != "reference") RENGA_RETURN_IF_ERROR(CheckRunsHere(model, *opened.plan.plan));
  auto forward = OpenForward(opened.plan, options.device, threads, options.progress);
  if (opened.plan.origin == PlanOrigin::kCached &&
      (absl::IsFailedPrecondition(forward.status()) || absl::IsNotFound(forward.status()))) {
    // The file changed under the cached plan, which is nobody's fault: compile again. Any other
    // error would only come back.
    const CompileOptions compile = EffectiveOptions(options);
    RENGA_ASSIGN_OR_RETURN(opened.plan,
                           CompilePlan(model, compile, CachePath(model, compile, true)));
    forward = OpenForward(opened.plan, options.device, threads, options.progress);
  }
  RENGA_RETURN_IF_ERROR(forward.status());
  opened.forward = *std::move(forward);
  RENGA_ASSIGN_OR_RETURN(opened.tokenizer, Tokenizer::Create(opened.plan.plan->tokenizer));
  if (options.device == "reference") {
    opened.device_note = StrCat("reference interpreter, ", threads, " threads");
  } else {
    opened.device_note = StrCat("cpu, ", threads, threads == 1 ? " thread" : " threads");
    if (options.device == "auto") StrAppend(&opened.device_note, " (cuda: not in this version)");
  }
  opened.load_seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return opened;
}

}  // namespace renga
