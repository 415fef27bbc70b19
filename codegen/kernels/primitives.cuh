// Everything the kernels ask of the machine beyond plain C++: the one place where PTX and
// intrinsics hide. A kernel includes this header, uses threadIdx, blockIdx, blockDim, gridDim and
// the functions below, and contains neither `asm` nor a name that starts with two underscores, but
// for the keywords (__global__, __device__, __launch_bounds__, __grid_constant__, __restrict__,
// __forceinline__, __host__).
//
// This file declares and documents. There are two meanings: primitives_ptx.cuh for the GPU (NVRTC
// or nvcc, sm_80 and newer, no header of the toolkit needed) and tests/emulator/primitives_host.h,
// with which the same kernel runs on the host under a checker of races, bounds and waits. Functions
// under "Hopper" exist on sm_90a alone.
//
// Words: a lane is a thread's place in its warp, 0 to 31. f16 pairs travel in 32-bit registers, the
// element of the lower address in the lower half.
#pragma once

#include "codegen/kernels/integers.cuh"
#include "codegen/kernels/tensor_map.cuh"

namespace renga::kernels {

// ---- Numbers ----

// Storage of 16-bit floats. They hold bits and nothing else, so that they may stand in any struct
// or union.
struct Half {
  uint16_t bits;
};
struct Bfloat16 {
  uint16_t bits;
};
struct Half2 {
  uint32_t bits;
};

inline constexpr float kHalfMax = 65504.0f;  // the largest finite f16

__device__ __forceinline__ float Infinity();

// The same bits as another type.
__device__ __forceinline__ uint32_t BitsOf(float x);
__device__ __forceinline__ float FloatOfBits(uint32_t bits);

// Conversions; to 16 bits they round to nearest, ties to even, and go to infinity beyond the range.
__device__ __forceinline__ float ToFloat(Half x);
__device__ __forceinline__ float ToFloat(Bfloat16 x);
__device__ __forceinline__ float LowToFloat(Half2 x);
__device__ __forceinline__ float HighToFloat(Half2 x);
__device__ __forceinline__ Half ToHalf(float x);
__device__ __forceinline__ Bfloat16 ToBfloat16(float x);
__device__ __forceinline__ Half2 ToHalf2(float low, float high);
// Two bf16 in one register, `low` at the lower address.
__device__ __forceinline__ uint32_t ToBfloat16Pair(float low, float high);
__device__ __forceinline__ int32_t RoundToInt(float x);  // to nearest, ties to even

// f16 pairs, each half for itself. Subnormals count, nothing is flushed to zero.
__device__ __forceinline__ Half2 Add(Half2 a, Half2 b);
__device__ __forceinline__ Half2 Sub(Half2 a, Half2 b);
__device__ __forceinline__ Half2 Mul(Half2 a, Half2 b);
__device__ __forceinline__ Half2 Fma(Half2 a, Half2 b, Half2 c);  // a * b + c, rounded once
__device__ __forceinline__ Half2 Max(Half2 a, Half2 b);
__device__ __forceinline__ Half2 Min(Half2 a, Half2 b);
__device__ __forceinline__ Half2 Splat(Half x);      // (x, x)
__device__ __forceinline__ Half2 SplatLow(Half2 x);  // (low, low); free as an operand of Fma
__device__ __forceinline__ Half2 SplatHigh(Half2 x);

// Approximations of the special function unit, relative error about 2^-22 (exp2, log2: absolute for
// small results); tanh 2^-11. Subnormal operands and results count as zero.
__device__ __forceinline__ float FastExp2(float x);
__device__ __forceinline__ float FastLog2(float x);
__device__ __forceinline__ float FastRsqrt(float x);
__device__ __forceinline__ float FastReciprocal(float x);
__device__ __forceinline__ float FastTanh(float x);

// Four bytes chosen from the eight of (b, a): nibble i of `selector` names the source of byte i, 0
// to 3 in a, 4 to 7 in b; with bit 3 set the byte's sign fills it.
__device__ __forceinline__ uint32_t BytePermute(uint32_t a, uint32_t b, uint32_t selector);
// Any bitwise function of three operands. kTable is that function of 0xF0, 0xCC, 0xAA: (a & b) | c
// is (0xF0 & 0xCC) | 0xAA.
template <int kTable>
__device__ __forceinline__ uint32_t Logic3(uint32_t a, uint32_t b, uint32_t c);
// The low 32 bits of (high:low) >> (shift % 32).
__device__ __forceinline__ uint32_t FunnelShiftRight(uint32_t low, uint32_t high, uint32_t shift);
// c + the sum of the products of four signed bytes.
__device__ __forceinline__ int32_t DotBytes(uint32_t a, uint32_t b, int32_t c);
// The upper 64 bits of the product.
__device__ __forceinline__ uint64_t MultiplyHigh(uint64_t a, uint64_t b);
__device__ __forceinline__ int32_t PopCount(uint32_t x);
__device__ __forceinline__ int32_t LeadingZeros(uint32_t x);  // 32 for 0
__device__ __forceinline__ int32_t LowestSetBit(uint32_t x);  // index from 0; -1 for 0

// ---- Threads that meet ----

inline constexpr uint32_t kAllLanes = 0xffffffffu;

// All threads of the block, at the same place in the code; orders their memory accesses.
__device__ __forceinline__ void SyncThreads();
// Named barrier `id` (1 to 15; 0 is SyncThreads) for `threads` threads, a multiple of 32.
// SyncBarrier waits, ArriveAtBarrier only counts in; both orders what came before it, the former
// what follows too.
__device__ __forceinline__ void SyncBarrier(int id, int threads);
__device__ __forceinline__ void ArriveAtBarrier(int id, int threads);
// The lanes in `lanes`, which must all come here; orders their memory accesses. Shuffles and votes
// order nothing.
__device__ __forceinline__ void SyncWarp(uint32_t lanes = kAllLanes);

// The value of another lane. All lanes in `lanes` must come, and the one read must be among them. T
// is float, int32_t, uint32_t or Half2. Up and Down keep their own value where the source lies
// outside the warp.
template <typename T>
__device__ __forceinline__ T Shuffle(T value, int lane, uint32_t lanes = kAllLanes);
template <typename T>
__device__ __forceinline__ T ShuffleXor(T value, int lane_mask, uint32_t lanes = kAllLanes);
template <typename T>
__device__ __forceinline__ T ShuffleUp(T value, int distance, uint32_t lanes = kAllLanes);
template <typename T>
__device__ __forceinline__ T ShuffleDown(T value, int distance, uint32_t lanes = kAllLanes);
// Bit i: whether lane i came with `condition`.
__device__ __forceinline__ uint32_t Ballot(bool condition, uint32_t lanes = kAllLanes);
__device__ __forceinline__ bool AnyLane(bool condition, uint32_t lanes = kAllLanes);
__device__ __forceinline__ bool AllLanes(bool condition, uint32_t lanes = kAllLanes);

// Ends the whole grid with an error.
__device__ __forceinline__ void Trap();

// ---- Memory ----

// The block's dynamic shared memory; the launch says how much there is. Static __shared__ is not
// used. Every thread takes the same arrays in the same order:
//   SharedArena arena;
//   Half* x = arena.Take<Half>(rows * columns);        // 16-byte aligned
//   uint8_t* tile = arena.Take<uint8_t>(32768, 1024);  // what a 128-byte swizzle needs
// The launch's bytes are those of all arrays, each rounded up to the next one's alignment. The
// emulator puts forbidden zones between the arrays, so address one only through its own pointer.
class SharedArena {
 public:
  __device__ __forceinline__ SharedArena();
  // `alignment` in bytes, a power of two from 16 to 1024.
  template <typename T>
  __device__ __forceinline__ T* Take(int count, int alignment = 16);

