// What the functions of primitives.cuh are on the GPU. Included at its end; nothing else includes
// this. The forms are those of the PTX ISA, sections "Instruction Set" and "Asynchronous Warpgroup
// Level Matrix".
#pragma once

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#include "codegen/kernels/wgmma_ptx.cuh"
#endif

namespace renga::kernels {

namespace ptx {

__device__ __forceinline__ uint32_t SharedAddress(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

template <typename To, typename From>
__device__ __forceinline__ To BitCast(const From& from) {
  static_assert(sizeof(To) == sizeof(From), "a bit cast keeps the size");
  return reinterpret_cast<const To&>(from);
}

}  // namespace ptx

// ---- Numbers ----

__device__ __forceinline__ uint32_t BitsOf(float x) { return __float_as_uint(x); }
__device__ __forceinline__ float FloatOfBits(uint32_t bits) { return __uint_as_float(bits); }
__device__ __forceinline__ float Infinity() { return FloatOfBits(0x7f800000u); }

__device__ __forceinline__ float ToFloat(Half x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
}
__device__ __forceinline__ float ToFloat(Bfloat16 x) {
  return FloatOfBits(static_cast<uint32_t>(x.bits) << 16);
}
__device__ __forceinline__ float LowToFloat(Half2 x) {
  return ToFloat(Half{static_cast<uint16_t>(x.bits)});
}
__device__ __forceinline__ float HighToFloat(Half2 x) {
  return ToFloat(Half{static_cast<uint16_t>(x.bits >> 16)});
}
__device__ __forceinline__ Half ToHalf(float x) {
  Half y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
}
__device__ __forceinline__ uint32_t ToBfloat16Pair(float low, float high) {
  uint32_t y;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
  return y;
}
__device__ __forceinline__ Bfloat16 ToBfloat16(float x) {
  return Bfloat16{static_cast<uint16_t>(ToBfloat16Pair(x, 0.0f))};
}
__device__ __forceinline__ Half2 ToHalf2(float low, float high) {
  Half2 y;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(y.bits) : "f"(high), "f"(low));
  return y;
}
__device__ __forceinline__ int32_t RoundToInt(float x) { return __float2int_rn(x); }

__device__ __forceinline__ Half2 Add(Half2 a, Half2 b) {
  Half2 y;
  asm("add.rn.f16x2 %0, %1, %2;" : "=r"(y.bits) : "r"(a.bits), "r"(b.bits));
  return y;
}
__device__ __forceinline__ Half2 Sub(Half2 a, Half2 b) {
  Half2 y;
  asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(y.bits) : "r"(a.bits), "r"(b.bits));
  return y;
}
__device__ __forceinline__ Half2 Mul(Half2 a, Half2 b) {
  Half2 y;
  asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(y.bits) : "r"(a.bits), "r"(b.bits));
  return y;
}
__device__ __forceinline__ Half2 Fma(Half2 a, Half2 b, Half2 c) {
  Half2 y;
  asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(y.bits) : "r"(a.bits), "r"(b.bits), "r"(c.bits));
  return y;
}
__device__ __forceinline__ Half2 Max(Half2 a, Half2 b) {
  Half2 y;
  asm("max.f16x2 %0, %1, %2;" : "=r"(y.bits) : "r"(a.bits), "r"(b.bits));
  return y;
}
__device__ __forceinline__ Half2 Min(Half2 a, Half2 b) {
  Half2 y;
  asm("min.f16x2 %0, %1, %2;" : "=r"(y.bits) : "r"(a.bits), "r"(b.bits));
  return y;
}
__device__ __forceinline__ Half2 Splat(Half x) { return Half2{x.bits * 0x10001u}; }
// As moves of halves, which ptxas makes a part of the instruction that uses them; a permutation of
// bytes it leaves alone.
__device__ __forceinline__ Half2 SplatLow(Half2 x) {
  Half2 y;
  asm("{ .reg .b16 low, high; mov.b32 {low, high}, %1; mov.b32 %0, {low, low}; }"
      : "=r"(y.bits)
      : "r"(x.bits));
  return y;
}
__device__ __forceinline__ Half2 SplatHigh(Half2 x) {
  Half2 y;
  asm("{ .reg .b16 low, high; mov.b32 {low, high}, %1; mov.b32 %0, {high, high}; }"
      : "=r"(y.bits)
      : "r"(x.bits));
  return y;
}

