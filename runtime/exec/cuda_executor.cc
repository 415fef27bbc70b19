#include "runtime/exec/cuda_executor.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "ir/base/status.h"
#include "runtime/device/cuda/arena.h"
#include "runtime/device/cuda/tensor_map.h"
#include "runtime/exec/step_runner.h"
#include "runtime/plan/launch_text.h"
#include "runtime/plan/layout.h"

namespace renga {
namespace {

// The most recently used are kept: a new one costs a capture, not more.
constexpr size_t kMostGraphs = 256;

// Who waits for a run behind which another one waits has time: it looks so often in a run, and not
// at all the time unless that is less than the other.
constexpr double kLooksPerRun = 8, kShortestPause = 20e-6, kLongestPause = 1e-3;

// What L is told as in a graph: so few different values that a long text needs few graphs. A step
// gives the same for any number from the real one on (Launch, runtime/plan/gpu.h).
int64_t RoundedSpan(int64_t span, int64_t most) {
  constexpr int64_t kLeast = 64;
  return std::min<int64_t>(most,
                           std::max<int64_t>(kLeast, std::bit_ceil(static_cast<uint64_t>(span))));
}

cuda::LaunchShape DriverShape(const plan::LaunchShape& shape, bool overlaps_previous) {
  const auto size = [](int64_t value) { return static_cast<unsigned>(value); };
  return {.grid = {size(shape.grid[0]), size(shape.grid[1]), size(shape.grid[2])},
          .threads = size(shape.threads),
          .shared_bytes = size(shape.dynamic_shared),
          .overlaps_previous = overlaps_previous};
}

}  // namespace

absl::StatusOr<std::unique_ptr<CudaExecutor>> CudaExecutor::Create(
    std::shared_ptr<const plan::Plan> plan, cuda::ContextRef context, const CudaOptions& options) {
  std::unique_ptr<CudaExecutor> executor(
      new CudaExecutor(std::move(plan), std::move(context), options));
  RENGA_RETURN_IF_ERROR(executor->Prepare());
  return executor;
}

absl::Status CudaExecutor::Explained(const absl::Status& status, std::string_view what) const {
  return cuda::ExplainMemory(status, *context_, *plan_, what);
}

absl::Status CudaExecutor::Prepare() {
  auto code = cuda::PlanCode::Load(context_, *plan_, options_.plan_path);
  RENGA_RETURN_IF_ERROR(Explained(code.status(), "the code of kernels"));
  code_ = *std::move(code);
  counters_.kernels_compiled = code_.compiled();
  RENGA_ASSIGN_OR_RETURN(limits_, CheckIndexOperands(*plan_));
  RENGA_RETURN_IF_ERROR(CheckInputsAreKnown(*plan_));
  for (size_t i = 0; i < plan_->steps.size(); ++i) {
    const plan::Step& step = plan_->steps[i];
    if (step.kind == plan::StepKind::kKernel && !step.variants.empty()) continue;
    return absl::UnimplementedError(StrCat("step ", i, " (", step.name,
                                           "): expected launches of kernels, got a step of kind ",
                                           static_cast<int>(step.kind), " without any"));
  }
  auto stream = cuda::Stream::Create(context_);
  RENGA_RETURN_IF_ERROR(Explained(stream.status(), "a stream"));
  stream_ = *std::move(stream);
  encode_map_ = cuda::TensorMapEncoderOf(context_);
  sizes_.assign(plan_->symbols.size(), 1);
  RENGA_RETURN_IF_ERROR(AllocateAll());
  RENGA_RETURN_IF_ERROR(LoadWeights());
  PlaceBuffers();
  RENGA_RETURN_IF_ERROR(PrepareSampling());
  RENGA_RETURN_IF_ERROR(stream_.Fill(caches_.data(), 0, caches_.bytes()));
  RENGA_RETURN_IF_ERROR(stream_.Fill(persistent_.data(), 0, persistent_.bytes()));
  RENGA_RETURN_IF_ERROR(stream_.Synchronize());
  if (options_.timeline == nullptr) return absl::OkStatus();
  RENGA_ASSIGN_OR_RETURN(timeline_, CudaTimeline::Create(context_, stream_, options_.timeline));
  return absl::OkStatus();
}

absl::Status CudaExecutor::Allocate(std::string_view what, uint64_t bytes, cuda::Memory* memory) {
  RENGA_ASSIGN_OR_RETURN(*memory, cuda::AllocateArena(context_, *plan_, what, bytes));
  ++counters_.allocations;
  counters_.allocated_bytes += bytes;
  return absl::OkStatus();
}

absl::Status CudaExecutor::AllocateAll() {
  uint64_t caches = 0;
  for (const plan::Cache& cache : plan_->caches) caches += plan::CacheBytes(*plan_, cache);
  layout_ = CudaInputLayout(*plan_);
  const uint64_t arena = plan::ArenaBytes(*plan_);
  RENGA_RETURN_IF_ERROR(Allocate("keys and values", caches, &caches_));
  RENGA_RETURN_IF_ERROR(Allocate("activations", arena + 2 * layout_.bytes(), &activations_));
  RENGA_RETURN_IF_ERROR(Allocate("counters", plan::PersistentBytes(*plan_), &persistent_));
  auto transfers = CudaTransfers::Create(context_, *plan_, layout_,
                                         reinterpret_cast<uint64_t>(activations_.data()) + arena);
  RENGA_RETURN_IF_ERROR(Explained(transfers.status(), "inputs and results, on the host"));
  transfers_ = *std::move(transfers);
  return absl::OkStatus();
}

uint64_t CudaExecutor::BaseOf(const plan::Buffer& buffer, int64_t run) const {
  switch (buffer.space) {
    case plan::Space::kInput:
      return transfers_.inputs(run) + layout_.offset(static_cast<size_t>(buffer.index));
    case plan::Space::kWeight:
      return reinterpret_cast<uint64_t>(weights_.data(buffer.index));
    case plan::Space::kCache:
      return cache_addresses_[buffer.index];
    case plan::Space::kArena:
      return reinterpret_cast<uint64_t>(activations_.data()) + buffer.offset;
    case plan::Space::kPersistent:
      return reinterpret_cast<uint64_t>(persistent_.data()) + buffer.offset;
  }
  return 0;
}

void CudaExecutor::PlaceBuffers() {
  uint64_t at = reinterpret_cast<uint64_t>(caches_.data());
  for (const plan::Cache& cache : plan_->caches) {
    cache_addresses_.push_back(at);
    at += plan::CacheBytes(*plan_, cache);
  }
  next_ = plan::OutputBuffer(*plan_, "next");
  for (int64_t run : {0, 1}) {
    for (const plan::Buffer& buffer : plan_->buffers) {
      addresses_[run].push_back(BaseOf(buffer, run));
    }
    // The run's choices are the next one's tokens, which are the first of its inputs.
    if (layout_.fed_back() >= 0) {
      addresses_[run][layout_.fed_back()] = transfers_.inputs(run + 1);
    }
  }
}

absl::Status CudaExecutor::LoadWeights() {
  cuda::UploadOptions options;
  options.paths = {.plan_path = options_.plan_path, .model_path = options_.model_path};
  options.threads = options_.threads;
  options.paranoid = options_.paranoid;
  options.list_differences = options_.list_differences;
  options.patience_seconds = options_.patience_seconds;
  options.progress = options_.progress;
  auto weights = cuda::UploadWeights(
      *plan_, options, context_,
      [this](int32_t kernel) -> absl::StatusOr<cuda::Function> { return code_.function(kernel); });
  RENGA_RETURN_IF_ERROR(Explained(weights.status(), "loading weights"));
  weights_ = *std::move(weights);
  ++counters_.allocations;
  counters_.allocated_bytes += weights_.bytes();
  return absl::OkStatus();
}

CudaExecutor::~CudaExecutor() {
  while (failed_.ok() && started_ > finished_) (void)Finish();
  if (timeline_ == nullptr || !failed_.ok()) return;
  if (absl::Status status = CloseTimeline(); !status.ok()) {
    options_.timeline->Fail(std::move(status));
  }
}

absl::Status CudaExecutor::Run(const StepInputs& inputs) {
  RENGA_RETURN_IF_ERROR(failed_);
  if (started_ > finished_) return absl::FailedPreconditionError("a run is under way");
  RENGA_RETURN_IF_ERROR(Start(inputs));
  return Finish();
}

absl::Status CudaExecutor::CheckMayStart(const StepInputs& inputs) const {
  if (started_ - finished_ > 1) {
    return absl::FailedPreconditionError("two runs are under way, expected one at most");
  }
  RENGA_RETURN_IF_ERROR(CheckStepInputs(*plan_, limits_, inputs));
  if (!inputs.fed_back) return absl::OkStatus();
  if (layout_.fed_back() < 0) {
    return absl::UnimplementedError("next: the plan has none that tokens can be fed back from");
  }
  if (started_ > 0 && rows_ == inputs.tokens.size()) return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat("tokens: expected as many as the run before chose, ",
                                           rows_, ", got ", inputs.tokens.size()));
}