 private:
  uint32_t bytes_ = 0;  // taken so far
};

// Global loads past the L1 cache for what is read once (weights). The memory must not be written
// during the kernel, nor by a previous one that is not yet known to have ended
// (WaitForPreviousKernel). T has 4, 8 or 16 bytes.
template <typename T>
__device__ __forceinline__ T LoadStreaming(const T* address);
// Global loads that skip the L1 cache but see what other blocks wrote. T has 2, 4, 8 or 16
// bytes.
template <typename T>
__device__ __forceinline__ T LoadFromL2(const T* address);
// The same where `valid`, `otherwise` where not; the address is then not read. No branch.
__device__ __forceinline__ float LoadFromL2If(bool valid, const float* address, float otherwise);
__device__ __forceinline__ void PrefetchToL2(const void* address);  // a hint

// Memory shared with other blocks (gpu scope). Relaxed ones order nothing: a release makes this
// thread's earlier accesses (and those known to it through barriers) visible to whoever acquires
// that value. ThreadFence before a relaxed store or atomic makes it a release, after a relaxed load
// or atomic an acquire.
__device__ __forceinline__ uint32_t LoadAcquire(const uint32_t* address);
__device__ __forceinline__ void StoreRelease(uint32_t* address, uint32_t value);
__device__ __forceinline__ uint32_t AtomicAddAcquireRelease(uint32_t* address, uint32_t value);
__device__ __forceinline__ void ReduceAddRelease(uint32_t* address,
                                                 uint32_t value);  // AtomicAdd without result
__device__ __forceinline__ void ThreadFence();
// Relaxed; the old value. Global or shared memory.
__device__ __forceinline__ float AtomicAdd(float* address, float value);
__device__ __forceinline__ int32_t AtomicAdd(int32_t* address, int32_t value);
__device__ __forceinline__ uint32_t AtomicAdd(uint32_t* address, uint32_t value);
__device__ __forceinline__ int32_t AtomicMax(int32_t* address, int32_t value);
__device__ __forceinline__ uint32_t AtomicMax(uint32_t* address, uint32_t value);
__device__ __forceinline__ uint64_t AtomicMax(uint64_t* address, uint64_t value);
__device__ __forceinline__ uint32_t AtomicExchange(uint32_t* address, uint32_t value);
// Stores `value` where `expected` stood.
__device__ __forceinline__ uint32_t AtomicCompareExchange(uint32_t* address, uint32_t expected,
                                                          uint32_t value);

// ---- Programmatic dependent launch (nothing before sm_90) ----

// Until here a kernel may run beside the one before it: only memory that no earlier kernel writes
// may be read, and none that it touches may be written. Returns when the previous kernel has ended
// and its memory is visible.
__device__ __forceinline__ void WaitForPreviousKernel();
// The next kernel may start, up to its own wait, once every block has come here or ended. Only
// after WaitForPreviousKernel: otherwise the next kernel could run beside the one before this.
__device__ __forceinline__ void LetNextKernelStart();

// ---- Matrix products of one warp ----

// c[16,8] += a[16,16] b[16,8], f32 sums. With g = lane / 4 and q = lane % 4 a lane holds
//   a[0] = A[g][2q, 2q+1], a[1] = A[g+8][2q, 2q+1], a[2] = A[g][2q+8, 2q+9],
//   a[3] = A[g+8][2q+8, 2q+9];
//   b[0] = B[2q, 2q+1][g], b[1] = B[2q+8, 2q+9][g];
//   c[0], c[1] = C[g][2q, 2q+1]; c[2], c[3] = C[g+8][2q, 2q+1].
__device__ __forceinline__ void MmaF16(float (&c)[4], const uint32_t (&a)[4],
                                       const uint32_t (&b)[2]);
__device__ __forceinline__ void MmaBf16(float (&c)[4], const uint32_t (&a)[4],
                                        const uint32_t (&b)[2]);

// 8 x 8 matrices of 16-bit elements from shared memory. Lane i gives the address of row i % 8 of
// matrix i / 8 (of two: lanes 0 to 15 count), 16-byte aligned; r[m] gets row lane / 4, columns 2
// (lane % 4) and the next of matrix m, or of its transpose.
__device__ __forceinline__ void LoadMatrix4(uint32_t (&r)[4], const void* row);
__device__ __forceinline__ void LoadMatrix2(uint32_t (&r)[2], const void* row);
__device__ __forceinline__ void LoadMatrix4Transposed(uint32_t (&r)[4], const void* row);
__device__ __forceinline__ void LoadMatrix2Transposed(uint32_t (&r)[2], const void* row);

// ---- Asynchronous copies, global to shared ----

// Both addresses aligned to the size. The data is there for this thread after WaitForCopies, for
// others after a barrier that follows it.
__device__ __forceinline__ void CopyAsync4(void* shared, const void* global);
__device__ __forceinline__ void CopyAsync8(void* shared, const void* global);
__device__ __forceinline__ void CopyAsync16(void* shared, const void* global);
// Zeros instead of the data where not `valid`; `global` is then not read.
__device__ __forceinline__ void CopyAsync16OrZero(void* shared, const void* global, bool valid);
// Ends a group of copies of this thread.
__device__ __forceinline__ void CommitCopies();
// Until at most the kPending newest groups of this thread are unfinished.
template <int kPending>
__device__ __forceinline__ void WaitForCopies();

// ---- Hopper (sm_90a) ----

// A barrier object in shared memory, 8-byte aligned. A phase ends when `arrivals` arrivals and all
// announced bytes have come; the first is phase 0, and the parity to wait for alternates 0, 1, 0,
// ... Waiting for parity 1 on a fresh barrier returns at once ("the phase before the first").
__device__ __forceinline__ void InitMbarrier(uint64_t* barrier, int arrivals);
__device__ __forceinline__ void FenceMbarrierInit();  // after the inits, before SyncThreads
__device__ __forceinline__ void ArriveAtMbarrier(uint64_t* barrier);
__device__ __forceinline__ void ArriveExpectingBytes(uint64_t* barrier, int bytes);
__device__ __forceinline__ void WaitForMbarrier(uint64_t* barrier, int parity);

// Tiles of a tensor in global memory to shared memory, by the copy engine; coordinates in elements,
// x the fastest. What lies outside the tensor becomes zero. Called by one thread; counts its bytes
// on `barrier`. `shared` is 128-byte aligned, with the 128-byte swizzle 1024.
__device__ __forceinline__ void LoadTile2d(void* shared, const TensorMap* map, int x, int y,
                                           uint64_t* barrier);
__device__ __forceinline__ void LoadTile3d(void* shared, const TensorMap* map, int x, int y, int z,
                                           uint64_t* barrier);
// A plain stretch of memory, addresses and size multiples of 16 bytes.
__device__ __forceinline__ void LoadBulk(void* shared, const void* global, int bytes,
                                         uint64_t* barrier);
__device__ __forceinline__ void PrefetchTensorMap(const TensorMap* map);  // a hint
// What this thread wrote to shared memory becomes visible to wgmma and the copy engine.
__device__ __forceinline__ void FenceForAsyncProxy();

// Matrix products of a warpgroup (128 threads, 4 warps from a multiple of 4): d[64,N] (+)= a[64,16]
// b[16,N], f32 sums. N = 64, 128 or 256 by the size of d. Warp w of the group holds rows 16 w to 16
// w + 15, laid out as in MmaF16:
//   a as there; d[4j], d[4j+1] = D[g][8j + 2q, + 1], d[4j+2], d[4j+3] = D[g+8][the same].
// They run on after the call: neither d nor a may be touched until WaitForWgmma, nor b overwritten.
// Declare the arrays of a outside of the loop that waits, two sets in turn.
//   FenceWgmma();  Wgmma(...) ...;  CommitWgmma();  WaitForWgmma<n>();
// `b` is a tile of N rows of 64 f16 (K fastest), as LoadTile2d leaves it with the 128-byte swizzle;
// 16 of its k at a time: WgmmaTile(tile, 0 to 3).
__device__ __forceinline__ uint64_t WgmmaTile(const void* shared_tile, int k16);
template <int kSums>
__device__ __forceinline__ void Wgmma(float (&d)[kSums], const uint32_t (&a)[4], uint64_t b,
                                      bool accumulate);
// The value in a register of its own. Of words that only come from memory the compiler makes no
// copy, so that Wgmma would read the very registers that the loop's next load fills while it runs.
__device__ __forceinline__ uint32_t OwnRegister(uint32_t value);
__device__ __forceinline__ void FenceWgmma();   // before the first, and after touching d or a
__device__ __forceinline__ void CommitWgmma();  // ends a group
template <int kPending>
__device__ __forceinline__ void WaitForWgmma();

// Moves registers between warpgroups: a multiple of 8 from 24 to 240, by all warps of a warpgroup.
template <int kRegisters>
__device__ __forceinline__ void ReleaseRegisters();
template <int kRegisters>
__device__ __forceinline__ void ClaimRegisters();

}  // namespace renga::kernels

#ifndef RENGA_EMULATOR
#include "codegen/kernels/primitives_ptx.cuh"
#endif
