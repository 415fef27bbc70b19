#include "tools/renga/dump_filter.h"

#include <algorithm>

#include "ir/base/nearest.h"
#include "ir/base/status.h"
#include "tools/renga/text.h"

namespace renga {

void DumpFilter::AddLayers(int64_t layers) {
  last_layer_ = std::max(last_layer_, static_cast<int>(layers) - 1);
  layer_seen_ |= flags_.layer && *flags_.layer >= 0 && *flags_.layer < layers;
}

bool DumpFilter::Keeps(std::string_view name, int layer,
                       const std::vector<std::string>& provenance) {
  last_layer_ = std::max(last_layer_, layer);
  if (!flags_.layer || *flags_.layer == layer) {
    layer_seen_ |= flags_.layer.has_value();
    if (!flags_.node.empty()) names_.emplace_back(name);
  }
  const bool keeps = flags_.Keeps(name, layer, provenance);
  kept_ |= keeps;
  return keeps;
}

bool DumpFilter::Keeps(const plan::Plan& plan, const plan::Step& step) {
  std::vector<std::string> names = step.provenance;
  if (step.kernel >= 0 && step.layer >= 0) {
    const std::string& kernel = plan.kernels[step.kernel].name;
    names.push_back(StrCat(step.layer, ".", kernel));
    names.push_back(StrCat(step.layer, ".", kernel.substr(0, kernel.find('_'))));
  }
  return Keeps(step.name, step.layer, names);
}

absl::Status DumpFilter::CheckFound() const {
  if (kept_ || !flags_.filtered()) return absl::OkStatus();
  if (flags_.layer && !layer_seen_) return NoLayer();
  return flags_.node.empty() ? absl::OkStatus() : NoNode();
}

absl::Status DumpFilter::NoLayer() const {
  if (last_layer_ < 0) {
    return absl::NotFoundError(
        StrCat("--layer ", *flags_.layer, ": no ", what_, " of this stage are in a layer"));
  }
  return absl::NotFoundError(StrCat("--layer: expected 0..", last_layer_, ", got ", *flags_.layer));
}

absl::Status DumpFilter::NoNode() const {
  const std::string where = flags_.layer ? StrCat(" of layer ", *flags_.layer) : "";
  const std::string asked = StrCat("--node ", Quoted(flags_.node), ": ");
  if (names_.empty()) {
    return absl::NotFoundError(StrCat(asked, "there are no ", what_, where, " to choose from"));
  }
  const std::vector<std::string_view> names(names_.begin(), names_.end());
  std::vector<std::string> nearest;
  for (const std::string_view name : NearestNames(flags_.node, names)) {
    nearest.push_back(Quoted(name));
  }
  return absl::NotFoundError(StrCat(asked, "none of the ", names.size(), " ", what_, where,
                                    " has this name; did you mean ", StrJoin(nearest, " or ")));
}

}  // namespace renga
