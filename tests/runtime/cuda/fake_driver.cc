// A stand-in for libcuda in which any call can be made to fail, and which knows what was not freed.
// Its GPU's memory is the host's; launches are only noted, or given to the test. What streams are
// told happens at once, or, if the test wants that, as late as a driver may: when somebody waits
// for it, or at any moment. Built several times: FAKE_WITHOUT_LOOKUP
// is a driver older than cuGetProcAddress_v2, FAKE_WITHOUT names a function it lacks.
//
// A test tells it what to do through its functions (fake_driver.h); one that runs another process,
// by the environment:
//   FAKE_FAIL_AT=N     the call with that number (from 1) fails,
//   FAKE_FAIL_WITH=N   with that result (719: a kernel failed),
//   FAKE_LOST=1        and so do all calls after it, as on a GPU that is lost
//   FAKE_FAIL_KERNEL=NAME   once a kernel with that in its name is launched, all calls fail so
//   FAKE_HANG_KERNEL=NAME   once one is launched, nothing is ever done
//   FAKE_DEVICES=N, FAKE_SM=90, FAKE_MEMORY=BYTES   the GPUs, all alike
//   FAKE_QUERY_MS=N    asking whether a stream is done takes so long
//   FAKE_TOUCH=FILE    made when a graph is launched for the third time
//   FAKE_FRESH=N       what is in each byte of new memory (203)
//   FAKE_REPORT=FILE   written as the process ends: "calls N", "failed NAME", "alive" and the kind
//                      of each thing that nobody freed, then the names of all calls, one a line
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/device/cuda/driver.h"

