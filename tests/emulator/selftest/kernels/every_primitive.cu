// Calls every function of primitives.cuh, so that compiling this for a GPU assembles every
// instruction behind them. Not run: it computes nothing of sense.
#include "codegen/kernels/primitives.cuh"

using namespace renga::kernels;

extern "C" __global__ void every_number(float* y, const Half* h, const Bfloat16* g) {
  float s = ToFloat(h[0]) + ToFloat(g[0]) + FloatOfBits(BitsOf(y[0])) + Infinity() + kHalfMax;
  s += FastExp2(s) + FastLog2(s) + FastRsqrt(s) + FastReciprocal(s) + FastTanh(s);
  Half2 p = ToHalf2(s, y[1]);
  p = Fma(Max(p, Min(p, Add(p, Sub(p, Mul(p, p))))), SplatLow(p), SplatHigh(p));
  p = Add(p, Splat(ToHalf(s)));
  uint32_t bits = BytePermute(p.bits, 7u, 0x5140u) + Logic3<0xEA>(p.bits, 5u, 6u) +
                  FunnelShiftRight(p.bits, 3u, 4u) + ToBfloat16Pair(s, s) + ToBfloat16(s).bits;
  bits += DotBytes(bits, p.bits, 1) + PopCount(bits) + LeadingZeros(bits) + LowestSetBit(bits);
  y[threadIdx.x] = LowToFloat(p) + HighToFloat(p) + RoundToInt(s) + bits;
  if (s == 77.0f) Trap();
}

extern "C" __global__ void every_meeting(float* y) {
  SyncThreads();
  SyncWarp();
  if (threadIdx.x < 32) {
    ArriveAtBarrier(2, 64);
  } else {
    SyncBarrier(2, 64);
  }
  float s = y[threadIdx.x];
  s += Shuffle(s, 0) + ShuffleXor(s, 1) + ShuffleUp(s, 1) + ShuffleDown(s, 1);
  y[threadIdx.x] = s + Ballot(s > 0.0f) + AnyLane(s > 1.0f) + AllLanes(s > 2.0f);
}

extern "C" __global__ void every_access(float* y, uint32_t* counter, const uint4* w) {
  PrefetchToL2(w);
  const uint4 a = LoadStreaming(w);
  const uint2 b = LoadStreaming(reinterpret_cast<const uint2*>(w));
  const uint32_t c = LoadStreaming(reinterpret_cast<const uint32_t*>(w));
  WaitForPreviousKernel();
  LetNextKernelStart();
  const float4 d = LoadFromL2(reinterpret_cast<const float4*>(y));
  const float2 e = LoadFromL2(reinterpret_cast<const float2*>(y));
  const float f = LoadFromL2(y) + LoadFromL2If(counter[1] == 0, y, 1);
  ReduceAddRelease(counter, 1u);
  StoreRelease(counter + 1, AtomicAddAcquireRelease(counter, LoadAcquire(counter)));
  ThreadFence();
  AtomicAdd(y, f);
  AtomicAdd(counter, c);
  AtomicAdd(reinterpret_cast<int32_t*>(counter), 1);
  AtomicMax(counter, 1u);
  AtomicMax(reinterpret_cast<int32_t*>(counter), 1);
  AtomicMax(reinterpret_cast<uint64_t*>(counter), static_cast<uint64_t>(a.w));
  AtomicExchange(counter, b.y);
  AtomicCompareExchange(counter, 1u, 2u);
  y[threadIdx.x] = d.w + e.y + MultiplyHigh(uint64_t{a.x} << 40, uint64_t{a.y} << 40);
}

extern "C" __global__ void every_product(float* y, const Half* k) {
  SharedArena arena;
  Half* s = arena.Take<Half>(4096, 128);
  CopyAsync16(s + threadIdx.x * 8, k + threadIdx.x * 8);
  CopyAsync8(s + 2048, k);
  CopyAsync4(s + 3072, k);
  CopyAsync16OrZero(s + 3584, k, threadIdx.x < 3);
  CommitCopies();
  WaitForCopies<0>();
  SyncThreads();
  uint32_t a[4], b[2];
  float c[4] = {};
  LoadMatrix4(a, s + threadIdx.x % 32 * 8);
  LoadMatrix2(b, s + threadIdx.x % 16 * 8);
  MmaF16(c, a, b);
  LoadMatrix4Transposed(a, s + threadIdx.x % 32 * 8);
  LoadMatrix2Transposed(b, s + threadIdx.x % 16 * 8);
  MmaBf16(c, a, b);
  y[threadIdx.x] = c[0] + c[1] + c[2] + c[3];
}

#if defined(RENGA_EMULATOR) || defined(__CUDA_ARCH_FEAT_SM90_ALL)

template <int kColumns>
__device__ __forceinline__ void Multiply(float* y, const TensorMap* map, const float* x) {
  SharedArena arena;
  uint8_t* tile = arena.Take<uint8_t>(kColumns * 128, 1024);
  float* other = arena.Take<float>(4096, 128);
  uint64_t* full = arena.Take<uint64_t>(1);
  if (threadIdx.x == 0) {
    InitMbarrier(full, 2);
    FenceMbarrierInit();
  }
  SyncThreads();
  ReleaseRegisters<40>();
  ClaimRegisters<232>();
  if (threadIdx.x == 0) {
    PrefetchTensorMap(map);
    ArriveExpectingBytes(full, kColumns * 128 + 1024);
    LoadTile2d(tile, map, 0, 0, full);
    LoadTile3d(other, map, 0, 0, 0, full);
    LoadBulk(other + 2048, x, 1024, full);
    ArriveAtMbarrier(full);
  }
  WaitForMbarrier(full, 0);
  FenceForAsyncProxy();
  float d[kColumns / 2];
  uint32_t a[2][4] = {{1u, 2u, 3u, threadIdx.x}, {5u, 6u, 7u, 8u}};
  a[1][0] = OwnRegister(a[1][0]);
  FenceWgmma();
  Wgmma(d, a[0], WgmmaTile(tile, 0), false);
  Wgmma(d, a[1], WgmmaTile(tile, 1), true);
  CommitWgmma();
  WaitForWgmma<0>();
  for (int i = 0; i < kColumns / 2; ++i) y[threadIdx.x * (kColumns / 2) + i] = d[i] + other[i];
}

extern "C" __global__ void __launch_bounds__(128, 1)
    every_wgmma64(float* y, const __grid_constant__ TensorMap map, const float* x) {
  Multiply<64>(y, &map, x);
}
extern "C" __global__ void __launch_bounds__(128, 1)
    every_wgmma128(float* y, const __grid_constant__ TensorMap map, const float* x) {
  Multiply<128>(y, &map, x);
}
extern "C" __global__ void __launch_bounds__(128, 1)
    every_wgmma256(float* y, const __grid_constant__ TensorMap map, const float* x) {
  Multiply<256>(y, &map, x);
}

#endif
