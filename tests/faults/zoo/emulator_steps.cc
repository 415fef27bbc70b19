#include "tests/faults/zoo/emulator_steps.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "ir/base/status.h"
#include "runtime/plan/cache_layout.h"
#include "runtime/plan/layout.h"

namespace renga::faults {
namespace {

class EmulatorSteps final : public StepDevice {
 public:
  explicit EmulatorSteps(std::unique_ptr<emulator::EmulatorDevice> device)
      : device_(std::move(device)), memory_(*device_) {}

  const StepMemory& memory() const override { return memory_; }
  std::string_view name() const override { return "emulator"; }
  absl::Status Run(const StepInputs& inputs, const StepHooks& hooks) override {
    device_->SetHooks(hooks);
    const absl::Status status = device_->Run(inputs);
    device_->SetHooks({});
    return status;
  }
  absl::Status Forget() override {
    for (int group = 0; group < plan::GroupsOf(device_->plan()); ++group) {
      std::vector<int32_t> cells(static_cast<size_t>(plan::CacheCells(device_->plan(), group)));
      std::iota(cells.begin(), cells.end(), 0);
      RENGA_RETURN_IF_ERROR(device_->ForgetCells(group, cells));
    }
    return absl::OkStatus();
  }

 private:
  const std::unique_ptr<emulator::EmulatorDevice> device_;
  const EmulatorMemory memory_;
};

}  // namespace

absl::Status EmulatorMemory::Read(int32_t buffer, uint64_t offset, absl::Span<uint8_t> to) const {
  const plan::Buffer& of = plan().buffers[buffer];
  if (of.space != plan::Space::kCache) return device_.ReadBytes(buffer, offset, to);
  // What a cell has in the part of the cache that is read: its quants, its scales, or all of it.
  const plan::Cache& cache = plan().caches[of.index];
  const uint64_t scales = plan::ScalesOffset(plan(), cache);
  const uint64_t piece =
      plan::CellRanges(plan(), cache, 0)[scales > 0 && offset >= scales ? 1 : 0].bytes;
  while (!to.empty()) {
    const auto part = to.first(std::min<size_t>(to.size(), piece));
    if (!device_.ReadBytes(buffer, offset, part).ok()) std::fill(part.begin(), part.end(), 0);
    offset += part.size();
    to.remove_prefix(part.size());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<StepRecorder>> OpenEmulatorSteps(
    std::shared_ptr<const plan::Plan> plan, emulator::DeviceOptions options) {
  RENGA_ASSIGN_OR_RETURN(auto device,
                         emulator::EmulatorDevice::Create(std::move(plan), std::move(options)));
  return StepRecorder::Create(std::make_unique<EmulatorSteps>(std::move(device)), {});
}

}  // namespace renga::faults