absl::Status CudaExecutor::Start(const StepInputs& inputs) {
  RENGA_RETURN_IF_ERROR(failed_);
  RENGA_RETURN_IF_ERROR(CheckMayStart(inputs));
  BindSizes(inputs);
  starting_ = true;
  const absl::Status status = StartRun(inputs);
  starting_ = false;
  // Whoever hooks in may end a run at any step; every step before it has ended.
  if (!hook_error_.ok()) return std::exchange(hook_error_, absl::OkStatus());
  failed_ = Explained(status, "a step");
  RENGA_RETURN_IF_ERROR(failed_);
  if (started_ > finished_) ++counters_.runs_ahead;
  ++started_;
  return absl::OkStatus();
}

absl::Status CudaExecutor::StartRun(const StepInputs& inputs) {
  const bool beside = started_ == finished_ || inputs.fed_back;
  const size_t sampling_bytes = BeginSampling(inputs.sampling);
  RENGA_RETURN_IF_ERROR(transfers_.Send(started_, inputs, sampling_bytes, stream_, beside));
  RENGA_RETURN_IF_ERROR(StartLaunches());
  const size_t rows = next_ < 0 ? 0 : rows_;
  return transfers_.Fetch(started_, next_ < 0 ? 0 : addresses()[next_], rows, SamplingResults(),
                          stream_);
}

