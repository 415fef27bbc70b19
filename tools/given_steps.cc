#include "tools/given_steps.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "ir/base/status.h"
#include "runtime/plan/layout.h"

namespace renga {
namespace {

std::vector<int32_t> Copy(absl::Span<const int32_t> values) {
  return {values.begin(), values.end()};
}

class NotingRunner final : public StepRunner {
 public:
  NotingRunner(std::unique_ptr<CudaRunner> runner, GivenSteps* given)
      : runner_(std::move(runner)), given_(*given) {
    given_.tokens.assign(static_cast<size_t>(plan::CacheCells(runner_->plan())), -1);
    given_.failed_step = -1;
  }

  absl::Status Run(const StepInputs& inputs) override {
    GivenRun& run = given_.run;
    run = {Copy(inputs.tokens), Copy(inputs.positions), Copy(inputs.sequences), Copy(inputs.cells),
           Copy(inputs.pages),  Copy(inputs.rows),      inputs.sequence_count};
    const absl::Status status = runner_->Run(inputs);
    given_.failed_step = runner_->executor().failed_step();
    if (!status.ok()) return status;
    for (size_t i = 0; i < run.cells.size(); ++i) {
      given_.tokens[static_cast<size_t>(run.cells[i])] = run.tokens[i];
    }
    return status;
  }

  absl::Status CopyPages(absl::Span<const PageCopy> copies) override {
    RENGA_RETURN_IF_ERROR(runner_->CopyPages(copies));
    const int64_t page = plan().geometry.page_tokens;
    for (const PageCopy& copy : copies) {
      if (copy.group != 0) continue;
      std::copy_n(given_.tokens.begin() + copy.from * page, page,
                  given_.tokens.begin() + copy.to * page);
    }
    return absl::OkStatus();
  }

  absl::Status WritePage(int group, int32_t page, std::string_view bytes) override {
    RENGA_RETURN_IF_ERROR(runner_->WritePage(group, page, bytes));
    if (group != 0) return absl::OkStatus();
    const int64_t tokens = plan().geometry.page_tokens;
    std::fill_n(given_.tokens.begin() + page * tokens, tokens, -1);
    return absl::OkStatus();
  }

  absl::Status Logits(std::vector<float>* logits) const override { return runner_->Logits(logits); }
  absl::Span<const int32_t> next() const override { return runner_->next(); }
  bool samples() const override { return runner_->samples(); }
  absl::Span<const SampledRow> sampled() const override { return runner_->sampled(); }
  absl::Status ReadPage(int group, int32_t page, std::string* bytes) const override {
    return runner_->ReadPage(group, page, bytes);
  }
  const plan::Plan& plan() const override { return runner_->plan(); }
  std::string_view device() const override { return runner_->device(); }

 private:
  const std::unique_ptr<CudaRunner> runner_;
  GivenSteps& given_;
};

}  // namespace

StepInputs GivenRun::inputs() const {
  StepInputs inputs;
  inputs.tokens = tokens;
  inputs.positions = positions;
  inputs.sequences = sequences;
  inputs.cells = cells;
  inputs.pages = pages;
  inputs.rows = rows;
  inputs.sequence_count = sequence_count;
  return inputs;
}

std::unique_ptr<StepRunner> NoteGiven(std::unique_ptr<CudaRunner> runner, GivenSteps* given) {
  return std::make_unique<NotingRunner>(std::move(runner), given);
}

}  // namespace renga
