// What comes to a GPU before a step and back after it, so that a step can be started while the one
// before it runs. Of everything there are two, used in turn: inputs on the host and on the GPU,
// results on the host. Copies have streams of their own, so kernels of one step follow those of the
// step before without a copy in between.
//
// Where the plan's `next` is a buffer like any other, each step writes it to where the step after
// it reads `tokens`: what was chosen needs no way back to the host to be gone on with.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/device/cuda/resources.h"
#include "runtime/exec/step_inputs.h"
#include "runtime/plan/plan.h"

namespace renga {

// Where the inputs of a step lie, from the place on that Place is given.
class CudaInputLayout {
 public:
  CudaInputLayout() = default;
  explicit CudaInputLayout(const plan::Plan& plan);

  // Of one step, a multiple of plan::kAlignment.
  uint64_t bytes() const { return bytes_; }
  // Those of what the sampler is asked for (SampleMemory::input_bytes), which are the last, so that
  // one copy brings them too.
  uint64_t sampling() const { return sampling_; }
  // Those of `tokens`, which are the first.
  uint64_t token_bytes() const { return token_bytes_; }
  // Of each of Plan::inputs.
  uint64_t offset(size_t input) const { return offsets_[input]; }
  // The plan's output `next`, where it can be written to `tokens`: no view, and no other buffer is
  // a view of it. Else -1.
  int32_t fed_back() const { return fed_back_; }

 private:
  std::vector<uint64_t> offsets_;
  uint64_t bytes_ = 0, token_bytes_ = 0, sampling_ = 0;
  int32_t fed_back_ = -1;
};

// Not thread-safe. Steps are numbered from 0; two at most may be under way.
class CudaTransfers {
 public:
  CudaTransfers() = default;
  // Inputs of steps are at `device`, 2 * layout.bytes(). The plan must outlive it. Errors are the
  // driver's.
  static absl::StatusOr<CudaTransfers> Create(cuda::ContextRef context, const plan::Plan& plan,
                                              const CudaInputLayout& layout, uint64_t device);

  // Where the inputs of a step lie.
  uint64_t inputs(int64_t step) const { return device_ + Slot(step) * layout_.bytes(); }

  // Where the sampler's part of a step's inputs is written before Send: layout.bytes() -
  // layout.sampling() bytes.
  uint8_t* sampling(int64_t step) const {
    return turns_[Slot(step)].inputs.data() + layout_.sampling();
  }
  // Brings the inputs there, and `sampling_bytes` of that part, beside what the GPU does, and makes
  // `stream` wait for them. Without `beside`, when the step before has ended: for tokens where that
  // writes its own.
  absl::Status Send(int64_t step, const StepInputs& inputs, size_t sampling_bytes,
                    const cuda::Stream& stream, bool beside);
  // Bytes of the GPU's memory that go to pinned memory of the host.
  struct Piece {
    const void* from;
    absl::Span<uint8_t> to;
  };
  // Brings `rows` values of 4 bytes at `from`, and the other pieces, to the host when `stream` has
  // done what it was told, beside what it is told next.
  absl::Status Fetch(int64_t step, uint64_t from, size_t rows, absl::Span<const Piece> others,
                     const cuda::Stream& stream);
  // Until they are there. Errors as Event::WaitWithin.
  absl::Status Wait(int64_t step, double seconds, double pause_seconds) const {
    return turns_[Slot(step)].arrived.WaitWithin(seconds, pause_seconds);
  }
  // Of a step that was waited for, until the second one after it is fetched.
  absl::Span<const int32_t> results(int64_t step) const {
    const Turn& turn = turns_[Slot(step)];
    return {reinterpret_cast<const int32_t*>(turn.results.data()), turn.rows};
  }

 private:
  struct Turn {
    cuda::PinnedMemory inputs, results;
    size_t rows = 0;
    cuda::Event sent, computed, arrived;
  };
  static size_t Slot(int64_t step) { return static_cast<size_t>(step % 2); }
  void Fill(const StepInputs& inputs, uint8_t* to) const;

  const plan::Plan* plan_ = nullptr;
  CudaInputLayout layout_;
  uint64_t device_ = 0;
  std::array<Turn, 2> turns_;
  cuda::Stream there_, back_;
};

}  // namespace renga
