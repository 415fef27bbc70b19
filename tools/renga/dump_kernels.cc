// dump --stage kernels and --stage source: what a plan runs on GPUs.
#include <algorithm>
#include <set>

#include "absl/strings/str_format.h"
#include "ir/base/status.h"
#include "runtime/plan/launch.h"
#include "tools/renga/dump_filter.h"
#include "tools/renga/dump_input.h"
#include "tools/renga/table.h"
#include "tools/renga/text.h"

namespace renga {
namespace {

int64_t Lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

// A plan with GPU kernels.
absl::StatusOr<OpenedPlan> GpuPlanOf(const DumpFlags& flags, FileKind kind) {
  RENGA_ASSIGN_OR_RETURN(OpenedPlan opened, PlanOf(flags, kind));
  if (!opened.plan->gpu.targets.empty()) return opened;
  return absl::InvalidArgumentError(
      StrCat("--stage ", flags.stage, ": ", flags.model.model, ": expected a plan for GPUs, got ",
             kind == FileKind::kPlan ? "one for the cpu, whose kernels are part of the program"
                                     : "a model",
             "; renga compile MODEL.gguf --target sm_90a -o X.plan makes one"));
}

Json KernelJson(const plan::GpuKernel& kernel, const std::string& target,
                const plan::GpuImage* image, int64_t dynamic_shared) {
  Json json = {{"name", kernel.name},
               {"target", target},
               {"ir", kernel.ir},
               {"threads", kernel.threads},
               {"source_lines", Lines(kernel.source)},
               {"dynamic_shared_bytes", dynamic_shared}};
  if (image == nullptr) {
    // Lowered, not compiled.
    for (const char* name : {"registers", "spills", "shared_bytes"}) json[name] = nullptr;
    return json;
  }
  json["registers"] = image->registers;
  json["spills"] = image->stack_bytes;
  json["shared_bytes"] = image->static_shared + dynamic_shared;
  json["blocks_per_sm"] = image->blocks_per_sm;
  json["warps_per_sm"] = image->warps_per_sm;
  json["limiter"] = image->limiter;
  json["cubin_bytes"] = image->cubin.size();
  json["ptx_bytes"] = image->ptx.size();
  return json;
}

// "43 registers, 0 spills, 12.3 KiB shared"
std::string FiguresText(const plan::GpuImage& image, int64_t dynamic_shared) {
  return StrCat(image.registers, " registers, ", image.stack_bytes, " spills, ",
                BytesText(static_cast<uint64_t>(image.static_shared + dynamic_shared)), " shared");
}

// What the kernel at `index` takes, a comment line a target.
std::string FiguresLines(const plan::Plan& plan, int32_t index, int64_t dynamic_shared) {
  std::string text;
  for (const plan::GpuImage& image : plan.gpu.kernels[index].images) {
    StrAppend(&text, "// ", plan.gpu.targets[image.target].name, ": ",
              FiguresText(image, dynamic_shared), ", ", image.blocks_per_sm,
              " blocks a multiprocessor (", image.limiter, ")\n");
  }
  return text;
}

Json SourceJson(const plan::Plan& plan, const std::vector<int32_t>& kernels) {
  Json list = Json::array();
  for (const int32_t index : kernels) {
    const plan::GpuKernel& kernel = plan.gpu.kernels[index];
    list.push_back({{"name", kernel.name}, {"ir", kernel.ir}, {"source", kernel.source}});
  }
  return {{"kernels", std::move(list)}};
}

}  // namespace

absl::StatusOr<std::string> DumpKernels(const DumpFlags& flags, FileKind kind) {
  RENGA_ASSIGN_OR_RETURN(const OpenedPlan opened, GpuPlanOf(flags, kind));
  const plan::Plan& plan = *opened.plan;
  const std::vector<int64_t> shared = plan::MaxDynamicShared(plan);
  Json list = Json::array();
  TextTable table;
  table.Add({"kernel", "target", "registers", "spills", "shared", "threads", "blocks/SM",
             "warps/SM", "limited by", "lines"});
  for (size_t i = 0; i < plan.gpu.kernels.size(); ++i) {
    const plan::GpuKernel& kernel = plan.gpu.kernels[i];
    for (size_t t = 0; t < plan.gpu.targets.size(); ++t) {
      const std::string& target = plan.gpu.targets[t].name;
      const plan::GpuImage* image = kernel.images.empty() ? nullptr : &kernel.images[t];
      list.push_back(KernelJson(kernel, target, image, shared[i]));
      const auto figure = [image](int64_t plan::GpuImage::*member) {
        return image == nullptr ? std::string("-") : StrCat(image->*member);
      };
      table.Add({kernel.name, target, figure(&plan::GpuImage::registers),
                 figure(&plan::GpuImage::stack_bytes),
                 StrCat(shared[i] + (image == nullptr ? 0 : image->static_shared)),
                 StrCat(kernel.threads), figure(&plan::GpuImage::blocks_per_sm),
                 figure(&plan::GpuImage::warps_per_sm), image == nullptr ? "-" : image->limiter,
                 StrCat(Lines(kernel.source))});
    }
  }
  if (flags.json) return JsonText({{"kernels", std::move(list)}});
  return table.Text();
}

absl::StatusOr<std::string> DumpSource(const DumpFlags& flags, FileKind kind) {
  RENGA_ASSIGN_OR_RETURN(const OpenedPlan opened, GpuPlanOf(flags, kind));
  const plan::Plan& plan = *opened.plan;
  const std::vector<int64_t> shared = plan::MaxDynamicShared(plan);
  DumpFilter filter(flags, "steps");
  filter.AddLayers(plan.model.layers);
  std::vector<int32_t> kernels;
  std::string text;
  std::set<int32_t> seen;
  for (const plan::Step& step : plan.steps) {
    if (!filter.Keeps(plan, step)) continue;
    for (const plan::Variant& variant : step.variants) {
      for (const plan::Launch& launch : variant.launches) {
        if (!seen.insert(launch.kernel).second) continue;
        kernels.push_back(launch.kernel);
        StrAppend(&text, text.empty() ? "" : "\n", "// %", EscapeOnOneLine(step.name),
                  flags.filtered() ? "" : " and others like it", "\n",
                  FiguresLines(plan, launch.kernel, shared[launch.kernel]),
                  plan.gpu.kernels[launch.kernel].source);
      }
    }
  }
  RENGA_RETURN_IF_ERROR(filter.CheckFound());
  for (const plan::GpuPacker& packer : plan.gpu.packers) {
    if (flags.filtered()) break;
    kernels.push_back(packer.kernel);
    StrAppend(&text, "\n// weights of type ", Name(packer.type), " as they are loaded\n",
              FiguresLines(plan, packer.kernel, shared[packer.kernel]),
              plan.gpu.kernels[packer.kernel].source);
  }
  if (const plan::GpuSampler& sampler = plan.gpu.sampler;
      sampler.kernel >= 0 && !flags.filtered()) {
    kernels.push_back(sampler.kernel);
    StrAppend(&text, "\n// the sampler, after the steps\n",
              FiguresLines(plan, sampler.kernel, shared[sampler.kernel]),
              plan.gpu.kernels[sampler.kernel].source);
  }
  if (flags.json) return JsonText(SourceJson(plan, kernels));
  return text;
}

}  // namespace renga
