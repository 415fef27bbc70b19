// Sequences that go on side by side, all as long as each other: what is measured when many are
// decoded at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/exec/step_batch.h"
#include "runtime/exec/step_runner.h"
#include "runtime/memory/kv_pages.h"
#include "runtime/text/sampler.h"

namespace renga {

// Whether a step of the plan can take a token of each of so many sequences, each of which may grow
// to `tokens`. InvalidArgument, saying how to compile the model.
absl::Status CheckStepTakes(const plan::Plan& plan, int64_t sequences, int64_t tokens);

// And whether all of them can have as many at the same time. Errors likewise.
absl::Status CheckGroupFits(const plan::Plan& plan, int64_t sequences, int64_t tokens);

// Errors are those of the runner and of KvPages. Nothing else may run on the runner meanwhile.
class SequenceGroup {
 public:
  // Empty sequences, 1 or more. `runner` must outlive it; CheckGroupFits must hold for its plan.
  static absl::StatusOr<SequenceGroup> Create(StepRunner& runner, int64_t count);

  int64_t count() const { return static_cast<int64_t>(sequences_.size()); }
  int64_t position() const { return pages_.position(sequences_[0]); }  // of all of them

  // Appends `ids` [count, tokens], row-major, one sequence after the other in steps as long as the
  // plan allows. With `choose`, the last one's logits are asked for, and choices() has what comes
  // next.
  absl::Status Read(absl::Span<const int32_t> ids, bool choose);

  // Appends `ids` to every sequence, which must be empty. They are computed once, and what the
  // caches then hold is copied: each sequence has it in memory of its own.
  absl::Status ReadAlike(absl::Span<const int32_t> ids);

  // Appends one token to each, ids [count], in one step; then as Read with `choose`.
  absl::Status Step(absl::Span<const int32_t> ids) { return Read(ids, /*choose=*/true); }

  // Step, with what that chooses again and so on, `steps` times. On a device that runs ahead each
  // of them but the first is started before the choices of the one before are read, unless sampling
  // looks back at those or is not the device's.
  absl::Status Decode(absl::Span<const int32_t> ids, int64_t steps);

  // From now on choices are sampled and not greedy, those of each sequence with a seed of its own:
  // on the device where it samples, from its logits otherwise. InvalidArgument for parameters that
  // are none.
  absl::Status Sample(const SamplingParams& params);

  // What decoding goes on with, by sequence.
  const std::vector<int32_t>& choices() const { return choices_; }

  // Forgets the tokens from `position` on, and what was sampled. OutOfRange unless 0 <= position <=
  // position(). Where a window does not hold any more what the tokens behind see, it is anything
  // from then on.
  absl::Status Truncate(int64_t position);

 private:
  SequenceGroup(StepRunner& runner, int64_t count);
  absl::Status Add(int64_t member, absl::Span<const int32_t> ids, int64_t rows);
  absl::Status Run();
  absl::Status Start(absl::Span<const int32_t> ids, bool fed_back);
  absl::Status Finish();
  absl::StatusOr<int32_t> Choice(size_t row);
  absl::Span<const RowSampling> Asks(int ahead);
  void Accept(int64_t member);
  absl::Status NoChoice(int64_t member) const;

  StepRunner* runner_;
  KvPages pages_;
  std::vector<int> sequences_;  // ids in pages_
  std::vector<int32_t> choices_;
  SamplingParams sampling_;
  std::vector<Sampler> samplers_;  // by sequence; none: greedy

  // Of the step at hand; kept for their memory.
  StepBatch batch_;
  std::vector<int32_t> cells_;
  std::vector<int64_t> choosing_;  // members, by row
  std::vector<float> logits_;
  std::vector<RowSampling> asks_;
};

}  // namespace renga
