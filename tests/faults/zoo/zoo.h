// A model with faults put in, and what verify says of it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/plan/plan.h"
#include "tests/faults/zoo/faulty_kernels.h"
#include "tests/support/temp_folder.h"
#include "tools/compiler.h"
#include "tools/verify_steps.h"

namespace renga::faults {

struct Faults {
  std::vector<std::string> zeros;              // tensors that the device's loader fills with zeros
  std::function<void(plan::Plan*)> change;     // of the plan, before it runs
  std::vector<const cpu::KernelDef*> kernels;  // in place of the built-in ones
};

struct ZooOptions {
  bool fused = false;  // with all passes, else none
  int64_t context = 40;
  int64_t page_tokens = 16;
  std::vector<int32_t> ids = {1, 4, 2, 6, 3, 5};
  bool quick = false;
  VerifyOptions nodes;
};

// What it compiles for the cpu with.
CompileOptions CompileOptionsOf(const ZooOptions& options);

// verify of the model in `gguf` on a cpu with the faults. `graph`, unless null, receives the graph
// whose nodes were checked.
absl::StatusOr<StepsVerdict> VerifyWith(const std::string& gguf, const Faults& faults,
                                        const ZooOptions& options, Graph* graph = nullptr);

// Copies the file; in the copy these tensors hold zeros.
absl::Status CopyWithZeros(const std::string& gguf, const std::vector<std::string>& tensors,
                           const std::string& copy);
// The same in a folder; the copy's path.
absl::StatusOr<std::string> WithZeros(const std::string& gguf,
                                      const std::vector<std::string>& tensors,
                                      const TempFolder& folder);

// A value of a run of the model in `gguf` on the interpreter, no pass having run. Errors as
// TraceModel, NotFound where it has none of that name.
absl::StatusOr<std::vector<float>> ValueOf(const std::string& gguf, const std::string& name);
float LargestOf(const std::vector<float>& values);

// Bad values and what is said of each.
std::map<std::string, std::string> Named(const Verdict& verdict);

// Names of results of nodes of operator `op` that end with one of `suffixes`, "" for any; in the
// order of the set.
std::set<std::string> ResultsOf(const Graph& graph, std::string_view op,
                                const std::vector<std::string>& suffixes = {""});

}  // namespace renga::faults
