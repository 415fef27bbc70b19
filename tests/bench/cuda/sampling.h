// The sampler: alone, again and again, and behind kernels like those of a step, when its code and
// what it reads have to be brought first.
#pragma once

#include "tests/bench/cuda/bench.h"

namespace renga::bench {

KernelTexts SamplingTexts();

// A vocabulary of 128,256; 1, 32 and 128 rows; several chains of filters. That the chosen token is
// the most likely one, which the random number asks for, is checked; the tests of the kernel check
// the rest.
void BenchSampling(const CudaBench& bench, Table* table);

}  // namespace renga::bench
