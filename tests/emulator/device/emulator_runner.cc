#include "tests/emulator/device/emulator_runner.h"

#include <cstring>
#include <utility>

#include "ir/base/status.h"
#include "runtime/exec/model_outputs.h"
#include "runtime/plan/layout.h"

namespace renga::emulator {

absl::StatusOr<std::unique_ptr<EmulatorRunner>> EmulatorRunner::Create(
    std::shared_ptr<const plan::Plan> plan, DeviceOptions options) {
  RENGA_ASSIGN_OR_RETURN(std::unique_ptr<EmulatorDevice> device,
                         EmulatorDevice::Create(std::move(plan), std::move(options)));
  RENGA_RETURN_IF_ERROR(CheckModelOutputs(device->plan()));
  const int32_t logits = plan::OutputBuffer(device->plan(), "logits");
  const int32_t next = plan::OutputBuffer(device->plan(), "next");
  return std::unique_ptr<EmulatorRunner>(new EmulatorRunner(std::move(device), logits, next));
}

absl::Status EmulatorRunner::Run(const StepInputs& inputs) {
  logits_.clear();
  next_.clear();
  sampled_.clear();
  if (watcher_.before_run) RENGA_RETURN_IF_ERROR(watcher_.before_run(inputs));
  RENGA_RETURN_IF_ERROR(device_->Run(inputs, watcher_.after_step));
  if (samples() && !inputs.sampling.empty()) {
    RENGA_RETURN_IF_ERROR(CheckSampling(inputs.sampling, static_cast<int64_t>(inputs.rows.size()),
                                        plan().model.vocab));
    RENGA_ASSIGN_OR_RETURN(sampled_, device_->Sample(inputs.sampling));
  }
  return ReadResults(inputs.rows.size());
}

absl::Status EmulatorRunner::ReadResults(size_t rows) {
  if (rows == 0) return absl::OkStatus();
  std::vector<uint8_t> bytes;
  RENGA_RETURN_IF_ERROR(device_->Read(logits_buffer_, &bytes));
  const size_t columns = static_cast<size_t>(plan().model.vocab), pitch = bytes.size() / rows;
  logits_.resize(rows * columns);
  for (size_t row = 0; row < rows; ++row) {
    // The output layer may have padded columns behind the vocabulary.
    std::memcpy(logits_.data() + row * columns, bytes.data() + row * pitch,
                columns * sizeof(float));
  }
  if (next_buffer_ < 0) return absl::OkStatus();
  RENGA_RETURN_IF_ERROR(device_->Read(next_buffer_, &bytes));
  next_.resize(rows);
  std::memcpy(next_.data(), bytes.data(), rows * sizeof(int32_t));
  return absl::OkStatus();
}

absl::Status EmulatorRunner::Logits(std::vector<float>* logits) const {
  *logits = logits_;
  return absl::OkStatus();
}

absl::Status EmulatorRunner::CopyPages(absl::Span<const PageCopy> copies) {
  const int64_t page_tokens = plan().geometry.page_tokens;
  for (const PageCopy& copy : copies) {
    for (int64_t cell = 0; cell < page_tokens; ++cell) {
      RENGA_RETURN_IF_ERROR(device_->CopyCell(copy.group,
                                              static_cast<int32_t>(copy.from * page_tokens + cell),
                                              static_cast<int32_t>(copy.to * page_tokens + cell)));
    }
  }
  return absl::OkStatus();
}

}  // namespace renga::emulator
