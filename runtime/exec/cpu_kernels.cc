#include "runtime/exec/cpu_kernels.h"

#include <algorithm>
#include <string>

#include "ir/base/status.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/print.h"

namespace renga {
namespace {

std::string KernelNames() {
  std::vector<std::string_view> names;
  for (const cpu::KernelDef* kernel : cpu::AllKernels()) names.push_back(kernel->name);
  return StrJoin(names, " ");
}

absl::StatusOr<cpu::PreparedKernel> PrepareOne(const plan::Plan& plan, const plan::Step& step,
                                               const FindCpuKernel& find_kernel) {
  if (step.kind != plan::StepKind::kKernel) {
    return absl::UnimplementedError(
        StrCat("kind ", plan::ToString(step.kind), ": the cpu device runs kernel steps only"));
  }
  const std::string& name = plan.kernels[step.kernel].name;
  const cpu::KernelDef* kernel = find_kernel ? find_kernel(name) : cpu::FindKernel(name);
  if (kernel == nullptr) {
    return absl::UnimplementedError(
        StrCat("the cpu device has no kernel ", name, "; it has ", KernelNames(),
               "; the plan is by ", plan.producer, ", compile the model again with this renga"));
  }
  std::vector<const plan::TensorType*> inputs, outputs;
  for (int32_t input : step.inputs) {
    inputs.push_back(input < 0 ? nullptr : &plan.buffers[input].type);
  }
  for (int32_t output : step.outputs) outputs.push_back(&plan.buffers[output].type);
  return kernel->prepare({step.name, inputs, outputs, step.attrs, plan.symbols});
}

// Tensors without data, with these sizes of the symbols.
std::vector<cpu::TensorRef> Tensors(const plan::Plan& plan, const std::vector<int32_t>& buffers,
                                    const std::vector<int64_t>& sizes) {
  std::vector<cpu::TensorRef> tensors;
  for (const int32_t buffer : buffers) {
    cpu::TensorRef& tensor = tensors.emplace_back();
    if (buffer < 0) continue;
    const plan::TensorType& type = plan.buffers[buffer].type;
    tensor.dtype = type.dtype;
    tensor.rank = static_cast<int>(type.shape.size());
    for (int axis = 0; axis < tensor.rank; ++axis) {
      const plan::Dim& dim = type.shape[axis];
      tensor.dims[axis] = dim.symbol < 0 ? dim.value : sizes[dim.symbol];
    }
  }
  return tensors;
}

// The plan's largest sizes, but for T, S and R.
std::vector<int64_t> Sizes(const plan::Plan& plan, int64_t tokens, int64_t sequences) {
  std::vector<int64_t> sizes;
  for (const plan::Symbol& symbol : plan.symbols) {
    const bool of_sequences = symbol.name == "S" || symbol.name == "R";
    sizes.push_back(symbol.name == "T" ? std::min(tokens, symbol.max)
                    : of_sequences     ? std::min(sequences, symbol.max)
                                       : symbol.max);
  }
  return sizes;
}

}  // namespace

absl::StatusOr<std::vector<cpu::PreparedKernel>> PrepareCpuKernels(
    const plan::Plan& plan, const FindCpuKernel& find_kernel) {
  std::vector<cpu::PreparedKernel> kernels;
  kernels.reserve(plan.steps.size());
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const plan::Step& step = plan.steps[i];
    absl::StatusOr<cpu::PreparedKernel> kernel = PrepareOne(plan, step, find_kernel);
    if (!kernel.ok()) {
      return Annotate(kernel.status(), StrCat("step ", i, " (", step.name, ")"));
    }
    kernels.push_back(*std::move(kernel));
  }
  return kernels;
}

cpu::ScratchBytes CpuScratch(const plan::Plan& plan,
                             const std::vector<cpu::PreparedKernel>& kernels, int threads) {
  const int64_t sequences = plan.geometry.max_sequences;
  const std::vector<int64_t> both[] = {Sizes(plan, plan.geometry.max_step_tokens, 1),
                                       Sizes(plan, sequences, sequences)};
  cpu::ScratchBytes most;
  for (size_t i = 0; i < kernels.size(); ++i) {
    if (!kernels[i].scratch) continue;
    for (const std::vector<int64_t>& sizes : both) {
      const std::vector<cpu::TensorRef> inputs = Tensors(plan, plan.steps[i].inputs, sizes);
      const std::vector<cpu::TensorRef> outputs = Tensors(plan, plan.steps[i].outputs, sizes);
      most.Include(kernels[i].scratch({inputs, outputs, threads}));
    }
  }
  return most;
}

}  // namespace renga
