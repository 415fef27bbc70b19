// The part of a plan that emitters write: buffers, kernels and steps.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "codegen/emit/kernel_requests.h"
#include "codegen/nvrtc/target.h"
#include "ir/core/graph.h"
#include "runtime/plan/plan.h"

namespace renga::codegen {

// What kernels for several GPUs may count on: the least of what each has.
struct GpuLimits {
  std::vector<const GpuTarget*> targets;  // none: the cpu
  int64_t shared_per_block = 0;           // bytes
  int64_t multiprocessors = 0;            // of the largest: enough blocks for all
  bool wgmma = false;                     // all have it
};

// Borrows graph and plan. Arena buffers get their offset later (lower/memory_plan.h).
class PlanBuilder {
 public:
  PlanBuilder(const Graph& graph, plan::Plan& plan, GpuLimits gpu = {},
              KernelRequests requests = {})
      : graph_(graph),
        plan_(plan),
        gpu_(std::move(gpu)),
        requests_(std::move(requests)),
        buffers_(graph.values.size(), -1) {}

  const Graph& graph() const { return graph_; }
  const plan::Plan& plan() const { return plan_; }
  const GpuLimits& gpu() const { return gpu_; }

  // The value's type in the plan's terms. InvalidArgument for an undeclared symbol.
  absl::StatusOr<plan::TensorType> TypeOf(ValueId value) const;

  // Buffer of `value`: -1 before it has one, and for kNoValue.
  int32_t buffer(ValueId value) const { return value == kNoValue ? -1 : buffers_[value]; }

  // A new buffer for `value`, of the type it has. Errors as TypeOf and MaxBytes.
  absl::Status AddBuffer(ValueId value, plan::Space space, int32_t index);

  // `value` shows the bytes of `of` in its own shape.
  absl::Status AddView(ValueId value, ValueId of);

  // `value` is another name of `of`: the same buffer.
  void Alias(ValueId value, ValueId of) { buffers_[value] = buffers_[of]; }

  // A step of `node` by the kernel of that name. Its operands and results must have buffers. The
  // reference holds until the next step is added.
  plan::Step& AddStep(const Node& node, std::string_view kernel, std::vector<plan::Attr> attrs);

  plan::Step& step(size_t index) { return plan_.steps[index]; }

  // Of more tokens a step's results are not those of each alone.
  void LimitInvariantTokens(int64_t most) {
    int64_t& tokens = plan_.geometry.invariant_tokens;
    tokens = std::min(tokens, most);
  }

  // For GPUs. A buffer that only one step will use, by a name that no other has. Errors as
  // MaxBytes.
  absl::StatusOr<int32_t> AddScratch(std::string_view name, plan::TensorType type);
  // The persistent buffer of that name, of at least so many bytes: one for all steps that ask.
  int32_t Persistent(std::string_view name, int64_t bytes);
  // Index of the kernel in plan.gpu, where one of that name may be already.
  int32_t AddGpuKernel(plan::GpuKernel kernel);

  // Which of several kernels computes `node`: of those `possible` the one that was asked for, else
  // `usual`, which `reason` is for. Noted in the plan, with all that were `considered`.
  // InvalidArgument where another was asked for.
  absl::StatusOr<std::string> ChooseKernel(const Node& node, std::string_view usual,
                                           const std::vector<std::string>& possible,
                                           std::vector<std::string> considered, std::string reason);
  // Once all nodes are there: InvalidArgument for a request that none of them met.
  absl::Status CheckRequests() const { return requests_.CheckMet(graph_); }

 private:
  int32_t KernelIndex(std::string_view name);

  const Graph& graph_;
  plan::Plan& plan_;
  const GpuLimits gpu_;
  KernelRequests requests_;
  std::vector<int32_t> buffers_;  // by value
  absl::flat_hash_map<std::string, int32_t> kernels_;
  absl::flat_hash_map<std::string, int32_t> gpu_kernels_;
  absl::flat_hash_map<std::string, int32_t> persistent_;
};

}  // namespace renga::codegen
