#include "absl/strings/str_format.h"
#include "ir/base/status.h"
#include "runtime/plan/print.h"

namespace renga::plan {
namespace {

// " as f16[T,2048] in tiles of 64x64, swizzled": outermost first, as buffers print.
std::string MapText(const TensorMap& map, absl::Span<const std::string> symbols) {
  std::vector<std::string> sizes, tiles;
  for (auto axis = map.axes.rbegin(); axis != map.axes.rend(); ++axis) {
    sizes.push_back(ToString(axis->size, symbols));
    tiles.push_back(StrCat(axis->tile));
  }
  return StrCat(" as ", Name(map.type), "[", StrJoin(sizes, ","), "] in tiles of ",
                StrJoin(tiles, "x"), map.swizzle == Swizzle::kNone ? "" : ", swizzled");
}

std::string ArgText(const Plan& plan, const Arg& arg, absl::Span<const std::string> symbols) {
  if (arg.kind == ArgKind::kNull) return StrCat(arg.name, "=null");
  const bool is_map = arg.kind == ArgKind::kTensorMap;
  if (arg.kind != ArgKind::kPointer && !is_map) {
    return StrCat(arg.name, "=", ToString(arg.size, symbols));
  }
  const Buffer& buffer = plan.buffers[arg.buffer];
  return StrCat(arg.name, "=", buffer.space == Space::kWeight ? "@" : "%", buffer.name,
                arg.offset > 0 ? StrCat("+", arg.offset) : "",
                is_map ? MapText(arg.map, symbols) : "");
}

// "(7, 1, 4)" without the ones at the end.
std::string GridText(const Launch& launch, absl::Span<const std::string> symbols) {
  std::vector<std::string> sizes;
  for (const Expr& size : launch.grid) sizes.push_back(ToString(size, symbols));
  while (sizes.size() > 1 && sizes.back() == "1") sizes.pop_back();
  return StrCat("(", StrJoin(sizes, ", "), ")");
}

}  // namespace

std::string PrintVariants(const Plan& plan, const Step& step) {
  std::vector<std::string> symbols;
  for (const Symbol& symbol : plan.symbols) symbols.push_back(symbol.name);
  std::string text;
  int64_t first = 1;
  for (const Variant& variant : step.variants) {
    std::string range = StrCat(symbols[step.chosen_by], " ", first, "..", variant.last);
    StrAppend(&text, absl::StrFormat("\n    %-11s ", range), "// ", variant.reason);
    for (const Launch& launch : variant.launches) {
      const GpuKernel& kernel = plan.gpu.kernels[launch.kernel];
      std::vector<std::string> args;
      for (const Arg& arg : launch.args) args.push_back(ArgText(plan, arg, symbols));
      StrAppend(&text, "\n      ", kernel.name, "<<<", GridText(launch, symbols), ", ",
                kernel.threads, ", ", ToString(launch.dynamic_shared, symbols), ">>>(",
                StrJoin(args, ", "), ")");
    }
    first = variant.last + 1;
  }
  return text;
}

}  // namespace renga::plan
