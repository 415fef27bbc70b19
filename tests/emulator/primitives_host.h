// What the functions of codegen/kernels/primitives.cuh and the keywords of CUDA are on the host.
// The compiler reads this before each file of kernels (-include). No header of the C++ library, so
// that compiling stays quick.
#pragma once

#include "tests/emulator/runtime_interface.h"

// ---- The language ----
#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(bytes) __attribute__((aligned(bytes)))

struct uint2 {
  unsigned x, y;
} __attribute__((aligned(8)));
struct uint3 {
  unsigned x, y, z;
};
struct uint4 {
  unsigned x, y, z, w;
} __attribute__((aligned(16)));
struct char4 {
  signed char x, y, z, w;
} __attribute__((aligned(4)));
struct uchar4 {
  unsigned char x, y, z, w;
} __attribute__((aligned(4)));
struct ushort2 {
  unsigned short x, y;
} __attribute__((aligned(4)));
struct ushort4 {
  unsigned short x, y, z, w;
} __attribute__((aligned(8)));
struct int2 {
  int x, y;
} __attribute__((aligned(8)));
struct int4 {
  int x, y, z, w;
} __attribute__((aligned(16)));
struct float2 {
  float x, y;
} __attribute__((aligned(8)));
struct float4 {
  float x, y, z, w;
} __attribute__((aligned(16)));
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

extern "C" {
inline __attribute__((weak, visibility("default")))
renga::emulator::Attachment renga_emulator_attachment = {};
}
#define threadIdx (renga_emulator_attachment.thread->thread)
#define blockIdx (renga_emulator_attachment.thread->block)
#define blockDim (renga_emulator_attachment.thread->block_size)
#define gridDim (renga_emulator_attachment.thread->grid_size)

// The functions of the C library that CUDA has under the same name.
extern "C" {
float sinf(float) noexcept;
float cosf(float) noexcept;
void sincosf(float, float*, float*) noexcept;
float expf(float) noexcept;
float exp2f(float) noexcept;
float logf(float) noexcept;
float log2f(float) noexcept;
float powf(float, float) noexcept;
float sqrtf(float) noexcept;
float tanhf(float) noexcept;
float erff(float) noexcept;
float fabsf(float) noexcept;
float floorf(float) noexcept;
float ceilf(float) noexcept;
float rintf(float) noexcept;
float fmaf(float, float, float) noexcept;
float fmaxf(float, float) noexcept;
float fminf(float, float) noexcept;
float fmodf(float, float) noexcept;
}
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
template <typename T>
inline T min(T a, T b) {
  return b < a ? b : a;
}
template <typename T>
inline T max(T a, T b) {
  return a < b ? b : a;
}
inline float min(float a, float b) { return fminf(a, b); }  // a NaN gives way, as on the GPU
inline float max(float a, float b) { return fmaxf(a, b); }

// ---- What the compiler inserts ----

// Kernels are compiled with -fsanitize=thread, which calls these before each load and store that
// may touch memory of others; no library of that sanitizer is linked. Memory of the thread itself
// goes unwatched.
#define RENGA_HOOK \
  extern "C"       \
      __attribute__((visibility("hidden"), weak, noinline, no_sanitize("thread", "undefined")))

namespace renga::emulator {

__attribute__((no_sanitize("thread", "undefined"))) __forceinline__ void Watch(const void* address,
                                                                               size_t bytes,
                                                                               AccessKind kind,
                                                                               const void* pc) {
  const Attachment& attached = renga_emulator_attachment;
  const auto at = reinterpret_cast<uintptr_t>(address);
  if (at - attached.thread->stack_low < attached.thread->stack_bytes) return;
  // What the primitives read to find the machine.
  if (at - reinterpret_cast<uintptr_t>(&attached) < sizeof(attached)) return;
  if (address == attached.runtime || at - attached.calls < kMaxCallBytes) return;
  renga_emulator_attachment.runtime->Access(address, bytes, kind, pc);
}

}  // namespace renga::emulator

