#include "runtime/exec/cuda_transfers.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "ir/base/status.h"
#include "ir/base/windows.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/sample_args.h"

namespace renga {
namespace {

constexpr std::string_view kTokens = "tokens", kNext = "next";

int32_t FedBack(const plan::Plan& plan) {
  const int32_t next = plan::OutputBuffer(plan, kNext);
  if (next < 0 || plan.buffers[next].space != plan::Space::kArena ||
      plan.buffers[next].view_of >= 0) {
    return -1;
  }
  const bool viewed = std::any_of(plan.buffers.begin(), plan.buffers.end(),
                                  [next](const auto& buffer) { return buffer.view_of == next; });
  const bool reads = std::count(plan.inputs.begin(), plan.inputs.end(), kTokens) > 0;
  return viewed || !reads ? -1 : next;
}

}  // namespace

CudaInputLayout::CudaInputLayout(const plan::Plan& plan)
    : offsets_(plan.inputs.size()), fed_back_(FedBack(plan)) {
  const auto place = [&](bool tokens) {
    for (const plan::Buffer& buffer : plan.buffers) {
      if (buffer.space != plan::Space::kInput || buffer.view_of >= 0) continue;
      if ((plan.inputs[buffer.index] == kTokens) != tokens) continue;
      offsets_[buffer.index] = bytes_;
      uint64_t size = buffer.bytes;
      if (tokens && fed_back_ >= 0) size = std::max(size, plan.buffers[fed_back_].bytes);
      bytes_ += plan::AlignUp(size);
    }
  };
  place(/*tokens=*/true);
  token_bytes_ = bytes_;
  place(/*tokens=*/false);
  sampling_ = bytes_;
  if (plan.gpu.sampler.kernel >= 0) bytes_ += plan::SampleMemoryOf(plan).input_bytes;
}

absl::StatusOr<CudaTransfers> CudaTransfers::Create(cuda::ContextRef context,
                                                    const plan::Plan& plan,
                                                    const CudaInputLayout& layout,
                                                    uint64_t device) {
  CudaTransfers transfers;
  transfers.plan_ = &plan;
  transfers.layout_ = layout;
  transfers.device_ = device;
  RENGA_ASSIGN_OR_RETURN(transfers.there_, cuda::Stream::Create(context));
  RENGA_ASSIGN_OR_RETURN(transfers.back_, cuda::Stream::Create(context));
  const size_t rows = static_cast<size_t>(plan::SymbolMax(plan, "R", 1));
  for (Turn& turn : transfers.turns_) {
    RENGA_ASSIGN_OR_RETURN(turn.inputs, cuda::PinnedMemory::Allocate(context, layout.bytes()));
    RENGA_ASSIGN_OR_RETURN(turn.results,
                           cuda::PinnedMemory::Allocate(context, rows * sizeof(int32_t)));
    std::memset(turn.inputs.data(), 0, turn.inputs.bytes());
    for (cuda::Event* event : {&turn.sent, &turn.computed, &turn.arrived}) {
      RENGA_ASSIGN_OR_RETURN(*event, cuda::Event::CreateUntimed(context));
    }
  }
  return transfers;
}

// Page tables have the same width in every run: a graph then serves any length.
void CudaTransfers::Fill(const StepInputs& inputs, uint8_t* memory) const {
  for (size_t i = 0; i < plan_->inputs.size(); ++i) {
    const auto values = ValuesOf(inputs, plan_->inputs[i]);
    auto* to = reinterpret_cast<int32_t*>(memory + layout_.offset(i));
    if (SplitWindow(plan_->inputs[i]).base != "pages") {
      std::copy(values.begin(), values.end(), to);
      continue;
    }
    const size_t columns = values.size() / static_cast<size_t>(inputs.sequence_count);
    const size_t width =
        static_cast<size_t>(plan::SymbolMax(*plan_, "P", static_cast<int64_t>(columns)));
    for (size_t at = 0; at < values.size(); at += columns, to += width) {
      std::copy_n(values.begin() + static_cast<ptrdiff_t>(at), columns, to);
      std::fill(to + columns, to + width, -1);
    }
  }
}

absl::Status CudaTransfers::Send(int64_t step, const StepInputs& inputs, size_t sampling_bytes,
                                 const cuda::Stream& stream, bool beside) {
  const Turn& turn = turns_[Slot(step)];
  Fill(inputs, turn.inputs.data());
  if (!beside) RENGA_RETURN_IF_ERROR(there_.WaitFor(turns_[Slot(step + 1)].arrived));
  const uint64_t skipped = inputs.fed_back ? layout_.token_bytes() : 0;
  RENGA_RETURN_IF_ERROR(there_.WriteLater(
      reinterpret_cast<void*>(this->inputs(step) + skipped),
      {turn.inputs.data() + skipped, layout_.sampling() + sampling_bytes - skipped}));
  RENGA_RETURN_IF_ERROR(there_.Record(turn.sent));
  return stream.WaitFor(turn.sent);
}

absl::Status CudaTransfers::Fetch(int64_t step, uint64_t from, size_t rows,
                                  absl::Span<const Piece> others, const cuda::Stream& stream) {
  Turn& turn = turns_[Slot(step)];
  turn.rows = rows;
  RENGA_RETURN_IF_ERROR(stream.Record(turn.computed));
  RENGA_RETURN_IF_ERROR(back_.WaitFor(turn.computed));
  RENGA_RETURN_IF_ERROR(back_.ReadLater(reinterpret_cast<const void*>(from),
                                        {turn.results.data(), rows * sizeof(int32_t)}));
  for (const Piece& piece : others) RENGA_RETURN_IF_ERROR(back_.ReadLater(piece.from, piece.to));
  return back_.Record(turn.arrived);
}

}  // namespace renga