namespace {

using renga::cuda::Address;
using renga::cuda::LaunchAttribute;
using renga::cuda::LaunchConfig;

struct State {
  int devices = 1, calls = 0, fail_at = 0, fail_with = 0;
  int sm = 90, fresh = 0xcb, query_ms = 0;
  size_t memory = size_t{1} << 30;
  bool lost = false, hung = false;
  std::string failed, blocked;
  std::string fail_kernel, hang_kernel;           // parts of names; empty: none
  int broken = 0;                                 // what all calls give since a kernel failed
  std::vector<const char*> trace;                 // of all calls
  std::map<void*, const char*> live;              // and what made it
  std::map<int, std::pair<void*, int>> contexts;  // by device, and how often it was retained
  std::map<void*, std::string> names;             // of functions
  bool capturing = false;
  std::vector<std::function<void()>> captured;
  std::map<void*, std::vector<std::function<void()>>> graphs;  // executable ones too
  int launches = 0, overlapping = 0, runs = 0;
  LaunchConfig config = {};
  LaunchAttribute attributes[4] = {};
  int first_argument = 0, shared_allowed = 0;
  bool late = false;
  uint32_t moment = 0;  // of whoever is late by chance; 0: nobody is
  std::map<void*, std::deque<std::function<void()>>> queues;  // by stream
  std::map<void*, uint64_t> queued, begun;                    // numbers of them, ever
  std::map<void*, std::pair<void*, uint64_t>> recorded;       // by event: stream, `queued` then
  std::map<void*, double> passed;  // by event: when it has come to pass, in ms
  void (*on_launch)(void* function, const void* arguments, unsigned grid) = nullptr;
  size_t argument_bytes = 0;
};

int64_t Variable(const char* name, int64_t otherwise) {
  const char* text = getenv(name);
  return text == nullptr ? otherwise : strtoll(text, nullptr, 10);
}

std::string Text(const char* name) {
  const char* text = getenv(name);
  return text == nullptr ? "" : text;
}

State FromEnvironment() {
  State from;
  from.fail_at = static_cast<int>(Variable("FAKE_FAIL_AT", 0));
  from.fail_with = static_cast<int>(Variable("FAKE_FAIL_WITH", 719));
  from.lost = Variable("FAKE_LOST", 0) != 0;
  from.devices = static_cast<int>(Variable("FAKE_DEVICES", from.devices));
  from.sm = static_cast<int>(Variable("FAKE_SM", from.sm));
  from.memory = static_cast<size_t>(Variable("FAKE_MEMORY", static_cast<int64_t>(from.memory)));
  from.query_ms = static_cast<int>(Variable("FAKE_QUERY_MS", 0));
  from.fresh = static_cast<int>(Variable("FAKE_FRESH", from.fresh));
  from.fail_kernel = Text("FAKE_FAIL_KERNEL");
  from.hang_kernel = Text("FAKE_HANG_KERNEL");
  return from;
}

State state = FromEnvironment();

// What a program left on purpose is no leak of the test's.
void FreeLive() {
  for (const auto& [handle, kind] : state.live) free(handle);
  state.live.clear();
}

struct Reporter {
  // A program may leave without ending anything.
  Reporter() {
    std::at_quick_exit([] { Write(getenv("FAKE_REPORT")); });
  }
  ~Reporter() {
    Write(getenv("FAKE_REPORT"));
    FreeLive();
  }
  static void Write(const char* path) {
    FILE* file = path == nullptr ? nullptr : fopen(path, "w");
    if (file == nullptr) return;
    fprintf(file, "calls %d\nfailed %s\nalive", state.calls, state.failed.c_str());
    for (const auto& [handle, kind] : state.live) fprintf(file, " %s", kind);
    fprintf(file, "\n");
    for (const char* name : state.trace) fprintf(file, "%s\n", name);
    fclose(file);
  }
};
Reporter reporter;  // goes before the state does

// Whoever calls holds it: programs use a driver from many threads.
std::recursive_mutex state_mutex;
using Lock = std::lock_guard<std::recursive_mutex>;

void RunByChance();

// What a stream is told, now or later, or whenever the graph is started that is being captured.
void Queue(void* stream, std::function<void()> work) {
  if (state.capturing) return state.captured.push_back(std::move(work));
  if (!state.late) return work();
  ++state.queued[stream];
  state.queues[stream].push_back(std::move(work));
  if (state.moment != 0) RunByChance();
}
void RunUntil(void* stream, uint64_t number) {
  std::deque<std::function<void()>>& queue = state.queues[stream];
  while (!queue.empty() && state.begun[stream] < number) {
    ++state.begun[stream];
    queue.front()();
    queue.pop_front();
  }
}
// Some of what some streams have been told: a GPU waits for nobody.
void RunByChance() {
  const auto chance = [](uint32_t below) {
    state.moment = state.moment * 1664525 + 1013904223;
    return (state.moment >> 8) % below;
  };
  for (const auto& [stream, queue] : state.queues) {
    if (chance(2) == 0) RunUntil(stream, state.begun[stream] + chance(6));
  }
}
// After an error a driver does nothing more of it.
void Lose(void* stream) {
  state.queues[stream].clear();
  state.begun[stream] = state.queued[stream];
}

// What a call gives: 0, or what the test ordered.
int Call(const char* name) {
  const Lock lock(state_mutex);
  state.trace.push_back(name);
  if (++state.calls == state.fail_at) state.failed = name;
  if (state.broken != 0) {
    if (state.failed.empty()) state.failed = name;
    return state.broken;
  }
  const bool fails = state.lost ? !state.failed.empty() : state.calls == state.fail_at;
  return fails ? state.fail_with : 0;
}

// Calls that wait for the GPU. They return all the same: a test looks at `blocked`.
void Waits(const char* name) {
  const Lock lock(state_mutex);
  if (state.hung && state.blocked.empty()) state.blocked = name;
}

void* Make(const char* kind, size_t bytes = 64) {
  const Lock lock(state_mutex);
  void* handle = malloc(bytes);
  memset(handle, state.fresh, bytes);
  state.live[handle] = kind;
  return handle;
}
// 400 (CUDA_ERROR_INVALID_HANDLE) for what is not alive. Frees even where the call fails, as a
// driver that lost its device does.
int Free(const char* name, void* handle) {
  const Lock lock(state_mutex);
  // The parts of a graph are the host's.
  if (strncmp(name, "cuGraph", 7) != 0) Waits(name);
  if (state.live.erase(handle) == 0) return 400;
  free(handle);
  return Call(name);
}

int Init(unsigned) {
  const int result = Call("cuInit");
  return result != 0 ? result : state.devices == 0 ? 100 : 0;
}
int Version(int* version) { return *version = 12040, Call("cuDriverGetVersion"); }
int ErrorName(int, const char** text) { return *text = "CUDA_ERROR_OF_THE_FAKE", 0; }
int ErrorString(int, const char** text) { return *text = "what the fake was told", 0; }
int DeviceCount(int* count) { return *count = state.devices, Call("cuDeviceGetCount"); }
int Device(int* device, int ordinal) { return *device = ordinal, Call("cuDeviceGet"); }
int DeviceName(char* name, int bytes, int) {
  strncpy(name, "Fake GPU", static_cast<size_t>(bytes));
  return Call("cuDeviceGetName");
}
int DeviceAttribute(int* value, int attribute, int) {
  *value = attribute == 75   ? state.sm / 10
           : attribute == 76 ? state.sm % 10
           : attribute == 16 ? 132
           : attribute == 97 ? 227 << 10
                             : 1 << 20;
  return Call("cuDeviceGetAttribute");
}
int DeviceMemory(size_t* bytes, int) { return *bytes = state.memory, Call("cuDeviceTotalMem"); }
int RetainContext(void** context, int device) {
  const Lock lock(state_mutex);
  if (const int result = Call("cuDevicePrimaryCtxRetain")) return result;
  auto& [handle, count] = state.contexts[device];
  if (count++ == 0) handle = Make("context");
  return *context = handle, 0;
}
// What else is alive after the last one is a leak, and stays in the set.
int ReleaseContext(int device) {
  const Lock lock(state_mutex);
  auto& [handle, count] = state.contexts[device];
  if (count == 0) return 201;
  if (--count > 0) return Call("cuDevicePrimaryCtxRelease");
  return Free("cuDevicePrimaryCtxRelease", handle);
}
int SetContext(void*) { return Call("cuCtxSetCurrent"); }
int Allocate(Address* address, size_t bytes) {
  if (const int result = Call("cuMemAlloc")) return result;
  return *address = reinterpret_cast<Address>(Make("memory", bytes)), 0;
}
int FreeMemory(Address address) { return Free("cuMemFree", reinterpret_cast<void*>(address)); }
int MemoryInfo(size_t* free, size_t* total) {
  return *free = 1 << 20, *total = state.memory, Call("cuMemGetInfo");
}
int AllocateHost(void** host, size_t bytes, unsigned) {
  if (const int result = Call("cuMemHostAlloc")) return result;
  return *host = Make("host_memory", bytes), 0;
}
int FreeHost(void* host) { return Free("cuMemFreeHost", host); }
int CopyLater(const char* name, void* to, const void* from, size_t bytes, void* stream) {
  const Lock lock(state_mutex);
  if (const int result = Call(name)) return result;
  return Queue(stream, [=] { memcpy(to, from, bytes); }), 0;
}
int CopyToDevice(Address to, const void* from, size_t bytes, void* stream) {
  return CopyLater("cuMemcpyHtoDAsync", reinterpret_cast<void*>(to), from, bytes, stream);
}
int CopyToHost(void* to, Address from, size_t bytes, void* stream) {
  return CopyLater("cuMemcpyDtoHAsync", to, reinterpret_cast<void*>(from), bytes, stream);
}
int CopyOnDevice(Address to, Address from, size_t bytes, void* stream) {
  return CopyLater("cuMemcpyDtoDAsync", reinterpret_cast<void*>(to), reinterpret_cast<void*>(from),
                   bytes, stream);
}
int Fill(Address to, unsigned char value, size_t bytes, void* stream) {
  const Lock lock(state_mutex);
  if (const int result = Call("cuMemsetD8Async")) return result;
  return Queue(stream, [=] { memset(reinterpret_cast<void*>(to), value, bytes); }), 0;
}
int LoadModule(void** module, const void*) {
  if (const int result = Call("cuModuleLoadData")) return result;
  return *module = Make("module"), 0;
}
int UnloadModule(void* module) { return Free("cuModuleUnload", module); }
int Function(void** function, void* module, const char* name) {
  if (const int result = Call("cuModuleGetFunction")) return result;
  if (strcmp(name, "absent") == 0) return 500;
  const Lock lock(state_mutex);
  state.names[module] = name;
  return *function = module, 0;
}
int SetFunctionAttribute(void*, int attribute, int value) {
  if (attribute == 8) state.shared_allowed = value;
  return Call("cuFuncSetAttribute");
}
int Occupancy(int* blocks, void*, int, size_t) {
  return *blocks = 3, Call("cuOccupancyMaxActiveBlocksPerMultiprocessor");
}
int Launch(const LaunchConfig* config, void* function, void** arguments, void**) {
  const Lock lock(state_mutex);
  if (const int result = Call("cuLaunchKernelEx")) return result;
  if (state.on_launch != nullptr) {
    const auto* bytes = static_cast<const char*>(arguments[0]);
    const std::vector<char> copy(bytes, bytes + state.argument_bytes);
    const unsigned grid = config->grid_x;
    Queue(reinterpret_cast<void*>(config->stream),
          [=] { state.on_launch(function, copy.data(), grid); });
  }
  const auto is = [&](const std::string& part) {
    return !part.empty() && state.names[function].find(part) != std::string::npos;
  };
  if (is(state.fail_kernel)) state.broken = state.fail_with;
  if (is(state.hang_kernel)) state.hung = true;
  state.config = *config;
  ++state.launches;
  for (unsigned i = 0; i < config->attribute_count; ++i) {
    state.attributes[i] = config->attributes[i];
    if (config->attributes[i].id == 6) ++state.overlapping;
  }
  memcpy(&state.first_argument, arguments[0], sizeof(int));
  return 0;
}
int CreateStream(void** stream, unsigned) {
  if (const int result = Call("cuStreamCreate")) return result;
  return *stream = Make("stream"), 0;
}
// What is still queued is lost: whoever wanted it should have waited.
int DestroyStream(void* stream) {
  const Lock lock(state_mutex);
  Lose(stream);
  return Free("cuStreamDestroy", stream);
}
int SynchronizeStream(void* stream) {
  const Lock lock(state_mutex);
  if (state.capturing) return 900;
  Waits("cuStreamSynchronize");
  if (const int result = Call("cuStreamSynchronize")) return Lose(stream), result;
  return RunUntil(stream, UINT64_MAX), 0;
}
// Asked whether `stream` has come to that number: it has then.
int Query(const char* name, void* stream, uint64_t number) {
  if (state.query_ms > 0) std::this_thread::sleep_for(std::chrono::milliseconds(state.query_ms));
  const Lock lock(state_mutex);
  if (state.capturing) return 900;
  if (state.hung) return 600;
  if (const int result = Call(name)) return Lose(stream), result;
  return RunUntil(stream, number), 0;
}
int QueryStream(void* stream) { return Query("cuStreamQuery", stream, UINT64_MAX); }
int StreamWaitEvent(void* stream, void* event, unsigned) {
  const Lock lock(state_mutex);
  if (const int result = Call("cuStreamWaitEvent")) return result;
  const auto [other, number] = state.recorded[event];
  return Queue(stream, [=, other = other, number = number] { RunUntil(other, number); }), 0;
}
int BeginCapture(void*, int) {
  if (const int result = Call("cuStreamBeginCapture")) return result;
  return state.capturing = true, 0;
}
int EndCapture(void*, void** graph) {
  const Lock lock(state_mutex);
  state.capturing = false;
  const auto captured = std::exchange(state.captured, {});
  if (const int result = Call("cuStreamEndCapture")) return result;
  *graph = Make("graph");
  return state.graphs[*graph] = captured, 0;
}
int InstantiateGraph(void** exec, void* graph, uint64_t) {
  const Lock lock(state_mutex);
  if (const int result = Call("cuGraphInstantiateWithFlags")) return result;
  *exec = Make("executable_graph");
  return state.graphs[*exec] = state.graphs[graph], 0;
}
int LaunchGraph(void* exec, void* stream) {
  const Lock lock(state_mutex);
  if (const char* path = getenv("FAKE_TOUCH"); path != nullptr && ++state.runs == 3) {
    if (FILE* file = fopen(path, "w")) fclose(file);
  }
  if (const int result = Call("cuGraphLaunch")) return result;
  for (const std::function<void()>& work : state.graphs[exec]) Queue(stream, work);
  return 0;
}
int DestroyGraphExec(void* exec) { return Free("cuGraphExecDestroy", exec); }
int DestroyGraph(void* graph) { return Free("cuGraphDestroy", graph); }
int CreateEvent(void** event, unsigned) {
  if (const int result = Call("cuEventCreate")) return result;
  return *event = Make("event"), 0;
}
int DestroyEvent(void* event) { return Free("cuEventDestroy", event); }
void ComeToPass(void* event) {
  using Clock = std::chrono::steady_clock;
  state.passed[event] =
      std::chrono::duration<double, std::milli>(Clock::now().time_since_epoch()).count();
}
int RecordEvent(void* event, void* stream) {
  const Lock lock(state_mutex);
  const int result = Call("cuEventRecord");
  state.passed.erase(event);
  if (result == 0) Queue(stream, [=] { ComeToPass(event); });
  return state.recorded[event] = {stream, state.queued[stream]}, result;
}
// In a graph it comes to pass each time; what is captured is all of one stream's.
int RecordEventWithFlags(void* event, void* stream, unsigned flags) {
  const Lock lock(state_mutex);
  if (const int result = Call("cuEventRecordWithFlags")) return result;
  if (!state.capturing || flags != 1) return 1;
  return Queue(stream, [=] { ComeToPass(event); }), 0;
}
int QueryEvent(void* event) {
  const auto [stream, number] = state.recorded[event];
  return Query("cuEventQuery", stream, number);
}
int SynchronizeEvent(void* event) {
  const Lock lock(state_mutex);
  const auto [stream, number] = state.recorded[event];
  Waits("cuEventSynchronize");
  if (const int result = Call("cuEventSynchronize")) return Lose(stream), result;
  return RunUntil(stream, number), 0;
}
// 600 (CUDA_ERROR_NOT_READY) where one has not come to pass.
int ElapsedMs(float* ms, void* start, void* end) {
  const Lock lock(state_mutex);
  if (const int result = Call("cuEventElapsedTime")) return result;
  if (state.passed.count(start) == 0 || state.passed.count(end) == 0) return 600;
  return *ms = static_cast<float>(state.passed[end] - state.passed[start]), 0;
}

// What it was given, a number after another; 1 (CUDA_ERROR_INVALID_VALUE) for a map at an address
// that the driver does not take.
int EncodeTensorMap(void* map, int type, unsigned rank, void* base, const uint64_t* sizes,
                    const uint64_t* stride_bytes, const unsigned* box,
                    const unsigned* element_strides, int interleave, int swizzle, int l2_promotion,
                    int fill) {
  if (reinterpret_cast<uintptr_t>(map) % 64 != 0) return 1;
  uint64_t values[16] = {static_cast<uint64_t>(type), rank, reinterpret_cast<uint64_t>(base)};
  uint64_t* next = values + 3;
  for (unsigned i = 0; i < rank; ++i) *next++ = sizes[i];
  for (unsigned i = 0; i + 1 < rank; ++i) *next++ = stride_bytes[i];
  for (unsigned i = 0; i < rank; ++i) *next++ = box[i] * element_strides[i];
  for (const int value : {interleave, swizzle, l2_promotion, fill}) {
    *next++ = static_cast<uint64_t>(value);
  }
  memcpy(map, values, sizeof(values));
  return Call("cuTensorMapEncodeTiled");
}

}  // namespace

