// Kernels with one mistake each, of what runs beside the threads; the line that the emulator must
// name says "fault".
#include "codegen/kernels/primitives.cuh"

using namespace renga::kernels;

extern "C" __global__ void copy_not_waited(float* y, const float* x) {
  SharedArena arena;
  float* s = arena.Take<float>(256);
  for (int i = 0; i < 2; ++i) {
    CopyAsync4(s + i * 128 + threadIdx.x, x + i * 128 + threadIdx.x);
    CommitCopies();
  }
  WaitForCopies<1>();
  y[threadIdx.x] = s[threadIdx.x];
  y[threadIdx.x + 128] = s[threadIdx.x + 128];  // fault
}
extern "C" __global__ void copy_not_waited_ok(float* y, const float* x) {
  SharedArena arena;
  float* s = arena.Take<float>(256);
  for (int i = 0; i < 2; ++i) {
    CopyAsync4(s + i * 128 + threadIdx.x, x + i * 128 + threadIdx.x);
    CommitCopies();
  }
  WaitForCopies<1>();
  y[threadIdx.x] = s[threadIdx.x];
  WaitForCopies<0>();
  y[threadIdx.x + 128] = s[threadIdx.x + 128];
}
// Waiting is for one's own copies: others need a barrier too.
extern "C" __global__ void copy_no_barrier(float* y, const float* x) {
  SharedArena arena;
  float* s = arena.Take<float>(128);
  CopyAsync4(s + threadIdx.x, x + threadIdx.x);
  CommitCopies();
  SyncThreads();
  WaitForCopies<0>();
  y[threadIdx.x] = s[threadIdx.x ^ 32];  // fault
}
extern "C" __global__ void copy_in_flight_at_end(float* y, const float* x) {
  SharedArena arena;
  float* s = arena.Take<float>(128);
  CopyAsync4(s + threadIdx.x, x + threadIdx.x);  // fault
  CommitCopies();
  y[threadIdx.x] = 1.0f;
}
extern "C" __global__ void copy_misaligned(float* y, const float* x) {
  SharedArena arena;
  float* s = arena.Take<float>(128);
  if (threadIdx.x == 0) CopyAsync16(s, x + 1);  // fault
  y[threadIdx.x] = 1.0f;
}
extern "C" __global__ void copy_out_of_bounds(float* y, const float* x, int count) {
  SharedArena arena;
  float* s = arena.Take<float>(128);
  CopyAsync4(s + threadIdx.x, x + count - 1 + threadIdx.x);  // fault
  CommitCopies();
  WaitForCopies<0>();
  y[threadIdx.x] = s[threadIdx.x];
}

// ---- dependent launches ----

extern "C" __global__ void produce(float* y, float* z) {
  WaitForPreviousKernel();
  y[threadIdx.x] = 1.0f + z[threadIdx.x];
  LetNextKernelStart();
}
extern "C" __global__ void read_before_wait(const float* y, float* out) {
  const float x = y[threadIdx.x];  // fault
  WaitForPreviousKernel();
  out[threadIdx.x] = x;
}
extern "C" __global__ void never_waits(const float* y, float* out) {
  out[threadIdx.x] = y[threadIdx.x];  // fault
}
extern "C" __global__ void write_before_wait(const float* y, float* z) {
  z[threadIdx.x] = 2.0f;  // fault: the previous kernel may still read it
  WaitForPreviousKernel();
  z[threadIdx.x] += y[threadIdx.x];
}
extern "C" __global__ void read_after_wait_ok(const float* y, float* out) {
  WaitForPreviousKernel();
  out[threadIdx.x] = y[threadIdx.x];
}
// Starts the next before it has waited itself, which lets that one run beside the one before.
extern "C" __global__ void starts_next_early(float* other) {
  LetNextKernelStart();
  WaitForPreviousKernel();
  other[threadIdx.x] = 3.0f;
}

#if defined(RENGA_EMULATOR) || defined(__CUDA_ARCH_FEAT_SM90_ALL)

// ---- mbarriers and tiles: x is 64 rows of 64 f16 ----

constexpr int kTileBytes = 64 * 64 * 2;

