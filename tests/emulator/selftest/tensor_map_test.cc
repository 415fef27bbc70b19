// Tiles: where each element of a tensor lands in shared memory, and the maps that are refused.

#include "tests/emulator/selftest/support.h"

namespace renga::emulator {
namespace {

using testing::HasSubstr;

// A tensor [planes][rows][columns] of u32 whose values are their places plus one, rows padded.
struct Tensor {
  int64_t planes, rows, columns;
  uint32_t At(int64_t z, int64_t y, int64_t x) const {
    if (z < 0 || z >= planes || y < 0 || y >= rows || x < 0 || x >= columns) return 0;
    return static_cast<uint32_t>((z * rows + y) * columns + x + 1);
  }
};

struct TileCase {
  std::string name;
  Tensor tensor;
  uint32_t box[3];
  int at[3];
  Swizzle swizzle;
};

class Tiles : public testing::TestWithParam<TileCase> {};

INSTANTIATE_TEST_SUITE_P(
    All, Tiles,
    testing::Values(TileCase{"Plain", {1, 9, 20}, {8, 4, 1}, {4, 2, 0}, Swizzle::kNone},
                    TileCase{"BeyondTheEnds", {1, 9, 20}, {8, 4, 1}, {16, 7, 0}, Swizzle::kNone},
                    TileCase{"BeforeTheStart", {1, 9, 20}, {8, 4, 1}, {-3, -2, 0}, Swizzle::kNone},
                    TileCase{"Outside", {1, 9, 20}, {8, 4, 1}, {40, 0, 0}, Swizzle::kNone},
                    TileCase{"Swizzled", {1, 30, 70}, {32, 19, 1}, {32, 5, 0}, Swizzle::k128Bytes},
                    TileCase{"Deep", {4, 9, 20}, {8, 3, 3}, {4, 7, 2}, Swizzle::kNone},
                    TileCase{
                        "DeepSwizzled", {3, 9, 33}, {32, 8, 2}, {1, 2, 1}, Swizzle::k128Bytes}),
    [](const auto& info) { return info.param.name; });

TEST_P(Tiles, LandWhereTheyShould) {
  const TileCase& tile = GetParam();
  const Tensor& tensor = tile.tensor;
  const int64_t pitch = (tensor.columns + 3) / 4 * 4;
  std::vector<uint32_t> memory(tensor.planes * tensor.rows * pitch, 0xdeadbeef);
  for (int64_t z = 0; z < tensor.planes; ++z) {
    for (int64_t y = 0; y < tensor.rows; ++y) {
      for (int64_t x = 0; x < tensor.columns; ++x) {
        memory[(z * tensor.rows + y) * pitch + x] = tensor.At(z, y, x);
      }
    }
  }
  Emulator emulator;
  TensorMapSpec spec;
  spec.base = Upload(&emulator, "x", memory);
  spec.element_bytes = 4;
  spec.rank = tensor.planes > 1 ? 3 : 2;
  const uint64_t sizes[3] = {static_cast<uint64_t>(tensor.columns),
                             static_cast<uint64_t>(tensor.rows),
                             static_cast<uint64_t>(tensor.planes)};
  for (int i = 0; i < 3; ++i) spec.sizes[i] = sizes[i], spec.box[i] = tile.box[i];
  spec.stride_bytes[0] = pitch * 4;
  spec.stride_bytes[1] = pitch * 4 * tensor.rows;
  spec.swizzle = tile.swizzle;
  const auto map = MakeTensorMap(spec);
  ASSERT_TRUE(map.ok()) << map.status();
  const uint32_t elements = tile.box[0] * tile.box[1] * tile.box[2];
  uint32_t* out = Fresh<uint32_t>(&emulator, "out", elements);
  const absl::Status status = emulator.Launch(TestKernel("tile_bytes"), {{1}, {64}, 16384}, {},
                                              *map, out, static_cast<int>(elements * 4), tile.at[0],
                                              tile.at[1], tile.at[2], static_cast<int>(spec.rank));
  ASSERT_TRUE(status.ok()) << status;
  const auto got = Download(&emulator, out, elements);
  for (uint32_t z = 0; z < tile.box[2]; ++z) {
    for (uint32_t y = 0; y < tile.box[1]; ++y) {
      for (uint32_t x = 0; x < tile.box[0]; ++x) {
        // PTX ISA, "Swizzling modes": in 128-byte rows, unit u of 16 bytes of row r stands at u xor
        // r % 8.
        const uint32_t row = z * tile.box[1] + y;
        const uint32_t unit = tile.swizzle == Swizzle::kNone ? x / 4 : x / 4 ^ row % 8;
        EXPECT_EQ(got[row * tile.box[0] + unit * 4 + x % 4],
                  tensor.At(tile.at[2] + z, tile.at[1] + y, tile.at[0] + x))
            << z << "," << y << "," << x;
      }
    }
  }
}

TEST(TensorMaps, WhatTheDriverRefuses) {
  alignas(16) static const uint16_t memory[64 * 64] = {};
  const TensorMapSpec good{.base = memory,
                           .element_bytes = 2,
                           .rank = 2,
                           .sizes = {64, 64},
                           .stride_bytes = {128},
                           .box = {64, 64},
                           .swizzle = Swizzle::k128Bytes};
  ASSERT_TRUE(MakeTensorMap(good).ok());
  const auto message = [&](auto change) {
    TensorMapSpec spec = good;
    change(&spec);
    return std::string(MakeTensorMap(spec).status().message());
  };
  EXPECT_THAT(message([](auto* s) { s->rank = 4; }), HasSubstr("rank 2 or 3, got 4"));
  EXPECT_THAT(message([](auto* s) { s->base = memory + 1; }), HasSubstr("multiple of 16 bytes"));
  EXPECT_THAT(message([](auto* s) { s->sizes[1] = 0; }), HasSubstr("sizes of 1 or more"));
  EXPECT_THAT(message([](auto* s) { s->box[1] = 257; }), HasSubstr("box of 1 to 256, got 257"));
  EXPECT_THAT(message([](auto* s) { s->stride_bytes[0] = 120; }), HasSubstr("strides"));
  EXPECT_THAT(message([](auto* s) { s->box[0] = 32; }), HasSubstr("128 bytes with that swizzle"));
  EXPECT_THAT(message([](auto* s) { s->box[0] = 7, s->swizzle = Swizzle::kNone; }),
              HasSubstr("got 14"));
}

}  // namespace
}  // namespace renga::emulator
