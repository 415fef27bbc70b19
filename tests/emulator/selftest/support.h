// What the emulator's own tests share: its kernels compiled once, schedules to run them under,
// numbers to feed them.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "tests/emulator/emulator.h"

namespace renga::emulator {

inline std::string KernelFile(const std::string& name) {
  return StrCat(RENGA_SOURCE_DIR, "/tests/emulator/selftest/kernels/", name);
}

inline CompileOptions TestCompileOptions() {
  return {.compiler = RENGA_CXX_COMPILER,
          .root = RENGA_SOURCE_DIR,
          .cache_folder = StrCat(RENGA_BINARY_DIR, "/emulator_cache")};
}

inline const std::vector<std::string>& KernelFiles() {
  static const auto& files = *new std::vector<std::string>{
      "chain.cu",    "every_primitive.cu", "faults_async.cu", "faults_memory.cu", "flash_decode.cu",
      "gemm_mma.cu", "gemm_wgmma.cu",      "primitives.cu",   "split_k.cu"};
  return files;
}

// All kernels of the tests, or why not.
inline const absl::StatusOr<std::unique_ptr<KernelLibrary>>& TestKernels() {
  static const auto& library = *new absl::StatusOr<std::unique_ptr<KernelLibrary>>([] {
    std::vector<KernelSource> sources;
    for (const std::string& file : KernelFiles()) {
      auto source = ReadKernelSource(KernelFile(file));
      if (!source.ok()) return absl::StatusOr<std::unique_ptr<KernelLibrary>>(source.status());
      source->name = file;
      sources.push_back(*std::move(source));
    }
    return KernelLibrary::Compile(TestCompileOptions(), sources);
  }());
  return library;
}

inline const Kernel& TestKernel(const std::string& name) {
  const auto& library = TestKernels();
  static const Kernel& none = *new Kernel;
  if (!library.ok()) {
    ADD_FAILURE() << library.status();
    return none;
  }
  auto kernel = (*library)->Find(name);
  if (!kernel.ok()) {
    ADD_FAILURE() << kernel.status();
    return none;
  }
  return **kernel;
}

struct NamedSchedule {
  std::string name;
  Schedule schedule;
};
inline const std::vector<NamedSchedule>& TestSchedules() {
  using Kind = Schedule::Kind;
  static const auto& schedules = *new std::vector<NamedSchedule>{
      {"forward", {Kind::kForward, 0}}, {"reverse", {Kind::kReverse, 0}},
      {"random 1", {Kind::kRandom, 1}}, {"random 2", {Kind::kRandom, 2}},
      {"random 3", {Kind::kRandom, 3}}, {"skewed 1", {Kind::kSkewed, 1}},
      {"skewed 2", {Kind::kSkewed, 2}}};
  return schedules;
}

// Numbers between -1 and 1 that depend on their place alone.
inline float Noise(uint64_t at) {
  uint64_t z = (at + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  return static_cast<float>(static_cast<int64_t>(z ^ z >> 27) >> 40) / 8388608.0f;
}
inline std::vector<float> NoiseOf(size_t count, uint64_t seed) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = Noise(seed * 1000003 + i);
  return values;
}

inline uint16_t HalfBits(float value) {
  const auto half = static_cast<_Float16>(value);
  uint16_t bits;
  memcpy(&bits, &half, sizeof(bits));
  return bits;
}
inline float HalfValue(uint16_t bits) {
  _Float16 half;
  memcpy(&half, &bits, sizeof(half));
  return static_cast<float>(half);
}
inline std::vector<uint16_t> HalvesOf(const std::vector<float>& values) {
  std::vector<uint16_t> halves;
  for (const float value : values) halves.push_back(HalfBits(value));
  return halves;
}

inline std::vector<float> ValuesOf(const std::vector<uint16_t>& halves) {
  std::vector<float> values;
  for (const uint16_t half : halves) values.push_back(HalfValue(half));
  return values;
}

// A buffer with these values; an address that is wrong everywhere where that fails.
template <typename T>
T* Upload(Emulator* emulator, const std::string& name, const std::vector<T>& values) {
  auto base = emulator->memory().Allocate(name, values.size() * sizeof(T));
  EXPECT_TRUE(base.ok()) << base.status();
  if (!base.ok()) return nullptr;
  const auto* bytes = reinterpret_cast<const uint8_t*>(values.data());
  EXPECT_TRUE(emulator->memory().Write(*base, {bytes, values.size() * sizeof(T)}).ok());
  return static_cast<T*>(*base);
}
template <typename T>
T* Fresh(Emulator* emulator, const std::string& name, size_t count) {
  auto base = emulator->memory().Allocate(name, count * sizeof(T));
  EXPECT_TRUE(base.ok()) << base.status();
  return base.ok() ? static_cast<T*>(*base) : nullptr;
}
template <typename T>
std::vector<T> Download(Emulator* emulator, const T* from, size_t count) {
  std::vector<T> values(count);
  auto* bytes = reinterpret_cast<uint8_t*>(values.data());
  const absl::Status status = emulator->memory().Read(from, {bytes, count * sizeof(T)});
  EXPECT_TRUE(status.ok()) << status;
  return values;
}

}  // namespace renga::emulator