__device__ __forceinline__ float FastExp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ __forceinline__ float FastLog2(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ __forceinline__ float FastRsqrt(float x) {
  float y;
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ __forceinline__ float FastReciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ __forceinline__ float FastTanh(float x) {
  float y;
  asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__device__ __forceinline__ uint32_t BytePermute(uint32_t a, uint32_t b, uint32_t selector) {
  return __byte_perm(a, b, selector);
}
template <int kTable>
__device__ __forceinline__ uint32_t Logic3(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t y;
  asm("lop3.b32 %0, %1, %2, %3, %4;" : "=r"(y) : "r"(a), "r"(b), "r"(c), "n"(kTable));
  return y;
}
__device__ __forceinline__ uint32_t FunnelShiftRight(uint32_t low, uint32_t high, uint32_t shift) {
  return __funnelshift_r(low, high, shift);
}
__device__ __forceinline__ int32_t DotBytes(uint32_t a, uint32_t b, int32_t c) {
  return __dp4a(static_cast<int>(a), static_cast<int>(b), c);
}
__device__ __forceinline__ uint64_t MultiplyHigh(uint64_t a, uint64_t b) {
  return __umul64hi(a, b);
}
__device__ __forceinline__ int32_t PopCount(uint32_t x) { return __popc(x); }
__device__ __forceinline__ int32_t LeadingZeros(uint32_t x) { return __clz(static_cast<int>(x)); }
__device__ __forceinline__ int32_t LowestSetBit(uint32_t x) {
  return __ffs(static_cast<int>(x)) - 1;
}

// ---- Threads that meet ----

__device__ __forceinline__ void SyncThreads() { __syncthreads(); }
__device__ __forceinline__ void SyncBarrier(int id, int threads) {
  asm volatile("barrier.sync.aligned %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void ArriveAtBarrier(int id, int threads) {
  asm volatile("barrier.arrive.aligned %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void SyncWarp(uint32_t lanes) { __syncwarp(lanes); }

template <typename T>
__device__ __forceinline__ T Shuffle(T value, int lane, uint32_t lanes) {
  return ptx::BitCast<T>(__shfl_sync(lanes, ptx::BitCast<uint32_t>(value), lane));
}
template <typename T>
__device__ __forceinline__ T ShuffleXor(T value, int lane_mask, uint32_t lanes) {
  return ptx::BitCast<T>(__shfl_xor_sync(lanes, ptx::BitCast<uint32_t>(value), lane_mask));
}
template <typename T>
__device__ __forceinline__ T ShuffleUp(T value, int distance, uint32_t lanes) {
  return ptx::BitCast<T>(__shfl_up_sync(lanes, ptx::BitCast<uint32_t>(value), distance));
}
template <typename T>
__device__ __forceinline__ T ShuffleDown(T value, int distance, uint32_t lanes) {
  return ptx::BitCast<T>(__shfl_down_sync(lanes, ptx::BitCast<uint32_t>(value), distance));
}
__device__ __forceinline__ uint32_t Ballot(bool condition, uint32_t lanes) {
  return __ballot_sync(lanes, condition);
}
__device__ __forceinline__ bool AnyLane(bool condition, uint32_t lanes) {
  return __any_sync(lanes, condition) != 0;
}
__device__ __forceinline__ bool AllLanes(bool condition, uint32_t lanes) {
  return __all_sync(lanes, condition) != 0;
}
__device__ __forceinline__ void Trap() { asm volatile("trap;"); }

// ---- Memory ----

namespace ptx {
extern __shared__ __align__(1024) unsigned char shared_memory[];
}  // namespace ptx

__device__ __forceinline__ SharedArena::SharedArena() {}
template <typename T>
__device__ __forceinline__ T* SharedArena::Take(int count, int alignment) {
  bytes_ = (bytes_ + alignment - 1) & ~static_cast<uint32_t>(alignment - 1);
  T* array = reinterpret_cast<T*>(ptx::shared_memory + bytes_);
  bytes_ += count * static_cast<uint32_t>(sizeof(T));
  return array;
}

// Volatile, so that no load moves above WaitForPreviousKernel.
template <typename T>
__device__ __forceinline__ T LoadStreaming(const T* address) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 16, "4, 8 or 16 bytes at a time");
  if constexpr (sizeof(T) == 4) {
    uint32_t r;
    asm volatile("ld.global.nc.L1::no_allocate.L2::256B.u32 %0, [%1];" : "=r"(r) : "l"(address));
    return ptx::BitCast<T>(r);
  } else if constexpr (sizeof(T) == 8) {
    uint2 r;
    asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v2.u32 {%0, %1}, [%2];"
                 : "=r"(r.x), "=r"(r.y)
                 : "l"(address));
    return ptx::BitCast<T>(r);
  } else {
    uint4 r;
    asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r.x), "=r"(r.y), "=r"(r.z), "=r"(r.w)
                 : "l"(address));
    return ptx::BitCast<T>(r);
  }
}
template <typename T>
__device__ __forceinline__ T LoadFromL2(const T* address) {
  static_assert(sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 16,
                "2, 4, 8 or 16 bytes at a time");
  if constexpr (sizeof(T) == 2) {
    uint16_t r;
    asm volatile("ld.global.cg.u16 %0, [%1];" : "=h"(r) : "l"(address));
    return ptx::BitCast<T>(r);
  } else if constexpr (sizeof(T) == 4) {
    uint32_t r;
    asm volatile("ld.global.cg.u32 %0, [%1];" : "=r"(r) : "l"(address));
    return ptx::BitCast<T>(r);
  } else if constexpr (sizeof(T) == 8) {
    uint2 r;
    asm volatile("ld.global.cg.v2.u32 {%0, %1}, [%2];" : "=r"(r.x), "=r"(r.y) : "l"(address));
    return ptx::BitCast<T>(r);
  } else {
    uint4 r;
    asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r.x), "=r"(r.y), "=r"(r.z), "=r"(r.w)
                 : "l"(address));
    return ptx::BitCast<T>(r);
  }
}
__device__ __forceinline__ float LoadFromL2If(bool valid, const float* address, float otherwise) {
  asm volatile("{ .reg .pred p; setp.ne.u32 p, %2, 0; @p ld.global.cg.f32 %0, [%1]; }"
               : "+f"(otherwise)
               : "l"(address), "r"(valid ? 1 : 0));
  return otherwise;
}
__device__ __forceinline__ void PrefetchToL2(const void* address) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(address));
}

