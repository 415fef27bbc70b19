// Faults in the CUDA kernels of a model and in how they are launched, and what finds them on the
// emulator: the emulator itself, or verify, which compares every node of what they computed.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "tests/emulator/device/emulator_device.h"
#include "tests/faults/zoo/device_faults.h"

namespace renga::faults {

// In a copy of codegen/kernels.
struct KernelEdit {
  std::string header, from, to;
};

struct CudaFault {
  std::string name;                                    // with the number in docs/faults.md
  std::function<std::string(const ZooModel&)> cannot;  // as of a DeviceFault
  std::vector<KernelEdit> headers;
  std::function<absl::Status(plan::Plan*)> change;
  // What the emulator says at once, and of which kernel; or, empty, what verify says.
  std::string kernel, says;
  std::function<std::map<std::string, std::string>(const Graph&)> wrong;
};

inline void PrintTo(const CudaFault& one, std::ostream* os) { *os << one.name; }

absl::Span<const CudaFault> CudaFaults();

// A model lowered for sm_90a, for steps of up to 8 tokens, with its kernels compiled for the host.
class CudaModel {
 public:
  // `kernels` as CompileOptions has them.
  static absl::StatusOr<CudaModel> Open(const std::string& path,
                                        std::vector<std::string> kernels = {});

  const ZooModel& zoo() const { return zoo_; }
  absl::StatusOr<StepsVerdict> VerifyRight(const std::vector<int32_t>& ids) const;
  // What is not as it should be with the fault put in; empty: it is found and nothing else.
  std::vector<std::string> Differences(const CudaFault& fault,
                                       const std::vector<int32_t>& ids) const;

 private:
  absl::StatusOr<StepsVerdict> Verify(std::shared_ptr<const plan::Plan> plan,
                                      emulator::DeviceOptions options,
                                      const std::vector<int32_t>& ids, Graph* graph) const;

  ZooModel zoo_;
  std::shared_ptr<const plan::Plan> plan_;
  std::shared_ptr<const emulator::KernelLibrary> kernels_;
};

}  // namespace renga::faults
