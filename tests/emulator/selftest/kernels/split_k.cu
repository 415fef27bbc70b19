// Sums over all blocks. The last block to come adds up what the others left, and leaves the counter
// ready for the next launch; grid_sum does the same with a barrier over the whole grid.
#include "codegen/kernels/primitives.cuh"

namespace {

using namespace renga::kernels;

__device__ float BlockSum(float x, float* of_warp) {
  for (int distance = 16; distance > 0; distance /= 2) x += ShuffleXor(x, distance);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = x;
  SyncThreads();
  float sum = 0.0f;
  for (int w = 0; w < static_cast<int>(blockDim.x / 32); ++w) sum += of_warp[w];
  return sum;
}

__device__ float Share(const float* x, int count) {
  float sum = 0.0f;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
    sum += x[i];
  }
  return sum;
}

}  // namespace

extern "C" __global__ void split_sum(const float* x, float* parts, uint32_t* counter, float* y,
                                     int count) {
  SharedArena arena;
  float* of_warp = arena.Take<float>(32);
  uint32_t* is_last = arena.Take<uint32_t>(1);
  const float sum = BlockSum(Share(x, count), of_warp);
  if (threadIdx.x == 0) {
    parts[blockIdx.x] = sum;
    *is_last = AtomicAddAcquireRelease(counter, 1u) == gridDim.x - 1;
  }
  SyncThreads();
  if (*is_last == 0) return;
  float total = 0.0f;
  for (int i = threadIdx.x; i < static_cast<int>(gridDim.x); i += blockDim.x)
    total += LoadFromL2(parts + i);
  total = BlockSum(total, of_warp);
  if (threadIdx.x == 0) {
    *y = total;
    *counter = 0;
  }
}

// The same with fences around a relaxed atomic.
extern "C" __global__ void split_sum_fence(const float* x, float* parts, uint32_t* counter,
                                           float* y, int count) {
  SharedArena arena;
  float* of_warp = arena.Take<float>(32);
  uint32_t* is_last = arena.Take<uint32_t>(1);
  const float sum = BlockSum(Share(x, count), of_warp);
  if (threadIdx.x == 0) {
    parts[blockIdx.x] = sum;
    ThreadFence();
    *is_last = AtomicAdd(counter, 1u) == gridDim.x - 1;
    ThreadFence();
  }
  SyncThreads();
  if (*is_last == 0 || threadIdx.x != 0) return;
  float total = 0.0f;
  for (int i = 0; i < static_cast<int>(gridDim.x); ++i) total += LoadFromL2(parts + i);
  *y = total;
  AtomicExchange(counter, 0u);  // no plain store: the others' atomics are relaxed
}

// All blocks wait for all, then each writes the total. A cooperative launch.
extern "C" __global__ void grid_sum(const float* x, float* parts, uint32_t* counter, float* y,
                                    int count) {
  SharedArena arena;
  float* of_warp = arena.Take<float>(32);
  const float sum = BlockSum(Share(x, count), of_warp);
  if (threadIdx.x == 0) {
    parts[blockIdx.x] = sum;
    ReduceAddRelease(counter, 1u);
    while (LoadAcquire(counter) < gridDim.x) {
    }
  }
  SyncThreads();
  float total = 0.0f;
  for (int i = 0; i < static_cast<int>(gridDim.x); ++i) total += LoadFromL2(parts + i);
  if (threadIdx.x == 0) y[blockIdx.x] = total;
}
