#include "codegen/emit/cuda_pack.h"

#include <algorithm>
#include <cstddef>

#include "codegen/emit/cuda_source.h"
#include "codegen/emit/kernel_shapes.h"
#include "codegen/kernels/args.cuh"
#include "ir/base/packing.h"
#include "ir/base/strings.h"
#include "runtime/plan/pack_weight.h"

namespace renga::codegen {
namespace {

// The kernels' struct and the one that the runtime fills in are the same.
using kernels::PackArgs;
using plan::PackWeightArgs;
static_assert(sizeof(PackArgs) == sizeof(PackWeightArgs));
static_assert(offsetof(PackArgs, file) == offsetof(PackWeightArgs, file));
static_assert(offsetof(PackArgs, packed) == offsetof(PackWeightArgs, packed));
static_assert(offsetof(PackArgs, row_bytes) == offsetof(PackWeightArgs, row_bytes));
static_assert(offsetof(PackArgs, plane) == offsetof(PackWeightArgs, plane));
static_assert(offsetof(PackArgs, tail) == offsetof(PackWeightArgs, tail));
static_assert(offsetof(PackArgs, first_tile) == offsetof(PackWeightArgs, first_tile));
static_assert(offsetof(PackArgs, rows) == offsetof(PackWeightArgs, rows));
static_assert(offsetof(PackArgs, tiles) == offsetof(PackWeightArgs, tiles));
static_assert(offsetof(PackArgs, steps) == offsetof(PackWeightArgs, steps));
static_assert(offsetof(PackArgs, step_blocks) == offsetof(PackWeightArgs, step_blocks));
static_assert(offsetof(PackArgs, finish) == offsetof(PackWeightArgs, finish));

constexpr int kThreads = 256;

}  // namespace

plan::GpuKernel PackGpuKernel(DType type) {
  const CudaKernel kernel = {
      .header = "pack",
      .call = "Pack<Config>",
      .args = "PackArgs",
      .detail = StrCat("pack_", Name(type)),
      .config = {StrCat("using Type = ", PackTypeText(type), ";"),
                 StrCat("static constexpr int kThreads = ", kThreads, ";")},
      .threads = kThreads,
      .blocks_per_sm = 3,  // 80 registers: some are close to the 64 that a fourth would leave
      .ir = StrCat(Name(type), "[N,K]{mma} = pack(", Name(type), "[N,K]), at load")};
  return MakeGpuKernel(kernel, "", "");
}

void AddPackers(PlanBuilder& builder, plan::Plan& plan) {
  if (builder.gpu().targets.empty()) return;
  for (const plan::Weight& weight : plan.weights) {
    const Layout* layout = FindLayout(weight.layout);
    if (layout == nullptr || !layout->mma) continue;
    const DType type = weight.source.dtype;
    const auto is_same = [&](const plan::GpuPacker& packer) { return packer.type == type; };
    if (std::any_of(plan.gpu.packers.begin(), plan.gpu.packers.end(), is_same)) continue;
    const int32_t kernel = builder.AddGpuKernel(PackGpuKernel(type));
    plan.gpu.packers.push_back({type, kernel, PackShared(type)});
  }
}

}  // namespace renga::codegen
