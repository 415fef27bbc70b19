// A captured node as a folder that reproduces it without Renga.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tools/repro/captured_node.h"

namespace renga {

// Makes the folder where it is not there and writes into it:
//   repro.cc        computes what the node should give, by plain loops, and compares it with what
//                   the device gave: exit code 1 while they differ, 0 when they do not
//   *.bin           inputs, weights, expected and got, as 4-byte numbers
//   repro.ir        the node as a case of tests/ops, unless that is more than a million numbers
//   README.txt      how it was found, how to build it, what it says
// `found` says how the node was found, for people. Errors: InvalidArgument for a folder that cannot
// be written, ResourceExhausted for weights of more than 1 GiB.
absl::Status WriteRepro(const std::string& folder, const CapturedNode& node,
                        const std::string& found);

// Its parts: the program, and the case of tests/ops (empty: too long).
absl::StatusOr<std::string> ReproProgram(const CapturedNode& node, const std::string& found);
absl::StatusOr<std::string> ReproCase(const CapturedNode& node, const std::string& found);

}  // namespace renga