#define RENGA_WATCH(name, bytes, kind)                                        \
  RENGA_HOOK void name(void* address) {                                       \
    renga::emulator::Watch(address, bytes, renga::emulator::AccessKind::kind, \
                           __builtin_return_address(0));                      \
  }
RENGA_WATCH(__tsan_read1, 1, kRead)
RENGA_WATCH(__tsan_read2, 2, kRead)
RENGA_WATCH(__tsan_read4, 4, kRead)
RENGA_WATCH(__tsan_read8, 8, kRead)
RENGA_WATCH(__tsan_read16, 16, kRead)
RENGA_WATCH(__tsan_write1, 1, kWrite)
RENGA_WATCH(__tsan_write2, 2, kWrite)
RENGA_WATCH(__tsan_write4, 4, kWrite)
RENGA_WATCH(__tsan_write8, 8, kWrite)
RENGA_WATCH(__tsan_write16, 16, kWrite)
RENGA_WATCH(__tsan_unaligned_read2, 2, kRead)
RENGA_WATCH(__tsan_unaligned_read4, 4, kRead)
RENGA_WATCH(__tsan_unaligned_read8, 8, kRead)
RENGA_WATCH(__tsan_unaligned_read16, 16, kRead)
RENGA_WATCH(__tsan_unaligned_write2, 2, kWrite)
RENGA_WATCH(__tsan_unaligned_write4, 4, kWrite)
RENGA_WATCH(__tsan_unaligned_write8, 8, kWrite)
RENGA_WATCH(__tsan_unaligned_write16, 16, kWrite)
RENGA_HOOK void __tsan_read_range(void* address, size_t bytes) {
  renga::emulator::Watch(address, bytes, renga::emulator::AccessKind::kRead,
                         __builtin_return_address(0));
}
RENGA_HOOK void __tsan_write_range(void* address, size_t bytes) {
  renga::emulator::Watch(address, bytes, renga::emulator::AccessKind::kWrite,
                         __builtin_return_address(0));
}
RENGA_HOOK void __tsan_init() {}
RENGA_HOOK void __tsan_func_entry(void*) {
  renga::emulator::Attachment& attached = renga_emulator_attachment;
  const uintptr_t stack_pointer = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  if (attached.thread == nullptr || stack_pointer >= attached.thread->stack_low) return;
  attached.runtime->CheckStack(stack_pointer, __builtin_return_address(0));
}
RENGA_HOOK void __tsan_func_exit() {}

// And -fsanitize=alignment,bounds,shift, integer-divide-by-zero these.
#define RENGA_MISTAKE(name, text)                                               \
  RENGA_HOOK void name(void*, void*, void*) {                                   \
    renga_emulator_attachment.runtime->Fail(text, __builtin_return_address(0)); \
  }
RENGA_MISTAKE(__ubsan_handle_type_mismatch_v1, "misaligned access")
RENGA_MISTAKE(__ubsan_handle_out_of_bounds, "index beyond the end of a local array")
RENGA_MISTAKE(__ubsan_handle_shift_out_of_bounds,
              "shift by a negative count or by all bits or more")
RENGA_MISTAKE(__ubsan_handle_divrem_overflow, "integer division by zero")

#undef RENGA_MISTAKE
#undef RENGA_WATCH
#undef RENGA_HOOK

#include "codegen/kernels/primitives.cuh"

