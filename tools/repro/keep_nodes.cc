#include "tools/repro/keep_nodes.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "ir/base/status.h"
#include "tools/repro/write_repro.h"

namespace renga {

absl::StatusOr<std::vector<KeptNode>> KeepNodes(const std::shared_ptr<const plan::Plan>& plan,
                                                const std::string& plan_path,
                                                const CaptureOptions& options,
                                                const std::string& folder, const std::string& found,
                                                int most) {
  RENGA_ASSIGN_OR_RETURN(const std::vector<CapturedNode> nodes,
                         CaptureNodes(plan, plan_path, options));
  std::vector<KeptNode> kept;
  int written = 0;
  for (const CapturedNode& node : nodes) {
    KeptNode of{.name = node.name, .op = node.op};
    for (size_t i = 0; i < node.errors.size(); ++i) {
      if (i > 0 && node.errors[i] / node.tolerances[i] <= of.error / of.tolerance) continue;
      of.error = node.errors[i];
      of.tolerance = node.tolerances[i];
    }
    if (node.wrong() && written < most) {
      of.folder = ++written == 1 ? folder : StrCat(folder, "-", written);
      of.pass_at_fault = !node.graph_is_right();
      RENGA_RETURN_IF_ERROR(WriteRepro(of.folder, node, found));
    }
    kept.push_back(std::move(of));
  }
  return kept;
}

std::string KeptText(const KeptNode& node) {
  const std::string size =
      absl::StrFormat("relative error %.3g (allowed %.3g)", node.error, node.tolerance);
  const std::string name = StrCat("node ", node.name, " (", node.op, "): ");
  if (node.folder.empty()) return StrCat(name, "right alone, ", size);
  return StrCat(name,
                node.pass_at_fault ? "a pass is at fault, the plan's graph is wrong"
                                   : "the kernel is at fault, the plan's graph is right",
                "; ", size, "; ", node.folder);
}

}  // namespace renga