extern "C" __global__ void tile_not_waited(float* y, const __grid_constant__ TensorMap x) {
  SharedArena arena;
  float* tile = arena.Take<float>(kTileBytes / 4, 1024);
  uint64_t* full = arena.Take<uint64_t>(1);
  if (threadIdx.x == 0) {
    InitMbarrier(full, 1);
    FenceMbarrierInit();
    ArriveExpectingBytes(full, kTileBytes);
    LoadTile2d(tile, &x, 0, 0, full);
  }
  SyncThreads();
  y[threadIdx.x] = tile[threadIdx.x];  // fault
}
extern "C" __global__ void tile_wrong_phase(float* y, const __grid_constant__ TensorMap x) {
  SharedArena arena;
  float* tile = arena.Take<float>(kTileBytes / 4, 1024);
  uint64_t* full = arena.Take<uint64_t>(1);
  if (threadIdx.x == 0) {
    InitMbarrier(full, 1);
    FenceMbarrierInit();
    ArriveExpectingBytes(full, kTileBytes);
    LoadTile2d(tile, &x, 0, 0, full);
  }
  SyncThreads();
  WaitForMbarrier(full, 1);
  y[threadIdx.x] = tile[threadIdx.x];  // fault
}
extern "C" __global__ void tile_ok(float* y, const __grid_constant__ TensorMap x) {
  SharedArena arena;
  float* tile = arena.Take<float>(kTileBytes / 4, 1024);
  uint64_t* full = arena.Take<uint64_t>(1);
  if (threadIdx.x == 0) {
    InitMbarrier(full, 1);
    FenceMbarrierInit();
    ArriveExpectingBytes(full, kTileBytes);
    LoadTile2d(tile, &x, 0, 0, full);
  }
  SyncThreads();
  WaitForMbarrier(full, 0);
  y[threadIdx.x] = tile[threadIdx.x];
}
extern "C" __global__ void tile_too_few_bytes(float* y, const __grid_constant__ TensorMap x) {
  SharedArena arena;
  float* tiles = arena.Take<float>(2 * kTileBytes / 4, 1024);
  uint64_t* full = arena.Take<uint64_t>(1);
  if (threadIdx.x == 0) {
    InitMbarrier(full, 1);
    FenceMbarrierInit();
    ArriveExpectingBytes(full, kTileBytes);
    LoadTile2d(tiles, &x, 0, 0, full);
    LoadTile2d(tiles + kTileBytes / 4, &x, 0, 0, full);
  }
  SyncThreads();
  WaitForMbarrier(full, 0);
  y[threadIdx.x] = tiles[threadIdx.x] + tiles[kTileBytes / 4 + threadIdx.x];  // fault
}
extern "C" __global__ void tile_too_many_bytes(float* y, const __grid_constant__ TensorMap x) {
  SharedArena arena;
  float* tile = arena.Take<float>(kTileBytes / 4, 1024);
  uint64_t* full = arena.Take<uint64_t>(1);
  if (threadIdx.x == 0) {
    InitMbarrier(full, 1);
    FenceMbarrierInit();
    ArriveExpectingBytes(full, kTileBytes + 16);
    LoadTile2d(tile, &x, 0, 0, full);
  }
  SyncThreads();
  WaitForMbarrier(full, 0);  // fault: a deadlock
  y[threadIdx.x] = tile[threadIdx.x];
}
extern "C" __global__ void tile_in_flight_at_end(float* y, const __grid_constant__ TensorMap x) {
  SharedArena arena;
  float* tile = arena.Take<float>(kTileBytes / 4, 1024);
  uint64_t* full = arena.Take<uint64_t>(1);
  if (threadIdx.x == 0) {
    InitMbarrier(full, 1);
    ArriveExpectingBytes(full, kTileBytes);
    LoadTile2d(tile, &x, 0, 0, full);  // fault
  }
  y[threadIdx.x] = 1.0f;
}
// The second load may overwrite the tile while others read it: nobody says that it is empty.
extern "C" __global__ void tile_overwritten(float* y, const __grid_constant__ TensorMap x) {
  SharedArena arena;
  float* tile = arena.Take<float>(kTileBytes / 4, 1024);
  uint64_t* full = arena.Take<uint64_t>(1);
  if (threadIdx.x == 0) {
    InitMbarrier(full, 1);
    FenceMbarrierInit();
  }
  SyncThreads();
  for (int i = 0; i < 2; ++i) {
    if (threadIdx.x == 0) {
      ArriveExpectingBytes(full, kTileBytes);
      LoadTile2d(tile, &x, 0, 0, full);  // fault, or where it is read
    }
    WaitForMbarrier(full, i);
    y[i * 128 + threadIdx.x] = tile[threadIdx.x];  // fault, or where it is loaded
  }
}
extern "C" __global__ void mbarrier_not_visible(float* y) {
  SharedArena arena;
  uint64_t* full = arena.Take<uint64_t>(1);
  if (threadIdx.x == 0) InitMbarrier(full, 128);
  ArriveAtMbarrier(full);  // fault: no SyncThreads after the init
  y[threadIdx.x] = 1.0f;
}
extern "C" __global__ void mbarrier_missing_arrival(float* y) {
  SharedArena arena;
  uint64_t* full = arena.Take<uint64_t>(1);
  if (threadIdx.x == 0) InitMbarrier(full, 128);
  SyncThreads();
  if (threadIdx.x != 9) ArriveAtMbarrier(full);
  WaitForMbarrier(full, 0);  // fault: a deadlock
  y[threadIdx.x] = 1.0f;
}
extern "C" __global__ void mbarrier_as_memory(float* y) {
  SharedArena arena;
  uint64_t* full = arena.Take<uint64_t>(1);
  if (threadIdx.x == 0) InitMbarrier(full, 128);
  SyncThreads();
  y[threadIdx.x] = *full;  // fault
}
extern "C" __global__ void bulk_ok(float* y, const float* x) {
  SharedArena arena;
  float* s = arena.Take<float>(256, 128);
  uint64_t* full = arena.Take<uint64_t>(1);
  if (threadIdx.x == 0) {
    InitMbarrier(full, 1);
    FenceMbarrierInit();
    ArriveExpectingBytes(full, 1024);
    LoadBulk(s, x, 1024, full);
  }
  SyncThreads();
  WaitForMbarrier(full, 0);
  y[threadIdx.x] = s[threadIdx.x];
  y[threadIdx.x + 128] = s[threadIdx.x + 128];
}

