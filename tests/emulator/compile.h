// Kernels as one C++ file, and that file as a shared object, from the cache where it is there.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "tests/emulator/kernel_library.h"

namespace renga::emulator {

struct CompiledFile {
  std::string path;
  bool from_cache = false;
};

absl::StatusOr<CompiledFile> CompileToSharedObject(const CompileOptions& options,
                                                   absl::Span<const KernelSource> sources);

// The name under which a kernel's thunk is exported.
std::string ThunkName(const std::string& kernel);
// And that of the size of its arguments.
std::string ArgumentBytesName(const std::string& kernel);

// A word for a shell, whatever it holds.
std::string ShellQuoted(const std::string& word);

// What stands before names of sources in the debug information, whatever folder the compiler ran
// in.
inline constexpr const char* kSourcePrefix = "/renga-source";

struct CommandOutput {
  int exit_code = -1;
  std::string text;  // what it wrote, to either stream
};
CommandOutput RunCommand(const std::string& command);

}  // namespace renga::emulator
