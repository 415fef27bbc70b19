// The GPUs of this machine.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/device/cuda/resources.h"

namespace renga {

struct CudaDevice {
  cuda::ContextRef context;
  std::string name;    // "cuda:0 H100 80GB HBM3"
  std::string target;  // "sm_90a", that plans for it are compiled for
};

// The GPU with that number, its context current in this thread. Unavailable without a driver or a
// GPU of that number, and for one older than any target; ResourceExhausted where its memory is
// taken.
absl::StatusOr<CudaDevice> OpenCuda(int ordinal);

// "cuda" and "cuda:N"; InvalidArgument for anything else.
absl::StatusOr<int> CudaOrdinal(std::string_view device);

// An error about a device without the advice at its end.
std::string Reason(const absl::Status& status);

// The first part of an error about a device, fit to stand in a line beside others.
std::string BriefReason(const absl::Status& status);

}  // namespace renga
