// Speed of the cpu target's linear kernel: bytes of weight and multiply-adds a second, by type and
// shape.
//
//   cpu_linear_bench [threads] [type...]
//
// Types that the layout rows8 accepts have a second line, for it.
// The last column is from the processor time of the process and so also holds on a busy machine,
// with one thread (waiting threads burn time). Weights are random blocks with ordinary scales. For
// one token, successive calls walk through copies that together exceed the caches, as a model's
// layers do.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <random>
#include <string>
#include <vector>

#include "ir/base/packing.h"
#include "runtime/device/cpu/kernels.h"

namespace renga::cpu {
namespace {

using Clock = std::chrono::steady_clock;

struct Case {
  DType type;
  int64_t n;
  int64_t k;
  int64_t tokens;
  std::string layout;  // empty: as in the file
};

plan::TensorType Type(DType type, int64_t rows, int64_t columns, std::string layout = "") {
  return {type, {{-1, rows}, {-1, columns}}, std::move(layout)};
}

// Prints one row of the table; false when the kernel refuses.
bool Measure(const Case& c, ThreadPool& pool) {
  const plan::TensorType x_type = Type(DType::kF32, c.tokens, c.k);
  const plan::TensorType w_type = Type(c.type, c.n, c.k, c.layout);
  const plan::TensorType y_type = Type(DType::kF32, c.tokens, c.n);
  const plan::TensorType* inputs[] = {&x_type, &w_type};
  const plan::TensorType* outputs[] = {&y_type};
  const auto kernel = kLinear.prepare({"bench", inputs, outputs, {}, {}});
  if (!kernel.ok()) {
    std::printf("%s\n", std::string(kernel.status().message()).c_str());
    return false;
  }

  const int64_t bytes = RowBytes(c.type, c.k) * ((c.n + 7) / 8 * 8);
  const int64_t copies = c.tokens == 1 ? std::max<int64_t>(1, (int64_t{96} << 20) / bytes) : 1;
  // Whole words of a quiet pattern: no scale is an infinity or NaN in any type.
  std::vector<uint8_t> weight(bytes * copies);
  std::minstd_rand random(1);
  for (uint8_t& byte : weight) byte = static_cast<uint8_t>(random() >> 8 & 0x3F);
  std::vector<float> x(c.tokens * c.k), y(c.tokens * c.n);
  for (float& v : x) v = static_cast<float>(random() % 2001) / 1000.0f - 1.0f;

  const auto ref = [](void* data, DType type, int64_t a, int64_t b) {
    return TensorRef{static_cast<uint8_t*>(data), type, 2, {a, b, 1, 1}};
  };
  const TensorRef out = ref(y.data(), DType::kF32, c.tokens, c.n);
  int64_t calls = 0;
  const auto call = [&] {
    const TensorRef in[] = {ref(x.data(), DType::kF32, c.tokens, c.k),
                            ref(weight.data() + calls++ % copies * bytes, c.type, c.n, c.k)};
    (*kernel)({in, {&out, 1}, pool});
  };
  call();
  calls = 0;
  const std::clock_t cpu_start = std::clock();
  const Clock::time_point start = Clock::now();
  double seconds = 0;
  do {
    call();
    seconds = std::chrono::duration<double>(Clock::now() - start).count();
  } while (seconds < 0.15);
  const double cpu =
      static_cast<double>(std::clock() - cpu_start) / CLOCKS_PER_SEC / static_cast<double>(calls);
  const double each = seconds / static_cast<double>(calls);
  const double macs = static_cast<double>(c.tokens * c.n * c.k);
  std::printf(
      "%-8s %-6s %6lld x %5lld  T %3lld  %9.1f us  %6.2f GB/s  %6.1f GFLOP/s   cpu: "
      "%6.2f GB/s  %6.1f GFLOP/s\n",
      std::string(Name(c.type)).c_str(), c.layout.c_str(), static_cast<long long>(c.n),
      static_cast<long long>(c.k), static_cast<long long>(c.tokens), each * 1e6,
      static_cast<double>(bytes) / each / 1e9, 2 * macs / each / 1e9,
      static_cast<double>(bytes) / cpu / 1e9, 2 * macs / cpu / 1e9);
  return true;
}

int Main(int argc, char** argv) {
  ThreadPool pool(argc > 1 ? std::atoi(argv[1]) : 2);
  std::vector<DType> types;
  for (int i = 2; i < argc; ++i) {
    const std::optional<DType> type = DTypeFromName(argv[i]);
    if (!type.has_value()) {
      std::fprintf(stderr, "unknown type %s\n", argv[i]);
      return 2;
    }
    types.push_back(*type);
  }
  if (types.empty()) {
    types = {DType::kF32,  DType::kF16,    DType::kBF16,   DType::kQ8_0, DType::kQ4_0, DType::kQ4_1,
             DType::kQ5_0, DType::kQ5_1,   DType::kQ4_K,   DType::kQ5_K, DType::kQ6_K, DType::kQ2_K,
             DType::kQ3_K, DType::kIQ4_NL, DType::kIQ4_XS, DType::kMXFP4};
  }
  constexpr int64_t kShapes[][2] = {{896, 896},    {4864, 896}, {896, 4864},
                                    {151936, 896}, {576, 576},  {1536, 576}};
  for (const DType type : types) {
    for (const auto& [n, k] : kShapes) {
      // Models keep such rows in types with blocks of 32; here blocks of 256 take the next
      // multiple.
      const int64_t block = Info(type).block_elements;
      const int64_t columns = (k + block - 1) / block * block;
      for (const int64_t tokens : {1, 512}) {
        if (tokens > 1 && n > 100000) continue;  // only the last token's logits are computed
        if (n > 100000 && type == DType::kF32) continue;
        const Layout* rows8 = FindLayout("rows8");
        if (!Measure({type, n, columns, tokens, ""}, pool)) break;
        if (Accepts(*rows8, type)) Measure({type, n, columns, tokens, "rows8"}, pool);
      }
    }
  }
  return 0;
}

}  // namespace
}  // namespace renga::cpu

int main(int argc, char** argv) { return renga::cpu::Main(argc, argv); }
