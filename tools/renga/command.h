// A verb of the command line. One file each; command_table.cc lists them.
#pragma once

#include <functional>
#include <string_view>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/types/span.h"

namespace renga {

// Does the work. The status becomes the message and the exit code (errors.h).
using RunFn = std::function<absl::Status()>;

struct Command {
  std::string_view name;
  std::string_view summary;   // one line
  std::string_view examples;  // two command lines with a comment each, for --help
  // Declares the flags on `app`, which must outlive the returned function.
  RunFn (*add)(CLI::App& app);
};

extern const Command kCompileCommand;
extern const Command kRunCommand;
extern const Command kDumpCommand;
extern const Command kDiffCommand;
extern const Command kTraceCommand;
extern const Command kVerifyCommand;
extern const Command kBisectCommand;
extern const Command kLintCommand;
extern const Command kBenchCommand;
extern const Command kTokenizeCommand;
extern const Command kDevicesCommand;
extern const Command kCompletionCommand;

// In the order of `renga --help`.
absl::Span<const Command* const> AllCommands();

}  // namespace renga
