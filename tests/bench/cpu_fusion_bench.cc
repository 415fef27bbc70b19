// Speed of the cpu target's fused linear steps against the steps they replace.
//
//   cpu_fusion_bench [threads]
//
// Times are processor time of the process, which with one thread also holds on a busy machine; the
// two are measured in turns, and the best of the turns counts. Successive calls walk through copies
// of the weights that exceed the caches, as a model's layers do.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <random>
#include <string>
#include <vector>

#include "runtime/device/cpu/kernels.h"

namespace renga::cpu {
namespace {

struct Tensor {
  plan::TensorType type;
  std::vector<int64_t> sizes;
  std::vector<uint8_t> bytes;

  Tensor(DType dtype, std::vector<int64_t> dims) : sizes(std::move(dims)) {
    type.dtype = dtype;
    int64_t elements = 1;
    for (int64_t size : sizes) {
      type.shape.push_back({-1, size});
      elements *= size;
    }
    bytes.resize(RowBytes(dtype, elements));
  }
  TensorRef Ref() {
    TensorRef ref{bytes.data(), type.dtype, static_cast<int>(sizes.size())};
    std::copy(sizes.begin(), sizes.end(), ref.dims);
    return ref;
  }
};

// A kernel with its tensors.
class Step {
 public:
  Step(const KernelDef& kernel, std::vector<Tensor*> in, Tensor* out,
       std::vector<plan::Attr> attrs) {
    std::vector<const plan::TensorType*> types;
    for (Tensor* tensor : in) {
      types.push_back(&tensor->type);
      in_.push_back(tensor->Ref());
    }
    const plan::TensorType* out_type = &out->type;
    out_ = out->Ref();
    auto prepared = kernel.prepare({"bench", types, {&out_type, 1}, attrs, {}});
    if (!prepared.ok()) {
      std::printf("%s\n", std::string(prepared.status().message()).c_str());
      std::exit(1);
    }
    run_ = *std::move(prepared);
  }
  void Run(ThreadPool& pool) const { run_({in_, {&out_, 1}, pool}); }

 private:
  PreparedKernel run_;
  std::vector<TensorRef> in_;
  TensorRef out_;
};

void Fill(Tensor& tensor, int seed) {
  std::minstd_rand random(seed);
  if (tensor.type.dtype == DType::kF32) {
    float* to = reinterpret_cast<float*>(tensor.bytes.data());
    std::generate_n(to, tensor.bytes.size() / 4,
                    [&] { return static_cast<float>(random() % 2001) / 1000.0f - 1.0f; });
    return;
  }
  // A quiet pattern: no scale is an infinity or NaN in any type.
  for (uint8_t& byte : tensor.bytes) byte = static_cast<uint8_t>(random() >> 8 & 0x3F);
}

// Seconds of processor time a call of `steps`, over `calls` calls.
double Time(const std::vector<std::vector<Step>>& layers, int64_t calls, ThreadPool& pool) {
  const std::clock_t start = std::clock();
  for (int64_t i = 0; i < calls; ++i) {
    for (const Step& step : layers[i % layers.size()]) step.Run(pool);
  }
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC / static_cast<double>(calls);
}

void Measure(DType type, int64_t n, int64_t k, int64_t tokens, ThreadPool& pool) {
  const int64_t layers = std::max<int64_t>(1, (int64_t{48} << 20) / (2 * RowBytes(type, k) * n));
  Tensor x(DType::kF32, {tokens, k}), residual(DType::kF32, {tokens, n});
  Fill(x, 1);
  Fill(residual, 2);
  Tensor a = residual, b = residual, y = residual;
  std::vector<Tensor> weights;
  for (int64_t i = 0; i < 2 * layers; ++i) {
    weights.push_back(Tensor(type, {n, k}));
    Fill(weights.back(), static_cast<int>(i));
  }
  using Tensors = std::vector<Tensor*>;
  const std::vector<plan::Attr> silu = {{"activation", std::string("silu")}};
  std::vector<std::vector<Step>> mlp(layers), gate_up(layers), sum(layers), linear_add(layers);
  for (int64_t i = 0; i < layers; ++i) {
    Tensor *g = &weights[2 * i], *u = &weights[2 * i + 1];
    mlp[i].emplace_back(kLinear, Tensors{&x, g}, &a, std::vector<plan::Attr>());
    mlp[i].emplace_back(kLinear, Tensors{&x, u}, &b, std::vector<plan::Attr>());
    mlp[i].emplace_back(kGlu, Tensors{&a, &b}, &y, silu);
    gate_up[i].emplace_back(kGateUp, Tensors{&x, g, u}, &y, silu);
    sum[i].emplace_back(kLinear, Tensors{&x, g}, &a, std::vector<plan::Attr>());
    sum[i].emplace_back(kAdd, Tensors{&residual, &a}, &y, std::vector<plan::Attr>());
    linear_add[i].emplace_back(kLinearAdd, Tensors{&residual, &x, g}, &y,
                               std::vector<plan::Attr>());
  }
  const auto compare = [&](const char* name, const auto& apart, const auto& fused) {
    const int64_t calls = std::max<int64_t>(
        1, static_cast<int64_t>(0.03 / (Time(apart, std::min<int64_t>(layers, 3), pool) + 1e-6)));
    double best_apart = 1e9, best_fused = 1e9;
    for (int turn = 0; turn < 9; ++turn) {
      best_apart = std::min(best_apart, Time(apart, calls, pool));
      best_fused = std::min(best_fused, Time(fused, calls, pool));
    }
    std::printf("%-6s %5lld x %5lld  T %3lld  %-10s  apart %9.1f us  fused %9.1f us  ratio %.3f\n",
                std::string(Name(type)).c_str(), static_cast<long long>(n),
                static_cast<long long>(k), static_cast<long long>(tokens), name, best_apart * 1e6,
                best_fused * 1e6, best_apart / best_fused);
  };
  compare("gate_up", mlp, gate_up);
  compare("linear_add", sum, linear_add);
}

int Main(int argc, char** argv) {
  ThreadPool pool(argc > 1 ? std::atoi(argv[1]) : 1);
  for (const int64_t tokens : {1, 128}) {
    Measure(DType::kQ4_1, 1536, 576, tokens, pool);
    Measure(DType::kQ5_0, 4864, 896, tokens, pool);
    Measure(DType::kQ5_0, 896, 896, tokens, pool);
    Measure(DType::kQ4_K, 896, 4864, tokens, pool);
    Measure(DType::kF16, 896, 896, tokens, pool);
  }
  return 0;
}

}  // namespace
}  // namespace renga::cpu

int main(int argc, char** argv) { return renga::cpu::Main(argc, argv); }
