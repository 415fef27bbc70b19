// How an error leaves the program: one paragraph on stderr and an exit code.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace renga {

inline constexpr int kExitNo = 1;       // the answer is no: differs, fails verification
inline constexpr int kExitUsage = 2;    // wrong usage, bad input, unsupported model
inline constexpr int kExitMachine = 3;  // no such device, no memory, full disk
inline constexpr int kExitInterrupted = 130;

// What a verb returns when it did its work and the answer is no: exit code 1 without a message.
absl::Status AnswerIsNo();

// 0 for an ok status, 130 for Cancelled, else one of the above.
int ExitCode(const absl::Status& status);

// "error: ...", ready to print. Names in messages come from files that nobody vouches for: whatever
// could steer a terminal is escaped.
std::string ErrorText(const absl::Status& status);

// Prints ErrorText to stderr, nothing for ok, Cancelled and AnswerIsNo, and returns the exit code.
int Report(const absl::Status& status);

}  // namespace renga
