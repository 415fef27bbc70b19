// One step of a plan for GPUs as a program of its own: repro.cu, which nvcc builds for a GPU, and a
// host's g++ to run the same kernel there, thread by thread. Neither needs Renga.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "runtime/plan/plan.h"
#include "tools/repro/captured_node.h"

namespace renga {

struct CudaReproOptions {
  std::string node;          // of the plan: a step's name
  std::string good_ir;       // see CaptureOptions
  std::vector<int32_t> ids;  // what the plan is run on, in one step; not where values are given
  std::string plan_path;     // see WeightOptions
  int threads = 1;           // of the interpreter
  std::string found;         // for people
  std::string again;         // command that runs the step by Renga, for people; empty: none
};

// What the step found in some run.
struct GivenValues {
  const CapturedNode& node;         // `got` is not looked at
  absl::Span<const int64_t> sizes;  // of the plan's symbols in that run
};

// Writes into `folder`, which is made where it is not there: repro.cu (the step's kernels with
// every header they include, its launches with grid and arguments, the comparison), what its
// buffers hold, what it should give, repro.ir as WriteRepro, README.txt. Inputs and what is
// expected come from the reference interpreter, which runs the plan's graph: no GPU is needed.
// NotFound: no such step; Unimplemented: a launch with tensor maps, which only the driver can
// encode.
absl::Status WriteCudaRepro(const std::string& folder, const plan::Plan& plan,
                            const CudaReproOptions& options);

// The same on the values of another run, a device's or the interpreter's.
absl::Status WriteCudaRepro(const std::string& folder, const plan::Plan& plan,
                            const GivenValues& given, const CudaReproOptions& options);

}  // namespace renga