absl::Status CudaExecutor::Finish() {
  RENGA_RETURN_IF_ERROR(failed_);
  if (started_ == finished_) return absl::FailedPreconditionError("no run is under way");
  const bool last = started_ - finished_ == 1;
  if (last) ++counters_.waits;
  const double pause = std::min(run_seconds_ / kLooksPerRun, kLongestPause);
  failed_ = Waited("a run", transfers_.Wait(finished_, options_.patience_seconds,
                                            last || pause < kShortestPause ? 0 : pause));
  RENGA_RETURN_IF_ERROR(failed_);
  failed_ = NoteRun();
  RENGA_RETURN_IF_ERROR(failed_);
  FinishSampling();
  const auto now = std::chrono::steady_clock::now();
  // Where the GPU was idle in between, it would be the host's time too.
  const bool known = !last && end_ != std::chrono::steady_clock::time_point();
  run_seconds_ = known ? std::chrono::duration<double>(now - end_).count() : 0;
  end_ = last ? std::chrono::steady_clock::time_point() : now;
  ++finished_;
  return absl::OkStatus();
}

// Page tables have the same width in every run: a graph then serves any length.
void CudaExecutor::BindSizes(const StepInputs& inputs) {
  BindSymbols(*plan_, inputs, &sizes_);
  rows_ = inputs.rows.size();
  for (size_t i = 0; i < sizes_.size(); ++i) {
    if (plan_->symbols[i].name == "P") sizes_[i] = plan_->symbols[i].max;
  }
}

absl::Status CudaExecutor::StartLaunches() {
  const int32_t tokens = plan::FindSymbol(*plan_, "T");
  const int32_t sequences = plan::FindSymbol(*plan_, "S");
  const int64_t members = sequences < 0 ? 1 : sizes_[sequences];
  const bool one_each = tokens >= 0 && sizes_[tokens] == members;
  noted_[started_ % 2] = {"launches", tokens < 0 ? 0 : sizes_[tokens]};
  if (!one_each || !options_.graphs || options_.check_steps) return StartNoted(false);
  noted_[started_ % 2].name = "graph";
  if (const int32_t span = plan::FindSymbol(*plan_, "L"); span >= 0) {
    sizes_[span] = RoundedSpan(sizes_[span], plan_->symbols[span].max);
  }
  key_.assign(sizes_.begin(), sizes_.end());
  key_.push_back(started_ % 2);
  key_.push_back(SampledRows());
  auto graph = std::find_if(graphs_.begin(), graphs_.end(),
                            [&](const auto& entry) { return entry.first == key_; });
  if (graph == graphs_.end()) {
    const Timeline::Scope scope(options_.timeline, "capture", started_);
    RENGA_ASSIGN_OR_RETURN(cuda::Graph captured,
                           stream_.Capture([this] { return StartNoted(true); }));
    if (graphs_.size() == kMostGraphs) graphs_.erase(graphs_.begin());
    graphs_.emplace_back(key_, std::move(captured));
    graph = graphs_.end() - 1;
    ++counters_.graphs;
  } else {
    std::rotate(graph, graph + 1, graphs_.end());
    graph = graphs_.end() - 1;
  }
  ++counters_.graph_runs;
  return stream_.Launch(graph->second);
}

absl::Status CudaExecutor::StartAll() {
  RENGA_RETURN_IF_ERROR(StartSteps());
  return StartSampling();
}

