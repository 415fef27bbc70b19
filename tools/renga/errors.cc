#include "tools/renga/errors.h"

#include <cstdio>

#include "ir/base/status.h"
#include "tools/renga/text.h"

namespace renga {

// Nothing else in the tree uses this code: no transaction is ever aborted.
absl::Status AnswerIsNo() { return absl::AbortedError(""); }

int ExitCode(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kAborted:
      return kExitNo;
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
  const bool silent =
      status.code() == absl::StatusCode::kCancelled || status.code() == absl::StatusCode::kAborted;
  if (!status.ok() && !silent) {
    const std::string text = ErrorText(status);
    fwrite(text.data(), 1, text.size(), stderr);
  }
  return ExitCode(status);
}

}  // namespace renga
