// What the tests of the kernels share: cases compiled once, and several runs of one with the same
// bytes as result.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "tests/emulator/cases/case_library.h"

namespace renga::emulator {

// The memory and the launches of one run of a case, on whatever device.
class KernelRun {
 public:
  explicit KernelRun(std::unique_ptr<CaseRun> run) : run_(std::move(run)) {}

  template <typename T>
  T* Input(const std::string& name, const std::vector<T>& values) {
    T* base = Output<T>(name, values.size());
    if (base == nullptr) return nullptr;
    const auto* bytes = reinterpret_cast<const uint8_t*>(values.data());
    const absl::Status status = run_->Write(base, {bytes, values.size() * sizeof(T)});
    EXPECT_TRUE(status.ok()) << status;
    return base;
  }
  // Memory that the kernel has to fill before anything reads it.
  template <typename T>
  T* Output(const std::string& name, size_t count) {
    auto base = run_->Allocate(name, count * sizeof(T));
    EXPECT_TRUE(base.ok()) << base.status();
    return base.ok() ? static_cast<T*>(*base) : nullptr;
  }
  template <typename T>
  std::vector<T> Read(const T* from, size_t count) {
    std::vector<T> values(count);
    auto* bytes = reinterpret_cast<uint8_t*>(values.data());
    const absl::Status status = run_->Read(from, {bytes, count * sizeof(T)});
    EXPECT_TRUE(status.ok()) << status;
    return values;
  }
  template <typename Args>
  void Launch(const std::string& name, Dim3 grid, unsigned threads, size_t shared_bytes,
              Args args) {
    void* arguments[] = {&args};
    const absl::Status status = run_->Launch(
        name,
        {.grid = grid, .threads = threads, .shared_bytes = shared_bytes, .overlaps_previous = true},
        arguments);
    ASSERT_TRUE(status.ok()) << status;
  }
  // What a kernel takes as `Map`, a tensor map of 128 bytes.
  template <typename Map>
  void EncodeMap(const TensorMapSpec& spec, Map* map) {
    const absl::StatusOr<EncodedTensorMap> encoded = run_->EncodeMap(spec);
    ASSERT_TRUE(encoded.ok()) << encoded.status();
    static_assert(sizeof(Map) == sizeof(EncodedTensorMap));
    std::memcpy(map, &*encoded, sizeof(Map));
  }
  void Finish() {
    const absl::Status status = run_->Finish();
    ASSERT_TRUE(status.ok()) << status;
  }

 private:
  std::unique_ptr<CaseRun> run_;
};

// Runs `body`, which returns what the kernel computed, as often as the device asks for: under
// several schedules on the emulator, three times on a GPU. All must give the same bytes: a kernel's
// sums do not depend on who comes first.
template <typename T>
std::vector<T> UnderAllSchedules(const CaseLibrary& library,
                                 const std::function<std::vector<T>(KernelRun&)>& body) {
  std::vector<T> first;
  for (int i = 0; i < library.runs(); ++i) {
    auto started = library.Start(i);
    EXPECT_TRUE(started.ok()) << started.status();
    if (!started.ok()) return {};
    KernelRun run(*std::move(started));
    std::vector<T> result = body(run);
    if (!testing::Test::HasFatalFailure()) run.Finish();
    if (testing::Test::HasFatalFailure()) return {};
    if (first.empty()) first = result;
    EXPECT_EQ(first.size(), result.size());
    EXPECT_TRUE(std::memcmp(first.data(), result.data(), first.size() * sizeof(T)) == 0)
        << "run " << i << " gives another result than the first";
  }
  return first;
}

// The sources as one library; a kernel's name is the source's.
inline std::unique_ptr<CaseLibrary> CompileCases(const CaseTexts& texts) {
  auto library = CompileCaseLibrary({.compiler = RENGA_CXX_COMPILER,
                                     .root = RENGA_SOURCE_DIR,
                                     .cache_folder = StrCat(RENGA_BINARY_DIR, "/emulator_cache"),
                                     .flags = {"-Wno-unknown-pragmas"}},
                                    texts);
  EXPECT_TRUE(library.ok()) << library.status();
  return library.ok() ? *std::move(library) : nullptr;
}

// A test for each case, whose `name` (a member or a member function's result) it has:
//   RENGA_EACH_CASE(LinearTest, LinearCase, kLinearCases, Name());
//   TEST_P(LinearTest, AgainstPlainLoops) { ... GetParam() ... }
// One that fails says which, and the others still run.
#define RENGA_EACH_CASE(Suite, Case, cases, name)                      \
  void PrintTo(const Case& one, std::ostream* os) { *os << one.name; } \
  class Suite : public testing::TestWithParam<Case> {};                \
  INSTANTIATE_TEST_SUITE_P(                                            \
      Each, Suite, testing::ValuesIn(cases),                           \
      [](const testing::TestParamInfo<Case>& info) { return std::string(info.param.name); })

}  // namespace renga::emulator

// At the start of a test: goes on where the kernels of `library` (of CompileCases) can run. Where
// they are only compiled the test has passed.
#define RENGA_NEED_KERNELS(library)                                         \
  ASSERT_NE(library, nullptr) << "the kernels do not compile";              \
  if (const std::string reason = (library)->skip_reason(); !reason.empty()) \
    GTEST_SKIP() << reason;                                                 \
  if ((library)->runs() == 0) return