// With events around them where there is a timeline.
absl::Status CudaExecutor::StartNoted(bool captured) {
  if (timeline_ == nullptr) return StartAll();
  RENGA_RETURN_IF_ERROR(timeline_->Begin(started_, stream_, captured));
  behind_event_ = true;
  RENGA_RETURN_IF_ERROR(StartAll());
  return timeline_->End(started_, stream_, captured);
}

absl::Status CudaExecutor::NoteRun() {
  if (timeline_ == nullptr) return absl::OkStatus();
  const Noted& noted = noted_[finished_ % 2];
  return timeline_->Finish(finished_, noted.name, noted.tokens, stream_);
}

absl::Status CudaExecutor::CloseTimeline() {
  if (timeline_ == nullptr) return absl::OkStatus();
  RENGA_RETURN_IF_ERROR(failed_);
  failed_ = timeline_->Close(stream_);
  timeline_ = nullptr;
  return failed_;
}

absl::Status CudaExecutor::StartSteps() {
  for (size_t i = 0; i < plan_->steps.size(); ++i) {
    const plan::Step& step = plan_->steps[i];
    absl::Status status = RunStep(static_cast<int>(i));
    if (!hook_error_.ok()) return status;
    if (!status.ok()) {
      status = Annotate(
          status, StrCat("step ", i, " (", step.name, "), ", plan_->symbols[step.chosen_by].name,
                         " = ", sizes_[step.chosen_by]));
      if (!options_.check_steps) return status;
      failed_step_ = static_cast<int>(i);
      return absl::Status(status.code(),
                          StrCat(status.message(), plan::LaunchesText(*plan_, step, sizes_),
                                 "\n  `renga bisect PLAN --node ", step.name,
                                 "` keeps the step as a program of its own, --repro FOLDER with ",
                                 "what it was given here"));
    }
  }
  return absl::OkStatus();
}

absl::Status CudaExecutor::RunStep(int index) {
  const plan::Step& step = plan_->steps[static_cast<size_t>(index)];
  const bool hooked =
      (hooks_.before || hooks_.after) && plan::ChooseVariant(step, sizes_) != nullptr;
  bool done = false;
  if (hooked && hooks_.before) {
    const absl::StatusOr<bool> substituted = hooks_.before(index);
    if (!substituted.ok()) return hook_error_ = substituted.status();
    done = *substituted;
  }
  const bool noted = timeline_ != nullptr && options_.check_steps && !done;
  if (noted) RENGA_RETURN_IF_ERROR(timeline_->BeginStep(stream_));
  if (!done) RENGA_RETURN_IF_ERROR(StartStep(step));
  if (noted) RENGA_RETURN_IF_ERROR(timeline_->EndStep(stream_));
  if (options_.check_steps) {
    RENGA_RETURN_IF_ERROR(Waited("it", stream_.SynchronizeWithin(options_.patience_seconds)));
  }
  if (noted) RENGA_RETURN_IF_ERROR(timeline_->FinishStep(step.name, started_));
  return hooked && hooks_.after ? hook_error_ = hooks_.after(index) : absl::OkStatus();
}

absl::Status CudaExecutor::StartStep(const plan::Step& step) {
  const plan::Variant* variant = plan::ChooseVariant(step, sizes_);
  if (variant == nullptr) return absl::OkStatus();  // no rows
  for (const plan::Launch& launch : variant->launches) {
    RENGA_RETURN_IF_ERROR(StartLaunch(launch));
  }
  return absl::OkStatus();
}

absl::Status CudaExecutor::StartLaunch(const plan::Launch& launch) {
  RENGA_ASSIGN_OR_RETURN(const plan::LaunchShape shape, plan::ShapeOf(*plan_, launch, sizes_));
  RENGA_ASSIGN_OR_RETURN(const std::vector<uint8_t> packed,
                         plan::PackArguments(launch.args, addresses(), sizes_, encode_map_));
  // Aligned as a kernel wants them, tensor maps too.
  alignas(64) uint8_t block[plan::kMaxArgumentBytes];
  std::copy(packed.begin(), packed.end(), block);
  void* arguments[] = {block};
  // An event is no kernel that could say that the next may start.
  const bool behind_event = std::exchange(behind_event_, false);
  const bool overlaps = launch.overlaps_previous && overlaps_launches() && !behind_event;
  return stream_.Launch(code_.function(launch.kernel), DriverShape(shape, overlaps), arguments);
}

