// y[n,m] = x[n,k] w[m,k] transposed: a warp of loads, two warpgroups of products. The weights come
// straight to registers, the activations in tiles of 128 rows by 64 k through three stages. sm_90a.
#include "codegen/kernels/primitives.cuh"

#if defined(RENGA_EMULATOR) || defined(__CUDA_ARCH_FEAT_SM90_ALL)

namespace {

using namespace renga::kernels;

constexpr int kStages = 3, kTokens = 128, kDepth = 64, kRows = 128;
constexpr int kTileBytes = kTokens * kDepth * 2;

__device__ void Produce(uint8_t* tiles, const TensorMap* x, uint64_t* full, uint64_t* empty,
                        int token, int k) {
  int stage = 0, parity = 0;
  for (int depth = 0; depth < k; depth += kDepth) {
    WaitForMbarrier(empty + stage, parity ^ 1);
    ArriveExpectingBytes(full + stage, kTileBytes);
    LoadTile2d(tiles + stage * kTileBytes, x, depth, token, full + stage);
    if (++stage == kStages) stage = 0, parity ^= 1;
  }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(384, 1)
    gemm_wgmma(const Half* w, const __grid_constant__ TensorMap x, float* y, int m, int n, int k) {
  SharedArena arena;
  uint8_t* tiles = arena.Take<uint8_t>(kStages * kTileBytes, 1024);
  uint64_t* full = arena.Take<uint64_t>(kStages);
  uint64_t* empty = arena.Take<uint64_t>(kStages);
  const int group = threadIdx.x / 128, thread = threadIdx.x % 128;
  const int row = blockIdx.x * kRows, token = blockIdx.y * kTokens;
  if (threadIdx.x == 0) {
    for (int s = 0; s < kStages; ++s) {
      InitMbarrier(full + s, 1);
      InitMbarrier(empty + s, 2);
    }
    FenceMbarrierInit();
  }
  SyncThreads();
  if (group == 0) {
    ReleaseRegisters<40>();
    if (thread == 0) {
      WaitForPreviousKernel();
      Produce(tiles, &x, full, empty, token, k);
    }
    return;
  }
  ClaimRegisters<232>();
  const int lane = thread % 32, quad = lane % 4;
  const int mine = row + (group - 1) * 64 + thread / 32 * 16 + lane / 4;
  float sums[64];
  uint32_t a[2][4][4];
  int stage = 0, parity = 0, previous = 0;
  for (int depth = 0; depth < k; depth += kDepth) {
    uint32_t(&set)[4][4] = a[depth / kDepth % 2];
    for (int step = 0; step < 4; ++step) {
      const Half* from = w + mine * k + depth + step * 16 + quad * 2;
      set[step][0] = *reinterpret_cast<const uint32_t*>(from);
      set[step][1] = *reinterpret_cast<const uint32_t*>(from + 8 * k);
      set[step][2] = *reinterpret_cast<const uint32_t*>(from + 8);
      set[step][3] = *reinterpret_cast<const uint32_t*>(from + 8 * k + 8);
    }
    WaitForMbarrier(full + stage, parity);
    FenceWgmma();
    for (int step = 0; step < 4; ++step) {
      Wgmma(sums, set[step], WgmmaTile(tiles + stage * kTileBytes, step), depth + step > 0);
    }
    CommitWgmma();
    WaitForWgmma<1>();  // that of the previous stage, which may be filled again
    if (depth > 0 && thread == 0) ArriveAtMbarrier(empty + previous);
    previous = stage;
    if (++stage == kStages) stage = 0, parity ^= 1;
  }
  WaitForWgmma<0>();
  for (int j = 0; j < 16; ++j) {
    for (int i = 0; i < 4; ++i) {
      const int t = token + j * 8 + quad * 2 + i % 2;
      if (t < n) y[t * m + mine + i / 2 * 8] = sums[j * 4 + i];
    }
  }
}

#endif