namespace renga::kernels {

namespace host {

using emulator::Order;

template <typename To, typename From>
__forceinline__ To BitCast(const From& from) {
  static_assert(sizeof(To) == sizeof(From), "a bit cast keeps the size");
  To to;
  __builtin_memcpy(&to, &from, sizeof(to));
  return to;
}

__forceinline__ emulator::Runtime& Machine() { return *renga_emulator_attachment.runtime; }

template <typename T>
__forceinline__ T Atomic(T* address, T operand, emulator::AtomicFunction function,
                         Order order = Order::kRelaxed, T expected = T{}) {
  uint64_t operand_bits = 0, expected_bits = 0;
  __builtin_memcpy(&operand_bits, &operand, sizeof(T));
  __builtin_memcpy(&expected_bits, &expected, sizeof(T));
  const uint64_t bits =
      Machine().Atomic(address, sizeof(T), function, operand_bits, expected_bits, order);
  T old;
  __builtin_memcpy(&old, &bits, sizeof(T));
  return old;
}

inline uint64_t AddBits(uint64_t old, uint64_t operand, uint64_t) { return old + operand; }
inline uint64_t ReplaceBits(uint64_t, uint64_t operand, uint64_t) { return operand; }

// Computed in f32 and rounded again: with 24 bits for 11 that gives what rounding once would.
template <typename Function>
__forceinline__ Half2 Pairwise(Half2 a, Half2 b, Function function) {
  return ToHalf2(function(LowToFloat(a), LowToFloat(b)), function(HighToFloat(a), HighToFloat(b)));
}

// As if rounded once: the product is exact, and f64 keeps of the sum all that decides a tie.
__forceinline__ Half FmaHalf(float a, float b, float c) {
  return BitCast<Half>(static_cast<_Float16>(static_cast<double>(a) * b + c));
}

// What the special function unit does with subnormals.
__forceinline__ float FlushSubnormal(float x) {
  return fabsf(x) < 1.17549435e-38f ? BitCast<float>(BitCast<uint32_t>(x) & 0x80000000u) : x;
}

__forceinline__ int Lane() {
  const emulator::ThreadView& view = *renga_emulator_attachment.thread;
  return static_cast<int>(
      (view.thread.x + view.block_size.x * (view.thread.y + view.block_size.y * view.thread.z)) %
      32);
}

template <typename T>
__forceinline__ T ShuffleFrom(uint32_t lanes, T value, int source) {
  return BitCast<T>(Machine().Shuffle(lanes, BitCast<uint32_t>(value), source));
}

}  // namespace host

// ---- Numbers ----

__forceinline__ uint32_t BitsOf(float x) { return host::BitCast<uint32_t>(x); }
__forceinline__ float FloatOfBits(uint32_t bits) { return host::BitCast<float>(bits); }
__forceinline__ float Infinity() { return __builtin_inff(); }
__forceinline__ float ToFloat(Half x) { return host::BitCast<_Float16>(x); }
__forceinline__ float ToFloat(Bfloat16 x) {
  return FloatOfBits(static_cast<uint32_t>(x.bits) << 16);
}
__forceinline__ float LowToFloat(Half2 x) { return ToFloat(Half{static_cast<uint16_t>(x.bits)}); }
__forceinline__ float HighToFloat(Half2 x) {
  return ToFloat(Half{static_cast<uint16_t>(x.bits >> 16)});
}
__forceinline__ Half ToHalf(float x) { return host::BitCast<Half>(static_cast<_Float16>(x)); }
__forceinline__ Bfloat16 ToBfloat16(float x) {
  const uint32_t bits = BitsOf(x);
  if (x != x) return Bfloat16{0x7fff};
  return Bfloat16{static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}
__forceinline__ Half2 ToHalf2(float low, float high) {
  return Half2{ToHalf(low).bits | static_cast<uint32_t>(ToHalf(high).bits) << 16};
}
__forceinline__ uint32_t ToBfloat16Pair(float low, float high) {
  return ToBfloat16(low).bits | static_cast<uint32_t>(ToBfloat16(high).bits) << 16;
}
__forceinline__ int32_t RoundToInt(float x) {  // saturates, NaN is 0, as on the GPU
  if (x != x) return 0;
  if (x >= 2147483648.0f) return 0x7fffffff;
  if (x <= -2147483648.0f) return -0x7fffffff - 1;
  return static_cast<int32_t>(rintf(x));
}

__forceinline__ Half2 Add(Half2 a, Half2 b) {
  return host::Pairwise(a, b, [](float x, float y) { return x + y; });
}
__forceinline__ Half2 Sub(Half2 a, Half2 b) {
  return host::Pairwise(a, b, [](float x, float y) { return x - y; });
}
__forceinline__ Half2 Mul(Half2 a, Half2 b) {
  return host::Pairwise(a, b, [](float x, float y) { return x * y; });
}
__forceinline__ Half2 Max(Half2 a, Half2 b) {
  return host::Pairwise(a, b, [](float x, float y) { return fmaxf(x, y); });
}
__forceinline__ Half2 Min(Half2 a, Half2 b) {
  return host::Pairwise(a, b, [](float x, float y) { return fminf(x, y); });
}
__forceinline__ Half2 Fma(Half2 a, Half2 b, Half2 c) {
  const Half low = host::FmaHalf(LowToFloat(a), LowToFloat(b), LowToFloat(c));
  const Half high = host::FmaHalf(HighToFloat(a), HighToFloat(b), HighToFloat(c));
  return Half2{low.bits | static_cast<uint32_t>(high.bits) << 16};
}
__forceinline__ Half2 Splat(Half x) { return Half2{x.bits * 0x10001u}; }
__forceinline__ Half2 SplatLow(Half2 x) { return Half2{(x.bits & 0xffffu) * 0x10001u}; }
__forceinline__ Half2 SplatHigh(Half2 x) { return Half2{(x.bits >> 16) * 0x10001u}; }

__forceinline__ float FastExp2(float x) {
  return host::FlushSubnormal(exp2f(host::FlushSubnormal(x)));
}
__forceinline__ float FastLog2(float x) { return log2f(host::FlushSubnormal(x)); }
__forceinline__ float FastRsqrt(float x) { return 1.0f / sqrtf(host::FlushSubnormal(x)); }
__forceinline__ float FastReciprocal(float x) {
  return host::FlushSubnormal(1.0f / host::FlushSubnormal(x));
}
__forceinline__ float FastTanh(float x) { return tanhf(x); }

__forceinline__ uint32_t BytePermute(uint32_t a, uint32_t b, uint32_t selector) {
  const uint64_t bytes = static_cast<uint64_t>(b) << 32 | a;
  uint32_t result = 0;
  for (int i = 0; i < 4; ++i) {
    const uint32_t choice = selector >> 4 * i & 15;
    uint32_t byte = static_cast<uint32_t>(bytes >> 8 * (choice & 7)) & 255;
    if ((choice & 8) != 0) byte = (byte & 128) != 0 ? 255 : 0;
    result |= byte << 8 * i;
  }
  return result;
}
template <int kTable>
__forceinline__ uint32_t Logic3(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t result = 0;
  for (int row = 0; row < 8; ++row) {
    if ((kTable >> row & 1) == 0) continue;
    result |= ((row & 4) != 0 ? a : ~a) & ((row & 2) != 0 ? b : ~b) & ((row & 1) != 0 ? c : ~c);
  }
  return result;
}
__forceinline__ uint32_t FunnelShiftRight(uint32_t low, uint32_t high, uint32_t shift) {
  return static_cast<uint32_t>((static_cast<uint64_t>(high) << 32 | low) >> (shift & 31));
}
__forceinline__ int32_t DotBytes(uint32_t a, uint32_t b, int32_t c) {
  for (int i = 0; i < 4; ++i) {
    c += static_cast<int8_t>(a >> 8 * i) * static_cast<int8_t>(b >> 8 * i);
  }
  return c;
}
__forceinline__ uint64_t MultiplyHigh(uint64_t a, uint64_t b) {
  return static_cast<uint64_t>(static_cast<unsigned __int128>(a) * b >> 64);
}
__forceinline__ int32_t PopCount(uint32_t x) { return __builtin_popcount(x); }
__forceinline__ int32_t LeadingZeros(uint32_t x) { return x == 0 ? 32 : __builtin_clz(x); }
__forceinline__ int32_t LowestSetBit(uint32_t x) { return __builtin_ffs(static_cast<int>(x)) - 1; }

// ---- Threads that meet ----

__forceinline__ void SyncThreads() { host::Machine().SyncThreads(); }
__forceinline__ void SyncBarrier(int id, int threads) {
  host::Machine().SyncBarrier(id, threads, true);
}
__forceinline__ void ArriveAtBarrier(int id, int threads) {
  host::Machine().SyncBarrier(id, threads, false);
}
__forceinline__ void SyncWarp(uint32_t lanes) { host::Machine().SyncWarp(lanes); }
template <typename T>
__forceinline__ T Shuffle(T value, int lane, uint32_t lanes) {
  return host::ShuffleFrom(lanes, value, lane & 31);
}
template <typename T>
__forceinline__ T ShuffleXor(T value, int lane_mask, uint32_t lanes) {
  return host::ShuffleFrom(lanes, value, (host::Lane() ^ lane_mask) & 31);
}
template <typename T>
__forceinline__ T ShuffleUp(T value, int distance, uint32_t lanes) {
  const int source = host::Lane() - distance;
  return host::ShuffleFrom(lanes, value, source < 0 ? host::Lane() : source);
}
template <typename T>
__forceinline__ T ShuffleDown(T value, int distance, uint32_t lanes) {
  const int source = host::Lane() + distance;
  return host::ShuffleFrom(lanes, value, source > 31 ? host::Lane() : source);
}
__forceinline__ uint32_t Ballot(bool condition, uint32_t lanes) {
  return host::Machine().Vote(lanes, condition);
}
__forceinline__ bool AnyLane(bool condition, uint32_t lanes) {
  return host::Machine().Vote(lanes, condition) != 0;
}
__forceinline__ bool AllLanes(bool condition, uint32_t lanes) {
  return host::Machine().Vote(lanes, condition) == lanes;
}
__forceinline__ void Trap() { host::Machine().Trap(); }

// ---- Memory ----

__forceinline__ SharedArena::SharedArena() {}
template <typename T>
__forceinline__ T* SharedArena::Take(int count, int alignment) {
  bytes_ = (bytes_ + alignment - 1) & ~static_cast<uint32_t>(alignment - 1);
  const uint32_t offset = bytes_;
  bytes_ += count * static_cast<uint32_t>(sizeof(T));
  return static_cast<T*>(host::Machine().Take(offset, count * sizeof(T), alignment));
}

template <typename T>
__forceinline__ T LoadStreaming(const T* address) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 16, "4, 8 or 16 bytes at a time");
  host::Machine().CheckAligned(address, sizeof(T));
  host::Machine().CheckNonCoherent(address, sizeof(T));
  return *address;
}
template <typename T>
__forceinline__ T LoadFromL2(const T* address) {
  static_assert(sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 16,
                "2, 4, 8 or 16 bytes at a time");
  host::Machine().CheckAligned(address, sizeof(T));
  return *address;
}
__forceinline__ float LoadFromL2If(bool valid, const float* address, float otherwise) {
  return valid ? LoadFromL2(address) : otherwise;
}
__forceinline__ void PrefetchToL2(const void*) {}

