// Speed of the cpu target's fused steps against the steps they replace: of projections one by one,
// then of a layer of Qwen2.5-0.5B (the attention aside, which is one step either way) and its head.
//
//   cpu_fusion_bench [threads]
//
// Times are processor time of the process, which with one thread also holds on a busy machine. The
// two are measured in turns: the best turn of each is printed, and the middle one of the ratios of
// neighbouring turns, which what else the machine does disturbs least. Successive calls walk
// through copies of the weights that exceed the caches, as a model's layers do.
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

using Tensors = std::vector<Tensor*>;
using Attrs = std::vector<plan::Attr>;

// A kernel with its tensors.
class Step {
 public:
  Step(const KernelDef& kernel, const Tensors& in, const Tensors& out, const Attrs& attrs) {
    std::vector<const plan::TensorType*> in_types, out_types;
    for (Tensor* tensor : in) {
      in_types.push_back(tensor == nullptr ? nullptr : &tensor->type);
      in_.push_back(tensor == nullptr ? TensorRef() : tensor->Ref());
    }
    for (Tensor* tensor : out) {
      out_types.push_back(&tensor->type);
      out_.push_back(tensor->Ref());
    }
    auto prepared = kernel.prepare({"bench", in_types, out_types, attrs, {}});
    if (!prepared.ok()) {
      std::printf("%s\n", std::string(prepared.status().message()).c_str());
      std::exit(1);
    }
    run_ = *std::move(prepared);
  }
  void Run(ThreadPool& pool) const { run_({in_, out_, pool}); }

 private:
  PreparedKernel run_;
  std::vector<TensorRef> in_;
  std::vector<TensorRef> out_;
};
using Steps = std::vector<Step>;

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

// Prints what a call of `apart` and one of `fused` take; each has the steps of some layers.
void Compare(const std::string& name, int64_t tokens, const std::vector<Steps>& apart,
             const std::vector<Steps>& fused, ThreadPool& pool) {
  const int64_t layers = static_cast<int64_t>(apart.size());
  const double once = Time(apart, std::min<int64_t>(layers, 3), pool) + 1e-6;
  const int64_t calls = std::max<int64_t>(1, static_cast<int64_t>(0.01 / once));
  const int turns = std::clamp(static_cast<int>(1.0 / (once * static_cast<double>(calls))), 9, 51);
  double best_apart = 1e9, best_fused = 1e9;
  std::vector<double> ratios;
  for (int turn = 0; turn < turns; ++turn) {
    const double a = Time(apart, calls, pool), b = Time(fused, calls, pool);
    best_apart = std::min(best_apart, a);
    best_fused = std::min(best_fused, b);
    ratios.push_back(a / b);
  }
  std::nth_element(ratios.begin(), ratios.begin() + turns / 2, ratios.end());
  std::printf("%-40s  T %3lld  apart %9.1f us  fused %9.1f us  ratio %.3f\n", name.c_str(),
              static_cast<long long>(tokens), best_apart * 1e6, best_fused * 1e6,
              ratios[turns / 2]);
}

void Projections(DType type, int64_t n, int64_t k, int64_t tokens, ThreadPool& pool) {
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
  const Attrs silu = {{"activation", std::string("silu")}};
  std::vector<Steps> mlp(layers), gate_up(layers), sum(layers), linear_add(layers);
  for (int64_t i = 0; i < layers; ++i) {
    Tensor *g = &weights[2 * i], *u = &weights[2 * i + 1];
    mlp[i].emplace_back(kLinear, Tensors{&x, g}, Tensors{&a}, Attrs());
    mlp[i].emplace_back(kLinear, Tensors{&x, u}, Tensors{&b}, Attrs());
    mlp[i].emplace_back(kGlu, Tensors{&a, &b}, Tensors{&y}, silu);
    gate_up[i].emplace_back(kGateUp, Tensors{&x, g, u}, Tensors{&y}, silu);
    sum[i].emplace_back(kLinear, Tensors{&x, g}, Tensors{&a}, Attrs());
    sum[i].emplace_back(kAdd, Tensors{&residual, &a}, Tensors{&y}, Attrs());
    linear_add[i].emplace_back(kLinearAdd, Tensors{&residual, &x, g}, Tensors{&y}, Attrs());
  }
  char name[64];
  std::snprintf(name, sizeof(name), "%s %lldx%lld ", std::string(Name(type)).c_str(),
                static_cast<long long>(n), static_cast<long long>(k));
  Compare(std::string(name) + "gate_up", tokens, mlp, gate_up, pool);
  Compare(std::string(name) + "linear_add", tokens, sum, linear_add, pool);
}

