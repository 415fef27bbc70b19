// Compiling kernels for the host: the cache, errors, many sources in one.

#include <filesystem>
#include <map>

#include "tests/emulator/selftest/support.h"
#include "tests/support/temp_folder.h"

namespace renga::emulator {
namespace {

using testing::HasSubstr;

KernelSource Source(const std::string& name, const std::string& body) {
  return {name,
          StrCat("#include \"codegen/kernels/primitives.cuh\"\n"
                 "constexpr int kValue = ",
                 body, ";\nextern \"C\" __global__ void ", name,
                 "(int* y) {\n  y[threadIdx.x] = kValue;\n}\n"),
          {name}};
}

TEST(KernelLibrary, SourcesDoNotSeeEachOthersNames) {
  const TempFolder folder;
  CompileOptions options = TestCompileOptions();
  options.cache_folder = folder.path();
  auto library = KernelLibrary::Compile(options, {Source("one", "1"), Source("two", "2")});
  ASSERT_TRUE(library.ok()) << library.status();
  EXPECT_FALSE((*library)->from_cache());
  const auto give = [](const KernelLibrary& of, const std::map<std::string, int>& values) {
    for (const auto& [name, value] : values) {
      Emulator emulator;
      int* y = Fresh<int>(&emulator, "y", 4);
      const auto kernel = of.Find(name);
      ASSERT_TRUE(kernel.ok()) << kernel.status();
      ASSERT_TRUE(emulator.Launch(**kernel, {{1}, {4}}, {}, y).ok());
      EXPECT_EQ(Download(&emulator, y, 4), std::vector<int>(4, value));
    }
  };
  give(**library, {{"one", 1}, {"two", 2}});
  EXPECT_EQ((*library)->Find("three").status().code(), absl::StatusCode::kNotFound);

  // The same again comes from the cache; another content or flag does not, whatever is beside it.
  auto again = KernelLibrary::Compile(options, {Source("one", "1"), Source("two", "2")});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE((*again)->from_cache());
  auto other = KernelLibrary::Compile(options, {Source("one", "1"), Source("two", "3")});
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_FALSE((*other)->from_cache());
  give(**other, {{"one", 1}, {"two", 3}});
  auto mixed = KernelLibrary::Compile(options, {Source("two", "3"), Source("one", "1")});
  ASSERT_TRUE(mixed.ok()) << mixed.status();
  EXPECT_TRUE((*mixed)->from_cache());
  give(**mixed, {{"one", 1}, {"two", 3}});
  options.flags = {"-DNEW"};
  auto flagged = KernelLibrary::Compile(options, {Source("one", "1"), Source("two", "2")});
  ASSERT_TRUE(flagged.ok()) << flagged.status();
  EXPECT_FALSE((*flagged)->from_cache());
}

TEST(KernelLibrary, ErrorsNameTheSourceAndItsLine) {
  const TempFolder folder;
  CompileOptions options = TestCompileOptions();
  options.cache_folder = folder.path();
  const auto library =
      KernelLibrary::Compile(options, {Source("good", "1"), Source("bad", "wrong")});
  EXPECT_EQ(library.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(library.status().message()), HasSubstr("bad:2:"));
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    EXPECT_NE(entry.path().extension(), ".so");
    EXPECT_NE(entry.path().extension(), ".tmp");
  }
}

TEST(KernelLibrary, AnIntrinsicBesideThePrimitivesIsRefused) {
  const TempFolder folder;
  CompileOptions options = TestCompileOptions();
  options.cache_folder = folder.path();
  KernelSource source = Source("raw", "1");
  source.text += "extern \"C\" __global__ void x(float* y) { __syncthreads(); }\n";
  EXPECT_FALSE(KernelLibrary::Compile(options, {source}).ok());
}

TEST(KernelLibrary, FindsTheKernelsOfAFile) {
  const auto source = ReadKernelSource(KernelFile("flash_decode.cu"));
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_THAT(source->kernels, testing::ElementsAre("flash_decode", "flash_combine"));
  EXPECT_EQ(ReadKernelSource(KernelFile("absent.cu")).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace renga::emulator
