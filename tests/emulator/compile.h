// Kernels as C++ files, and those as shared objects, from the cache where they are there.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "tests/emulator/kernel_library.h"

namespace renga::emulator {

struct CompiledSources {
  std::map<std::string, std::vector<KernelSource>> files;  // by the path of a shared object
  bool from_cache = false;                                 // all of them
};

// Sources that no file of the cache has are compiled as one, whose start-up is paid once; each is
// found again by its own content, whatever it was compiled with. An error has the compiler's
// output.
absl::StatusOr<CompiledSources> CompileSources(const CompileOptions& options,
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
