// How long the emulator takes for what kernels are made of. The figures are in docs/emulator.md.
//   build/release/emulator_bench

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

#include "ir/base/strings.h"
#include "tests/emulator/emulator.h"

namespace renga::emulator {
namespace {

constexpr const char* kKernels = R"(
#include "codegen/kernels/primitives.cuh"
using namespace renga::kernels;
extern "C" __global__ void empty() {}
extern "C" __global__ void barriers(int count) {
  for (int i = 0; i < count; ++i) SyncThreads();
}
extern "C" __global__ void shuffles(int count) {
  float x = 1.0f;
  for (int i = 0; i < count; ++i) x = ShuffleXor(x, 1);
}
extern "C" __global__ void products(int count) {
  float c[4] = {};
  const uint32_t a[4] = {}, b[2] = {};
  for (int i = 0; i < count; ++i) MmaF16(c, a, b);
}
extern "C" __global__ void reads_global(const float* x, float* y, int count) {
  float sum = 0.0f;
  for (int i = 0; i < count; ++i) sum += x[i * blockDim.x + threadIdx.x];
  y[threadIdx.x] = sum;
}
extern "C" __global__ void writes_shared(int count) {
  SharedArena arena;
  float* s = arena.Take<float>(1024);
  for (int i = 0; i < count; ++i) s[i % 4 * 256 + threadIdx.x] = i;
}
extern "C" __global__ void wgmma(int count) {
  SharedArena arena;
  uint32_t* tile = arena.Take<uint32_t>(256 * 32, 1024);
  for (int i = threadIdx.x; i < 256 * 32; i += 128) tile[i] = 0u;
  FenceForAsyncProxy();
  SyncThreads();
  float d[128];
  const uint32_t a[4] = {};
  for (int i = 0; i < count; ++i) {
    FenceWgmma();
    Wgmma(d, a, WgmmaTile(tile, i % 4), i > 0);
    CommitWgmma();
    WaitForWgmma<0>();
  }
}
)";

// Seconds of the processor for the fastest of five launches.
template <typename... Values>
double Time(Emulator* emulator, const KernelLibrary& library, const char* kernel,
            const LaunchShape& shape, Values... values) {
  double best = 1e9;
  for (int run = 0; run < 5; ++run) {
    const clock_t start = clock();
    const absl::Status status = emulator->Launch(**library.Find(kernel), shape, {}, values...);
    if (!status.ok()) {
      printf("%s\n", std::string(status.message()).c_str());
      exit(1);
    }
    best = std::min(best, static_cast<double>(clock() - start) / CLOCKS_PER_SEC);
  }
  return best;
}

int Main() {
  const CompileOptions options{.compiler = RENGA_CXX_COMPILER,
                               .root = RENGA_SOURCE_DIR,
                               .cache_folder = StrCat(RENGA_BINARY_DIR, "/emulator_cache")};
  const std::vector<std::string> kernels = {"empty",        "barriers",      "shuffles", "products",
                                            "reads_global", "writes_shared", "wgmma"};
  auto library = KernelLibrary::Compile(options, {{"bench.cu", kKernels, kernels}});
  if (!library.ok()) {
    printf("%s\n", std::string(library.status().message()).c_str());
    return 1;
  }
  Emulator emulator;
  constexpr int kCount = 2000;
  auto* x = static_cast<float*>(*emulator.memory().Allocate("x", kCount * 256 * 4));
  auto* y = static_cast<float*>(*emulator.memory().Allocate("y", 256 * 4));
  if (!emulator.memory()
           .Write(x, std::vector<uint8_t>(static_cast<size_t>(kCount) * 256 * 4))
           .ok()) {
    return 1;
  }
  const LaunchShape block{{1}, {256}, 40000};
  const double empty = Time(&emulator, **library, "empty", {{500}, {256}});
  printf("%-36s %8.1f ns\n", "a thread's start and end", empty / (500 * 256) * 1e9);
  const auto each = [&](const char* what, double seconds, double count) {
    printf("%-36s %8.1f ns\n", what, seconds / count * 1e9);
  };
  each("SyncThreads, a thread of 256", Time(&emulator, **library, "barriers", block, kCount),
       kCount * 256.0);
  each("ShuffleXor, a thread", Time(&emulator, **library, "shuffles", block, kCount),
       kCount * 256.0);
  each("MmaF16, a warp", Time(&emulator, **library, "products", block, kCount), kCount * 8.0);
  each("load of global memory", Time(&emulator, **library, "reads_global", block, x, y, kCount),
       kCount * 256.0);
  each("store to shared memory", Time(&emulator, **library, "writes_shared", block, kCount),
       kCount * 256.0);
  each("Wgmma of 64 x 256 x 16",
       Time(&emulator, **library, "wgmma", {{1}, {128}, 40000}, kCount / 4), kCount / 4.0);
  return 0;
}

}  // namespace
}  // namespace renga::emulator

int main() { return renga::emulator::Main(); }
