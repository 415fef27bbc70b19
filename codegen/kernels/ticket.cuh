// Finding out which block comes last, so that it can go on with what all have written.
#pragma once

#include "codegen/kernels/primitives.cuh"

namespace renga::kernels {

// All threads of the block come here once it has written its part; true in the block that is the
// last of `blocks`, whose threads may then read all parts (LoadFromL2). `counter` must be zero at
// first and is zero again after the last. `shared` is one word of the block's, free for this.
__device__ __forceinline__ bool ComesLast(uint32_t* counter, uint32_t blocks, uint32_t* shared) {
  SyncThreads();
  if (threadIdx.x == 0) {
    const bool last = AtomicAddAcquireRelease(counter, 1) == blocks - 1;
    if (last) AtomicExchange(counter, 0);
    *shared = last ? 1 : 0;
  }
  SyncThreads();
  return *shared != 0;
}

}  // namespace renga::kernels