__device__ __forceinline__ uint32_t LoadAcquire(const uint32_t* address) {
  uint32_t r;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(r) : "l"(address) : "memory");
  return r;
}
__device__ __forceinline__ void StoreRelease(uint32_t* address, uint32_t value) {
  asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(address), "r"(value) : "memory");
}
__device__ __forceinline__ uint32_t AtomicAddAcquireRelease(uint32_t* address, uint32_t value) {
  uint32_t r;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;"
               : "=r"(r)
               : "l"(address), "r"(value)
               : "memory");
  return r;
}
__device__ __forceinline__ void ReduceAddRelease(uint32_t* address, uint32_t value) {
  asm volatile("red.release.gpu.global.add.u32 [%0], %1;" ::"l"(address), "r"(value) : "memory");
}
__device__ __forceinline__ void ThreadFence() { __threadfence(); }
__device__ __forceinline__ float AtomicAdd(float* address, float value) {
  return atomicAdd(address, value);
}
__device__ __forceinline__ int32_t AtomicAdd(int32_t* address, int32_t value) {
  return atomicAdd(address, value);
}
__device__ __forceinline__ uint32_t AtomicAdd(uint32_t* address, uint32_t value) {
  return atomicAdd(address, value);
}
__device__ __forceinline__ int32_t AtomicMax(int32_t* address, int32_t value) {
  return atomicMax(address, value);
}
__device__ __forceinline__ uint32_t AtomicMax(uint32_t* address, uint32_t value) {
  return atomicMax(address, value);
}
__device__ __forceinline__ uint64_t AtomicMax(uint64_t* address, uint64_t value) {
  return atomicMax(reinterpret_cast<unsigned long long*>(address),
                   static_cast<unsigned long long>(value));
}
__device__ __forceinline__ uint32_t AtomicExchange(uint32_t* address, uint32_t value) {
  return atomicExch(address, value);
}
__device__ __forceinline__ uint32_t AtomicCompareExchange(uint32_t* address, uint32_t expected,
                                                          uint32_t value) {
  return atomicCAS(address, expected, value);
}

// ---- Programmatic dependent launch ----

__device__ __forceinline__ void WaitForPreviousKernel() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
__device__ __forceinline__ void LetNextKernelStart() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// ---- Matrix products of one warp ----

__device__ __forceinline__ void MmaF16(float (&c)[4], const uint32_t (&a)[4],
                                       const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void MmaBf16(float (&c)[4], const uint32_t (&a)[4],
                                        const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ void LoadMatrix4(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(ptx::SharedAddress(row))
               : "memory");
}
__device__ __forceinline__ void LoadMatrix2(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(ptx::SharedAddress(row))
               : "memory");
}
__device__ __forceinline__ void LoadMatrix4Transposed(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(ptx::SharedAddress(row))
               : "memory");
}
__device__ __forceinline__ void LoadMatrix2Transposed(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(ptx::SharedAddress(row))
               : "memory");
}

// ---- Asynchronous copies, global to shared ----

