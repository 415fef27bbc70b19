// One sequence on any device.
#pragma once

#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/exec/forward.h"
#include "runtime/exec/step_runner.h"
#include "runtime/memory/kv_pages.h"

namespace renga {

class SequenceForward : public Forward {
 public:
  explicit SequenceForward(std::unique_ptr<StepRunner> runner);

  absl::Status Run(absl::Span<const int32_t> tokens, absl::Span<const int32_t> rows,
                   std::vector<float>* logits) override;
  absl::Status Logits(std::vector<float>* logits) const override { return runner_->Logits(logits); }
  absl::Span<const int32_t> next() const override { return runner_->next(); }
  bool samples() const override { return runner_->samples(); }
  void set_sampling(std::vector<RowSampling> sampling) override { sampling_ = std::move(sampling); }
  absl::Span<const SampledRow> sampled() const override { return runner_->sampled(); }
  int64_t position() const override { return pages_.position(sequence_); }
  int64_t context() const override { return runner_->plan().geometry.context; }
  int64_t max_step_tokens() const override { return runner_->plan().geometry.max_step_tokens; }
  int64_t max_rows() const override { return MaxRows(runner_->plan()); }
  int64_t vocab() const override { return runner_->plan().model.vocab; }
  absl::Status Truncate(int64_t position) override { return pages_.Truncate(sequence_, position); }
  std::string_view device() const override { return runner_->device(); }

  const StepRunner& runner() const { return *runner_; }

 private:
  std::unique_ptr<StepRunner> runner_;
  KvPages pages_;
  int sequence_;
  std::vector<RowSampling> sampling_;                   // of the next run
  std::vector<int32_t> positions_, sequences_, cells_;  // kept for their memory
};

}  // namespace renga