// What came of waiting for that.
absl::Status CudaExecutor::Waited(std::string_view what, const absl::Status& status) {
  if (status.ok()) return status;
  const std::string hint =
      options_.check_steps ? "" : "; --check-steps names the step in which that happens";
  if (!absl::IsDeadlineExceeded(status)) {
    return absl::Status(status.code(), StrCat(status.message(), hint));
  }
  context_->Abandon();
  return absl::UnavailableError(StrCat(context_->gpu().name, ": ", what, " has not ended after ",
                                       options_.patience_seconds, " s", hint));
}

std::vector<plan::ByteRange> CudaExecutor::PagePlaces(int group, int32_t page) const {
  std::vector<plan::ByteRange> places;
  uint64_t base = 0;
  for (const plan::Cache& cache : plan_->caches) {
    if (cache.group == group) {
      for (const plan::ByteRange& range : plan::PageRanges(*plan_, cache, page)) {
        places.push_back({base + range.offset, range.bytes});
      }
    }
    base += plan::CacheBytes(*plan_, cache);
  }
  return places;
}

absl::Status CudaExecutor::CopyPages(absl::Span<const PageCopy> copies) {
  for (const PageCopy& copy : copies) {
    const std::vector<plan::ByteRange> from = PagePlaces(copy.group, copy.from),
                                       to = PagePlaces(copy.group, copy.to);
    for (size_t i = 0; i < from.size() && failed_.ok(); ++i) {
      failed_ = stream_.Copy(caches_.data() + to[i].offset, caches_.data() + from[i].offset,
                             from[i].bytes);
    }
  }
  return failed_;
}

absl::Status CudaExecutor::ReadPage(int group, int32_t page, std::string* bytes) const {
  RENGA_RETURN_IF_ERROR(failed_);
  for (const plan::ByteRange& place : PagePlaces(group, page)) {
    const size_t before = bytes->size();
    bytes->resize(before + place.bytes);
    RENGA_RETURN_IF_ERROR(
        stream_.Read(caches_.data() + place.offset,
                     {reinterpret_cast<uint8_t*>(bytes->data()) + before, place.bytes}));
  }
  return absl::OkStatus();
}

absl::Status CudaExecutor::WritePage(int group, int32_t page, std::string_view bytes) {
  RENGA_RETURN_IF_ERROR(failed_);
  const std::vector<plan::ByteRange> places = PagePlaces(group, page);
  uint64_t all = 0;
  for (const plan::ByteRange& place : places) all += place.bytes;
  RENGA_RETURN_IF_ERROR(CheckPageBytes(all, bytes.size()));
  const auto* at = reinterpret_cast<const uint8_t*>(bytes.data());
  for (const plan::ByteRange& place : places) {
    RENGA_RETURN_IF_ERROR(stream_.Write(caches_.data() + place.offset, {at, place.bytes}));
    at += place.bytes;
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> CudaExecutor::PlaceOf(int32_t buffer, uint64_t offset,
                                               size_t bytes) const {
  RENGA_RETURN_IF_ERROR(failed_);
  if (buffer < 0 || static_cast<size_t>(buffer) >= plan_->buffers.size() ||
      offset > plan_->buffers[buffer].bytes || bytes > plan_->buffers[buffer].bytes - offset) {
    return absl::OutOfRangeError(
        StrCat("buffer ", buffer, ": has not ", bytes, " bytes from ", offset, " on"));
  }
  return addresses_[(started_ + (starting_ ? 0 : 1)) % 2][buffer] + offset;
}

absl::Status CudaExecutor::Read(int32_t buffer, uint64_t offset, absl::Span<uint8_t> to) const {
  RENGA_ASSIGN_OR_RETURN(const uint64_t place, PlaceOf(buffer, offset, to.size()));
  if (to.empty()) return absl::OkStatus();
  return stream_.Read(reinterpret_cast<const void*>(place), to);
}

absl::Status CudaExecutor::Write(int32_t buffer, uint64_t offset, absl::Span<const uint8_t> from) {
  RENGA_ASSIGN_OR_RETURN(const uint64_t place, PlaceOf(buffer, offset, from.size()));
  if (from.empty()) return absl::OkStatus();
  return stream_.Write(reinterpret_cast<void*>(place), from);
}

absl::Status CudaExecutor::SetHooks(StepHooks hooks) {
  if (!options_.check_steps) {
    return absl::FailedPreconditionError("hooks: expected an executor that waits for each step");
  }
  hooks_ = std::move(hooks);
  return absl::OkStatus();
}

absl::Status CudaExecutor::ForgetCaches() {
  RENGA_RETURN_IF_ERROR(failed_);
  RENGA_RETURN_IF_ERROR(stream_.Fill(caches_.data(), 0, caches_.bytes()));
  return stream_.Synchronize();
}

}  // namespace renga
