// Every primitive that computes, on operands of a test.
#include "codegen/kernels/primitives.cuh"

using namespace renga::kernels;

extern "C" __global__ void half_round_trip(uint16_t* y) {  // one thread for each f16
  const uint32_t bits = blockIdx.x * blockDim.x + threadIdx.x;
  y[bits] = ToHalf(ToFloat(Half{static_cast<uint16_t>(bits)})).bits;
}
extern "C" __global__ void convert(const float* x, uint16_t* halves, uint16_t* bfloats,
                                   int32_t* integers) {
  const int i = threadIdx.x;
  halves[i] = ToHalf(x[i]).bits;
  bfloats[i] = ToBfloat16(x[i]).bits;
  integers[i] = RoundToInt(x[i]);
}
extern "C" __global__ void half_arithmetic(const uint32_t* x, uint32_t* y) {
  const Half2 a{x[0]}, b{x[1]}, c{x[2]};
  const Half2 results[] = {Add(a, b),           Sub(a, b),           Mul(a, b),   Fma(a, b, c),
                           Max(a, b),           Min(a, b),           SplatLow(a), SplatHigh(a),
                           Splat(ToHalf(1.5f)), ToHalf2(0.5f, -2.0f)};
  for (int i = 0; i < 10; ++i) y[i] = results[i].bits;
}
extern "C" __global__ void bit_functions(const uint32_t* x, uint32_t* y) {
  y[0] = BytePermute(x[0], x[1], 0x5140u);
  y[1] = BytePermute(x[0], x[1], 0xf321u);
  y[2] = Logic3<(0xF0 & 0xCC) | 0xAA>(x[0], x[1], x[2]);
  y[3] = FunnelShiftRight(x[0], x[1], 12u);
  y[4] = static_cast<uint32_t>(DotBytes(x[0], x[1], 1000));
  y[5] = static_cast<uint32_t>(PopCount(x[0]));
  y[6] = static_cast<uint32_t>(LeadingZeros(x[3]));
  y[7] = static_cast<uint32_t>(LowestSetBit(x[3]));
  y[8] = static_cast<uint32_t>(LeadingZeros(0u));
  y[9] = static_cast<uint32_t>(LowestSetBit(0u));
  y[10] = BitsOf(FloatOfBits(x[2]));
  y[11] = ToBfloat16Pair(1.0f, -2.0f);
}
extern "C" __global__ void fast_functions(const float* x, float* y) {
  const float v = x[threadIdx.x];
  float* mine = y + threadIdx.x * 5;
  mine[0] = FastExp2(v);
  mine[1] = FastLog2(v);
  mine[2] = FastRsqrt(v);
  mine[3] = FastReciprocal(v);
  mine[4] = FastTanh(v);
}
extern "C" __global__ void lanes(uint32_t* y) {
  const uint32_t lane = threadIdx.x;
  uint32_t* mine = y + lane * 9;
  mine[0] = Shuffle(lane * 10, 5);
  mine[1] = ShuffleXor(lane * 10, 7);
  mine[2] = ShuffleUp(lane * 10, 3);
  mine[3] = ShuffleDown(lane * 10, 3);
  mine[4] = Ballot(lane % 3 == 0);
  mine[5] = AnyLane(lane == 31);
  mine[6] = AllLanes(lane < 31);
  mine[7] = 0u;
  if (lane % 2 == 0) mine[7] = Shuffle(lane, 4, 0x55555555u);
  SyncWarp();
  mine[8] = ToHalf2(0.0f, 0.0f).bits + BitsOf(Shuffle(1.0f, 0)) + Shuffle(Half2{7u}, 1).bits;
}
extern "C" __global__ void atomics(uint32_t* counters, float* sum, uint64_t* key) {
  AtomicAdd(counters, 1u);
  AtomicAdd(reinterpret_cast<int32_t*>(counters + 1), -1);
  AtomicMax(counters + 2, static_cast<uint32_t>(threadIdx.x));
  AtomicMax(reinterpret_cast<int32_t*>(counters + 3), static_cast<int32_t>(threadIdx.x) - 100);
  AtomicAdd(sum, 0.5f);
  AtomicMax(key, static_cast<uint64_t>(threadIdx.x * 37u % 64u) << 32 | threadIdx.x);
  if (threadIdx.x == 3) AtomicExchange(counters + 4, 99u);
  if (AtomicCompareExchange(counters + 5, 0u, 1u) == 0u) AtomicAdd(counters + 6, 1u);
}
// c = a b of 16 x 16 and 16 x 8 through MmaF16 or MmaBf16, elements placed by the documented
// layout.
extern "C" __global__ void mma_layout(const uint16_t* a, const uint16_t* b, float* c, int bfloat) {
  const int g = threadIdx.x / 4, q = threadIdx.x % 4;
  const auto pair = [](uint16_t low, uint16_t high) {
    return low | static_cast<uint32_t>(high) << 16;
  };
  uint32_t rows[4], columns[2];
  for (int i = 0; i < 4; ++i) {
    const uint16_t* from = a + (g + i % 2 * 8) * 16 + q * 2 + i / 2 * 8;
    rows[i] = pair(from[0], from[1]);
  }
  for (int i = 0; i < 2; ++i) {
    const uint16_t* from = b + (q * 2 + i * 8) * 8 + g;
    columns[i] = pair(from[0], from[8]);
  }
  float sums[4] = {};
  if (bfloat != 0) {
    MmaBf16(sums, rows, columns);
  } else {
    MmaF16(sums, rows, columns);
  }
  for (int i = 0; i < 4; ++i) c[(g + i / 2 * 8) * 8 + q * 2 + i % 2] = sums[i];
}

#if defined(RENGA_EMULATOR) || defined(__CUDA_ARCH_FEAT_SM90_ALL)

// A tile of any tensor map as it lies in shared memory.
extern "C" __global__ void tile_bytes(const __grid_constant__ TensorMap map, uint32_t* y, int bytes,
                                      int x_at, int y_at, int z_at, int rank) {
  SharedArena arena;
  uint32_t* tile = arena.Take<uint32_t>(bytes / 4, 1024);
  uint64_t* full = arena.Take<uint64_t>(1);
  if (threadIdx.x == 0) {
    InitMbarrier(full, 1);
    FenceMbarrierInit();
    ArriveExpectingBytes(full, bytes);
    if (rank == 2) {
      LoadTile2d(tile, &map, x_at, y_at, full);
    } else {
      LoadTile3d(tile, &map, x_at, y_at, z_at, full);
    }
  }
  SyncThreads();
  WaitForMbarrier(full, 0);
  for (int i = threadIdx.x; i < bytes / 4; i += blockDim.x) y[i] = tile[i];
}

#endif