__forceinline__ uint32_t LoadAcquire(const uint32_t* address) {
  return host::Machine().LoadAcquire(address);
}
__forceinline__ void StoreRelease(uint32_t* address, uint32_t value) {
  host::Atomic(address, value, host::ReplaceBits, host::Order::kRelease);
}
__forceinline__ uint32_t AtomicAddAcquireRelease(uint32_t* address, uint32_t value) {
  return host::Atomic(address, value, host::AddBits, host::Order::kAcquireRelease);
}
__forceinline__ void ReduceAddRelease(uint32_t* address, uint32_t value) {
  host::Atomic(address, value, host::AddBits, host::Order::kRelease);
}
__forceinline__ void ThreadFence() { host::Machine().ThreadFence(); }
__forceinline__ float AtomicAdd(float* address, float value) {
  return host::Atomic(address, value, [](uint64_t old, uint64_t operand, uint64_t) -> uint64_t {
    return BitsOf(FloatOfBits(static_cast<uint32_t>(old)) +
                  FloatOfBits(static_cast<uint32_t>(operand)));
  });
}
__forceinline__ int32_t AtomicAdd(int32_t* address, int32_t value) {
  return host::Atomic(address, value, host::AddBits);
}
__forceinline__ uint32_t AtomicAdd(uint32_t* address, uint32_t value) {
  return host::Atomic(address, value, host::AddBits);
}
__forceinline__ int32_t AtomicMax(int32_t* address, int32_t value) {
  return host::Atomic(address, value, [](uint64_t old, uint64_t operand, uint64_t) {
    return static_cast<int32_t>(old) < static_cast<int32_t>(operand) ? operand : old;
  });
}
__forceinline__ uint32_t AtomicMax(uint32_t* address, uint32_t value) {
  return host::Atomic(address, value, [](uint64_t old, uint64_t operand, uint64_t) {
    return old < operand ? operand : old;
  });
}
__forceinline__ uint64_t AtomicMax(uint64_t* address, uint64_t value) {
  return host::Atomic(address, value, [](uint64_t old, uint64_t operand, uint64_t) {
    return old < operand ? operand : old;
  });
}
__forceinline__ uint32_t AtomicExchange(uint32_t* address, uint32_t value) {
  return host::Atomic(address, value, host::ReplaceBits);
}
__forceinline__ uint32_t AtomicCompareExchange(uint32_t* address, uint32_t expected,
                                               uint32_t value) {
  return host::Atomic(
      address, value,
      [](uint64_t old, uint64_t operand, uint64_t wanted) { return old == wanted ? operand : old; },
      host::Order::kRelaxed, expected);
}

