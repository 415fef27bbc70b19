#include "runtime/device/cuda/driver.h"

#include <dlfcn.h>

#include "ir/base/status.h"

namespace renga::cuda {
namespace {

// cuGetProcAddress_v2: the function in the form that driver `version` knew it.
using Lookup = int (*)(const char* name, void** function, int version, uint64_t flags, int* found);

constexpr const char* kWhatToDo =
    "install NVIDIA's driver, or use another device, such as --device cpu";

std::string LoaderError() {
  const char* error = dlerror();
  return error == nullptr ? "no reason given" : error;
}

// Closes what turned out not to be usable.
struct Library {
  void* handle = nullptr;
  ~Library() {
    if (handle != nullptr) dlclose(handle);
  }
};

absl::Status ResolveAll(Lookup lookup, DriverApi* api) {
  const auto slot = [](auto& function) { return reinterpret_cast<void**>(&function); };
  const std::pair<const char*, void**> functions[] = {
      {"cuInit", slot(api->init)},
      {"cuDriverGetVersion", slot(api->driver_version)},
      {"cuGetErrorName", slot(api->error_name)},
      {"cuGetErrorString", slot(api->error_string)},
      {"cuDeviceGetCount", slot(api->device_count)},
      {"cuDeviceGet", slot(api->device)},
      {"cuDeviceGetName", slot(api->device_name)},
      {"cuDeviceGetAttribute", slot(api->device_attribute)},
      {"cuDeviceTotalMem", slot(api->device_memory)},
      {"cuDevicePrimaryCtxRetain", slot(api->retain_context)},
      {"cuDevicePrimaryCtxRelease", slot(api->release_context)},
      {"cuCtxSetCurrent", slot(api->set_context)},
      {"cuMemAlloc", slot(api->allocate)},
      {"cuMemFree", slot(api->free)},
      {"cuMemGetInfo", slot(api->memory_info)},
      {"cuMemHostAlloc", slot(api->allocate_host)},
      {"cuMemFreeHost", slot(api->free_host)},
      {"cuMemcpyHtoDAsync", slot(api->copy_to_device)},
      {"cuMemcpyDtoHAsync", slot(api->copy_to_host)},
      {"cuMemcpyDtoDAsync", slot(api->copy_on_device)},
      {"cuMemsetD8Async", slot(api->fill)},
      {"cuModuleLoadData", slot(api->load_module)},
      {"cuModuleUnload", slot(api->unload_module)},
      {"cuModuleGetFunction", slot(api->function)},
      {"cuFuncSetAttribute", slot(api->set_function_attribute)},
      {"cuOccupancyMaxActiveBlocksPerMultiprocessor", slot(api->occupancy)},
      {"cuLaunchKernelEx", slot(api->launch)},
      {"cuStreamCreate", slot(api->create_stream)},
      {"cuStreamDestroy", slot(api->destroy_stream)},
      {"cuStreamSynchronize", slot(api->synchronize_stream)},
      {"cuStreamQuery", slot(api->query_stream)},
      {"cuStreamWaitEvent", slot(api->wait_event)},
      {"cuStreamBeginCapture", slot(api->begin_capture)},
      {"cuStreamEndCapture", slot(api->end_capture)},
      {"cuGraphInstantiateWithFlags", slot(api->instantiate_graph)},
      {"cuGraphLaunch", slot(api->launch_graph)},
      {"cuGraphExecDestroy", slot(api->destroy_graph_exec)},
      {"cuGraphDestroy", slot(api->destroy_graph)},
      {"cuEventCreate", slot(api->create_event)},
      {"cuEventDestroy", slot(api->destroy_event)},
      {"cuEventRecord", slot(api->record_event)},
      {"cuEventRecordWithFlags", slot(api->record_event_with_flags)},
      {"cuEventQuery", slot(api->query_event)},
      {"cuEventSynchronize", slot(api->synchronize_event)},
      {"cuEventElapsedTime", slot(api->elapsed_ms)},
      {"cuTensorMapEncodeTiled", slot(api->encode_tensor_map)},
  };
  for (const auto& [name, function] : functions) {
    int found = 0;
    *function = nullptr;
    if (lookup(name, function, kOldestDriver, 0, &found) != 0 || *function == nullptr) {
      return absl::UnavailableError(
          StrCat("cuda: the driver has no ", name, ", expected one for CUDA ",
                 DriverVersionText(kOldestDriver), " or newer; ", kWhatToDo));
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::string DriverVersionText(int version) {
  return StrCat(version / 1000, ".", version % 1000 / 10);
}

absl::Status Driver::Check(int result, std::string_view call) const {
  if (result == 0) return absl::OkStatus();
  const char* name = nullptr;
  const char* text = nullptr;
  if (api_.error_name(result, &name) != 0 || name == nullptr) name = "an error without a name";
  if (api_.error_string(result, &text) != 0 || text == nullptr) text = "no description";
  const std::string message = StrCat("cuda: ", call, " fails: ", name, " (", result, "): ", text);
  if (result == kErrorOutOfMemory) return absl::ResourceExhaustedError(message);
  if (result == kErrorNotFound) return absl::NotFoundError(message);
  return absl::UnavailableError(message);
}

absl::Status Driver::Open(const std::string& file) {
  Library library{dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL)};
  if (library.handle == nullptr) {
    return absl::UnavailableError(
        StrCat("cuda: no driver on this machine: ", LoaderError(), "; ", kWhatToDo));
  }
  const auto lookup = reinterpret_cast<Lookup>(dlsym(library.handle, "cuGetProcAddress_v2"));
  if (lookup == nullptr) {
    return absl::UnavailableError(
        StrCat("cuda: ", file, " has no cuGetProcAddress_v2, expected a driver for CUDA ",
               DriverVersionText(kOldestDriver), " or newer; ", kWhatToDo));
  }
  RENGA_RETURN_IF_ERROR(ResolveAll(lookup, &api_));
  library.handle = nullptr;  // stays, whatever follows: it may have started threads
  const int result = api_.init(0);
  const std::string no_gpu = StrCat("cuda: the driver (", file, ") finds no GPU; ", kWhatToDo);
  if (result == kErrorNoDevice) return absl::UnavailableError(no_gpu);
  RENGA_RETURN_IF_ERROR(Check(result, "cuInit"));
  RENGA_RETURN_IF_ERROR(Check(api_.driver_version(&version_), "cuDriverGetVersion"));
  RENGA_RETURN_IF_ERROR(Check(api_.device_count(&device_count_), "cuDeviceGetCount"));
  if (device_count_ < 1) return absl::UnavailableError(no_gpu);
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const Driver>> Driver::Load(const std::string& file) {
  std::shared_ptr<Driver> driver(new Driver);
  RENGA_RETURN_IF_ERROR(driver->Open(file));
  return std::shared_ptr<const Driver>(std::move(driver));
}

}  // namespace renga::cuda
