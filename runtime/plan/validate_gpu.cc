#include <algorithm>
#include <limits>

#include "absl/container/flat_hash_set.h"
#include "ir/base/mma_layout.h"
#include "ir/base/packing.h"
#include "ir/base/status.h"
#include "runtime/plan/launch.h"
#include "runtime/plan/mismatch.h"
#include "runtime/plan/sample_args.h"
#include "runtime/plan/tensor_map.h"
#include "runtime/plan/validate.h"

namespace renga::plan {
namespace {

// Far above what codegen makes; they bound the work that a hostile plan can ask for.
constexpr size_t kMaxTargets = 16;
constexpr size_t kMaxVariants = 64;
constexpr size_t kMaxLaunches = 64;
constexpr size_t kMaxArgs = 128;

// No GPU has more shared memory a block.
constexpr int64_t kMostShared = int64_t{1} << 20;
constexpr int64_t kMostOfThread = int64_t{1} << 20;  // registers, bytes of stack

absl::Status CheckRange(std::string_view where, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return Mismatch(where, StrCat(low, "..", high), value);
}

class GpuCheck {
 public:
  explicit GpuCheck(const Plan& plan) : plan_(plan), gpu_(plan.gpu) {}

  absl::Status Run() {
    RENGA_RETURN_IF_ERROR(CheckTargets());
    for (const GpuKernel& kernel : gpu_.kernels) RENGA_RETURN_IF_ERROR(CheckKernel(kernel));
    RENGA_RETURN_IF_ERROR(CheckPackers());
    RENGA_RETURN_IF_ERROR(CheckSampler());
    symbols_ = MaxSymbols(plan_);
    for (size_t i = 0; i < plan_.steps.size(); ++i) {
      RENGA_RETURN_IF_ERROR(
          CheckStep(StrCat("step ", i, " (", plan_.steps[i].name, ")"), plan_.steps[i]));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status CheckTargets() const {
    RENGA_RETURN_IF_ERROR(CheckRange("gpu: targets", static_cast<int64_t>(gpu_.targets.size()), 0,
                                     static_cast<int64_t>(kMaxTargets)));
    std::vector<std::string> names;
    for (const GpuTarget& target : gpu_.targets) {
      const std::string where = StrCat("target ", target.name);
      if (target.name.empty()) return Mismatch("gpu: target", "a name", "none");
      if (std::find(names.begin(), names.end(), target.name) != names.end()) {
        return Mismatch(where, "one of that name", "two");
      }
      names.push_back(target.name);
      RENGA_RETURN_IF_ERROR(CheckRange(StrCat(where, ": sm"), target.sm, 1, 10000));
      RENGA_RETURN_IF_ERROR(
          CheckRange(StrCat(where, ": shared_per_block"), target.shared_per_block, 0, kMostShared));
    }
    if (names.empty()) {
      if (gpu_.kernels.empty()) return absl::OkStatus();
      return Mismatch("gpu: kernels", "none without a target", gpu_.kernels.size());
    }
    if (const std::string all = StrJoin(names, ","); plan_.target != all) {
      return Mismatch("target", StrCat(all, " (gpu.targets)"), plan_.target);
    }
    return absl::OkStatus();
  }

  absl::Status CheckKernel(const GpuKernel& kernel) {
    const std::string where = StrCat("gpu kernel ", kernel.name);
    if (kernel.name.empty()) return Mismatch("gpu kernel", "a name", "none");
    if (!names_.insert(kernel.name).second) return Mismatch(where, "one of that name", "two");
    RENGA_RETURN_IF_ERROR(
        CheckRange(StrCat(where, ": threads"), kernel.threads, 1, kMaxBlockThreads));
    const size_t images = kernel.images.size();
    if (images != 0 && images != gpu_.targets.size()) {
      return Mismatch(StrCat(where, ": images"),
                      StrCat("one for each of ", gpu_.targets.size(), " targets, or none"), images);
    }
    // Compiled is a plan as a whole.
    if ((images == 0) != gpu_.kernels[0].images.empty()) {
      return Mismatch(StrCat(where, ": images"), "as many as the first kernel has", images);
    }
    for (size_t i = 0; i < images; ++i) {
      const GpuImage& image = kernel.images[i];
      const std::string of = StrCat(where, " for ", gpu_.targets[i].name);
      if (image.target != static_cast<int64_t>(i)) {
        return Mismatch(StrCat(of, ": target"), i, image.target);
      }
      if (image.cubin.empty()) return Mismatch(of, "code", "none");
      const std::pair<std::string_view, int64_t> figures[] = {
          {": registers", image.registers},         {": stack_bytes", image.stack_bytes},
          {": static_shared", image.static_shared}, {": blocks_per_sm", image.blocks_per_sm},
          {": warps_per_sm", image.warps_per_sm},
      };
      for (const auto& [name, figure] : figures) {
        RENGA_RETURN_IF_ERROR(CheckRange(StrCat(of, name), figure, 0, kMostOfThread));
      }
    }
    return absl::OkStatus();
  }

  // One for every weight that has to be packed.
  absl::Status CheckPackers() const {
    std::vector<DType> types;
    for (const GpuPacker& packer : gpu_.packers) {
      const std::string where = StrCat("gpu packer of ", Name(packer.type));
      if (!HasMmaLayout(packer.type)) return Mismatch(where, "a type that can lie as mma", "none");
      if (std::find(types.begin(), types.end(), packer.type) != types.end()) {
        return Mismatch(where, "one of that type", "two");
      }
      types.push_back(packer.type);
      RENGA_RETURN_IF_ERROR(CheckRange(StrCat(where, ": kernel"), packer.kernel, 0,
                                       static_cast<int64_t>(gpu_.kernels.size()) - 1));
      RENGA_RETURN_IF_ERROR(CheckShared(where, packer.kernel, packer.dynamic_shared));
    }
    if (gpu_.targets.empty()) return absl::OkStatus();
    for (const Weight& weight : plan_.weights) {
      const Layout* layout = weight.layout.empty() ? nullptr : FindLayout(weight.layout);
      if (layout == nullptr || weight.embedded.has_value()) continue;
      const std::string where = StrCat("weight ", weight.source.name);
      if (!layout->mma)
        return Mismatch(where, "the layout mma, or the file's, on a GPU", weight.layout);
      if (std::find(types.begin(), types.end(), weight.source.dtype) == types.end()) {
        return Mismatch(where, StrCat("a gpu packer of ", Name(weight.source.dtype)), "none");
      }
    }
    return absl::OkStatus();
  }

  // Dynamic shared memory of a kernel that exists.
  absl::Status CheckShared(const std::string& where, int32_t kernel, int64_t bytes) const {
    int64_t most = kMostShared;
    for (size_t i = 0; i < gpu_.targets.size(); ++i) {
      const std::vector<GpuImage>& images = gpu_.kernels[kernel].images;
      const int64_t fixed = images.empty() ? 0 : images[i].static_shared;
      most = std::min(most, gpu_.targets[i].shared_per_block - fixed);
    }
    return CheckRange(StrCat(where, ": dynamic_shared"), bytes, 0, most);
  }

  // It reads logits and next, and its memory is made for R rows.
  absl::Status CheckSampler() const {
    const GpuSampler& sampler = gpu_.sampler;
    if (sampler == GpuSampler{}) return absl::OkStatus();
    const std::string where = "gpu sampler";
    RENGA_RETURN_IF_ERROR(CheckRange(StrCat(where, ": kernel"), sampler.kernel, 0,
                                     static_cast<int64_t>(gpu_.kernels.size()) - 1));
    RENGA_RETURN_IF_ERROR(CheckShared(where, sampler.kernel, sampler.dynamic_shared));
    const GpuKernel& kernel = gpu_.kernels[sampler.kernel];
    if (kernel.threads != kSampleThreads) {
      return Mismatch(where, StrCat("a kernel of ", kSampleThreads, " threads"), kernel.threads);
    }
    return CanSample(plan_);
  }

  absl::Status CheckStep(const std::string& where, const Step& step) {
    if (gpu_.targets.empty()) {
      if (step.variants.empty() && step.scratch.empty() && step.chosen_by == -1) {
        return absl::OkStatus();
      }
      return Mismatch(where, "neither variants nor scratch without a GPU target", "some");
    }
    if (step.kind != StepKind::kKernel) {
      return Mismatch(where, "a kernel, as all steps of a GPU plan are", "another kind");
    }
    if (step.chosen_by < 0 || static_cast<size_t>(step.chosen_by) >= plan_.symbols.size()) {
      return Mismatch(StrCat(where, ": chosen_by"),
                      StrCat("a symbol 0..", static_cast<int64_t>(plan_.symbols.size()) - 1),
                      step.chosen_by);
    }
    if (step.variants.empty() || step.variants.size() > kMaxVariants) {
      return Mismatch(StrCat(where, ": variants"), StrCat("1..", kMaxVariants),
                      step.variants.size());
    }
    const Symbol& symbol = plan_.symbols[step.chosen_by];
    int64_t before = 0;
    for (const Variant& variant : step.variants) {
      const std::string of = StrCat(where, ", ", symbol.name, " up to ", variant.last);
      RENGA_RETURN_IF_ERROR(CheckRange(StrCat(of, ": last"), variant.last, before + 1, symbol.max));
      before = variant.last;
      if (variant.launches.empty() || variant.launches.size() > kMaxLaunches) {
        return Mismatch(StrCat(of, ": launches"), StrCat("1..", kMaxLaunches),
                        variant.launches.size());
      }
      symbols_[step.chosen_by] = variant.last;
      for (const Launch& launch : variant.launches) {
        RENGA_RETURN_IF_ERROR(CheckLaunch(of, step, launch));
      }
    }
    symbols_[step.chosen_by] = symbol.max;
    if (before == symbol.max) return absl::OkStatus();
    return Mismatch(StrCat(where, ": variants"),
                    StrCat("one for each ", symbol.name, " up to ", symbol.max),
                    StrCat("up to ", before));
  }

  // Symbols are at their bounds, which decide (expr.h).
  absl::Status CheckLaunch(const std::string& step_where, const Step& step, const Launch& launch) {
    if (launch.kernel < 0 || static_cast<size_t>(launch.kernel) >= gpu_.kernels.size()) {
      return Mismatch(StrCat(step_where, ": launch"),
                      StrCat("a gpu kernel 0..", static_cast<int64_t>(gpu_.kernels.size()) - 1),
                      launch.kernel);
    }
    const GpuKernel& kernel = gpu_.kernels[launch.kernel];
    const std::string where = StrCat(step_where, ": ", kernel.name);
    const absl::StatusOr<LaunchShape> most = ShapeOf(plan_, launch, symbols_);
    if (!most.ok()) return Annotate(most.status(), where);
    const std::vector<int64_t> ones(symbols_.size(), 1);
    const absl::StatusOr<LaunchShape> least = ShapeOf(plan_, launch, ones);
    if (!least.ok()) return Annotate(least.status(), where);
    for (size_t i = 0; i < 3; ++i) {
      const std::string grid = StrCat(where, ": grid ", std::string_view("xyz").substr(i, 1));
      RENGA_RETURN_IF_ERROR(CheckRange(grid, least->grid[i], 1, kMaxGrid[i]));
      RENGA_RETURN_IF_ERROR(CheckRange(grid, most->grid[i], 1, kMaxGrid[i]));
    }
    for (size_t i = 0; i < gpu_.targets.size(); ++i) {
      const GpuTarget& target = gpu_.targets[i];
      const int64_t fixed = kernel.images.empty() ? 0 : kernel.images[i].static_shared;
      if (most->dynamic_shared > target.shared_per_block - fixed) {
        return Mismatch(StrCat(where, ": shared memory"),
                        StrCat("at most ", target.shared_per_block, " bytes (", target.name, ")"),
                        StrCat(most->dynamic_shared, " + ", fixed));
      }
    }
    return CheckArgs(where, step, launch);
  }

  absl::Status CheckArgs(const std::string& where, const Step& step, const Launch& launch) const {
    if (launch.args.size() > kMaxArgs || ArgumentBytes(launch.args) > kMaxArgumentBytes) {
      return Mismatch(StrCat(where, ": arguments"),
                      StrCat("at most ", kMaxArgs, " of together ", kMaxArgumentBytes, " bytes"),
                      launch.args.size());
    }
    for (const Arg& arg : launch.args) {
      const std::string of = StrCat(where, ": argument ", arg.name);
      if (arg.kind == ArgKind::kPointer) {
        RENGA_RETURN_IF_ERROR(CheckPointer(of, step, arg));
        continue;
      }
      if (arg.kind == ArgKind::kTensorMap) {
        RENGA_RETURN_IF_ERROR(CheckMap(of, step, arg));
        continue;
      }
      if (arg.kind == ArgKind::kNull) continue;
      const absl::StatusOr<int64_t> most = Evaluate(arg.size, symbols_);
      if (!most.ok()) return Annotate(most.status(), of);
      if (arg.kind == ArgKind::kInt32) {
        RENGA_RETURN_IF_ERROR(CheckRange(of, *most, 0, std::numeric_limits<int32_t>::max()));
      }
    }
    return absl::OkStatus();
  }

  // Only what the step declares: the order of the steps was checked for that.
  absl::Status CheckPointer(const std::string& where, const Step& step, const Arg& arg) const {
    const auto has = [&arg](const std::vector<int32_t>& buffers) {
      return std::find(buffers.begin(), buffers.end(), arg.buffer) != buffers.end();
    };
    if (arg.buffer < 0 || (!has(step.inputs) && !has(step.outputs) && !has(step.scratch))) {
      return Mismatch(where, "an input, output or scratch buffer of the step", arg.buffer);
    }
    const uint64_t bytes = plan_.buffers[arg.buffer].bytes;
    if (arg.offset < bytes) return absl::OkStatus();
    return Mismatch(StrCat(where, ": offset"), StrCat("one inside ", bytes, " bytes"), arg.offset);
  }

  // A tensor map that every target's driver takes, of nothing outside its buffer.
  absl::Status CheckMap(const std::string& where, const Step& step, const Arg& arg) const {
    RENGA_RETURN_IF_ERROR(CheckPointer(where, step, arg));
    for (const GpuTarget& target : gpu_.targets) {
      if (target.sm < kCopyEngineSm) {
        return Mismatch(where, StrCat("no tensor map for a target below sm_", kCopyEngineSm),
                        target.name);
      }
    }
    // Its size at the symbols' bounds, and at their least: a driver takes no empty tensor. Where it
    // begins counts from its buffer, which lies at a multiple of kAlignment or more.
    const std::vector<int64_t> ones(symbols_.size(), 1);
    for (const absl::Span<const int64_t> symbols :
         {absl::MakeConstSpan(ones), absl::MakeConstSpan(symbols_)}) {
      const absl::StatusOr<TensorMapSpec> spec = SpecOf(arg.map, arg.offset, symbols);
      if (!spec.ok()) return Annotate(spec.status(), where);
      RENGA_RETURN_IF_ERROR(Annotate(CheckTensorMap(*spec), where));
      const uint64_t bytes = plan_.buffers[arg.buffer].bytes - arg.offset;
      if (const uint64_t extent = ExtentBytes(*spec); extent > bytes) {
        return Mismatch(StrCat(where, ": tensor"), StrCat("one inside ", bytes, " bytes"), extent);
      }
    }
    return absl::OkStatus();
  }

  const Plan& plan_;
  const Gpu& gpu_;
  absl::flat_hash_set<std::string> names_;
  std::vector<int64_t> symbols_;
};

}  // namespace

absl::Status ValidateGpu(const Plan& plan) { return GpuCheck(plan).Run(); }

}  // namespace renga::plan