// ---- Programmatic dependent launch ----

__forceinline__ void WaitForPreviousKernel() { host::Machine().WaitForPreviousKernel(); }
__forceinline__ void LetNextKernelStart() { host::Machine().LetNextKernelStart(); }

// ---- Matrix products of one warp ----

__forceinline__ void MmaF16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  host::Machine().Mma(c, a, b, false);
}
__forceinline__ void MmaBf16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  host::Machine().Mma(c, a, b, true);
}
__forceinline__ void LoadMatrix4(uint32_t (&r)[4], const void* row) {
  host::Machine().LoadMatrix(r, 4, false, row);
}
__forceinline__ void LoadMatrix2(uint32_t (&r)[2], const void* row) {
  host::Machine().LoadMatrix(r, 2, false, row);
}
__forceinline__ void LoadMatrix4Transposed(uint32_t (&r)[4], const void* row) {
  host::Machine().LoadMatrix(r, 4, true, row);
}
__forceinline__ void LoadMatrix2Transposed(uint32_t (&r)[2], const void* row) {
  host::Machine().LoadMatrix(r, 2, true, row);
}

// ---- Asynchronous copies, global to shared ----

__forceinline__ void CopyAsync4(void* shared, const void* global) {
  host::Machine().CopyAsync(shared, global, 4, 4);
}
__forceinline__ void CopyAsync8(void* shared, const void* global) {
  host::Machine().CopyAsync(shared, global, 8, 8);
}
__forceinline__ void CopyAsync16(void* shared, const void* global) {
  host::Machine().CopyAsync(shared, global, 16, 16);
}
__forceinline__ void CopyAsync16OrZero(void* shared, const void* global, bool valid) {
  host::Machine().CopyAsync(shared, global, 16, valid ? 16 : 0);
}
__forceinline__ void CommitCopies() { host::Machine().CommitCopies(); }
template <int kPending>
__forceinline__ void WaitForCopies() {
  host::Machine().WaitForCopies(kPending);
}

