// What a plan's sampling kernel takes, and the memory that it works in: parameters, results and
// what its blocks tell each other. The kernel runs after the steps of a run, and only where some
// row is not greedy.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "runtime/plan/plan.h"

namespace renga::plan {

// SampleRow, SampleChange, SampleResult and SampleArgs of codegen/kernels/args.cuh, which says what
// the fields mean; codegen checks that they are the same.
struct SampleRow {
  int32_t row = 0;
  int32_t sums = 0;
  int32_t kept = 1;
  int32_t top_k = 0;
  int32_t first_change = 0;
  int32_t changes = 0;
  float temperature = 1, top_p = 1, typical_p = 1, repeat = 1;
  double log_min_p = 0;
  double uniform = 0;
  double unused = 0;
};
struct SampleChange {
  int32_t id = 0;
  int32_t penalised = 0;
  float bias = 0;
  float penalty = 0;
};
struct SampleResult {
  int32_t id = -1;
  int32_t top = 0;
  float max = 0;
  float logit = 0;
  uint64_t sum = 0;
};
struct SampleArgs {
  // Addresses.
  uint64_t logits = 0, next = 0, rows = 0, changes = 0, results = 0, top = 0, maxima = 0,
           part_sums = 0, tickets = 0;
  int32_t columns = 0;
  int32_t vocab = 0;
  int32_t segment = 0;
  int32_t rehearses = 0;
};
inline constexpr int64_t kSampleKept = 128;
inline constexpr int64_t kSampleChanges = 128;
inline constexpr int64_t kSampleThreads = 256;
inline constexpr int64_t kSampleChunks = 32;
inline constexpr int64_t kSampleMostBlocks = 64;

// Vocabularies whose weights can be added (runtime/text/token_weight.h).
inline constexpr int64_t kMostSampled = (int64_t{1} << 22) - 1;

// How the memory is divided: bytes from its start, which is aligned to 64. All zero at first.
struct SampleMemory {
  int64_t rows = 0;          // of a run, at most
  int64_t rows_at_once = 0;  // of a launch
  int64_t changes = 0;       // of a run, at most
  int64_t blocks = 0;        // of a row
  int64_t segment = 0;       // ids of a block
  // Memory of its own, which is written before a run: as many SampleRow as it has, right behind
  // them its SampleChange.
  uint64_t input_bytes = 0;
  uint64_t results = 0;                             // [rows]
  uint64_t top = 0;                                 // [rows, kSampleKept] of 8 bytes
  uint64_t maxima = 0, part_sums = 0, tickets = 0;  // of a launch
  uint64_t bytes = 0;                               // without the inputs
};

// Whether the plan has what a sampler reads: outputs logits f32[R,n], n the vocabulary or more, and
// next i32[R]. InvalidArgument, saying what is missing.
absl::Status CanSample(const Plan& plan);

// Of a plan with a sampler. Its sizes must have been checked.
SampleMemory SampleMemoryOf(const Plan& plan);

}  // namespace renga::plan
