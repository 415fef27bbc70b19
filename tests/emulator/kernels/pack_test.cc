// Packing weights on the device gives the bytes that PackForMma gives, padding and exponent too.
#include <algorithm>

#include "codegen/emit/cuda_pack.h"
#include "codegen/emit/kernel_shapes.h"
#include "runtime/plan/pack_weight.h"
#include "tests/emulator/kernels/support.h"
#include "tests/emulator/kernels/weights.h"

namespace renga::emulator {
namespace {

enum class Bytes {
  kRandom,  // infinities and NaN among the scales
  kTame,    // scales of ordinary weights
  kSparse,  // nearly all zero: subnormal scales, or none
  kZero,
};

struct PackCase {
  DType type;
  int64_t rows, k;
  unsigned grid;
  Bytes bytes;
  std::string name;
};

std::vector<PackCase> Cases() {
  constexpr DType kTypes[] = {DType::kF32,  DType::kF16,  DType::kBF16, DType::kQ8_0,
                              DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1,
                              DType::kQ4_K, DType::kQ5_K, DType::kQ6_K, DType::kIQ4_NL,
                              DType::kMXFP4};
  std::vector<PackCase> cases;
  for (const DType type : kTypes) {
    const int64_t block = Info(type).block_elements;
    const auto add = [&](int64_t rows, int64_t k, unsigned grid, Bytes bytes) {
      constexpr std::string_view kNames[] = {"random", "tame", "sparse", "zero"};
      const std::string_view filling = kNames[static_cast<int>(bytes)];
      cases.push_back(
          {type, rows, k, grid, bytes, StrCat(Name(type), "_", rows, "x", k, "_", filling)});
    };
    if (block == 1) {
      add(1, 1, 1, Bytes::kRandom);      // a row of two or four bytes
      add(37, 171, 2, Bytes::kTame);     // rows at odd multiples of two bytes
      add(21, 1120, 3, Bytes::kRandom);  // more than one group
    } else if (block == 32) {
      add(1, 32, 1, Bytes::kRandom);  // less than the shortest step
      add(37, 96, 2, Bytes::kTame);   // steps of the fewest blocks
      add(21, 4 * 96, 2, Bytes::kRandom);
      add(18, 2400, 5, Bytes::kTame);  // more than one group, the last of them not full
    } else {
      add(1, 256, 1, Bytes::kRandom);
      add(37, 768, 2, Bytes::kTame);
      add(18, 2816, 5, Bytes::kRandom);
    }
    add(17, 512, 1, Bytes::kSparse);
    add(3, 256, 1, Bytes::kZero);
  }
  return cases;
}

const std::vector<PackCase> kPackCases = Cases();
RENGA_EACH_CASE(PackOnDevice, PackCase, kPackCases, name);

const CaseLibrary* Library() {
  static const CaseLibrary* library = [] {
    CaseTexts texts;
    for (const PackCase& c : kPackCases) {
      const plan::GpuKernel kernel = codegen::PackGpuKernel(c.type);
      texts[kernel.name] = kernel.source;
    }
    return CompileCases(texts).release();
  }();
  return library;
}

std::vector<uint8_t> FileOf(const PackCase& c, Random* random) {
  if (c.bytes == Bytes::kTame) return MakeWeight(c.type, c.rows, c.k, 0.02f, random).file;
  std::vector<uint8_t> file(static_cast<size_t>(c.rows * RowBytes(c.type, c.k)));
  if (c.bytes == Bytes::kZero) return file;
  for (uint8_t& byte : file) {
    const uint32_t bits = random->Bits();
    byte = static_cast<uint8_t>(c.bytes == Bytes::kRandom ? bits : bits % 97 == 0 ? 1 : 0);
  }
  return file;
}

TEST_P(PackOnDevice, GivesTheBytesOfPackForMma) {
  RENGA_NEED_KERNELS(Library());
  const PackCase& c = GetParam();
  Random random(static_cast<uint32_t>(c.rows * 31 + c.k));
  const std::vector<uint8_t> file = FileOf(c, &random);
  const MmaLayout layout = MmaLayoutOf(c.type, c.rows, c.k).value();
  std::vector<uint8_t> expected(static_cast<size_t>(layout.bytes));
  ASSERT_TRUE(PackForMma(layout, file, absl::MakeSpan(expected)).ok());
  const int64_t row_bytes = RowBytes(c.type, c.k);
  const plan::GpuKernel kernel = codegen::PackGpuKernel(c.type);
  const auto threads = static_cast<unsigned>(kernel.threads);
  const auto shared = static_cast<size_t>(codegen::PackShared(c.type));

  const auto packed = UnderAllSchedules<uint8_t>(*Library(), [&](KernelRun& run) {
    uint8_t* to = run.Input("packed", std::vector<uint8_t>(expected.size()));
    // One tile, then the others, as a weight comes in pieces.
    for (int64_t tile = 0; tile < layout.tiles; tile += std::max<int64_t>(tile, 1)) {
      const int64_t last = tile == 0 ? 1 : layout.tiles;
      const int64_t rows = std::min(last * 16, c.rows) - tile * 16;
      std::vector<uint8_t> piece(file.begin() + tile * 16 * row_bytes,
                                 file.begin() + (tile * 16 + rows) * row_bytes);
      piece.resize((piece.size() + 3) / 4 * 4, 0xee);
      plan::PackWeightArgs args = plan::PackWeightArgsOf(layout);
      args.packed = reinterpret_cast<uint64_t>(to);
      args.file = reinterpret_cast<uint64_t>(run.Input(StrCat("rows of tile ", tile), piece));
      args.first_tile = tile;
      args.rows = static_cast<int32_t>(rows);
      args.tiles = static_cast<int32_t>(last - tile);
      run.Launch(kernel.name, {c.grid}, threads, shared, args);
      if (last == layout.tiles) break;
    }
    plan::PackWeightArgs end = plan::PackWeightArgsOf(layout);
    end.packed = reinterpret_cast<uint64_t>(to);
    end.finish = 1;
    run.Launch(kernel.name, {1}, threads, shared, end);
    return run.Read(to, expected.size());
  });
  if (HasFatalFailure()) return;
  ASSERT_EQ(packed.size(), expected.size());
  const auto differ = std::mismatch(packed.begin(), packed.end(), expected.begin());
  EXPECT_TRUE(differ.first == packed.end())
      << "byte " << differ.first - packed.begin() << " of " << packed.size() << " (tail at "
      << layout.tail_offset << "): " << int{*differ.first} << ", expected " << int{*differ.second};
}

}  // namespace
}  // namespace renga::emulator
