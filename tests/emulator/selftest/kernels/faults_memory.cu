// Kernels with one mistake each, of memory and barriers; the line that the emulator must name says
// "fault", or has the kernel's name beside it. A twin that ends in _ok does the same rightly.
#include "codegen/kernels/primitives.cuh"

using namespace renga::kernels;

extern "C" __global__ void race_shared(float* y) {
  SharedArena arena;
  float* s = arena.Take<float>(64);
  s[threadIdx.x] = 1.0f;
  y[threadIdx.x] = s[threadIdx.x ^ 32];  // fault: no SyncThreads
}
extern "C" __global__ void race_shared_ok(float* y) {
  SharedArena arena;
  float* s = arena.Take<float>(64);
  s[threadIdx.x] = 1.0f;
  SyncThreads();
  y[threadIdx.x] = s[threadIdx.x ^ 32];
}

extern "C" __global__ void race_warp(float* y) {
  SharedArena arena;
  float* s = arena.Take<float>(32);
  s[threadIdx.x] = 1.0f;
  Shuffle(1.0f, 0);                     // which orders no memory
  y[threadIdx.x] = s[threadIdx.x ^ 1];  // fault: no SyncWarp
}
extern "C" __global__ void race_warp_ok(float* y) {
  SharedArena arena;
  float* s = arena.Take<float>(32);
  s[threadIdx.x] = 1.0f;
  SyncWarp();
  y[threadIdx.x] = s[threadIdx.x ^ 1];
}

// A stage is overwritten while others still read it.
extern "C" __global__ void race_overwrite(float* y) {
  SharedArena arena;
  float* s = arena.Take<float>(64);
  for (int i = 0; i < 3; ++i) {
    s[threadIdx.x] = y[i * 64 + threadIdx.x];  // fault
    SyncThreads();
    y[i * 64 + threadIdx.x] = s[threadIdx.x ^ 32];
  }
}
extern "C" __global__ void race_overwrite_ok(float* y) {
  SharedArena arena;
  float* s = arena.Take<float>(64);
  for (int i = 0; i < 3; ++i) {
    s[threadIdx.x] = y[i * 64 + threadIdx.x];
    SyncThreads();
    y[i * 64 + threadIdx.x] = s[threadIdx.x ^ 32];
    SyncThreads();
  }
}

extern "C" __global__ void race_blocks(float* y) {
  y[threadIdx.x] = blockIdx.x;  // fault: every block writes here
}
extern "C" __global__ void race_blocks_ok(float* y) {
  y[blockIdx.x * blockDim.x + threadIdx.x] = blockIdx.x;
}

extern "C" __global__ void race_halves(float* y) {
  Half* halves = reinterpret_cast<Half*>(y);
  halves[(blockIdx.x * blockDim.x + threadIdx.x) / 2] = ToHalf(1.0f);  // fault: two threads a half
}
extern "C" __global__ void race_halves_ok(float* y) {
  Half* halves = reinterpret_cast<Half*>(y);
  halves[blockIdx.x * blockDim.x + threadIdx.x] = ToHalf(1.0f);
}

// The last block reads what others wrote, and nothing makes their writes visible.
extern "C" __global__ void race_no_release(float* y, uint32_t* counter) {
  y[blockIdx.x] = 1.0f;
  if (AtomicAdd(counter, 1u) != gridDim.x - 1) return;
  float sum = 0.0f;
  for (int i = 0; i < static_cast<int>(gridDim.x); ++i) sum += y[i];  // fault
  y[gridDim.x] = sum;
}
extern "C" __global__ void race_no_release_ok(float* y, uint32_t* counter) {
  y[blockIdx.x] = 1.0f;
  if (AtomicAddAcquireRelease(counter, 1u) != gridDim.x - 1) return;
  float sum = 0.0f;
  for (int i = 0; i < static_cast<int>(gridDim.x); ++i) sum += y[i];
  y[gridDim.x] = sum;
}

extern "C" __global__ void divergent_barrier(float* y) {
  if (threadIdx.x < 32) {
    SyncThreads();  // fault
  } else {
    y[threadIdx.x] = 1.0f;
    SyncThreads();  // fault
  }
}
extern "C" __global__ void barrier_after_end(float* y) {
  if (threadIdx.x >= 40) return;
  SyncThreads();  // fault
  y[threadIdx.x] = 1.0f;
}
extern "C" __global__ void barrier_missed(float* y) {
  if (threadIdx.x < 32) SyncBarrier(1, 64);  // fault: a deadlock
  y[threadIdx.x] = 1.0f;
}
extern "C" __global__ void barrier_left(float* y) {
  if (threadIdx.x < 32) ArriveAtBarrier(2, 64);  // fault: nobody waits
  y[threadIdx.x] = 1.0f;
}
extern "C" __global__ void barrier_left_ok(float* y) {
  SharedArena arena;
  float* s = arena.Take<float>(32);
  if (threadIdx.x < 32) {
    s[threadIdx.x] = 1.0f;
    ArriveAtBarrier(2, 64);
  } else {
    SyncBarrier(2, 64);
    y[threadIdx.x] = s[threadIdx.x - 32];
  }
}
extern "C" __global__ void barrier_counts(float* y) {
  SyncBarrier(3, threadIdx.x < 32 ? 32 : 64);  // fault
  SyncBarrier(4, threadIdx.x == 5 ? 32 : 64);  // fault
  y[threadIdx.x] = 1.0f;
}