__device__ __forceinline__ void CopyAsync4(void* shared, const void* global) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(ptx::SharedAddress(shared)),
               "l"(global)
               : "memory");
}
__device__ __forceinline__ void CopyAsync8(void* shared, const void* global) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(ptx::SharedAddress(shared)),
               "l"(global)
               : "memory");
}
__device__ __forceinline__ void CopyAsync16(void* shared, const void* global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(ptx::SharedAddress(shared)),
               "l"(global)
               : "memory");
}
__device__ __forceinline__ void CopyAsync16OrZero(void* shared, const void* global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(ptx::SharedAddress(shared)),
               "l"(global), "r"(valid ? 16 : 0)
               : "memory");
}
__device__ __forceinline__ void CommitCopies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int kPending>
__device__ __forceinline__ void WaitForCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// ---- Hopper ----

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

__device__ __forceinline__ void InitMbarrier(uint64_t* barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(ptx::SharedAddress(barrier)),
               "r"(arrivals)
               : "memory");
}
__device__ __forceinline__ void FenceMbarrierInit() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ __forceinline__ void ArriveAtMbarrier(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(ptx::SharedAddress(barrier))
               : "memory");
}
__device__ __forceinline__ void ArriveExpectingBytes(uint64_t* barrier, int bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(ptx::SharedAddress(barrier)),
      "r"(bytes)
      : "memory");
}
__device__ __forceinline__ void WaitForMbarrier(uint64_t* barrier, int parity) {
  uint32_t done;
  do {
    asm volatile(
        "{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p; }"
        : "=r"(done)
        : "r"(ptx::SharedAddress(barrier)), "r"(parity)
        : "memory");
  } while (done == 0);
}

__device__ __forceinline__ void LoadTile2d(void* shared, const TensorMap* map, int x, int y,
                                           uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%2, %3}], [%4];" ::"r"(ptx::SharedAddress(shared)),
      "l"(map), "r"(x), "r"(y), "r"(ptx::SharedAddress(barrier))
      : "memory");
}
__device__ __forceinline__ void LoadTile3d(void* shared, const TensorMap* map, int x, int y, int z,
                                           uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%2, %3, %4}], [%5];" ::"r"(ptx::SharedAddress(shared)),
      "l"(map), "r"(x), "r"(y), "r"(z), "r"(ptx::SharedAddress(barrier))
      : "memory");
}
__device__ __forceinline__ void LoadBulk(void* shared, const void* global, int bytes,
                                         uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, "
      "[%3];" ::"r"(ptx::SharedAddress(shared)),
      "l"(global), "r"(bytes), "r"(ptx::SharedAddress(barrier))
      : "memory");
}
__device__ __forceinline__ void PrefetchTensorMap(const TensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}
__device__ __forceinline__ void FenceForAsyncProxy() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// The matrix descriptor: address / 16, leading offset 1 (not used with a swizzle), 1024 bytes from
// 8 rows to the next 8, swizzle 1 (128 bytes); 16 k are 32 bytes further.
__device__ __forceinline__ uint64_t WgmmaTile(const void* shared_tile, int k16) {
  const uint64_t address = (ptx::SharedAddress(shared_tile) & 0x3ffffu) >> 4;
  return (address + k16 * 2) | 1ull << 16 | 64ull << 32 | 1ull << 62;
}
template <int kSums>
__device__ __forceinline__ void Wgmma(float (&d)[kSums], const uint32_t (&a)[4], uint64_t b,
                                      bool accumulate) {
  static_assert(kSums == 32 || kSums == 64 || kSums == 128, "64, 128 or 256 columns");
  if constexpr (kSums == 32) {
    ptx::Wgmma64(d, a, b, accumulate);
  } else if constexpr (kSums == 64) {
    ptx::Wgmma128(d, a, b, accumulate);
  } else {
    ptx::Wgmma256(d, a, b, accumulate);
  }
}
__device__ __forceinline__ uint32_t OwnRegister(uint32_t value) {
  // A move is not enough: ptxas of CUDA 13.0 then gives both sets of A the same registers.
  // threadIdx.z is 0, which it does not know.
  uint32_t copy;
  asm volatile("or.b32 %0, %1, %2;" : "=r"(copy) : "r"(value), "r"(threadIdx.z));
  return copy;
}
__device__ __forceinline__ void FenceWgmma() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void CommitWgmma() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int kPending>
__device__ __forceinline__ void WaitForWgmma() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

template <int kRegisters>
__device__ __forceinline__ void ReleaseRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ __forceinline__ void ClaimRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

#endif  // __CUDA_ARCH_FEAT_SM90_ALL

}  // namespace renga::kernels
