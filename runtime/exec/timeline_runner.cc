#include "runtime/exec/timeline_runner.h"

namespace renga {

absl::Status TimelineRunner::Run(const StepInputs& inputs) {
  const Timeline::Scope scope(timeline_, "run", started_++);
  ++finished_;
  return runner_->Run(inputs);
}

absl::Status TimelineRunner::Start(const StepInputs& inputs) {
  const Timeline::Scope scope(timeline_, "start", started_++);
  return runner_->Start(inputs);
}

absl::Status TimelineRunner::Finish() {
  const Timeline::Scope scope(timeline_, "wait", finished_++);
  return runner_->Finish();
}

absl::Status TimelineRunner::Logits(std::vector<float>* logits) const {
  const Timeline::Scope scope(timeline_, "logits", finished_ - 1);
  return runner_->Logits(logits);
}

absl::Status TimelineRunner::CopyPages(absl::Span<const PageCopy> copies) {
  const Timeline::Scope scope(timeline_, "pages");
  return runner_->CopyPages(copies);
}

absl::Status TimelineRunner::ReadPage(int group, int32_t page, std::string* bytes) const {
  return runner_->ReadPage(group, page, bytes);
}

absl::Status TimelineRunner::WritePage(int group, int32_t page, std::string_view bytes) {
  return runner_->WritePage(group, page, bytes);
}

}  // namespace renga
