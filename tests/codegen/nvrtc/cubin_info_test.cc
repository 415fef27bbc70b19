#include "codegen/nvrtc/cubin_info.h"

#include <fstream>
#include <iterator>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "tests/codegen/nvrtc/cubin_writer.h"

namespace renga::codegen {
namespace {

using testing::HasSubstr;

std::string RealCubin(std::string_view name) {
  std::ifstream in(StrCat(RENGA_SOURCE_DIR, "/tests/data/cubin/", name), std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

const char* const kRealCubins[] = {"two.sm_80.nvrtc12.1.cubin", "two.sm_80.nvrtc13.0.cubin",
                                   "two.sm_90a.nvrtc13.0.cubin"};

// What ptxas itself reported when these were made (tests/data/README.md).
TEST(ReadCubin, SaysWhatPtxasSaid) {
  const struct {
    const char* file;
    int sm;
    int64_t shares_registers;
  } cases[] = {{kRealCubins[0], 80, 12}, {kRealCubins[1], 80, 12}, {kRealCubins[2], 90, 10}};
  for (const auto& [file, sm, registers] : cases) {
    const auto info = ReadCubin(RealCubin(file));
    ASSERT_TRUE(info.ok()) << file << ": " << info.status();
    EXPECT_EQ(info->sm, sm) << file;
    ASSERT_EQ(info->kernels.size(), 2u) << file;
    EXPECT_EQ(info->kernels[0], (KernelResources{"shares", registers, 0, 400, 128, 20, 640}))
        << file << " " << info->kernels[0].registers << " " << info->kernels[0].static_shared;
    EXPECT_EQ(info->kernels[1], (KernelResources{"stacks", 10, 64, 0, 0, 16, 640})) << file;
    EXPECT_EQ(info->Find("stacks"), &info->kernels[1]);
    EXPECT_EQ(info->Find("stack"), nullptr);
  }
}

TEST(ReadCubin, DeviceFunctionsAreNoKernels) {
  const auto info = ReadCubin(
      WriteCubin(90, {{.name = "k", .registers = 40}, {.name = "helper", .is_entry = false}}));
  ASSERT_TRUE(info.ok()) << info.status();
  ASSERT_EQ(info->kernels.size(), 1u);
  EXPECT_EQ(info->kernels[0].registers, 40);
}

// The driver's KiB counts in the file from sm_90 on, and is never reported.
TEST(ReadCubin, SharedMemoryIsWithoutTheReservedKiB) {
  for (const auto& [sm, in_file, expected] : std::vector<std::array<int64_t, 3>>{{80, 400, 400},
                                                                                 {86, 2048, 2048},
                                                                                 {89, 0, 0},
                                                                                 {90, 1424, 400},
                                                                                 {100, 1024, 0},
                                                                                 {120, 0, 0}}) {
    const auto info = ReadCubin(WriteCubin(
        static_cast<int>(sm), {{.name = "k", .shared = static_cast<uint64_t>(in_file)}}));
    ASSERT_TRUE(info.ok()) << info.status();
    EXPECT_EQ(info->sm, sm);
    EXPECT_EQ(info->kernels[0].static_shared, expected) << sm << " " << in_file;
  }
}

TEST(ReadCubin, ParametersCountFromTheFirst) {
  const auto info = ReadCubin(WriteCubin(
      90, {{.name = "a", .parameters = 240, .parameter_offsets = {48}},
           {.name = "b", .parameters = 240, .parameter_offsets = {48, 0}},
           {.name = "c", .parameters = 56},
           {.name = "d", .parameters = 8, .parameter_offsets = {65535}}}));  // nobody writes that
  ASSERT_TRUE(info.ok()) << info.status();
  std::vector<int64_t> bytes;
  for (const KernelResources& kernel : info->kernels) bytes.push_back(kernel.parameter_bytes);
  EXPECT_THAT(bytes, testing::ElementsAre(192, 240, 56, 0));
}

TEST(ReadCubin, RefusesWhatIsNone) {
  const auto error = [](std::string_view bytes) {
    const auto info = ReadCubin(bytes);
    EXPECT_EQ(info.status().code(), absl::StatusCode::kDataLoss) << bytes.size();
    return std::string(info.status().message());
  };
  EXPECT_THAT(error(""), HasSubstr("cubin: expected an ELF image, got 0 other bytes"));
  EXPECT_THAT(error(std::string(500, 'x')), HasSubstr("expected an ELF image"));
  std::string bytes = WriteCubin(90, {{.name = "k"}});
  bytes[18] = 62;  // x86-64
  EXPECT_THAT(error(bytes), HasSubstr("expected a 64-bit CUDA image"));
  EXPECT_THAT(error(WriteCubin(90, {{.name = "k", .registers = 0}})),
              HasSubstr("kernel k has 0 registers, expected 1 to 255"));
  EXPECT_THAT(error(WriteCubin(90, {{.name = "k", .registers = 256}})), HasSubstr("256 registers"));
  EXPECT_THAT(error(WriteCubin(90, {{.name = "k", .shared = uint64_t{1} << 40}})),
              HasSubstr("claims 1099511627776 bytes of shared memory"));
  EXPECT_THAT(error(WriteCubin(90, {{.name = std::string(2000, 'n')}})), HasSubstr("has no name"));
}

// At most the program headers, five of 56 bytes at the end, are not read.
TEST(ReadCubin, EveryTruncationIsAnError) {
  for (const char* file : kRealCubins) {
    const std::string whole = RealCubin(file);
    ASSERT_GT(whole.size(), 5000u);
    for (size_t size = 0; size < whole.size() - 5 * 56; ++size) {
      EXPECT_FALSE(ReadCubin(whole.substr(0, size)).ok()) << file << " cut to " << size;
    }
  }
}

// Junk may be read as other numbers, never as impossible ones, and never crashes (the sanitizers
// watch for reads outside).
TEST(ReadCubin, SurvivesMutations) {
  std::mt19937 random(20261126);
  const auto below = [&](size_t n) {
    return std::uniform_int_distribution<size_t>(0, n - 1)(random);
  };
  std::vector<std::string> seeds = {
      WriteCubin(120, {{.name = "a", .stack = 8, .shared = 3000, .threads = 256}, {.name = "b"}})};
  for (const char* file : kRealCubins) seeds.push_back(RealCubin(file));
  const uint64_t nasty[] = {0,
                            1,
                            63,
                            64,
                            0x7f,
                            0xff,
                            0x7fff,
                            0xffff,
                            0x7fffffff,
                            0xffffffff,
                            uint64_t{1} << 63,
                            ~uint64_t{0},
                            ~uint64_t{0} - 63};
  int64_t accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string bytes = seeds[below(seeds.size())];
    // Half of the hits go where the structure is: the header and the tables named there.
    uint64_t table = 0;
    memcpy(&table, &bytes[40], sizeof(table));
    const size_t hits = 1 + below(4);
    for (size_t i = 0; i < hits; ++i) {
      size_t at = below(bytes.size());
      if (below(2) == 0) at = below(2) == 0 ? below(64) : std::min<size_t>(table, bytes.size() - 1);
      if (at == table) at = std::min(at + below(20 * 64), bytes.size() - 1);
      if (below(3) == 0) {
        const uint64_t value = nasty[below(std::size(nasty))];
        memcpy(&bytes[at], &value, std::min<size_t>(size_t{1} << below(4), bytes.size() - at));
      } else {
        bytes[at] = static_cast<char>(below(256));
      }
    }
    if (below(5) == 0) bytes.resize(below(bytes.size()));
    const auto info = ReadCubin(bytes);
    if (!info.ok()) {
      ASSERT_EQ(info.status().code(), absl::StatusCode::kDataLoss);
      continue;
    }
    ++accepted;
    for (const KernelResources& k : info->kernels) {
      ASSERT_TRUE(k.registers >= 1 && k.registers <= 255);
      ASSERT_TRUE(k.static_shared >= 0 && k.static_shared <= int64_t{1} << 31);
      ASSERT_TRUE(k.max_threads >= 0 && k.max_threads <= int64_t{1} << 30);
      ASSERT_TRUE(k.stack_bytes >= 0 && k.parameter_bytes >= 0);
      ASSERT_LE(k.name.size(), 1024u);
    }
  }
  // Both outcomes occur, so the mutations are neither too mild nor too wild to test anything.
  EXPECT_GT(accepted, 1000);
  EXPECT_LT(accepted, 19000);
}

// Sections that overlap would let a small file cost as much as a huge one.
TEST(ReadCubin, OverlapDoesNotMultiplyTheWork) {
  std::vector<FakeKernel> kernels;
  for (int i = 0; i < 1200; ++i) kernels.push_back({.name = StrCat("k", i)});
  EXPECT_THAT(std::string(ReadCubin(WriteCubin(90, kernels)).status().message()),
              HasSubstr("over 1000 kernels"));
  kernels.resize(3);
  std::string bytes = WriteCubin(90, kernels);
  uint64_t table = 0;
  memcpy(&table, &bytes[40], sizeof(table));
  for (uint64_t at = table; at < bytes.size(); at += 64) {
    uint32_t type = 0;
    memcpy(&type, &bytes[at + 4], sizeof(type));
    if (type != 0x70000000) continue;
    const uint64_t start = 0, size = bytes.size();
    memcpy(&bytes[at + 24], &start, 8);
    memcpy(&bytes[at + 32], &size, 8);
  }
  EXPECT_THAT(std::string(ReadCubin(bytes).status().message()),
              testing::AnyOf(HasSubstr("overlap"), HasSubstr("cut off")));
}

}  // namespace
}  // namespace renga::codegen
