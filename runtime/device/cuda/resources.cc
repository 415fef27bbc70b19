#include "runtime/device/cuda/resources.h"

#include <chrono>
#include <iterator>
#include <thread>

#include "ir/base/status.h"

namespace renga::cuda {
namespace {

// CU_STREAM_NON_BLOCKING: no order with the work of other users of the context.
constexpr unsigned kNonBlocking = 1;
// CU_EVENT_DEFAULT and CU_EVENT_DISABLE_TIMING.
constexpr unsigned kTimed = 0, kUntimed = 2;
// CU_EVENT_RECORD_EXTERNAL
constexpr unsigned kExternal = 1;
// CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may do what they like meanwhile.
constexpr int kCaptureThreadLocal = 1;

Address AddressOf(const void* device) { return reinterpret_cast<Address>(device); }

// Asks `done` until it says something else than that it is not so yet. At first all the time or
// every `pause`, for tokens are to come without delay, then now and then.
template <typename Done>
absl::StatusOr<int> AskWithin(double seconds, std::chrono::duration<double> pause,
                              const Done& done) {
  using Clock = std::chrono::steady_clock;
  constexpr auto kBusy = std::chrono::milliseconds(100), kPause = std::chrono::milliseconds(1);
  const Clock::time_point start = Clock::now();
  while (true) {
    if (const int result = done(); result != kErrorNotReady) return result;
    const auto waited = Clock::now() - start;
    if (waited > std::chrono::duration<double>(seconds)) {
      return absl::DeadlineExceededError(StrCat("cuda: no answer for ", seconds, " s"));
    }
    if (waited > kBusy) {
      std::this_thread::sleep_for(kPause);
    } else if (pause.count() > 0) {
      std::this_thread::sleep_for(pause);
    }
  }
}

absl::StatusOr<EventHandle> CreateEvent(const Context& context, unsigned flags) {
  EventHandle handle = nullptr;
  RENGA_RETURN_IF_ERROR(context.Check(context.api().create_event(&handle, flags), "cuEventCreate"));
  return handle;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Context>> Context::Open(std::shared_ptr<const Driver> driver,
                                                             int ordinal) {
  if (ordinal < 0 || ordinal >= driver->device_count()) {
    return absl::OutOfRangeError(
        StrCat("cuda: no device ", ordinal, ", expected 0 to ", driver->device_count() - 1));
  }
  std::shared_ptr<Context> context(new Context(std::move(driver)));
  const DriverApi& api = context->api();
  RENGA_RETURN_IF_ERROR(
      context->Check(api.device(&context->device_, ordinal), StrCat("cuDeviceGet(", ordinal, ")")));
  RENGA_RETURN_IF_ERROR(context->ReadFacts());
  ContextHandle handle = nullptr;
  RENGA_RETURN_IF_ERROR(context->Check(api.retain_context(&handle, context->device_),
                                       StrCat("cuDevicePrimaryCtxRetain(", ordinal, ")")));
  context->handle_ = handle;
  RENGA_RETURN_IF_ERROR(context->MakeCurrent());
  return std::shared_ptr<const Context>(std::move(context));
}

Context::~Context() {
  if (handle_ != nullptr && !abandoned_) api().release_context(device_);
}

absl::Status Context::MakeCurrent() const {
  return Check(api().set_context(handle_), "cuCtxSetCurrent");
}

void Context::Abandon() const { abandoned_ = true; }
bool Context::abandoned() const { return abandoned_; }

absl::StatusOr<size_t> Context::FreeBytes() const {
  size_t free = 0, total = 0;
  RENGA_RETURN_IF_ERROR(Check(api().memory_info(&free, &total), "cuMemGetInfo"));
  return free;
}

absl::Status Context::ReadFacts() {
  char name[256] = {};
  RENGA_RETURN_IF_ERROR(
      Check(api().device_name(name, sizeof(name) - 1, device_), "cuDeviceGetName"));
  gpu_.name = name;
  const auto attribute = [&](int id) -> absl::StatusOr<int> {
    int value = 0;
    RENGA_RETURN_IF_ERROR(Check(api().device_attribute(&value, id, device_),
                                StrCat("cuDeviceGetAttribute(", id, ")")));
    return value;
  };
  RENGA_ASSIGN_OR_RETURN(const int major, attribute(kComputeCapabilityMajor));
  RENGA_ASSIGN_OR_RETURN(const int minor, attribute(kComputeCapabilityMinor));
  gpu_.sm = major * 10 + minor;
  RENGA_ASSIGN_OR_RETURN(gpu_.multiprocessors, attribute(kMultiprocessorCount));
  RENGA_ASSIGN_OR_RETURN(gpu_.l2_bytes, attribute(kL2CacheBytes));
  RENGA_ASSIGN_OR_RETURN(gpu_.shared_per_block, attribute(kSharedBytesPerBlockOptIn));
  size_t bytes = 0;
  RENGA_RETURN_IF_ERROR(Check(api().device_memory(&bytes, device_), "cuDeviceTotalMem"));
  gpu_.memory_bytes = static_cast<int64_t>(bytes);
  return absl::OkStatus();
}

absl::StatusOr<Memory> Memory::Allocate(ContextRef context, size_t bytes) {
  Memory memory;
  if (bytes == 0) return memory;  // the driver refuses 0
  Address address = 0;
  RENGA_RETURN_IF_ERROR(context->Check(context->api().allocate(&address, bytes),
                                       StrCat("cuMemAlloc(", bytes, " bytes)")));
  memory.owned_ = {std::move(context), address};
  memory.bytes_ = bytes;
  return memory;
}

absl::StatusOr<PinnedMemory> PinnedMemory::Allocate(ContextRef context, size_t bytes) {
  PinnedMemory memory;
  if (bytes == 0) return memory;
  void* host = nullptr;
  RENGA_RETURN_IF_ERROR(context->Check(context->api().allocate_host(&host, bytes, 0),
                                       StrCat("cuMemHostAlloc(", bytes, " bytes)")));
  memory.owned_ = {std::move(context), host};
  memory.bytes_ = bytes;
  return memory;
}

absl::StatusOr<Module> Module::Load(ContextRef context, std::string_view image) {
  ModuleHandle handle = nullptr;
  RENGA_RETURN_IF_ERROR(context->Check(context->api().load_module(&handle, image.data()),
                                       StrCat("cuModuleLoadData(", image.size(), " bytes)")));
  Module module;
  module.owned_ = {std::move(context), handle};
  return module;
}

absl::StatusOr<Function> Module::Find(const std::string& name) const {
  Function function{nullptr, name};
  const Context& context = owned_.context();
  RENGA_RETURN_IF_ERROR(
      context.Check(context.api().function(&function.handle, owned_.get(), name.c_str()),
                    StrCat("cuModuleGetFunction(", name, ")")));
  return function;
}

absl::Status Module::AllowShared(const Function& function, int64_t bytes) const {
  const Context& context = owned_.context();
  return context.Check(context.api().set_function_attribute(function.handle, kMaxDynamicSharedBytes,
                                                            static_cast<int>(bytes)),
                       StrCat("cuFuncSetAttribute(", function.name, ", ", bytes,
                              " bytes of dynamic shared memory)"));
}

absl::StatusOr<int> Module::BlocksPerMultiprocessor(const Function& function, int threads,
                                                    int64_t shared_bytes) const {
  const Context& context = owned_.context();
  int blocks = 0;
  RENGA_RETURN_IF_ERROR(context.Check(
      context.api().occupancy(&blocks, function.handle, threads, static_cast<size_t>(shared_bytes)),
      StrCat("cuOccupancyMaxActiveBlocksPerMultiprocessor(", function.name, ")")));
  return blocks;
}

absl::StatusOr<Event> Event::Create(ContextRef context) {
  RENGA_ASSIGN_OR_RETURN(const EventHandle handle, CreateEvent(*context, kTimed));
  Event event;
  event.owned_ = {std::move(context), handle};
  return event;
}

absl::StatusOr<Event> Event::CreateUntimed(ContextRef context) {
  RENGA_ASSIGN_OR_RETURN(const EventHandle handle, CreateEvent(*context, kUntimed));
  Event event;
  event.owned_ = {std::move(context), handle};
  return event;
}

absl::Status Event::Wait() const {
  const Context& context = owned_.context();
  return context.Check(context.api().synchronize_event(owned_.get()), "cuEventSynchronize");
}

absl::Status Event::WaitWithin(double seconds, double pause_seconds) const {
  const Context& context = owned_.context();
  RENGA_ASSIGN_OR_RETURN(const int result,
                         AskWithin(seconds, std::chrono::duration<double>(pause_seconds),
                                   [&] { return context.api().query_event(owned_.get()); }));
  return context.Check(result, "cuEventQuery");
}

absl::StatusOr<float> Event::Milliseconds(const Event& start, const Event& end) {
  const Context& context = start.owned_.context();
  float ms = 0;
  RENGA_RETURN_IF_ERROR(context.Check(context.api().elapsed_ms(&ms, start.handle(), end.handle()),
                                      "cuEventElapsedTime"));
  return ms;
}

absl::StatusOr<Stream> Stream::Create(ContextRef context) {
  StreamHandle handle = nullptr;
  RENGA_RETURN_IF_ERROR(
      context->Check(context->api().create_stream(&handle, kNonBlocking), "cuStreamCreate"));
  Stream stream;
  stream.context_ = context;
  stream.owned_ = {std::move(context), handle};
  return stream;
}

absl::Status Stream::Write(void* device, absl::Span<const uint8_t> from) const {
  if (from.empty()) return absl::OkStatus();
  RENGA_RETURN_IF_ERROR(WriteLater(device, from));
  return Synchronize();
}

absl::Status Stream::WriteLater(void* device, absl::Span<const uint8_t> from) const {
  if (from.empty()) return absl::OkStatus();
  return context_->Check(
      context_->api().copy_to_device(AddressOf(device), from.data(), from.size(), owned_.get()),
      StrCat("cuMemcpyHtoDAsync(", from.size(), " bytes)"));
}

absl::Status Stream::Read(const void* device, absl::Span<uint8_t> to) const {
  if (to.empty()) return absl::OkStatus();
  RENGA_RETURN_IF_ERROR(ReadLater(device, to));
  return Synchronize();
}

absl::Status Stream::ReadLater(const void* device, absl::Span<uint8_t> to) const {
  if (to.empty()) return absl::OkStatus();
  return context_->Check(
      context_->api().copy_to_host(to.data(), AddressOf(device), to.size(), owned_.get()),
      StrCat("cuMemcpyDtoHAsync(", to.size(), " bytes)"));
}

absl::Status Stream::Copy(void* to, const void* from, size_t bytes) const {
  if (bytes == 0) return absl::OkStatus();
  return context_->Check(
      context_->api().copy_on_device(AddressOf(to), AddressOf(from), bytes, owned_.get()),
      StrCat("cuMemcpyDtoDAsync(", bytes, " bytes)"));
}

absl::Status Stream::Fill(void* device, uint8_t value, size_t bytes) const {
  if (bytes == 0) return absl::OkStatus();
  return context_->Check(context_->api().fill(AddressOf(device), value, bytes, owned_.get()),
                         StrCat("cuMemsetD8Async(", bytes, " bytes)"));
}

absl::Status Stream::Launch(const Function& function, const LaunchShape& shape,
                            void** arguments) const {
  LaunchAttribute attributes[2] = {};
  unsigned count = 0;
  for (const auto& [id, wanted] :
       {std::pair(kProgrammaticStreamSerialization, shape.overlaps_previous),
        std::pair(kCooperative, shape.cooperative)}) {
    if (!wanted) continue;
    attributes[count].id = id;
    attributes[count++].value = 1;
  }
  const LaunchConfig config = {
      shape.grid[0],      shape.grid[1], shape.grid[2], shape.threads, 1, 1,
      shape.shared_bytes, owned_.get(),  attributes,    count};
  return context_->Check(context_->api().launch(&config, function.handle, arguments, nullptr),
                         StrCat("cuLaunchKernelEx(", function.name, ", grid ", shape.grid[0], "x",
                                shape.grid[1], "x", shape.grid[2], ", ", shape.threads,
                                " threads, ", shape.shared_bytes, " bytes of shared memory)"));
}

absl::StatusOr<Graph> Stream::Capture(const std::function<absl::Status()>& body) const {
  const DriverApi& api = context_->api();
  RENGA_RETURN_IF_ERROR(context_->Check(api.begin_capture(owned_.get(), kCaptureThreadLocal),
                                        "cuStreamBeginCapture"));
  const absl::Status captured = body();
  // Ended whatever happened: the stream is of no use otherwise.
  GraphHandle handle = nullptr;
  const absl::Status ended =
      context_->Check(api.end_capture(owned_.get(), &handle), "cuStreamEndCapture");
  const Owned<GraphHandle, &DriverApi::destroy_graph> graph(context_, handle);
  RENGA_RETURN_IF_ERROR(captured);
  RENGA_RETURN_IF_ERROR(ended);
  GraphExecHandle exec = nullptr;
  RENGA_RETURN_IF_ERROR(
      context_->Check(api.instantiate_graph(&exec, handle, 0), "cuGraphInstantiateWithFlags"));
  Graph executable;
  executable.owned_ = {context_, exec};
  return executable;
}

absl::Status Stream::Launch(const Graph& graph) const {
  return context_->Check(context_->api().launch_graph(graph.handle(), owned_.get()),
                         "cuGraphLaunch");
}

absl::Status Stream::Record(const Event& event) const {
  return context_->Check(context_->api().record_event(event.handle(), owned_.get()),
                         "cuEventRecord");
}

absl::Status Stream::RecordEachTime(const Event& event) const {
  return context_->Check(
      context_->api().record_event_with_flags(event.handle(), owned_.get(), kExternal),
      "cuEventRecordWithFlags");
}

absl::Status Stream::WaitFor(const Event& event) const {
  return context_->Check(context_->api().wait_event(owned_.get(), event.handle(), 0),
                         "cuStreamWaitEvent");
}

absl::Status Stream::Synchronize() const {
  return context_->Check(context_->api().synchronize_stream(owned_.get()), "cuStreamSynchronize");
}

absl::Status Stream::SynchronizeWithin(double seconds) const {
  RENGA_ASSIGN_OR_RETURN(const int result,
                         AskWithin(seconds, std::chrono::duration<double>(0),
                                   [&] { return context_->api().query_stream(owned_.get()); }));
  return context_->Check(result, "cuStreamQuery");
}

}  // namespace renga::cuda
