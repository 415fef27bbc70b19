#include "codegen/nvrtc/build.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "ir/base/status.h"

namespace renga::codegen {
namespace {

constexpr int kMaxJobs = 8;  // beyond, NVRTC's memory (20 MB a thread) buys little time

// More names than this say nothing more.
constexpr size_t kMaxNamedFailures = 20;

// A distinct kernel: the first request that asks for it, and what came of it.
struct Job {
  const KernelRequest* request;
  Digest key;
  std::shared_ptr<const KernelBinary> binary;
  absl::Status status;
  bool cached = false, relaxed = false;
  bool done = false;
};

bool NeedsStack(const KernelBinary& binary, std::string_view name) {
  const absl::StatusOr<CubinInfo> info = ReadCubin(binary.cubin);
  const KernelResources* kernel = info.ok() ? info->Find(name) : nullptr;
  return kernel != nullptr && kernel->stack_bytes > 0;
}

bool IsOfOneKernel(const absl::Status& status) {
  return status.code() == absl::StatusCode::kInvalidArgument ||
         status.code() == absl::StatusCode::kDataLoss;
}

class Builder {
 public:
  Builder(const NvrtcLibrary& library, const BuildOptions& options)
      : library_(library), options_(options) {}

  // Runs until all jobs are done or one ends the build.
  void Run(std::vector<Job>* jobs) {
    jobs_ = jobs;
    int threads = options_.jobs;
    if (threads <= 0) {
      threads = std::min(kMaxJobs, static_cast<int>(std::thread::hardware_concurrency()));
    }
    threads = std::clamp(threads, 1, std::max(1, static_cast<int>(jobs->size())));
    std::vector<std::thread> others;
    for (int i = 1; i < threads; ++i) others.emplace_back([this] { Work(); });
    Work();
    for (std::thread& thread : others) thread.join();
  }
  bool stopped() const { return stopped_; }

 private:
  void Work() {
    while (!ended_) {
      const size_t index = next_.fetch_add(1);
      if (index >= jobs_->size()) return;
      if (options_.should_stop && options_.should_stop()) {
        stopped_ = ended_ = true;
        return;
      }
      Job& job = (*jobs_)[index];
      job.status = Build(&job);
      if (!job.status.ok() && !IsOfOneKernel(job.status)) ended_ = true;
      job.done = true;
      const std::lock_guard lock(mutex_);
      ++done_;
      if (options_.on_progress && job.status.ok()) {
        options_.on_progress(
            {done_, static_cast<int64_t>(jobs_->size()), job.request->source.name, job.cached});
      }
    }
  }

  absl::Status Build(Job* job) {
    const KernelSource& source = job->request->source;
    job->cached = true;
    RENGA_ASSIGN_OR_RETURN(job->binary, Get(source, job->key, job));
    if (options_.settings.allow_stack || source.relaxed.empty() ||
        !NeedsStack(*job->binary, source.name)) {
      return absl::OkStatus();
    }
    KernelSource relaxed = source;
    relaxed.text = source.relaxed;
    const Digest key =
        KernelKey(library_.identity(), relaxed, *job->request->target, options_.settings);
    RENGA_ASSIGN_OR_RETURN(job->binary, Get(relaxed, key, job));
    job->relaxed = true;
    return absl::OkStatus();
  }

  // From the cache, or compiled; the job is not cached where something is compiled for it.
  absl::StatusOr<std::shared_ptr<const KernelBinary>> Get(const KernelSource& source,
                                                          const Digest& key, Job* job) {
    if (options_.cache != nullptr) {
      if (auto found = options_.cache->Find(key)) {
        // Whole as written, but what was written may have been no cubin: then as if not found.
        if (ReadCubin(found->cubin).ok()) {
          return std::make_shared<const KernelBinary>(*std::move(found));
        }
      }
    }
    job->cached = false;
    RENGA_ASSIGN_OR_RETURN(
        KernelBinary binary,
        CompileKernel(library_, source, *job->request->target, options_.settings));
    if (options_.cache != nullptr) options_.cache->Store(key, binary);
    return std::make_shared<const KernelBinary>(std::move(binary));
  }

  const NvrtcLibrary& library_;
  const BuildOptions& options_;
  std::vector<Job>* jobs_ = nullptr;
  std::atomic<size_t> next_ = 0;
  std::atomic<bool> ended_ = false, stopped_ = false;
  std::mutex mutex_;
  int64_t done_ = 0;  // guarded by mutex_
};

// The first failing request's error, and the names of the rest.
absl::Status AllFailures(const std::vector<std::pair<std::string, absl::Status>>& failures) {
  const absl::Status& first = failures[0].second;
  std::vector<std::string> others;
  for (size_t i = 1; i < failures.size(); ++i) {
    const std::string& name = failures[i].first;
    if (name != failures[0].first &&
        std::find(others.begin(), others.end(), name) == others.end()) {
      others.push_back(name);
    }
  }
  if (others.empty()) return first;
  const size_t count = others.size();
  if (count > kMaxNamedFailures) {
    others.resize(kMaxNamedFailures);
    others.push_back("...");
  }
  return absl::Status(first.code(), StrCat(first.message(), "\n", count,
                                           count == 1 ? " other kernel" : " other kernels",
                                           " failed too: ", StrJoin(others, ", ")));
}

}  // namespace

absl::StatusOr<KernelBuild> BuildKernels(const NvrtcLibrary& library,
                                         absl::Span<const KernelRequest> requests,
                                         const BuildOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<Job> jobs;
  std::vector<size_t> job_of;  // a request
  std::map<std::pair<uint64_t, uint64_t>, size_t> known;
  KernelBuild build;
  for (const KernelRequest& request : requests) {
    const Digest key =
        KernelKey(library.identity(), request.source, *request.target, options.settings);
    const auto [at, is_new] = known.emplace(std::pair(key.high, key.low), jobs.size());
    if (is_new) {
      jobs.push_back({&request, key});
    } else {
      ++build.shared;
    }
    job_of.push_back(at->second);
  }
  Builder builder(library, options);
  builder.Run(&jobs);
  if (builder.stopped()) return absl::CancelledError("nvrtc: interrupted");

  // A kernel is held against the limits for every request: the same source may be launched with
  // different sizes.
  std::vector<std::pair<std::string, absl::Status>> failures;
  for (size_t i = 0; i < requests.size(); ++i) {
    const Job& job = jobs[job_of[i]];
    if (!job.done) continue;  // the build was ended by another one's error
    absl::Status status = job.status;
    if (status.ok()) {
      absl::StatusOr<KernelReport> report =
          CheckKernel(requests[i].source, *requests[i].target, options.settings, *job.binary);
      if (report.ok()) build.kernels.push_back({job.binary, job.relaxed, *std::move(report)});
      status = report.status();
    }
    if (!status.ok()) {
      if (!IsOfOneKernel(status)) return status;
      failures.emplace_back(StrCat(requests[i].source.name, " for ", requests[i].target->name),
                            status);
    }
  }
  if (!failures.empty()) return AllFailures(failures);
  for (const Job& job : jobs) {
    ++(job.cached ? build.cached : build.compiled);
    build.relaxed += job.relaxed;
  }
  build.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return build;
}

}  // namespace renga::codegen
