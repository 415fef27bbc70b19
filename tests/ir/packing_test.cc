#include "ir/base/packing.h"

#include <random>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/block_fields.h"

namespace renga {
namespace {

using ::testing::HasSubstr;

std::vector<uint8_t> RandomBytes(size_t n, int seed) {
  std::mt19937 random(seed);
  std::vector<uint8_t> bytes(n);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

// Today's layouts, and others that the mechanism must hold: what a GPU's coalesced loads want, odd
// numbers of rows, tiles of several blocks.
std::vector<Layout> Layouts() {
  std::vector<Layout> layouts(AllLayouts().begin(), AllLayouts().end());
  const absl::Span<const DType> types = FindLayout("rows8")->types;
  layouts.push_back({"gpu", "", 32, Layout::kAllBlocks, 16, false, types});
  layouts.push_back({"tiles", "", 5, 3, 2, false, types});
  layouts.push_back({"bits", "", 16, 2, 4, true, types});
  layouts.push_back({"one", "", 1, 1, 1, false, types});
  return layouts;
}

TEST(PackingTest, UnpackIsTheInverseForEveryTypeAndOddSizes) {
  int cases = 0;
  for (const Layout& layout : Layouts()) {
    for (const DType type : layout.types) {
      for (const int64_t blocks : {1, 2, 7}) {
        for (const int64_t rows : {1, 5, 8, 13, 33, 64}) {
          const int64_t k = blocks * Info(type).block_elements;
          SCOPED_TRACE(::testing::Message()
                       << layout.name << " " << Name(type) << " " << rows << "x" << k);
          const std::vector<uint8_t> file =
              RandomBytes(static_cast<size_t>(RowBytes(type, k) * rows), cases++);
          const absl::StatusOr<int64_t> bytes = PackedBytes(layout, type, rows, k);
          ASSERT_TRUE(bytes.ok()) << bytes.status();
          std::vector<uint8_t> packed(static_cast<size_t>(*bytes), 0xAA), back(file.size(), 0x55);
          const absl::Status status = Pack(layout, type, rows, k, file, absl::MakeSpan(packed));
          ASSERT_TRUE(status.ok()) << status;
          ASSERT_TRUE(Unpack(layout, type, rows, k, packed, absl::MakeSpan(back)).ok());
          ASSERT_EQ(back, file);
          // A bijection: as many of each byte as before, and the fill.
          if (layout.spread_bits || layout.mma) continue;  // move bits
          std::multiset<uint8_t> before(file.begin(), file.end());
          for (size_t i = file.size(); i < packed.size(); ++i) before.insert(0);
          ASSERT_EQ(before, std::multiset<uint8_t>(packed.begin(), packed.end()));
        }
      }
    }
  }
}

TEST(PackingTest, FieldsCoverTheBlocks) {
  for (const Layout& layout : AllLayouts()) {
    for (const DType type : layout.types) {
      if (BlockFields(type).empty()) continue;  // plain numbers
      int bytes = 0;
      for (const BlockField& field : BlockFields(type)) bytes += field.bytes;
      EXPECT_EQ(bytes, Info(type).block_bytes) << Name(type);
    }
  }
}

// The formula of packing.h, written again as it stands there.
TEST(PackingTest, BytesLieWhereTheHeaderSays) {
  const Layout layout = {"test", "", 3, 2, 4, false, FindLayout("rows8")->types};
  const DType type = DType::kQ5_K;
  const int64_t rows = 3, blocks = 5, k = blocks * 256, block = Info(type).block_bytes;
  const std::vector<uint8_t> file = RandomBytes(static_cast<size_t>(rows * blocks * block), 1);
  std::vector<uint8_t> packed(file.size());
  ASSERT_TRUE(Pack(layout, type, rows, k, file, absl::MakeSpan(packed)).ok());
  int64_t offset = 0;
  for (const BlockField& field : BlockFields(type)) {
    const int64_t c = std::min(layout.chunk, field.bytes);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t at = 0; at < blocks; ++at) {
        const int64_t tile = at / 2 * 2, b = at - tile, count = std::min<int64_t>(2, blocks - tile);
        for (int64_t j = 0; j < field.bytes; ++j) {
          const int64_t to = rows * tile * block + rows * count * offset +
                             ((b * (field.bytes / c) + j / c) * rows + r) * c + j % c;
          ASSERT_EQ(packed[to], file[(r * blocks + at) * block + offset + j])
              << field.name << " row " << r << " block " << at << " byte " << j;
        }
      }
    }
    offset += field.bytes;
  }
}

TEST(PackingTest, SpreadBitsLieBesideTheirElements) {
  // Row 2's element 4 * 5 + 3 has bit 23 of qh: bit 8 * 3 + 5.
  std::vector<uint8_t> file(22 * 8);
  file[2 * 22 + 2 + 23 / 8] = 1 << 23 % 8;
  std::vector<uint8_t> packed(file.size());
  ASSERT_TRUE(Pack(*FindLayout("rows8"), DType::kQ5_0, 8, 32, file, absl::MakeSpan(packed)).ok());
  std::vector<uint8_t> expected(file.size());
  expected[8 * 2 + 4 * 2 + 3] = 1 << 5;
  EXPECT_EQ(packed, expected);
}

TEST(PackingTest, SaysWhatItDoesNotAccept) {
  const Layout& rows8 = *FindLayout("rows8");
  const auto error = [&](DType type, int64_t rows, int64_t k) {
    const absl::StatusOr<int64_t> bytes = PackedBytes(rows8, type, rows, k);
    return bytes.ok() ? "" : std::string(bytes.status().message());
  };
  EXPECT_THAT(error(DType::kF16, 8, 32), HasSubstr("layout rows8: expected a type of q4_0, q4_1"));
  for (const DTypeInfo& info : AllDTypes()) {
    EXPECT_EQ(Accepts(rows8, info.type), error(info.type, 8, info.block_elements).empty())
        << info.name;
  }
  EXPECT_EQ(error(DType::kQ4_K, 8, 100),
            "layout rows8: expected rows of whole blocks of 256 elements, got 100");
  EXPECT_EQ(error(DType::kQ4_K, -1, 256), "layout rows8: expected a number of rows, got -1");
  EXPECT_THAT(error(DType::kQ8_0, int64_t{1} << 62, 1024), HasSubstr("fewer than 2^63 bytes"));
  EXPECT_THAT(error(DType::kQ8_0, INT64_MAX, 32), HasSubstr("expected a number of rows"));
  std::vector<uint8_t> file(34 * 3), packed(34 * 8);
  EXPECT_TRUE(Pack(rows8, DType::kQ8_0, 3, 32, file, absl::MakeSpan(packed)).ok());
  packed.pop_back();
  EXPECT_THAT(std::string(Pack(rows8, DType::kQ8_0, 3, 32, file, absl::MakeSpan(packed)).message()),
              HasSubstr("expected 102 bytes of rows and 272 packed, got 102 and 271"));
  EXPECT_EQ(FindLayout("rows9"), nullptr);
  EXPECT_EQ(LayoutNames(), "mma, rows8");
}

}  // namespace
}  // namespace renga
