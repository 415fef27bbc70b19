// Rows of a weight as the file has them into the layout for mma (ir/base/mma_layout.h), bit by bit
// as PackForMma does it on the host.
//
// A block of threads takes the rows of a tile, a group of steps at a time: their bytes come into
// shared memory, zeros where rows or bytes end, since zero bytes are zero bits of every field. Then
// each thread makes 16 bytes of a plane after another, and neighbours write side by side.
#pragma once

#include "codegen/kernels/args.cuh"
#include "codegen/kernels/pack_types.cuh"

namespace renga::kernels {

template <class Type>
struct PackShape {
  static constexpr int kGroupBytes = Type::kGroupBlocks * 32 / Type::kElements * Type::kBytes;
  // Words of a row in shared memory: one more than its bytes take. Odd, so that rows begin in
  // different banks.
  static constexpr int kPitch = (kGroupBytes + 3) / 4 / 2 * 2 + 1 + (kGroupBytes + 3) / 4 % 2 * 2;
};

// Rows of a tile from byte `group_at` on into shared memory, each from a multiple of 4 on; zeros
// beyond the end of a row and in rows that there are not. A row may start anywhere: four of its
// bytes come from one or two words. The loads of several words are under way at a time.
template <class Config>
__device__ __forceinline__ void LoadRawRows(const PackArgs& args, int tile, int64_t group_at,
                                            uint32_t* raw) {
  constexpr int kPitch = PackShape<typename Config::Type>::kPitch, kWords = 16 * kPitch;
  constexpr int kTogether = 6;
  const uint32_t* file = static_cast<const uint32_t*>(args.file);
  for (int first = threadIdx.x; first < kWords; first += kTogether * Config::kThreads) {
    uint32_t low[kTogether], high[kTogether];
#pragma unroll
    for (int j = 0; j < kTogether; ++j) {
      const int i = first + j * Config::kThreads, row = tile * 16 + i / kPitch;
      const int64_t at = group_at + i % kPitch * 4, from = row * args.row_bytes + at;
      const int shift = static_cast<int>(from & 3);
      const bool there = i < kWords && row < args.rows && at < args.row_bytes;
      low[j] = there ? LoadFromL2(file + (from >> 2)) : 0u;
      high[j] = there && shift != 0 && args.row_bytes - at > 4 - shift
                    ? LoadFromL2(file + (from >> 2) + 1)
                    : 0u;
    }
#pragma unroll
    for (int j = 0; j < kTogether; ++j) {
      const int i = first + j * Config::kThreads, row = tile * 16 + i / kPitch;
      const int64_t at = group_at + i % kPitch * 4, left = args.row_bytes - at;
      const int shift = static_cast<int>((row * args.row_bytes + at) & 3);
      uint32_t word = FunnelShiftRight(low[j], high[j], shift * 8);
      if (left < 4) word &= left > 0 ? (1u << left * 8) - 1 : 0u;
      if (i < kWords) raw[i] = word;
    }
  }
}

// `count` steps from shared memory into one plane.
template <class Type, int kPlane>
__device__ __forceinline__ void PackPlaneOf(const PackArgs& args, const uint32_t* raw, int64_t item,
                                            int count) {
  constexpr int kPitch = PackShape<Type>::kPitch, kUnits = Type::kPlane[kPlane].units;
  const int words = Type::kPlane[kPlane].words * args.step_blocks / 8;
  const int chunk = min(words, 4), chunks = words / chunk;
  uint8_t* plane = static_cast<uint8_t*>(args.packed) + args.plane[kPlane];
  const int chunks_bits = PopCount(chunks - 1);  // a power of two
  const int64_t first = item * chunks * kUnits;
  for (int i = threadIdx.x; i < count * chunks * kUnits; i += blockDim.x) {
    const int unit = i % kUnits, rest = i / kUnits;
    const int step = rest >> chunks_bits, w = (rest & (chunks - 1)) * chunk;
    const int g = unit / (kUnits / 8);
    const RawRows rows = {{raw + g * kPitch}, {raw + (g + 8) * kPitch}};
    const int block = step * args.step_blocks;
    if (chunk == 4) {
      uint4 out;
      out.x = Type::template Word<kPlane>(rows, block, unit, w);
      out.y = Type::template Word<kPlane>(rows, block, unit, w + 1);
      out.z = Type::template Word<kPlane>(rows, block, unit, w + 2);
      out.w = Type::template Word<kPlane>(rows, block, unit, w + 3);
      reinterpret_cast<uint4*>(plane)[first + i] = out;
      continue;
    }
    for (int j = 0; j < chunk; ++j) {
      reinterpret_cast<uint32_t*>(plane)[(first + i) * chunk + j] =
          Type::template Word<kPlane>(rows, block, unit, j);
    }
  }
}

// Any grid of one dimension. Between the launches of a weight the word at args.tail is the largest
// key of the blocks seen so far, zero at first; the one that finishes, after all of its tiles,
// makes it the exponent. Config: Type (pack_types.cuh); kThreads.
template <class Config>
__device__ __forceinline__ void Pack(const PackArgs& args) {
  using Type = typename Config::Type;
  using Shape = PackShape<Type>;
  constexpr int kFileBlocks = Shape::kGroupBytes / Type::kBytes;
  SharedArena arena;
  uint32_t* raw = arena.Take<uint32_t>(16 * Shape::kPitch);
  WaitForPreviousKernel();
  LetNextKernelStart();
  uint32_t* tail = reinterpret_cast<uint32_t*>(static_cast<uint8_t*>(args.packed) + args.tail);
  if (args.finish != 0) {
    if (blockIdx.x != 0 || threadIdx.x != 0) return;
    const int key = static_cast<int>(tail[0]);
    tail[0] =
        key == 0 ? 0u : static_cast<uint32_t>(min(Type::kBoundExponent - (key - 256), Type::kMost));
    return;
  }
  const int group_steps = Type::kGroupBlocks / args.step_blocks;
  const int groups = (args.steps + group_steps - 1) / group_steps;
  const int64_t work = int64_t{1} * args.tiles * groups;
  uint32_t key = 0;
  for (int64_t item = blockIdx.x; item < work; item += gridDim.x) {
    const int tile = static_cast<int>(item / groups), group = static_cast<int>(item % groups);
    const int64_t group_at = int64_t{1} * group * Shape::kGroupBytes;
    SyncThreads();  // the bytes of the item before this are no longer needed
    LoadRawRows<Config>(args, tile, group_at, raw);
    SyncThreads();
    for (int i = threadIdx.x; i < 16 * kFileBlocks; i += Config::kThreads) {
      const int row = i % 16, block = i / 16;
      if (tile * 16 + row >= args.rows || group_at + block * Type::kBytes >= args.row_bytes)
        continue;
      key = max(key, Type::Key(RawRow{raw + row * Shape::kPitch}, block));
    }
    const int first = group * group_steps, count = min(group_steps, args.steps - first);
    const int64_t at = (args.first_tile + tile) * args.steps + first;
    PackPlaneOf<Type, 0>(args, raw, at, count);
    if constexpr (Type::kPlanes > 1) PackPlaneOf<Type, 1>(args, raw, at, count);
    if constexpr (Type::kPlanes > 2) PackPlaneOf<Type, 2>(args, raw, at, count);
    if constexpr (Type::kPlanes > 3) PackPlaneOf<Type, 3>(args, raw, at, count);
  }
#pragma unroll
  for (int lane_mask = 16; lane_mask > 0; lane_mask /= 2) {
    key = max(key, ShuffleXor(key, lane_mask));
  }
  if (threadIdx.x % 32 == 0 && key != 0) AtomicMax(tail, key);
}

}  // namespace renga::kernels
