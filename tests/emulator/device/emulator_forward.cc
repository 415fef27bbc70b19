#include "tests/emulator/device/emulator_forward.h"

#include <numeric>
#include <utility>

#include "ir/base/status.h"

namespace renga::emulator {
namespace {

// Any: pages come in another order than positions.
constexpr uint64_t kPageSeed = 7;

}  // namespace

EmulatorForward::EmulatorForward(std::unique_ptr<EmulatorRunner> runner)
    : runner_(std::move(runner)),
      pages_(runner_->plan(), kPageSeed),
      sequence_(pages_.NewSequence()) {}

absl::StatusOr<std::unique_ptr<EmulatorForward>> EmulatorForward::Create(
    std::shared_ptr<const plan::Plan> plan, DeviceOptions options) {
  RENGA_ASSIGN_OR_RETURN(std::unique_ptr<EmulatorRunner> runner,
                         EmulatorRunner::Create(std::move(plan), std::move(options)));
  return std::unique_ptr<EmulatorForward>(new EmulatorForward(std::move(runner)));
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
  RENGA_RETURN_IF_ERROR(ForgetDropped());
  inputs.cells = absl::MakeConstSpan(cells).first(tokens.size());
  inputs.pages = pages_.pages(sequence_);
  const std::vector<WindowInputs> windows = pages_.Windows(sequence_, tokens.size(), cells);
  inputs.windows = windows;
  inputs.rows = rows;
  if (const absl::Status status = runner_->Run(inputs); !status.ok()) {
    RENGA_RETURN_IF_ERROR(Truncate(before));
    return status;
  }
  return logits == nullptr ? absl::OkStatus() : Logits(logits);
}

absl::Status EmulatorForward::Truncate(int64_t position) {
  if (position < 0 || position > this->position()) {
    return absl::OutOfRangeError(
        StrCat("truncate: expected 0..", this->position(), ", got ", position));
  }
  RENGA_RETURN_IF_ERROR(pages_.Truncate(sequence_, position));
  return ForgetDropped();
}

// So that whoever reads them is found out.
absl::Status EmulatorForward::ForgetDropped() {
  for (const PageTables::Dropped& dropped : pages_.TakeDropped()) {
    RENGA_RETURN_IF_ERROR(runner_->emulator().ForgetCells(dropped.group, dropped.cells));
  }
  return absl::OkStatus();
}

}  // namespace renga::emulator
