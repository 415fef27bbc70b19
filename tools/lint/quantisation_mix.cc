// A tensor stored far more coarsely than its like in other layers, or one that nobody quantises.
#include <algorithm>

#include "absl/strings/str_format.h"
#include "ir/base/status.h"
#include "tools/lint/check.h"

namespace renga {
namespace {

constexpr size_t kOneIn = 8;           // rarer is no recipe of a mixture but an exception
constexpr double kFarCoarser = 0.6;    // Q4_K beside Q6_K, the common mixture, is 0.69
constexpr double kMuchCoarser = 0.34;  // Q4 beside F16

double BitsAnElement(DType type) {
  const DTypeInfo& info = Info(type);
  return 8.0 * info.block_bytes / info.block_elements;
}

constexpr std::string_view kAdvice =
    "quantise the original again, with a type for this tensor that its like have";

void AddCoarse(const LintInput& input, const TensorFamily& family, std::vector<Finding>* findings) {
  std::vector<double> bits;
  for (const int tensor : family.tensors) {
    bits.push_back(BitsAnElement(input.file.tensors()[tensor].type));
  }
  if (bits.size() < 4) return;
  std::vector<double> sorted = bits;
  std::sort(sorted.begin(), sorted.end());
  const double usual = sorted[sorted.size() / 2];
  const auto is_coarse = [usual](double b) { return b < usual * kFarCoarser; };
  const size_t coarse = std::count_if(bits.begin(), bits.end(), is_coarse);
  if (coarse > std::max<size_t>(1, bits.size() / kOneIn)) return;
  for (size_t i = 0; i < bits.size(); ++i) {
    if (!is_coarse(bits[i])) continue;
    const GgufTensor& tensor = input.file.tensors()[family.tensors[i]];
    findings->push_back(AboutTensor(
        tensor,
        coarse == 1 && bits[i] < usual * kMuchCoarser ? Sureness::kLikely : Sureness::kMaybe,
        StrCat("is ", Name(tensor.type), absl::StrFormat(", %.4g bits an element", bits[i]),
               ", in most other layers ", absl::StrFormat("%.4g", usual)),
        "one coarse layer can spoil what the bits of all others preserve", kAdvice));
  }
}

std::vector<Finding> Run(const LintInput& input) {
  std::vector<Finding> findings;
  for (const TensorFamily& family : input.families) AddCoarse(input, family, &findings);
  for (const GgufTensor& tensor : input.file.tensors()) {
    if (tensor.rank != 1 || !Info(tensor.type).quantized) continue;
    findings.push_back(AboutTensor(
        tensor, Sureness::kMaybe, StrCat("a vector of type ", Name(tensor.type)),
        "norms and biases are small and every value of the layer depends on them, so quantisers "
        "leave them as they are",
        "keep it in f32: it costs next to nothing"));
  }
  return findings;
}

}  // namespace

const Check kQuantisationMix = {"quantisation-mix",
                                "a tensor far coarser than its like in other layers", Run};

}  // namespace renga
