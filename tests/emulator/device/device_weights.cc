#include "tests/emulator/device/device_weights.h"

#include <cstring>

#include "ir/base/status.h"
#include "runtime/plan/layout.h"

namespace renga::emulator {
namespace {

// As far as an index may stray and still be seen; and what a GPU's allocator aligns to.
constexpr uint64_t kGap = 1 << 20;
constexpr uint64_t kAligned = 256;

uint64_t Room(uint64_t bytes) { return (bytes + kAligned - 1) / kAligned * kAligned + kGap; }

}  // namespace

absl::StatusOr<DeviceWeights> DeviceWeights::Create(const plan::Plan& plan,
                                                    const WeightStore& store,
                                                    GlobalMemory* memory) {
  uint64_t total = kGap;
  for (const plan::Weight& weight : plan.weights) total += Room(plan::StoredBytes(weight));
  DeviceWeights weights;
  RENGA_ASSIGN_OR_RETURN(weights.region_, Region::Allocate(total, "weights"));
  uint64_t at = kGap;
  for (size_t i = 0; i < plan.weights.size(); ++i) {
    const plan::Weight& weight = plan.weights[i];
    const uint64_t bytes = plan::StoredBytes(weight);
    uint8_t* base = weights.region_.data() + at;
    std::memcpy(base, store.data(static_cast<int>(i)), bytes);
    const std::string layout = weight.layout.empty() ? "" : StrCat(", layout ", weight.layout);
    RENGA_RETURN_IF_ERROR(memory->AddReadOnly(StrCat(weight.source.name, layout), base, bytes));
    weights.data_.push_back(base);
    at += Room(bytes);
  }
  return weights;
}

}  // namespace renga::emulator
