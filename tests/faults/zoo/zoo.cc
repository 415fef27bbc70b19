#include "tests/faults/zoo/zoo.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <memory>
#include <utility>

#include "frontend/gguf/gguf.h"
#include "ir/base/status.h"
#include "tools/step_devices.h"
#include "tools/trace_model.h"

namespace renga::faults {

CompileOptions CompileOptionsOf(const ZooOptions& options) {
  CompileOptions compile;
  compile.context = options.context;
  compile.page_tokens = options.page_tokens;
  compile.max_sequences = 3;
  compile.max_step_tokens = 16;
  compile.max_rows = 16;
  compile.threads = 1;
  if (!options.fused) compile.only_passes.emplace();
  return compile;
}

absl::Status CopyWithZeros(const std::string& gguf, const std::vector<std::string>& tensors,
                           const std::string& copy) {
  RENGA_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(gguf));
  std::error_code error;
  std::filesystem::copy_file(gguf, copy, std::filesystem::copy_options::overwrite_existing, error);
  std::fstream out(copy, std::ios::binary | std::ios::in | std::ios::out);
  for (const std::string& name : tensors) {
    const GgufTensor* tensor = file.FindTensor(name);
    if (tensor == nullptr) return absl::NotFoundError(StrCat(gguf, ": has no tensor ", name));
    out.seekp(static_cast<std::streamoff>(tensor->offset));
    out << std::string(file.data(*tensor).size(), '\0');
  }
  out.close();
  if (error || !out) return absl::InternalError(StrCat(copy, ": cannot be written"));
  return absl::OkStatus();
}

absl::StatusOr<std::string> WithZeros(const std::string& gguf,
                                      const std::vector<std::string>& tensors,
                                      const TempFolder& folder) {
  const std::string copy = folder.File(StrCat("zeros-", tensors.size(), ".gguf"));
  RENGA_RETURN_IF_ERROR(CopyWithZeros(gguf, tensors, copy));
  return copy;
}

absl::StatusOr<StepsVerdict> VerifyWith(const std::string& gguf, const Faults& faults,
                                        const ZooOptions& options, Graph* graph) {
  TempFolder folder;
  std::string loaded = gguf;
  if (!faults.zeros.empty()) {
    RENGA_ASSIGN_OR_RETURN(loaded, WithZeros(gguf, faults.zeros, folder));
  }
  RENGA_ASSIGN_OR_RETURN(Compilation compilation, Compile(loaded, CompileOptionsOf(options)));
  if (faults.change) faults.change(&compilation.plan);
  OpenedPlan opened;
  opened.plan = std::make_shared<const plan::Plan>(std::move(compilation.plan));
  CpuStepOptions steps;
  if (!faults.kernels.empty()) steps.find_kernel = With(faults.kernels);
  RENGA_ASSIGN_OR_RETURN(const std::unique_ptr<StepRecorder> recorder, OpenCpuSteps(opened, steps));
  if (graph != nullptr) *graph = recorder->graph();
  RENGA_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(gguf));
  const WeightBytes weights =
      [&](const std::string& name) -> absl::StatusOr<absl::Span<const uint8_t>> {
    const GgufTensor* tensor = file.FindTensor(name);
    if (tensor == nullptr) return absl::NotFoundError(name);
    return file.data(*tensor);
  };
  VerifyStepsOptions verify{options.ids, {}, options.quick, options.nodes};
  verify.nodes.threads = 1;
  return VerifySteps(*recorder, weights, verify);
}

absl::StatusOr<std::vector<float>> ValueOf(const std::string& gguf, const std::string& name) {
  TraceModelOptions options;
  options.open.device = "reference";
  options.open.use_cache = false;
  options.open.compile.only_passes.emplace();
  options.ids = {1, 4, 2, 6, 3, 5};
  options.keep = [&name](std::string_view value) { return value == name; };
  RENGA_ASSIGN_OR_RETURN(const Trace trace, TraceModel(gguf, options));
  const TracedValue* value = trace.Find(name);
  if (value == nullptr) return absl::NotFoundError(StrCat(gguf, ": no value ", name));
  return AsFloats(*value);
}

float LargestOf(const std::vector<float>& values) {
  float largest = 0;
  for (const float x : values) largest = std::max(largest, std::abs(x));
  return largest;
}

std::map<std::string, std::string> Named(const Verdict& verdict) {
  std::map<std::string, std::string> named;
  for (const BadValue& bad : verdict.bad) named[bad.name] = bad.likely;
  for (const std::string& skipped : verdict.skipped) named[skipped] = "not compared";
  return named;
}

std::set<std::string> ResultsOf(const Graph& graph, std::string_view op,
                                const std::vector<std::string>& suffixes) {
  std::set<std::string> names;
  for (const Node& node : graph.nodes) {
    if (node.op->name != op) continue;
    for (const ValueId id : node.results) {
      const std::string& name = graph.value(id).name;
      for (const std::string& suffix : suffixes) {
        if (name.ends_with(suffix)) names.insert(name);
      }
    }
  }
  return names;
}

}  // namespace renga::faults
