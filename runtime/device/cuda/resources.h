// What a program has on a GPU: context, memory, modules, streams, graphs, events. Each frees
// itself, but for those of an abandoned context; what a call says while freeing is not heard, for
// nobody could do anything about it. Each
// keeps its context alive, which must be current (Context::Open makes it so) in the threads that
// use it.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/device/cuda/driver.h"

namespace renga::cuda {

// Of one GPU.
struct GpuFacts {
  std::string name;  // "NVIDIA H100 80GB HBM3"
  int sm = 0;        // compute capability: 90 for 9.0
  int multiprocessors = 0;
  int64_t l2_bytes = 0;
  int64_t shared_per_block = 0;  // bytes, after opting in
  int64_t memory_bytes = 0;
};

// The primary context of one GPU.
class Context {
 public:
  // Also makes it current in this thread. OutOfRange where the driver has no such device.
  static absl::StatusOr<std::shared_ptr<const Context>> Open(std::shared_ptr<const Driver> driver,
                                                             int ordinal);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // Before another thread uses what belongs to the context.
  absl::Status MakeCurrent() const;

  // Once something on the GPU does not end: freeing would wait for it, so from now on nothing of
  // this context is freed, which the end of the process does.
  void Abandon() const;
  bool abandoned() const;

  // Bytes of the GPU's memory that nobody has now, other processes counted.
  absl::StatusOr<size_t> FreeBytes() const;

  const GpuFacts& gpu() const { return gpu_; }
  const Driver& driver() const { return *driver_; }
  const DriverApi& api() const { return driver_->api(); }
  absl::Status Check(int result, std::string_view call) const {
    return driver_->Check(result, call);
  }

 private:
  explicit Context(std::shared_ptr<const Driver> driver) : driver_(std::move(driver)) {}
  absl::Status ReadFacts();

  std::shared_ptr<const Driver> driver_;
  int device_ = 0;
  ContextHandle handle_ = nullptr;
  GpuFacts gpu_;
  mutable std::atomic<bool> abandoned_ = false;
};

using ContextRef = std::shared_ptr<const Context>;

// A handle and the function of the API that frees it. Movable; empty after a move.
template <typename Handle, int (*DriverApi::*kFree)(Handle)>
class Owned {
 public:
  Owned() = default;
  Owned(ContextRef context, Handle handle) : context_(std::move(context)), handle_(handle) {}
  Owned(Owned&& other) noexcept
      : context_(std::move(other.context_)), handle_(std::exchange(other.handle_, Handle{})) {}
  Owned& operator=(Owned&& other) noexcept {
    std::swap(context_, other.context_);
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Owned() {
    if (handle_ != Handle{} && !context_->abandoned()) (context_->api().*kFree)(handle_);
  }

  Handle get() const { return handle_; }
  const Context& context() const { return *context_; }

 private:
  ContextRef context_;
  Handle handle_ = {};
};

class Memory {
 public:
  Memory() = default;
  // ResourceExhausted where the GPU has not that much. `bytes` may be 0: then there is none.
  static absl::StatusOr<Memory> Allocate(ContextRef context, size_t bytes);

  // As kernels take it; not for the host to follow.
  uint8_t* data() const { return reinterpret_cast<uint8_t*>(owned_.get()); }
  size_t bytes() const { return bytes_; }

 private:
  Owned<Address, &DriverApi::free> owned_;
  size_t bytes_ = 0;
};

// Memory of the host that the GPU reads by itself: copies from it run beside whoever queued them.
class PinnedMemory {
 public:
  PinnedMemory() = default;
  // ResourceExhausted where the machine has not that much to lock. `bytes` may be 0.
  static absl::StatusOr<PinnedMemory> Allocate(ContextRef context, size_t bytes);

  uint8_t* data() const { return static_cast<uint8_t*>(owned_.get()); }
  size_t bytes() const { return bytes_; }