// ---- wgmma: a of ones, a tile of 64 rows written by the threads ----

struct Product {
  uint8_t* tile;
  float d[32];
  uint32_t a[4];
};
__device__ __forceinline__ void Prepare(Product& p, bool fence) {
  SharedArena arena;
  p.tile = arena.Take<uint8_t>(kTileBytes, 1024);
  for (int i = threadIdx.x; i < kTileBytes / 4; i += 128) {
    reinterpret_cast<uint32_t*>(p.tile)[i] = 0x3c003c00u;  // ones
  }
  if (fence) FenceForAsyncProxy();
  SyncThreads();
  for (int i = 0; i < 4; ++i) p.a[i] = 0x3c003c00u;
}
__device__ __forceinline__ void Finish(const Product& p, float* y) {
  for (int i = 0; i < 32; ++i) y[threadIdx.x * 32 + i] = p.d[i];
}

extern "C" __global__ void wgmma_ok(float* y) {
  Product p;
  Prepare(p, true);
  FenceWgmma();
  Wgmma(p.d, p.a, WgmmaTile(p.tile, 0), false);
  Wgmma(p.d, p.a, WgmmaTile(p.tile, 1), true);
  CommitWgmma();
  WaitForWgmma<0>();
  Finish(p, y);
}
extern "C" __global__ void wgmma_no_fence(float* y) {
  Product p;
  Prepare(p, true);
  Wgmma(p.d, p.a, WgmmaTile(p.tile, 0), false);  // fault
  CommitWgmma();
  WaitForWgmma<0>();
  Finish(p, y);
}
extern "C" __global__ void wgmma_no_proxy_fence(float* y) {
  Product p;
  Prepare(p, false);
  FenceWgmma();
  Wgmma(p.d, p.a, WgmmaTile(p.tile, 0), false);  // fault
  CommitWgmma();
  WaitForWgmma<0>();
  Finish(p, y);
}
extern "C" __global__ void wgmma_not_waited(float* y) {
  Product p;
  Prepare(p, true);
  FenceWgmma();
  Wgmma(p.d, p.a, WgmmaTile(p.tile, 0), false);  // fault
  CommitWgmma();
  Finish(p, y);
}
extern "C" __global__ void wgmma_a_changed(float* y) {
  Product p;
  Prepare(p, true);
  FenceWgmma();
  Wgmma(p.d, p.a, WgmmaTile(p.tile, 0), false);  // fault
  CommitWgmma();
  p.a[2] = 0;
  WaitForWgmma<0>();
  Finish(p, y);
}
extern "C" __global__ void wgmma_d_touched(float* y) {
  Product p;
  Prepare(p, true);
  FenceWgmma();
  Wgmma(p.d, p.a, WgmmaTile(p.tile, 0), false);  // fault
  CommitWgmma();
  p.d[3] = 1.0f;
  WaitForWgmma<0>();
  Finish(p, y);
}
extern "C" __global__ void wgmma_tile_overwritten(float* y) {
  Product p;
  Prepare(p, true);
  FenceWgmma();
  Wgmma(p.d, p.a, WgmmaTile(p.tile, 0), false);  // fault, or the store
  CommitWgmma();
  p.tile[threadIdx.x] = 0;  // fault, or the product
  WaitForWgmma<0>();
  Finish(p, y);
}

#endif
