#include "absl/strings/str_format.h"
#include "ir/base/status.h"
#include "runtime/plan/print.h"

namespace renga::plan {
namespace {

std::string ArgText(const Plan& plan, const Arg& arg, absl::Span<const std::string> symbols) {
  if (arg.kind == ArgKind::kNull) return StrCat(arg.name, "=null");
  if (arg.kind != ArgKind::kPointer) return StrCat(arg.name, "=", ToString(arg.size, symbols));
  const Buffer& buffer = plan.buffers[arg.buffer];
  return StrCat(arg.name, "=", buffer.space == Space::kWeight ? "@" : "%", buffer.name,
                arg.offset > 0 ? StrCat("+", arg.offset) : "");
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
