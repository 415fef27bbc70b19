// Kernels of tests and the device they run on: the emulator, or a GPU with the same cases. The
// device is that of RENGA_KERNEL_DEVICE:
//   emulator       (or not set) on the host, under several thread schedules
//   cuda           on the first GPU, three times
//   compile:sm_90a nowhere: the kernels are compiled for that target, which needs NVRTC alone
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "tests/emulator/kernel_library.h"
#include "tests/emulator/schedule.h"
#include "tests/emulator/tensor_map.h"

namespace renga::emulator {

struct CaseLaunch {
  Dim3 grid;
  unsigned threads = 1;  // a block
  size_t shared_bytes = 0;
  bool overlaps_previous = false;
  bool cooperative = false;
};

// The memory and the launches of one run of a case.
class CaseRun {
 public:
  virtual ~CaseRun() = default;

  // Memory that nobody has written; on a GPU full of NaN. Lives as long as the run.
  virtual absl::StatusOr<void*> Allocate(const std::string& name, size_t bytes) = 0;
  virtual absl::Status Write(void* to, absl::Span<const uint8_t> bytes) = 0;
  virtual absl::Status Read(const void* from, absl::Span<uint8_t> bytes) = 0;
  // `arguments` are pointers to the values. A kernel's fault shows here or in the next Read.
  virtual absl::Status Launch(const std::string& kernel, const CaseLaunch& launch,
                              void** arguments) = 0;
  virtual absl::StatusOr<EncodedTensorMap> EncodeMap(const TensorMapSpec& spec) = 0;
  // After the last launch: waits, and finds writes outside of all buffers.
  virtual absl::Status Finish() = 0;
};

// Compiled kernels, by name.
class CaseLibrary {
 public:
  virtual ~CaseLibrary() = default;

  // Why nothing can run here, though nothing is wrong; empty where it can.
  virtual std::string skip_reason() const { return ""; }
  // Runs of a case that must give the same bytes; 0 where kernels are only compiled.
  virtual int runs() const = 0;
  // Run 0 to runs() - 1, with no memory yet.
  virtual absl::StatusOr<std::unique_ptr<CaseRun>> Start(int run) const = 0;
};

// {kernel, text of the source that defines it as extern "C" __global__}.
using CaseTexts = std::map<std::string, std::string>;

// For the device of the environment; `emulator` says how to compile for the emulator. An error
// names the kernel and has the compiler's output.
absl::StatusOr<std::unique_ptr<CaseLibrary>> CompileCaseLibrary(const CompileOptions& emulator,
                                                                const CaseTexts& texts);

// A run on the emulator alone, under one schedule. `library` must outlive it.
std::unique_ptr<CaseRun> StartEmulatorRun(const KernelLibrary& library, const Schedule& schedule);

}  // namespace renga::emulator
