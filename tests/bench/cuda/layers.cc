#include "tests/bench/cuda/layers.h"

#include <algorithm>
#include <vector>

#include "ir/base/strings.h"

namespace renga::bench {
namespace {

using emulator::TestWeight;

// A tile is whole in each plane (ir/base/mma_layout.h), so those of the pool are repeated.
std::vector<uint8_t> Repeat(const TestWeight& pool, const MmaLayout& layout) {
  std::vector<uint8_t> packed(layout.bytes);
  for (int p = 0; p < layout.planes; ++p) {
    const MmaPlane& plane = layout.plane[p];
    const int64_t tile = layout.steps * plane.units * plane.words * 4;
    for (int64_t t = 0; t < layout.tiles; ++t) {
      const int64_t from = pool.layout.plane[p].offset + t % pool.layout.tiles * tile;
      std::copy_n(pool.packed.begin() + from, tile, packed.begin() + plane.offset + t * tile);
    }
  }
  std::copy(pool.packed.begin() + pool.layout.tail_offset, pool.packed.end(),
            packed.begin() + layout.tail_offset);
  return packed;
}

}  // namespace

absl::StatusOr<Layers> MakeLayers(const CudaBench& bench, DType type, const Shape& shape,
                                  int64_t bytes, int64_t least) {
  emulator::Random random(static_cast<uint32_t>(shape.n));
  Layers layers;
  layers.pool = emulator::MakeWeight(type, kPoolRows, shape.k, 0.02f, &random);
  RENGA_ASSIGN_OR_RETURN(layers.layout, MmaLayoutOf(type, shape.n, shape.k));
  const std::vector<uint8_t> packed = Repeat(layers.pool, layers.layout);
  layers.stride = (packed.size() + 255) / 256 * 256;
  layers.count = static_cast<int>(
      std::clamp<int64_t>((bytes + layers.layout.bytes - 1) / layers.layout.bytes, least, 200));
  RENGA_ASSIGN_OR_RETURN(layers.memory, bench.Allocate(layers.stride * layers.count));
  RENGA_RETURN_IF_ERROR(bench.stream().Write(layers.memory.data(), packed));
  for (int i = 1; i < layers.count; ++i) {
    RENGA_RETURN_IF_ERROR(bench.stream().Copy(layers.memory.data() + i * layers.stride,
                                              layers.memory.data(), packed.size()));
  }
  RENGA_RETURN_IF_ERROR(bench.stream().Synchronize());
  return layers;
}

std::string PackedName(DType type, int64_t n, int64_t k) {
  return TestWeight{type, n, k, {}, {}, {}, {}, {}}.Name();
}

std::string DecodeName(DType type, const Shape& shape, int tokens, int warps) {
  return StrCat("linear_", Name(type), "_", shape.n, "_", shape.k, "_", tokens, "_", warps);
}

std::string DecodeText(DType type, const Shape& shape, int tokens, int warps) {
  return StrCat(R"(#include "codegen/kernels/linear.cuh"
using namespace renga::kernels;
struct Config {
  using Weight = )",
                PackedName(type, shape.n, shape.k), R"(;
  static constexpr int kTokens = )",
                tokens, ", kWarps = ", warps, R"(, kXParts = 1;
  static constexpr bool kNorm = )",
                shape.norm ? "true" : "false", R"(;
  static constexpr float kEps = 1e-5f;
};
extern "C" __global__ void __launch_bounds__()",
                32 * warps, ") ", DecodeName(type, shape, tokens, warps),
                "(const LinearArgs args) { Linear<Config>(args); }\n");
}

}  // namespace renga::bench
