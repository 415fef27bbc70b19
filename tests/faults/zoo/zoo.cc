#include "tests/faults/zoo/zoo.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <memory>
#include <utility>

#include "frontend/gguf/gguf.h"
#include "ir/base/status.h"
#include "tools/step_recorder.h"

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

absl::StatusOr<std::string> WithZeros(const std::string& gguf,
                                      const std::vector<std::string>& tensors,
                                      const TempFolder& folder) {
  std::ifstream in(gguf, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  RENGA_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(gguf));
  for (const std::string& name : tensors) {
    const GgufTensor* tensor = file.FindTensor(name);
    if (tensor == nullptr) return absl::NotFoundError(StrCat(gguf, ": has no tensor ", name));
    const auto data = file.data(*tensor);
    const std::string_view old(reinterpret_cast<const char*>(data.data()), data.size());
    const size_t at = bytes.find(old);
    if (at == std::string::npos || bytes.find(old, at + 1) != std::string::npos) {
      return absl::InternalError(StrCat(name, ": its bytes are not once in the file"));
    }
    std::fill_n(bytes.begin() + static_cast<int64_t>(at), data.size(), '\0');
  }
  return folder.Write(StrCat("zeros-", tensors.size(), ".gguf"), bytes);
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
