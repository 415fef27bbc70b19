// Tensors whose shape differs from that of the same tensor in nearly all other layers.
#include "ir/base/status.h"
#include "tools/lint/check.h"
#include "tools/lint/odd_ones.h"

namespace renga {
namespace {

std::vector<Finding> Run(const LintInput& input) {
  std::vector<Finding> findings;
  for (const TensorFamily& family : input.families) {
    const auto shape_of = [&](int member) {
      const auto shape = input.file.tensors()[family.tensors[member]].shape();
      return std::vector<int64_t>(shape.begin(), shape.end());
    };
    for (const auto& [member, like] : OddOnes<std::vector<int64_t>>(family, shape_of)) {
      findings.push_back(AboutTensor(
          input.file.tensors()[family.tensors[member]], Sureness::kMaybe,
          StrCat("has shape [", StrJoin(shape_of(member), ","), "], in other layers [",
                 StrJoin(like, ","), "]"),
          "the metadata says the same, so it computes; right for models that were pruned or have "
          "layers of several kinds",
          "compare the layer's sizes with the original's configuration"));
    }
  }
  return findings;
}

}  // namespace

const Check kLayerShapes = {"layer-shapes", "a tensor shaped unlike its like in other layers", Run};

}  // namespace renga
