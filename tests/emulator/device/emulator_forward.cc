#include "tests/emulator/device/emulator_forward.h"

#include <cstring>
#include <numeric>
#include <utility>

#include "ir/base/status.h"
#include "runtime/exec/model_outputs.h"
#include "runtime/plan/layout.h"

namespace renga::emulator {
namespace {

// Any: pages come in another order than positions.
constexpr uint64_t kPageSeed = 7;

}  // namespace

EmulatorForward::EmulatorForward(std::unique_ptr<EmulatorDevice> device, int32_t logits,
                                 int32_t next)
    : device_(std::move(device)),
      pages_(device_->plan(), kPageSeed),
      sequence_(pages_.NewSequence()),
      logits_buffer_(logits),
      next_buffer_(next),
      max_rows_(plan::SymbolMax(device_->plan(), "R", max_step_tokens())) {}

absl::StatusOr<std::unique_ptr<EmulatorForward>> EmulatorForward::Create(
    std::shared_ptr<const plan::Plan> plan, DeviceOptions options) {
  RENGA_ASSIGN_OR_RETURN(std::unique_ptr<EmulatorDevice> device,
                         EmulatorDevice::Create(std::move(plan), std::move(options)));
  RENGA_RETURN_IF_ERROR(CheckModelOutputs(device->plan()));
  const int32_t logits = plan::OutputBuffer(device->plan(), "logits");
  const int32_t next = plan::OutputBuffer(device->plan(), "next");
  return std::unique_ptr<EmulatorForward>(new EmulatorForward(std::move(device), logits, next));
}

absl::Status EmulatorForward::Run(absl::Span<const int32_t> tokens, absl::Span<const int32_t> rows,
                                  std::vector<float>* logits) {
  const int64_t before = position();
  std::vector<int32_t> cells, positions(tokens.size());
  RENGA_RETURN_IF_ERROR(pages_.Append(sequence_, static_cast<int64_t>(tokens.size()), &cells));
  std::iota(positions.begin(), positions.end(), static_cast<int32_t>(before));
  const std::vector<int32_t> sequences(tokens.size(), 0);
  StepInputs inputs;
  inputs.tokens = tokens;
  inputs.positions = positions;
  inputs.sequences = sequences;
  inputs.cells = cells;
  inputs.pages = pages_.pages(sequence_);
  inputs.rows = rows;
  logits_.clear();
  next_.clear();
  absl::Status status = watcher_.before_run ? watcher_.before_run(inputs) : absl::OkStatus();
  if (status.ok()) status = device_->Run(inputs, watcher_.after_step);
  if (status.ok()) status = ReadResults(rows.size());
  if (!status.ok()) {
    RENGA_RETURN_IF_ERROR(Truncate(before));
    return status;
  }
  if (logits != nullptr) *logits = logits_;
  return absl::OkStatus();
}

absl::Status EmulatorForward::ReadResults(size_t rows) {
  if (rows == 0) return absl::OkStatus();
  std::vector<uint8_t> bytes;
  RENGA_RETURN_IF_ERROR(device_->Read(logits_buffer_, &bytes));
  const size_t columns = static_cast<size_t>(vocab()), pitch = bytes.size() / rows;
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

absl::Status EmulatorForward::Logits(std::vector<float>* logits) const {
  *logits = logits_;
  return absl::OkStatus();
}

absl::Status EmulatorForward::Truncate(int64_t position) {
  if (position < 0 || position > this->position()) {
    return absl::OutOfRangeError(
        StrCat("truncate: expected 0..", this->position(), ", got ", position));
  }
  std::vector<int32_t> cells;
  pages_.Truncate(sequence_, position, &cells);
  return device_->ForgetCells(cells);
}

}  // namespace renga::emulator
