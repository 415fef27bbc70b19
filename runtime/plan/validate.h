// Whether a plan can be executed at all: what the digest cannot promise, because anybody can
// compute one. After Validate, code that walks a plan needs no bounds checks of its own.
#pragma once

#include "absl/status/status.h"
#include "runtime/plan/plan.h"

namespace renga::plan {

// InvalidArgument naming the place, what was expected and what the plan has. Checked:
//  - geometry, symbols and model figures positive, bounded, and agreeing with each other;
//  - tokenizer tables of one length, ids and offsets in range;
//  - weights inside their files, sized by type and shape, aligned; caches sized by their figures;
//  - buffers: sizes recomputed, indices in range, types equal to the input, weight or cache they
//    stand for, arena offsets aligned, views inside what they show;
//  - steps: indices in range, attributes sorted and unique, every value written before it is read,
//    no output over an input of the same step, and no live value overwritten;
//  - GPU kernels and launches: indices in range, variants for all sizes, expressions well formed,
//    grids and shared memory within the limits of every target at the symbols' bounds, arguments
//    that are buffers of the step;
//  - outputs exist and survive the last step; memory figures equal the recomputed ones.
// What a kernel demands of its operands is checked when the executor prepares the step.
absl::Status Validate(const Plan& plan);

// Parts of Validate, in files of their own.
absl::Status ValidateTokenizer(const TokenizerData& tokenizer, int64_t vocab);
absl::Status ValidateBuffers(const Plan& plan);  // symbols, weights and caches must be valid
absl::Status ValidateSteps(const Plan& plan);    // buffers must be valid
absl::Status ValidateGpu(const Plan& plan);      // steps must be valid

}  // namespace renga::plan
