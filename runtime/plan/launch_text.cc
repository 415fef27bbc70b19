#include "runtime/plan/launch_text.h"

#include "ir/base/strings.h"
#include "runtime/plan/launch.h"

namespace renga::plan {
namespace {

std::string ArgText(const Plan& plan, const Arg& arg, absl::Span<const int64_t> symbols) {
  const auto buffer = [&] {
    const std::string at = arg.offset == 0 ? "" : StrCat(" + ", arg.offset);
    return StrCat(plan.buffers[static_cast<size_t>(arg.buffer)].name, at);
  };
  switch (arg.kind) {
    case ArgKind::kPointer:
      return StrCat(arg.name, " = ", buffer());
    case ArgKind::kTensorMap:
      return StrCat(arg.name, " = map of ", buffer());
    case ArgKind::kNull:
      return StrCat(arg.name, " = null");
    case ArgKind::kInt32:
    case ArgKind::kInt64:
      break;
  }
  const auto value = Evaluate(arg.size, symbols);
  return StrCat(arg.name, " = ", value.ok() ? StrCat(*value) : "?");
}

}  // namespace

std::string LaunchesText(const Plan& plan, const Step& step, absl::Span<const int64_t> symbols) {
  const Variant* const variant = ChooseVariant(step, symbols);
  if (variant == nullptr) return "";
  std::string text;
  for (const Launch& launch : variant->launches) {
    const auto shape = ShapeOf(plan, launch, symbols);
    if (!shape.ok()) continue;
    StrAppend(&text, "\n  kernel ", plan.gpu.kernels[static_cast<size_t>(launch.kernel)].name,
              ", grid ", shape->grid[0], " x ", shape->grid[1], " x ", shape->grid[2], " of ",
              shape->threads, " threads, ", shape->dynamic_shared, " bytes of shared memory");
    for (const Arg& arg : launch.args) StrAppend(&text, ", ", ArgText(plan, arg, symbols));
  }
  return text;
}

}  // namespace renga::plan