// ---- Hopper ----

__forceinline__ void InitMbarrier(uint64_t* barrier, int arrivals) {
  host::Machine().InitMbarrier(barrier, arrivals);
}
__forceinline__ void FenceMbarrierInit() {}
__forceinline__ void ArriveAtMbarrier(uint64_t* barrier) {
  host::Machine().ArriveAtMbarrier(barrier, 0);
}
__forceinline__ void ArriveExpectingBytes(uint64_t* barrier, int bytes) {
  host::Machine().ArriveAtMbarrier(barrier, bytes);
}
__forceinline__ void WaitForMbarrier(uint64_t* barrier, int parity) {
  host::Machine().WaitForMbarrier(barrier, parity);
}
__forceinline__ void LoadTile2d(void* shared, const TensorMap* map, int x, int y,
                                uint64_t* barrier) {
  const int coordinates[] = {x, y};
  host::Machine().LoadTile(shared, map, 2, coordinates, barrier);
}
__forceinline__ void LoadTile3d(void* shared, const TensorMap* map, int x, int y, int z,
                                uint64_t* barrier) {
  const int coordinates[] = {x, y, z};
  host::Machine().LoadTile(shared, map, 3, coordinates, barrier);
}
__forceinline__ void LoadBulk(void* shared, const void* global, int bytes, uint64_t* barrier) {
  host::Machine().LoadBulk(shared, global, bytes, barrier);
}
__forceinline__ void PrefetchTensorMap(const TensorMap*) {}
__forceinline__ void FenceForAsyncProxy() { host::Machine().FenceForAsyncProxy(); }
__forceinline__ uint64_t WgmmaTile(const void* shared_tile, int k16) {
  return host::Machine().WgmmaTile(shared_tile, k16);
}
template <int kSums>
__forceinline__ void Wgmma(float (&d)[kSums], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
  static_assert(kSums == 32 || kSums == 64 || kSums == 128, "64, 128 or 256 columns");
  host::Machine().Wgmma(d, kSums, a, b, accumulate);
}
__forceinline__ uint32_t OwnRegister(uint32_t value) { return value; }
__forceinline__ void FenceWgmma() { host::Machine().FenceWgmma(); }
__forceinline__ void CommitWgmma() { host::Machine().CommitWgmma(); }
template <int kPending>
__forceinline__ void WaitForWgmma() {
  host::Machine().WaitForWgmma(kPending);
}
template <int kRegisters>
__forceinline__ void ReleaseRegisters() {
  static_assert(kRegisters % 8 == 0 && kRegisters >= 24 && kRegisters <= 240, "see primitives.cuh");
}
template <int kRegisters>
__forceinline__ void ClaimRegisters() {
  static_assert(kRegisters % 8 == 0 && kRegisters >= 24 && kRegisters <= 240, "see primitives.cuh");
}

}  // namespace renga::kernels

// ---- A kernel as an entry of the compiled file ----

namespace renga::emulator {

template <typename T>
struct Value {
  using type = T;
};
template <typename T>
struct Value<const T> {
  using type = T;
};

template <size_t... kIndex>
struct Indices {};
template <size_t kCount, size_t... kIndex>
struct MakeIndices : MakeIndices<kCount - 1, kCount - 1, kIndex...> {};
template <size_t... kIndex>
struct MakeIndices<0, kIndex...> {
  using type = Indices<kIndex...>;
};

template <auto kKernel>
struct Thunk;
template <typename... Parameters, void (*kKernel)(Parameters...)>
struct Thunk<kKernel> {
  // The arguments are the host's: not to be watched.
  template <size_t... kIndex>
  __attribute__((no_sanitize("thread", "undefined"))) static void CallWith(void** arguments,
                                                                           Indices<kIndex...>) {
    kKernel(*static_cast<typename Value<Parameters>::type*>(arguments[kIndex])...);
  }
  static constexpr unsigned long kArgumentBytes = (0 + ... + sizeof(Parameters));
  static void Call(void** arguments) {
    CallWith(arguments, typename MakeIndices<sizeof...(Parameters)>::type());
  }
};

}  // namespace renga::emulator