extern "C" {

void fake_reset() {
  FreeLive();
  state = FromEnvironment();
}
void fake_fail_at(int call, int result) { state.fail_at = call, state.fail_with = result; }
void fake_fail_kernel(const char* name, int result) {
  state.fail_kernel = name, state.fail_with = result;
}
void fake_hang_kernel(const char* name) { state.hang_kernel = name; }
void fake_set_devices(int count) { state.devices = count; }
void fake_set_sm(int sm) { state.sm = sm; }
void fake_set_fresh(int byte) { state.fresh = byte; }
void fake_hang() { state.hung = true; }
const char* fake_blocked() { return state.blocked.c_str(); }
int fake_launches() { return state.launches; }
int fake_overlapping() { return state.overlapping; }
int fake_count(const char* name) {
  int count = 0;
  for (const char* call : state.trace) count += strcmp(call, name) == 0 ? 1 : 0;
  return count;
}
const char* fake_name(void* function) { return state.names[function].c_str(); }
void fake_set_late(int late) { state.late = late != 0; }
void fake_by_chance(unsigned seed) { state.late = true, state.moment = seed; }
void fake_on_launch(void (*run)(void*, const void*, unsigned), size_t argument_bytes) {
  state.on_launch = run;
  state.argument_bytes = argument_bytes;
}
int fake_calls() { return state.calls; }
const char* fake_failed() { return state.failed.c_str(); }
int fake_live() { return static_cast<int>(state.live.size()); }
const LaunchConfig* fake_config() { return &state.config; }
const LaunchAttribute* fake_attributes() { return state.attributes; }
int fake_first_argument() { return state.first_argument; }
int fake_shared_allowed() { return state.shared_allowed; }

#ifndef FAKE_WITHOUT_LOOKUP
int cuGetProcAddress_v2(const char* name, void** function, int, uint64_t, int* found) {
  const auto any = [](auto* f) { return reinterpret_cast<void*>(f); };
  const std::pair<const char*, void*> functions[] = {
      {"cuInit", any(Init)},
      {"cuDriverGetVersion", any(Version)},
      {"cuGetErrorName", any(ErrorName)},
      {"cuGetErrorString", any(ErrorString)},
      {"cuDeviceGetCount", any(DeviceCount)},
      {"cuDeviceGet", any(Device)},
      {"cuDeviceGetName", any(DeviceName)},
      {"cuDeviceGetAttribute", any(DeviceAttribute)},
      {"cuDeviceTotalMem", any(DeviceMemory)},
      {"cuDevicePrimaryCtxRetain", any(RetainContext)},
      {"cuDevicePrimaryCtxRelease", any(ReleaseContext)},
      {"cuCtxSetCurrent", any(SetContext)},
      {"cuMemAlloc", any(Allocate)},
      {"cuMemFree", any(FreeMemory)},
      {"cuMemGetInfo", any(MemoryInfo)},
      {"cuMemHostAlloc", any(AllocateHost)},
      {"cuMemFreeHost", any(FreeHost)},
      {"cuMemcpyHtoDAsync", any(CopyToDevice)},
      {"cuMemcpyDtoHAsync", any(CopyToHost)},
      {"cuMemcpyDtoDAsync", any(CopyOnDevice)},
      {"cuMemsetD8Async", any(Fill)},
      {"cuModuleLoadData", any(LoadModule)},
      {"cuModuleUnload", any(UnloadModule)},
      {"cuModuleGetFunction", any(Function)},
      {"cuFuncSetAttribute", any(SetFunctionAttribute)},
      {"cuOccupancyMaxActiveBlocksPerMultiprocessor", any(Occupancy)},
      {"cuLaunchKernelEx", any(Launch)},
      {"cuStreamCreate", any(CreateStream)},
      {"cuStreamDestroy", any(DestroyStream)},
      {"cuStreamSynchronize", any(SynchronizeStream)},
      {"cuStreamQuery", any(QueryStream)},
      {"cuStreamWaitEvent", any(StreamWaitEvent)},
      {"cuStreamBeginCapture", any(BeginCapture)},
      {"cuStreamEndCapture", any(EndCapture)},
      {"cuGraphInstantiateWithFlags", any(InstantiateGraph)},
      {"cuGraphLaunch", any(LaunchGraph)},
      {"cuGraphExecDestroy", any(DestroyGraphExec)},
      {"cuGraphDestroy", any(DestroyGraph)},
      {"cuEventCreate", any(CreateEvent)},
      {"cuEventDestroy", any(DestroyEvent)},
      {"cuEventRecord", any(RecordEvent)},
      {"cuEventRecordWithFlags", any(RecordEventWithFlags)},
      {"cuEventQuery", any(QueryEvent)},
      {"cuEventSynchronize", any(SynchronizeEvent)},
      {"cuEventElapsedTime", any(ElapsedMs)},
      {"cuTensorMapEncodeTiled", any(EncodeTensorMap)},
  };
  *found = 1;  // CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND
#ifdef FAKE_WITHOUT
  if (strcmp(name, FAKE_WITHOUT) == 0) return 500;
#endif
  for (const auto& [known, address] : functions) {
    if (strcmp(name, known) != 0) continue;
    *found = 0;
    *function = address;
    return 0;
  }
  return 500;
}
#endif

}  // extern "C"
