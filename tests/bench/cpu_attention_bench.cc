// Speed of the cpu target's attention: one fused step, and its variant that reads the caches as
// they are stored, against the three steps they replace; and the fused step with caches in q8_0 and
// in q4_0, keys without their bias (docs/kv-types.md).
//
//   cpu_attention_bench [threads]
//
// Times are processor time of the process, which with one thread also holds on a busy machine; the
// two are measured in turns, and the best of the turns counts. Successive calls walk through
// several caches, as a model's layers do.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "runtime/device/cpu/kernels.h"

namespace renga::cpu {
namespace {

constexpr int64_t kPage = 16;
constexpr int64_t kLayers = 8;

struct Case {
  int64_t heads, kv_heads, width;
  int64_t tokens;
  int64_t span;  // key positions; the tokens are the last of them
};

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
      types.push_back(tensor == nullptr ? nullptr : &tensor->type);
      in_.push_back(tensor == nullptr ? TensorRef() : tensor->Ref());
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
  const auto next = [&] { return static_cast<float>(random() % 2001) / 1000.0f - 1.0f; };
  if (tensor.type.dtype == DType::kF32) {
    float* to = reinterpret_cast<float*>(tensor.bytes.data());
    std::generate_n(to, tensor.bytes.size() / 4, next);
  } else if (Info(tensor.type.dtype).block_elements > 1) {
    // Blocks whatever they hold, scales among them small numbers.
    std::generate(tensor.bytes.begin(), tensor.bytes.end(),
                  [&] { return static_cast<uint8_t>(random() % 48); });
  } else {
    uint16_t* to = reinterpret_cast<uint16_t*>(tensor.bytes.data());
    std::generate_n(to, tensor.bytes.size() / 2, [&] { return FloatToHalf(next()); });
  }
}

// Seconds of processor time a call of `steps`, over `calls` calls.
double Time(const std::vector<std::vector<Step>>& layers, int64_t calls, ThreadPool& pool) {
  const std::clock_t start = std::clock();
  for (int64_t i = 0; i < calls; ++i) {
    for (const Step& step : layers[i % layers.size()]) step.Run(pool);
  }
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC / static_cast<double>(calls);
}

// The fused step of each layer with caches of `type` and a bias of keys. What it reads is kept in
// `tensors`.
std::vector<std::vector<Step>> Quantised(const Case& c, DType type, std::vector<Tensor*> in,
                                         Tensor* y, std::vector<plan::Attr> attrs,
                                         std::vector<std::unique_ptr<Tensor>>* tensors) {
  const std::vector<int64_t> sizes = {in[1]->sizes[0], c.kv_heads, c.width};
  const auto add = [&](DType dtype, std::vector<int64_t> shape) {
    tensors->push_back(std::make_unique<Tensor>(dtype, std::move(shape)));
    Fill(*tensors->back(), static_cast<int>(tensors->size()));
    return tensors->back().get();
  };
  for (plan::Attr& attr : std::vector<plan::Attr>{{"base", 1e6},
                                                  {"dims", c.width},
                                                  {"factor", 1.0},
                                                  {"magnitude", 1.0},
                                                  {"pairing", std::string("neox")},
                                                  {"scaling", std::string("none")}}) {
    attrs.push_back(std::move(attr));
  }
  in.push_back(nullptr);  // sinks
  in.push_back(add(DType::kF32, {c.kv_heads * c.width}));
  std::vector<std::vector<Step>> steps(kLayers);
  for (std::vector<Step>& step : steps) {
    in[1] = add(type, sizes);
    in[2] = add(type, sizes);
    step.emplace_back(kAttention, in, y, attrs);
  }
  return steps;
}

void Measure(const Case& c, ThreadPool& pool) {
  const int64_t pages = (c.span + kPage - 1) / kPage;
  Tensor q(DType::kF32, {c.tokens, c.heads, c.width}), y = q, other = q;
  Tensor s(DType::kF32, {c.tokens, c.heads, c.span}), p = s;
  Tensor positions(DType::kI32, {c.tokens}), sequences = positions;
  Tensor table(DType::kI32, {1, pages});
  Fill(q, 1);
  int32_t* at = reinterpret_cast<int32_t*>(positions.bytes.data());
  std::iota(at, at + c.tokens, static_cast<int32_t>(c.span - c.tokens));
  int32_t* page = reinterpret_cast<int32_t*>(table.bytes.data());
  std::iota(page, page + pages, 0);
  std::vector<Tensor> caches;
  for (int i = 0; i < 2 * kLayers; ++i) {
    caches.push_back(Tensor(DType::kF16, {pages * kPage, c.kv_heads, c.width}));
    Fill(caches.back(), i);
  }
  const plan::Attr page_tokens{"page_tokens", kPage}, scale{"scale", 0.125};
  const plan::Attr causal{"causal", true}, window{"window", int64_t{0}};
  std::vector<std::vector<Step>> apart(kLayers), fused(kLayers), direct(kLayers);
  const bool whole_vectors = c.width % 16 == 0, whole_blocks = c.width % 32 == 0;
  std::vector<std::vector<Step>> q8, q4;
  std::vector<std::unique_ptr<Tensor>> quantised;
  for (int64_t i = 0; i < kLayers; ++i) {
    Tensor *k = &caches[2 * i], *v = &caches[2 * i + 1];
    apart[i].emplace_back(kAttnScores, std::vector<Tensor*>{&q, k, &sequences, &table}, &s,
                          std::vector<plan::Attr>{page_tokens, scale});
    apart[i].emplace_back(kMaskedSoftmax, std::vector<Tensor*>{&s, &positions}, &p,
                          std::vector<plan::Attr>{causal, window});
    apart[i].emplace_back(kAttnValues, std::vector<Tensor*>{&p, v, &sequences, &table}, &other,
                          std::vector<plan::Attr>{page_tokens});
    const std::vector<Tensor*> in = {&q, k, v, &positions, &sequences, &table};
    const std::vector<plan::Attr> attrs = {causal, page_tokens, scale, window};
    fused[i].emplace_back(kAttention, in, &y, attrs);
    direct[i].emplace_back(whole_vectors ? kAttentionDirect : kAttention, in, &y, attrs);
    if (i > 0 || !whole_blocks) continue;
    q8 = Quantised(c, DType::kQ8_0, in, &y, attrs, &quantised);
    q4 = Quantised(c, DType::kQ4_0, in, &y, attrs, &quantised);
  }
  const int64_t calls =
      std::max<int64_t>(kLayers, static_cast<int64_t>(0.02 / (Time(apart, kLayers, pool) + 1e-6)));
  double best_apart = 1e9, best_fused = 1e9, best_direct = 1e9, best_q8 = 1e9, best_q4 = 1e9;
  for (int turn = 0; turn < 7; ++turn) {
    best_apart = std::min(best_apart, Time(apart, calls, pool));
    best_fused = std::min(best_fused, Time(fused, calls, pool));
    best_direct = std::min(best_direct, Time(direct, calls, pool));
    if (!whole_blocks) continue;
    best_q8 = std::min(best_q8, Time(q8, calls, pool));
    best_q4 = std::min(best_q4, Time(q4, calls, pool));
  }
  const double macs = 2.0 * static_cast<double>(c.heads * c.width) *
                      static_cast<double>(c.tokens * (2 * c.span - c.tokens + 1) / 2);
  std::printf(
      "%2lld/%lld heads of %3lld  T %3lld  L %4lld  three steps %9.1f us  attention %9.1f us "
      "%6.1f GFLOP/s  ratio %.2f  direct %9.1f us  ratio %.2f",
      static_cast<long long>(c.heads), static_cast<long long>(c.kv_heads),
      static_cast<long long>(c.width), static_cast<long long>(c.tokens),
      static_cast<long long>(c.span), best_apart * 1e6, best_fused * 1e6,
      2 * macs / best_fused / 1e9, best_apart / best_fused, best_direct * 1e6,
      best_fused / best_direct);
  if (whole_blocks) std::printf("  q8_0 %9.1f us  q4_0 %9.1f us", best_q8 * 1e6, best_q4 * 1e6);
  std::printf("\n");
}

int Main(int argc, char** argv) {
  ThreadPool pool(argc > 1 ? std::atoi(argv[1]) : 1);
  for (const auto& [heads, kv_heads, width] :
       {std::array<int64_t, 3>{14, 2, 64}, {9, 3, 64}, {8, 8, 128}, {8, 4, 8}}) {
    for (const int64_t span : {1, 5, 17, 64, 100, 512, 4096}) {
      for (const int64_t tokens : {1, 4, 128}) {
        if (tokens <= span) Measure({heads, kv_heads, width, tokens, span}, pool);
      }
    }
  }
  return 0;
}

}  // namespace
}  // namespace renga::cpu

int main(int argc, char** argv) { return renga::cpu::Main(argc, argv); }
