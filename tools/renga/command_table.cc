#include "tools/renga/command.h"

namespace renga {

absl::Span<const Command* const> AllCommands() {
  static constexpr const Command* kCommands[] = {
      &kCompileCommand, &kRunCommand,      &kDumpCommand,    &kDiffCommand,
      &kTraceCommand,   &kVerifyCommand,   &kBisectCommand,  &kLintCommand,
      &kBenchCommand,   &kTokenizeCommand, &kDevicesCommand, &kCompletionCommand,
  };
  return kCommands;
}

}  // namespace renga
