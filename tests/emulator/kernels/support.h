// What the tests of the kernels share: cases compiled once, and runs of one under several schedules
// with the same bytes as result.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "tests/emulator/emulator.h"

namespace renga::emulator {

// The memory and the launches of one run of a case.
class KernelRun {
 public:
  KernelRun(const KernelLibrary& library, const Schedule& schedule)
      : library_(library), schedule_(schedule) {}

  template <typename T>
  T* Input(const std::string& name, const std::vector<T>& values) {
    T* base = Output<T>(name, values.size());
    if (base == nullptr) return nullptr;
    const auto* bytes = reinterpret_cast<const uint8_t*>(values.data());
    EXPECT_TRUE(emulator_.memory().Write(base, {bytes, values.size() * sizeof(T)}).ok());
    return base;
  }
  // Memory that the kernel has to fill before anything reads it.
  template <typename T>
  T* Output(const std::string& name, size_t count) {
    auto base = emulator_.memory().Allocate(name, count * sizeof(T));
    EXPECT_TRUE(base.ok()) << base.status();
    return base.ok() ? static_cast<T*>(*base) : nullptr;
  }
  template <typename T>
  std::vector<T> Read(const T* from, size_t count) {
    std::vector<T> values(count);
    auto* bytes = reinterpret_cast<uint8_t*>(values.data());
    const absl::Status status = emulator_.memory().Read(from, {bytes, count * sizeof(T)});
    EXPECT_TRUE(status.ok()) << status;
    return values;
  }
  template <typename Args>
  void Launch(const std::string& name, Dim3 grid, unsigned threads, size_t shared_bytes,
              Args args) {
    const auto kernel = library_.Find(name);
    ASSERT_TRUE(kernel.ok()) << kernel.status();
    LaunchOptions options;
    options.schedule = schedule_;
    options.overlaps_previous = true;
    const absl::Status status =
        emulator_.Launch(**kernel, {grid, {threads}, shared_bytes}, options, args);
    ASSERT_TRUE(status.ok()) << status;
  }

 private:
  const KernelLibrary& library_;
  Schedule schedule_;
  Emulator emulator_;
};

// Runs `body`, which returns what the kernel computed, under several schedules. All must give the
// same bytes: a kernel's sums do not depend on who comes first.
template <typename T>
std::vector<T> UnderAllSchedules(const KernelLibrary& library,
                                 const std::function<std::vector<T>(KernelRun&)>& body) {
  using Kind = Schedule::Kind;
  const Schedule schedules[] = {
      {Kind::kForward, 0}, {Kind::kReverse, 0}, {Kind::kRandom, 1}, {Kind::kSkewed, 1}};
  std::vector<T> first;
  for (const Schedule& schedule : schedules) {
    KernelRun run(library, schedule);
    std::vector<T> result = body(run);
    if (testing::Test::HasFatalFailure()) return {};
    if (first.empty()) first = result;
    EXPECT_EQ(first.size(), result.size());
    EXPECT_TRUE(std::memcmp(first.data(), result.data(), first.size() * sizeof(T)) == 0)
        << "the schedule changes the result";
  }
  return first;
}

// The sources as one library; a kernel's name is the source's.
inline std::unique_ptr<KernelLibrary> CompileCases(
    const std::map<std::string, std::string>& text_of_kernel) {
  std::vector<KernelSource> sources;
  for (const auto& [name, text] : text_of_kernel) {
    sources.push_back({.name = StrCat(name, ".cu"), .text = text, .kernels = {name}});
  }
  auto library =
      KernelLibrary::Compile({.compiler = RENGA_CXX_COMPILER,
                              .root = RENGA_SOURCE_DIR,
                              .cache_folder = StrCat(RENGA_BINARY_DIR, "/emulator_cache"),
                              .flags = {"-Wno-unknown-pragmas"}},
                             sources);
  EXPECT_TRUE(library.ok()) << library.status();
  return library.ok() ? *std::move(library) : nullptr;
}

}  // namespace renga::emulator