// Weights and caches of a layer of Qwen2.5-0.5B as Q4_K_M stores it (896 is no multiple of 256).
struct LayerWeights {
  Tensor q{DType::kQ5_0, {896, 896}}, k{DType::kQ5_0, {128, 896}}, v{DType::kQ8_0, {128, 896}};
  Tensor o{DType::kQ5_0, {896, 896}}, gate{DType::kQ5_0, {4864, 896}};
  Tensor up{DType::kQ5_0, {4864, 896}}, down{DType::kQ4_K, {896, 4864}};
  Tensor norm{DType::kF32, {896}}, q_bias{DType::kF32, {896}}, kv_bias{DType::kF32, {128}};
  Tensor k_cache{DType::kF16, {512, 2, 64}}, v_cache{DType::kF16, {512, 2, 64}};

  explicit LayerWeights(int seed) {
    for (Tensor* tensor : {&q, &k, &v, &o, &gate, &up, &down, &norm, &q_bias, &kv_bias}) {
      Fill(*tensor, seed);
    }
  }
};

// `x` as `count` heads of a token.
Tensor Heads(int64_t tokens, int64_t count) { return {DType::kF32, {tokens, count, 64}}; }

void Layer(int64_t tokens, ThreadPool& pool) {
  constexpr int kLayers = 6;  // 51 MB
  std::vector<LayerWeights> weights;
  for (int i = 0; i < kLayers; ++i) weights.emplace_back(i);
  Tensor x(DType::kF32, {tokens, 896}), attended = x, positions(DType::kI32, {tokens});
  Fill(x, 1);
  Fill(attended, 2);
  for (int64_t t = 0; t < tokens; ++t) {
    reinterpret_cast<int32_t*>(positions.bytes.data())[t] = static_cast<int32_t>(t + 100);
  }
  Tensor cells = positions, normed = x, o = x, sum = x, down = x, y = x;
  Fill(sum, 3);
  Tensor q_heads = Heads(tokens, 14), k_heads = Heads(tokens, 2), v_heads = Heads(tokens, 2);
  Tensor q = q_heads, k = k_heads, gate(DType::kF32, {tokens, 4864}), up = gate, act = gate;
  // The heads as the projections write them.
  const auto flat = [](Tensor& heads) {
    heads.sizes = {heads.sizes[0], heads.sizes[1] * heads.sizes[2]};
    heads.type.shape = {{-1, heads.sizes[0]}, {-1, heads.sizes[1]}};
  };
  const auto deep = [](Tensor& heads) {
    heads.sizes = {heads.sizes[0], heads.sizes[1] / 64, 64};
    heads.type.shape = {{-1, heads.sizes[0]}, {-1, heads.sizes[1]}, {-1, 64}};
  };
  const Attrs eps = {{"eps", 1e-6}}, silu = {{"activation", std::string("silu")}};
  const Attrs rope = {{"base", 1e6},
                      {"dims", int64_t{64}},
                      {"factor", 1.0},
                      {"magnitude", 1.0},
                      {"pairing", std::string("neox")},
                      {"scaling", std::string("none")}};
  Attrs qkv = rope, act_eps = silu;
  qkv.insert(qkv.end(), {{"eps", 1e-6}, {"kv_heads", int64_t{2}}, {"q_heads", int64_t{14}}});
  act_eps.push_back(eps[0]);
  std::vector<Steps> qkv_apart(kLayers), qkv_fused(kLayers), mlp_apart(kLayers), mlp_fused(kLayers),
      apart(kLayers), fused(kLayers);
  for (int i = 0; i < kLayers; ++i) {
    LayerWeights& w = weights[i];
    Steps& front = qkv_apart[i];
    front.emplace_back(kRmsNorm, Tensors{&x, &w.norm}, Tensors{&normed}, eps);
    for (Tensor* heads : {&q_heads, &k_heads, &v_heads}) flat(*heads);
    front.emplace_back(kLinear, Tensors{&normed, &w.q, &w.q_bias}, Tensors{&q_heads}, Attrs());
    front.emplace_back(kLinear, Tensors{&normed, &w.k, &w.kv_bias}, Tensors{&k_heads}, Attrs());
    front.emplace_back(kLinear, Tensors{&normed, &w.v, &w.kv_bias}, Tensors{&v_heads}, Attrs());
    for (Tensor* heads : {&q_heads, &k_heads, &v_heads}) deep(*heads);
    front.emplace_back(kRope, Tensors{&q_heads, &positions}, Tensors{&q}, rope);
    front.emplace_back(kRope, Tensors{&k_heads, &positions}, Tensors{&k}, rope);
    front.emplace_back(kKvAppend, Tensors{&w.k_cache, &k, &cells}, Tensors{&w.k_cache}, Attrs());
    front.emplace_back(kKvAppend, Tensors{&w.v_cache, &v_heads, &cells}, Tensors{&w.v_cache},
                       Attrs());
    qkv_fused[i].emplace_back(kQkvRope,
                              Tensors{&x, &w.q, &w.k, &w.v, &w.k_cache, &w.v_cache, &positions,
                                      &cells, &w.norm, &w.q_bias, &w.kv_bias, &w.kv_bias},
                              Tensors{&q, &w.k_cache, &w.v_cache}, qkv);

    Steps& mlp = mlp_apart[i];
    mlp.emplace_back(kRmsNorm, Tensors{&sum, &w.norm}, Tensors{&normed}, eps);
    mlp.emplace_back(kLinear, Tensors{&normed, &w.gate}, Tensors{&gate}, Attrs());
    mlp.emplace_back(kLinear, Tensors{&normed, &w.up}, Tensors{&up}, Attrs());
    mlp.emplace_back(kGlu, Tensors{&gate, &up}, Tensors{&act}, silu);
    mlp_fused[i].emplace_back(kGateUp, Tensors{&sum, &w.gate, &w.up, &w.norm}, Tensors{&act},
                              act_eps);

    apart[i] = front;
    apart[i].emplace_back(kLinear, Tensors{&attended, &w.o}, Tensors{&o}, Attrs());
    apart[i].emplace_back(kAdd, Tensors{&x, &o}, Tensors{&sum}, Attrs());
    apart[i].insert(apart[i].end(), mlp.begin(), mlp.end());
    apart[i].emplace_back(kLinear, Tensors{&act, &w.down}, Tensors{&down}, Attrs());
    apart[i].emplace_back(kAdd, Tensors{&sum, &down}, Tensors{&y}, Attrs());
    fused[i] = qkv_fused[i];
    fused[i].emplace_back(kLinearAdd, Tensors{&x, &attended, &w.o}, Tensors{&sum}, Attrs());
    fused[i].push_back(mlp_fused[i][0]);
    fused[i].emplace_back(kLinearAdd, Tensors{&sum, &act, &w.down}, Tensors{&y}, Attrs());
  }
  Compare("qwen2.5-0.5b qkv_rope, 8 steps in 1", tokens, qkv_apart, qkv_fused, pool);
  Compare("qwen2.5-0.5b gate_up, 4 steps in 1", tokens, mlp_apart, mlp_fused, pool);
  Compare("qwen2.5-0.5b layer, 16 steps in 4", tokens, apart, fused, pool);
}