 private:
  Owned<void*, &DriverApi::free_host> owned_;
  size_t bytes_ = 0;
};

// A kernel of a module, which must outlive it.
struct Function {
  FunctionHandle handle = nullptr;
  std::string name;
};

class Module {
 public:
  // `image` is a cubin for this GPU.
  static absl::StatusOr<Module> Load(ContextRef context, std::string_view image);

  // NotFound where it has no kernel of that name.
  absl::StatusOr<Function> Find(const std::string& name) const;
  // Allows launches with that much dynamic shared memory a block; needed beyond 48 KiB.
  absl::Status AllowShared(const Function& function, int64_t bytes) const;
  // How many blocks of that size a multiprocessor holds at a time.
  absl::StatusOr<int> BlocksPerMultiprocessor(const Function& function, int threads,
                                              int64_t shared_bytes) const;

 private:
  Owned<ModuleHandle, &DriverApi::unload_module> owned_;
};

class Event {
 public:
  static absl::StatusOr<Event> Create(ContextRef context);
  // One that Milliseconds may not be asked about: it costs less.
  static absl::StatusOr<Event> CreateUntimed(ContextRef context);
  EventHandle handle() const { return owned_.get(); }
  // Waits until it has come to pass.
  absl::Status Wait() const;
  // The same, but gives up after `seconds`: DeadlineExceeded. Looks every `pause_seconds`, or all
  // the time where that is 0 (in the beginning: after a tenth of a second nobody is in a hurry).
  absl::Status WaitWithin(double seconds, double pause_seconds) const;
  // Between two that have.
  static absl::StatusOr<float> Milliseconds(const Event& start, const Event& end);

 private:
  Owned<EventHandle, &DriverApi::destroy_event> owned_;
};

// Launches that were captured, to be started at once.
class Graph {
 public:
  GraphExecHandle handle() const { return owned_.get(); }

 private:
  friend class Stream;
  Owned<GraphExecHandle, &DriverApi::destroy_graph_exec> owned_;
};

struct LaunchShape {
  unsigned grid[3] = {1, 1, 1};
  unsigned threads = 1;  // a block
  unsigned shared_bytes = 0;
  // May start while the launch before it runs: programmatic dependent launch.
  bool overlaps_previous = false;
  bool cooperative = false;  // all blocks are there at once
};

// Launches and copies in order. Write and Read have ended when the function returns, launches have
// not.
class Stream {
 public:
  static absl::StatusOr<Stream> Create(ContextRef context);

  absl::Status Write(void* device, absl::Span<const uint8_t> from) const;
  absl::Status Read(const void* device, absl::Span<uint8_t> to) const;
  // These are only queued. Memory of the host is pinned: what is read there neither changes nor
  // goes before the copy has ended, and what is written is not there before Synchronize.
  absl::Status WriteLater(void* device, absl::Span<const uint8_t> from) const;
  absl::Status ReadLater(const void* device, absl::Span<uint8_t> to) const;
  absl::Status Copy(void* to, const void* from, size_t bytes) const;
  absl::Status Fill(void* device, uint8_t value, size_t bytes) const;

  // `arguments` are pointers to the values, as cuLaunchKernelEx takes them.
  absl::Status Launch(const Function& function, const LaunchShape& shape, void** arguments) const;
  // Captures what `body` launches on this stream.
  absl::StatusOr<Graph> Capture(const std::function<absl::Status()>& body) const;
  absl::Status Launch(const Graph& graph) const;
  absl::Status Record(const Event& event) const;
  // While capturing: the graph records the event each time it comes there, as a node of its own. (A
  // Record would only order what is captured.)
  absl::Status RecordEachTime(const Event& event) const;
  // What comes behind begins when the event, as last recorded, has come to pass.
  absl::Status WaitFor(const Event& event) const;
  // Waits for all of it; the error of a kernel that failed shows here.
  absl::Status Synchronize() const;
  // The same, but gives up after `seconds`: DeadlineExceeded.
  absl::Status SynchronizeWithin(double seconds) const;

 private:
  ContextRef context_;
  Owned<StreamHandle, &DriverApi::destroy_stream> owned_;
};

}  // namespace renga::cuda
