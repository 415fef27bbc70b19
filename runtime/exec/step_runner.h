// A plan on a device: a step takes any tokens of any sequences. Which pages of the
// caches those have, whoever calls knows (kv_pages.h): one sequence (sequence_forward.h) or many
// (engine.h).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "runtime/exec/step_inputs.h"
#include "runtime/memory/kv_pages.h"
#include "runtime/plan/plan.h"

namespace renga {

// Not thread-safe.
class StepRunner {
 public:
  virtual ~StepRunner() = default;

  // Executes all steps. Inputs are checked first: OutOfRange, InvalidArgument, and nothing has
  // happened. Unavailable where the device fails, after which it is of no more use. No step may be
  // under way (Start).
  virtual absl::Status Run(const StepInputs& inputs) = 0;

  // Run in two halves, for a device that works while the host does something else. Where this is
  // so, a step may be started before the one before has been finished, even one that goes on from
  // what that chooses (StepInputs::fed_back); two at most are under way.
  virtual bool runs_ahead() const { return false; }
  // The spans of `inputs` need to live only during the call. Errors as Run, FailedPrecondition for
  // a third step; on an error nothing was started.
  virtual absl::Status Start(const StepInputs& inputs);
  // Waits for the oldest step under way, the last run from now on. FailedPrecondition where there
  // is none.
  virtual absl::Status Finish();

  // The logits of the last run's rows, [R, vocab] row-major, without the columns that pad them.
  // Not to be asked for while a step is under way. Errors are the device's.
  virtual absl::Status Logits(std::vector<float>* logits) const = 0;

  // What greedy decoding goes on with: for each row of the last run the lowest id of the largest
  // logit, -1 where a logit is no number to be trusted (NaN or infinite) or all forbid. An id may
  // be vocab or more where the model's output is padded. Empty where the plan does not say;
  // valid until the next run, or until the next one is finished.
  virtual absl::Span<const int32_t> next() const { return {}; }

  // Whether StepInputs::sampling is looked at. Then sampled() has, until the next run (or until
  // the next one is finished), what was
  // asked for in the last one, in order, and next() what was chosen of those rows: -1 where the
  // device could not decide.
  virtual bool samples() const { return false; }
  virtual absl::Span<const SampledRow> sampled() const { return {}; }

  // Copies pages of every cache, one after the other, behind what is under way and before what is
  // run next. The pages exist. The same goes for ReadPage and WritePage.
  virtual absl::Status CopyPages(absl::Span<const PageCopy> copies) = 0;

  // What a page of all caches of a group holds, appended to `bytes`, for WritePage of a runner of
  // the same plan. The page exists; errors are the device's, Unimplemented of one that cannot.
  virtual absl::Status ReadPage(int group, int32_t page, std::string* bytes) const;
  // InvalidArgument for another number of bytes.
  virtual absl::Status WritePage(int group, int32_t page, std::string_view bytes);

  // Its geometry says what a run may be given. Stays the same.
  virtual const plan::Plan& plan() const = 0;

  // "cpu", "reference"; of a GPU also its name, without its maker's: "cuda:0 H100 80GB HBM3".
  virtual std::string_view device() const = 0;

 private:
  bool started_ = false;  // by Start as it is here
};

// Rows that one run may ask for.
int64_t MaxRows(const plan::Plan& plan);

// For WritePage.
absl::Status CheckPageBytes(size_t expected, size_t got);

}  // namespace renga