void Head(ThreadPool& pool) {
  constexpr int64_t kVocab = 151936;
  Tensor x(DType::kF32, {1, 896}), normed = x, norm(DType::kF32, {896});
  Tensor weight(DType::kQ8_0, {kVocab, 896}), logits(DType::kF32, {1, kVocab});
  Tensor next(DType::kI32, {1});
  Fill(x, 1);
  Fill(norm, 2);
  Fill(weight, 3);
  const Attrs eps = {{"eps", 1e-6}};
  Steps apart, fused;
  apart.emplace_back(kRmsNorm, Tensors{&x, &norm}, Tensors{&normed}, eps);
  apart.emplace_back(kLinear, Tensors{&normed, &weight}, Tensors{&logits}, Attrs());
  apart.emplace_back(kArgMax, Tensors{&logits}, Tensors{&next}, Attrs());
  fused.emplace_back(kHead, Tensors{&x, &weight, &norm}, Tensors{&logits, &next}, eps);
  Compare("qwen2.5-0.5b head, 3 steps in 1", 1, {apart}, {fused}, pool);
}

int Main(int argc, char** argv) {
  ThreadPool pool(argc > 1 ? std::atoi(argv[1]) : 1);
  for (const int64_t tokens : {1, 128}) {
    Projections(DType::kQ4_1, 1536, 576, tokens, pool);
    Projections(DType::kQ5_0, 4864, 896, tokens, pool);
    Projections(DType::kQ5_0, 896, 896, tokens, pool);
    Projections(DType::kQ4_K, 896, 4864, tokens, pool);
    Projections(DType::kF16, 896, 896, tokens, pool);
  }
  for (const int64_t tokens : {1, 128}) Layer(tokens, pool);
  Head(pool);
  return 0;
}

}  // namespace
}  // namespace renga::cpu

int main(int argc, char** argv) { return renga::cpu::Main(argc, argv); }
