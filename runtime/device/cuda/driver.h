// NVIDIA's driver (libcuda), loaded when it is first needed: nothing of CUDA is needed to build,
// and the same program starts with and without a driver.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace renga::cuda {

// The types of "CUDA Driver API" in the CUDA Toolkit documentation, as its ABI has them. All
// functions return a CUresult, of which 0 is success.
using Address = uint64_t;  // CUdeviceptr
using ContextHandle = struct ContextTag*;
using ModuleHandle = struct ModuleTag*;
using FunctionHandle = struct FunctionTag*;
using StreamHandle = struct StreamTag*;
using EventHandle = struct EventTag*;
using GraphHandle = struct GraphTag*;
using GraphExecHandle = struct GraphExecTag*;

inline constexpr int kErrorOutOfMemory = 2, kErrorNoDevice = 100, kErrorNotFound = 500,
                     kErrorNotReady = 600;

// CUdevice_attribute, CUfunction_attribute and CUlaunchAttributeID, as far as we use them.
inline constexpr int kMultiprocessorCount = 16, kL2CacheBytes = 38, kComputeCapabilityMajor = 75,
                     kComputeCapabilityMinor = 76, kSharedBytesPerBlockOptIn = 97;
inline constexpr int kMaxDynamicSharedBytes = 8;
inline constexpr int kCooperative = 2, kProgrammaticStreamSerialization = 6;

struct LaunchAttribute {
  int id;
  alignas(8) int value;
  char rest[60];
};
struct LaunchConfig {
  unsigned grid_x, grid_y, grid_z, block_x, block_y, block_z, dynamic_shared_bytes;
  StreamHandle stream;
  const LaunchAttribute* attributes;
  unsigned attribute_count;
};
static_assert(sizeof(LaunchAttribute) == 72 && offsetof(LaunchAttribute, value) == 8);
static_assert(sizeof(LaunchConfig) == 56 && offsetof(LaunchConfig, stream) == 32);

// The entry points we use, in the form of driver 12.0.
struct DriverApi {
  int (*init)(unsigned flags);
  int (*driver_version)(int* version);  // 12040: 12.4
  int (*error_name)(int result, const char** text);
  int (*error_string)(int result, const char** text);
  int (*device_count)(int* count);
  int (*device)(int* device, int ordinal);
  int (*device_name)(char* name, int bytes, int device);
  int (*device_attribute)(int* value, int attribute, int device);
  int (*device_memory)(size_t* bytes, int device);
  int (*retain_context)(ContextHandle* context, int device);
  int (*release_context)(int device);
  int (*set_context)(ContextHandle context);
  int (*allocate)(Address* address, size_t bytes);
  int (*free)(Address address);
  int (*memory_info)(size_t* free, size_t* total);
  int (*allocate_host)(void** host, size_t bytes, unsigned flags);
  int (*free_host)(void* host);
  int (*copy_to_device)(Address to, const void* from, size_t bytes, StreamHandle stream);
  int (*copy_to_host)(void* to, Address from, size_t bytes, StreamHandle stream);
  int (*copy_on_device)(Address to, Address from, size_t bytes, StreamHandle stream);
  int (*fill)(Address to, unsigned char value, size_t bytes, StreamHandle stream);
  int (*load_module)(ModuleHandle* module, const void* image);
  int (*unload_module)(ModuleHandle module);
  int (*function)(FunctionHandle* function, ModuleHandle module, const char* name);
  int (*set_function_attribute)(FunctionHandle function, int attribute, int value);
  int (*occupancy)(int* blocks, FunctionHandle function, int threads, size_t dynamic_shared_bytes);
  int (*launch)(const LaunchConfig* config, FunctionHandle function, void** arguments,
                void** extra);
  int (*create_stream)(StreamHandle* stream, unsigned flags);
  int (*destroy_stream)(StreamHandle stream);
  int (*synchronize_stream)(StreamHandle stream);
  int (*query_stream)(StreamHandle stream);  // 600: not done yet
  int (*wait_event)(StreamHandle stream, EventHandle event, unsigned flags);
  int (*begin_capture)(StreamHandle stream, int mode);
  int (*end_capture)(StreamHandle stream, GraphHandle* graph);
  // cuGraphInstantiateWithFlags: asked for as cuGraphInstantiate, drivers give the form of CUDA 11.
  int (*instantiate_graph)(GraphExecHandle* exec, GraphHandle graph, uint64_t flags);
  int (*launch_graph)(GraphExecHandle exec, StreamHandle stream);
  int (*destroy_graph_exec)(GraphExecHandle exec);
  int (*destroy_graph)(GraphHandle graph);
  int (*create_event)(EventHandle* event, unsigned flags);
  int (*destroy_event)(EventHandle event);
  int (*record_event)(EventHandle event, StreamHandle stream);
  int (*record_event_with_flags)(EventHandle event, StreamHandle stream, unsigned flags);
  int (*query_event)(EventHandle event);  // 600: not yet
  int (*synchronize_event)(EventHandle event);
  int (*elapsed_ms)(float* ms, EventHandle start, EventHandle end);
  int (*encode_tensor_map)(void* map, int type, unsigned rank, void* base, const uint64_t* sizes,
                           const uint64_t* stride_bytes, const unsigned* box,
                           const unsigned* element_strides, int interleave, int swizzle,
                           int l2_promotion, int fill);
};

// The oldest driver that has all of them.
inline constexpr int kOldestDriver = 12000;
inline constexpr const char* kDriverSoname = "libcuda.so.1";

// A loaded and initialised driver with at least one GPU. Immutable, and usable from any number of
// threads. It stays in the process when the object goes: drivers are not made to be unloaded.
class Driver {
 public:
  // `file` is a path or a soname. Unavailable where there is no driver, an older one, or no GPU,
  // saying what was tried and what to do; also where a call fails.
  static absl::StatusOr<std::shared_ptr<const Driver>> Load(const std::string& file);

  const DriverApi& api() const { return api_; }
  int version() const { return version_; }  // 13000: made for CUDA 13.0
  int device_count() const { return device_count_; }

  // Ok for result 0. Otherwise names the call ("cuMemAlloc(3 bytes)") and the driver's name and
  // text for the error. ResourceExhausted where memory is out, NotFound where a module has no such
  // kernel, else Unavailable.
  absl::Status Check(int result, std::string_view call) const;

 private:
  Driver() = default;
  absl::Status Open(const std::string& file);

  DriverApi api_ = {};
  int version_ = 0;
  int device_count_ = 0;
};

// "13.0" for 13000.
std::string DriverVersionText(int version);

}  // namespace renga::cuda
