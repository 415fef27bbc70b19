// A whole decode step of Llama-3.1-8B's shapes as one graph: what the kernels make of a model when
// nothing is between them but their dependencies.
#pragma once

#include "tests/bench/cuda/bench.h"

namespace renga::bench {

KernelTexts ChainTexts();

// One token, F16, Q8_0 and Q4_K. Results are not checked: the kernels are those of the other
// groups.
void BenchChain(const CudaBench& bench, Table* table);

}  // namespace renga::bench
