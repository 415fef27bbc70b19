#include "tools/renga/errors.h"

#include <cstdio>

#include "ir/base/status.h"
#include "tools/renga/text.h"

namespace renga {

int ExitCode(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kCancelled:
      return kExitInterrupted;
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kUnavailable:
      return kExitMachine;
    default:
      return kExitUsage;
  }
}

std::string ErrorText(const absl::Status& status) {
  std::string text = StrCat("error: ", EscapeForTerminal(ToStd(status.message())), "\n");
  if (status.code() == absl::StatusCode::kInternal || status.code() == absl::StatusCode::kUnknown) {
    text += "  this is a bug in renga, not in your input; please report it with the command line\n";
  }
  return text;
}

int Report(const absl::Status& status) {
  if (!status.ok() && status.code() != absl::StatusCode::kCancelled) {
    const std::string text = ErrorText(status);
    fwrite(text.data(), 1, text.size(), stderr);
  }
  return ExitCode(status);
}

}  // namespace renga
