// Weights on their way into the GPU's memory: the packing kernels alone, and a whole load.
#pragma once

#include "tests/bench/cuda/bench.h"

namespace renga::bench {

KernelTexts PackTexts();

// Each type's kernel, by bytes read and written. Results are not checked: kernels_test does that.
void BenchPack(const CudaBench& bench, Table* table);

// UploadWeights of a model with the shapes and types of Llama-3.1-8B Q4_K_M and random bytes, from
// the page cache; the best of three, by several numbers of threads. Writes 4.9 GB to the folder for
// temporary files first, and removes them.
void BenchLoad(const CudaBench& bench, Table* table);

}  // namespace renga::bench