extern "C" __global__ void shuffle_divergent(float* y) {
  float x = 1.0f;
  if (threadIdx.x < 16) x = ShuffleXor(x, 1);  // fault: the other half never comes
  y[threadIdx.x] = x;
}
extern "C" __global__ void shuffle_not_in_mask(float* y) {
  y[threadIdx.x] = Shuffle(1.0f, 0, 0xffffu);  // fault
}
extern "C" __global__ void shuffle_other_lane(float* y) {
  if (threadIdx.x < 16) y[threadIdx.x] = Shuffle(1.0f, 20, 0xffffu);  // fault
}
extern "C" __global__ void warp_mixed(float* y) {
  if (threadIdx.x < 16) {
    SyncWarp();  // fault
  } else {
    y[threadIdx.x] = Shuffle(1.0f, 0);  // fault
  }
}

extern "C" __global__ void uninitialised_shared(float* y) {
  SharedArena arena;
  float* s = arena.Take<float>(64);
  if (threadIdx.x != 7) s[threadIdx.x] = 1.0f;
  SyncThreads();
  y[threadIdx.x] = s[threadIdx.x];  // fault
}
extern "C" __global__ void uninitialised_global(float* y, const float* unwritten) {
  y[threadIdx.x] = unwritten[threadIdx.x];  // fault
}

extern "C" __global__ void bounds_shared(float* y) {
  SharedArena arena;
  float* s = arena.Take<float>(64);
  float* t = arena.Take<float>(64);
  s[threadIdx.x + 1] = 1.0f;  // fault: the last thread writes into the gap before t
  t[threadIdx.x] = 2.0f;
  y[threadIdx.x] = t[threadIdx.x];
}
extern "C" __global__ void bounds_shared_end(float* y) {
  SharedArena arena;
  float* s = arena.Take<float>(64);
  s[threadIdx.x * 64] = 1.0f;  // fault
  y[threadIdx.x] = 1.0f;
}
extern "C" __global__ void shared_too_small(float* y) {
  SharedArena arena;
  float* s = arena.Take<float>(4096);  // fault
  s[threadIdx.x] = 1.0f;
  y[threadIdx.x] = s[threadIdx.x];
}
extern "C" __global__ void bounds_global(float* y, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  y[i + count] = 1.0f;  // fault
}
extern "C" __global__ void bounds_before(float* y, int count) {
  y[0] = y[static_cast<int>(threadIdx.x) - count];  // fault
}
extern "C" __global__ void bounds_local(float* y, int count) {
  float local[4] = {1.0f, 2.0f, 3.0f, 4.0f};
  y[threadIdx.x] = local[count % 64 + 4];  // fault
}
extern "C" __global__ void read_only(const float* weights) {
  const_cast<float*>(weights)[threadIdx.x] = 0.0f;  // fault
}
extern "C" __global__ void misaligned(float* y) {
  *reinterpret_cast<float2*>(y + threadIdx.x) = make_float2(1.0f, 2.0f);  // fault
}
extern "C" __global__ void misaligned_vector(float* y) {
  const float4 x = LoadFromL2(reinterpret_cast<const float4*>(y + 2 + threadIdx.x * 4));  // fault
  y[threadIdx.x] = x.x;
}
extern "C" __global__ void streaming_written(float* y) {
  y[threadIdx.x] = 1.0f;
  y[threadIdx.x + 64] = LoadStreaming(y + threadIdx.x);  // fault
}
extern "C" __global__ void stack_too_large(float* y, int count) {  // fault
  float local[60000];
  for (int i = 0; i < 60000; ++i) local[i] = i * y[0];
  y[threadIdx.x] = local[count];
}
extern "C" __global__ void endless(float* y) {
  while (y[threadIdx.x] >= 0.0f) y[threadIdx.x] += 1.0f;  // fault
}
extern "C" __global__ void endless_shuffles(float* y) {
  float sum = y[threadIdx.x];
  for (int lane_mask = 16; lane_mask > 0; lane_mask = max(lane_mask / 2, 1)) {
    sum += ShuffleXor(sum, lane_mask);  // fault
  }
  y[threadIdx.x] = sum;
}
extern "C" __global__ void polls_for_ever(uint32_t* counter) {
  while (LoadAcquire(counter) < 1000u) {  // fault
  }
}
extern "C" __global__ void trap(float* y) {
  if (y[threadIdx.x] == 0.0f) Trap();  // fault
}

// A query that each thread keeps for itself, read as if it were shared: locals never written hold
// garbage that shows.
extern "C" __global__ void local_not_written(float* y, int count) {
  float q[8];
  for (int i = threadIdx.x; i < count; i += 32) q[i % 8] = 1.0f;
  float sum = 0.0f;
  for (int i = 0; i < 8; ++i) sum += q[i];
  y[threadIdx.x] = sum;
}
