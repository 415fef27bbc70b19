// Kernels as hand-written engines have them, with one mistake each, and their twins without it. `y`
// has 64 numbers, x 64 or as many as are said.
#include "codegen/kernels/primitives.cuh"

using namespace renga::kernels;

// 1: each thread holds one value of q in its own array and then reads all of them.
extern "C" __global__ void private_query(const float* x, float* y) {
  float q[64];
  q[threadIdx.x] = x[threadIdx.x];
  float sum = 0;
  for (int d = 0; d < 64; ++d) sum += q[d] * x[d];
  y[threadIdx.x] = sum;
}
extern "C" __global__ void private_query_ok(const float* x, float* y) {
  SharedArena arena;
  float* q = arena.Take<float>(64);
  q[threadIdx.x] = x[threadIdx.x];
  SyncThreads();
  float sum = 0;
  for (int d = 0; d < 64; ++d) sum += q[d] * x[d];
  y[threadIdx.x] = sum;
}

// The same with q in shared memory, of which each thread writes the place of its warp's first.
extern "C" __global__ void shared_query(const float* x, float* y) {
  SharedArena arena;
  float* q = arena.Take<float>(64);
  if (threadIdx.x % 32 == 0) q[threadIdx.x] = x[threadIdx.x];
  SyncThreads();
  float sum = 0;
  for (int d = 0; d < 64; ++d) sum += q[d] * x[d];  // fault: of 64 values 2 are there
  y[threadIdx.x] = sum;
}

// 8: as many rows of logits as the model is wide, 32, of a vocabulary of 64.
extern "C" __global__ void rows_of_the_width(const float* x, float* y) {
  if (threadIdx.x < 32) y[threadIdx.x] = x[threadIdx.x];
}
extern "C" __global__ void rows_of_the_width_ok(const float* x, float* y) {
  y[threadIdx.x] = x[threadIdx.x];
}

// 15: a sum of the block by halving that never ends: from 1 it goes on to 1.
extern "C" __global__ void endless_halving(const float* x, float* y) {
  SharedArena arena;
  float* sums = arena.Take<float>(64);
  sums[threadIdx.x] = x[threadIdx.x];
  SyncThreads();
  for (int half = 32; half > 0; half = (half + 1) / 2) {
    if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];  // fault
    SyncThreads();                                                          // fault
  }
  y[threadIdx.x] = sums[0];
}

// 16: a sum by halving without the barrier between its rounds.
extern "C" __global__ void halving_without_barrier(const float* x, float* y) {
  SharedArena arena;
  float* sums = arena.Take<float>(64);
  sums[threadIdx.x] = x[threadIdx.x];
  SyncThreads();
  for (int half = 32; half > 0; half /= 2) {
    if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];  // fault
  }
  SyncThreads();
  y[threadIdx.x] = sums[0];
}
extern "C" __global__ void halving_ok(const float* x, float* y) {
  SharedArena arena;
  float* sums = arena.Take<float>(64);
  sums[threadIdx.x] = x[threadIdx.x];
  SyncThreads();
  for (int half = 32; half > 0; half /= 2) {
    if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    SyncThreads();
  }
  y[threadIdx.x] = sums[0];
}
