// A GPU that runs kernels on the host and sees what is wrong with them. docs/emulator.md says how,
// and what it does not see.
//
//   ASSIGN library = KernelLibrary::Compile(options, {source});
//   Emulator emulator;
//   ASSIGN void* y = emulator.memory().Allocate("y", bytes);
//   RETURN_IF_ERROR emulator.Launch(*kernel, {.grid = {8}, .block = {128}, .shared_bytes = 4096},
//   y, n); RETURN_IF_ERROR emulator.memory().Read(y, span);
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "tests/emulator/global_memory.h"
#include "tests/emulator/kernel_library.h"
#include "tests/emulator/machine.h"

namespace renga::emulator {

struct LaunchShape {
  Dim3 grid, block;
  size_t shared_bytes = 0;
};

// Launches form one stream: each sees the memory as those before it left it. One thread of the host
// at a time.
class Emulator {
 public:
  Emulator() : machine_(&memory_) {}

  GlobalMemory& memory() { return memory_; }

  // Runs a kernel to its end. `arguments` are pointers to the values, as cuLaunchKernel takes them.
  // An error names kernel, block, thread, line and cause (kInternal), or what is wrong with the
  // shape (kInvalidArgument).
  absl::Status LaunchWith(const Kernel& kernel, const LaunchShape& shape,
                          const LaunchOptions& options, void** arguments) {
    return machine_.Launch(kernel, shape.grid, shape.block, shape.shared_bytes, arguments, options);
  }

  // The same with the values themselves, whose types must be the kernel's own.
  template <typename... Values>
  absl::Status Launch(const Kernel& kernel, const LaunchShape& shape, const LaunchOptions& options,
                      Values... values) {
    void* arguments[] = {static_cast<void*>(&values)..., nullptr};
    return LaunchWith(kernel, shape, options, arguments);
  }

 private:
  GlobalMemory memory_;
  Machine machine_;
};

}  // namespace renga::emulator
