#include "runtime/plan/sample_args.h"

#include <algorithm>
#include <limits>

#include "ir/base/status.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/mismatch.h"

namespace renga::plan {

absl::Status CanSample(const Plan& plan) {
  const std::string where = "gpu sampler";
  if (plan.model.vocab > kMostSampled) {
    return Mismatch(StrCat(where, ": vocabulary"), StrCat("at most ", kMostSampled),
                    plan.model.vocab);
  }
  const int32_t logits = OutputBuffer(plan, "logits"), next = OutputBuffer(plan, "next");
  if (logits < 0 || next < 0) return Mismatch(where, "outputs logits and next", "not both");
  const TensorType& type = plan.buffers[logits].type;
  const int32_t rows = FindSymbol(plan, "R");
  const bool fits = type.dtype == DType::kF32 && type.shape.size() == 2 && rows >= 0 &&
                    type.shape[0] == Dim{rows, 1} && type.shape[1].symbol < 0 &&
                    type.shape[1].value >= plan.model.vocab &&
                    type.shape[1].value <= std::numeric_limits<int32_t>::max();
  if (!fits) {
    return Mismatch(StrCat(where, ": logits"), StrCat("f32[R,", plan.model.vocab, "] or wider"),
                    ToString(type, plan.symbols));
  }
  if (plan.buffers[next].type != TensorType{DType::kI32, {{rows, 1}}}) {
    return Mismatch(StrCat(where, ": next"), "i32[R]",
                    ToString(plan.buffers[next].type, plan.symbols));
  }
  return absl::OkStatus();
}

SampleMemory SampleMemoryOf(const Plan& plan) {
  constexpr int64_t kRowsAtOnce = 128, kRowsWithChanges = 128;
  // Few blocks a row, so that its last one has few maxima to look at; each reads in whole rounds of
  // four loads a thread.
  constexpr int64_t kRound = 4 * kSampleThreads;
  SampleMemory memory;
  memory.rows = SymbolMax(plan, "R", 1);
  memory.rows_at_once = std::min(memory.rows, kRowsAtOnce);
  memory.changes = std::min(memory.rows, kRowsWithChanges) * kSampleChanges;
  const int64_t rounds = (plan.model.vocab + kRound - 1) / kRound;
  const int64_t rounds_each =
      std::max<int64_t>(2, (rounds + kSampleMostBlocks - 1) / kSampleMostBlocks);
  memory.segment = rounds_each * kRound;
  memory.blocks = (plan.model.vocab + memory.segment - 1) / memory.segment;
  uint64_t at = 0;
  const auto take = [&](int64_t count, uint64_t bytes) {
    const uint64_t begin = at;
    at = AlignUp(at + static_cast<uint64_t>(count) * bytes);
    return begin;
  };
  const int64_t parts = memory.rows_at_once * memory.blocks;
  memory.input_bytes = AlignUp(static_cast<uint64_t>(memory.rows) * sizeof(SampleRow) +
                               static_cast<uint64_t>(memory.changes) * sizeof(SampleChange));
  memory.results = take(memory.rows, sizeof(SampleResult));
  memory.top = take(memory.rows * kSampleKept, sizeof(uint64_t));
  memory.maxima = take(parts * kSampleChunks, sizeof(float));
  memory.part_sums = take(parts, sizeof(uint64_t));
  memory.tickets = take(memory.rows_at_once, sizeof(uint32_t));
  memory.bytes = at;
  return memory;
}

}  // namespace renga::plan
