// The primitive operators of Renga's graphs as plain loops, for programs that reproduce one node
// without Renga: docs/ir.md has the formulas. Sums are double. Written into every repro.cc.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <map>
#include <numeric>
#include <string>
#include <vector>

namespace repro {

// Row-major, outermost size first. i32 in `i`, all others in `f`, rounded to what `type` can hold.
struct Tensor {
  std::string type;  // f32, f16, bf16, i32, or of a cache q8_0, q4_0, f8_e4m3
  std::vector<int64_t> shape;
  std::vector<float> f;
  std::vector<int32_t> i;

  int64_t elements() const {
    int64_t n = 1;
    for (const int64_t size : shape) n *= size;
    return n;
  }
};

struct Attr {
  double number = 0;
  std::string text;
};
using Attrs = std::map<std::string, Attr>;
using Operands = std::vector<const Tensor*>;  // null where an optional one is absent

inline Tensor Make(const std::string& type, std::vector<int64_t> shape) {
  Tensor tensor;
  tensor.type = type;
  tensor.shape = std::move(shape);
  if (type == "i32") {
    tensor.i.assign(static_cast<size_t>(tensor.elements()), 0);
  } else {
    tensor.f.assign(static_cast<size_t>(tensor.elements()), 0.0f);
  }
  return tensor;
}

// The numbers as they lie in a file: i32, or f32 whatever the type.
inline Tensor Load(const std::string& path, const std::string& type, std::vector<int64_t> shape) {
  Tensor tensor = Make(type, std::move(shape));
  std::ifstream file(path, std::ios::binary);
  void* const to = type == "i32" ? static_cast<void*>(tensor.i.data()) : tensor.f.data();
  file.read(static_cast<char*>(to), static_cast<std::streamsize>(tensor.elements() * 4));
  if (!file || file.peek() != std::ifstream::traits_type::eof()) {
    std::fprintf(stderr, "%s: expected %lld numbers of 4 bytes\n", path.c_str(),
                 static_cast<long long>(tensor.elements()));
    std::exit(2);
  }
  return tensor;
}

// To the nearest number of so many bits behind the point, ties to even.
inline double RoundBits(double x, int bits, int least_exponent) {
  if (x == 0 || !std::isfinite(x)) return x;
  int exponent = 0;
  std::frexp(x, &exponent);
  const int unit = std::max(exponent - 1, least_exponent) - bits;
  return std::ldexp(std::nearbyint(std::ldexp(x, -unit)), unit);
}
inline float RoundHalf(double x) {
  const double rounded = RoundBits(x, 10, -14);
  const double infinity = std::numeric_limits<double>::infinity();
  return static_cast<float>(std::abs(rounded) > 65504 ? std::copysign(infinity, x) : rounded);
}

// Numbers of 3 bits behind the point down to 2^-6, at most 448 in size.
inline float RoundE4M3(double x) {
  const double rounded = RoundBits(x, 3, -6);
  return static_cast<float>(std::abs(rounded) > 448 ? std::copysign(448, x) : rounded);
}

// Blocks of 32 numbers n d: n whole in -127..127, d the largest size / 127 as f16.
inline void RoundQ8(float* x) {
  double largest = 0;
  for (int k = 0; k < 32; ++k) largest = std::max(largest, std::abs(double{x[k]}));
  const double step = largest / 127, stored = RoundHalf(step);
  for (int k = 0; k < 32; ++k) {
    x[k] = step == 0 ? 0 : static_cast<float>(std::nearbyint(x[k] / step) * stored);
  }
}

// H x, H[i,j] = (-1)^|i & j| / sqrt(32), of 32 numbers.
inline void Turn(const double* in, double* out) {
  for (unsigned a = 0; a < 32; ++a) {
    double sum = 0;
    for (unsigned b = 0; b < 32; ++b) {
      int ones = 0;
      for (unsigned both = a & b; both != 0; both &= both - 1) ++ones;
      sum += ones % 2 == 0 ? in[b] : -in[b];
    }
    out[a] = sum / std::sqrt(32.0);
  }
}

// Of y = H x: numbers n d, n in -8..7, then H again.
inline void RoundQ4(float* x) {
  double in[32], y[32], extreme = 0;
  std::copy(x, x + 32, in);
  Turn(in, y);
  for (const double value : y) {
    if (std::abs(value) > std::abs(extreme)) extreme = value;
  }
  const double step = extreme / -8, stored = RoundHalf(step);
  for (double& value : y) {
    if (step == 0) break;
    value = std::min(7.0, std::max(-8.0, std::floor(value / step + 0.5))) * stored;
  }
  Turn(y, in);
  for (int k = 0; k < 32; ++k) x[k] = static_cast<float>(in[k]);
}

inline void RoundRow(const std::string& type, float* x, int64_t n) {
  for (int64_t k = 0; k < n; ++k) {
    if (type == "f16") x[k] = RoundHalf(x[k]);
    if (type == "bf16") x[k] = static_cast<float>(RoundBits(x[k], 7, -126));
    if (type == "f8_e4m3") x[k] = RoundE4M3(x[k]);
    if (type == "q8_0" && k % 32 == 0) RoundQ8(x + k);
    if (type == "q4_0" && k % 32 == 0) RoundQ4(x + k);
  }
}

inline std::vector<Tensor> One(Tensor tensor) {
  RoundRow(tensor.type, tensor.f.data(), static_cast<int64_t>(tensor.f.size()));
  std::vector<Tensor> results;
  results.push_back(std::move(tensor));
  return results;
}

// y = a + b
inline std::vector<Tensor> add(const Operands& in, const Attrs&) {
  Tensor y = *in[0];
  for (size_t k = 0; k < y.f.size(); ++k) y.f[k] += in[1]->f[k];
  return One(std::move(y));
}

// y[..] = the lowest i with the largest x[..,i]; -1 where one is NaN or +inf, or all are -inf
inline std::vector<Tensor> arg_max(const Operands& in, const Attrs&) {
  const Tensor& x = *in[0];
  const int64_t width = x.shape.back();
  Tensor y = Make("i32", {x.shape.begin(), x.shape.end() - 1});
  for (int64_t row = 0; row < y.elements(); ++row) {
    const float* const values = x.f.data() + row * width;
    float largest = -std::numeric_limits<float>::infinity();
    int32_t best = -1;
    for (int64_t k = 0; k < width; ++k) {
      if (std::isnan(values[k]) || values[k] == std::numeric_limits<float>::infinity()) {
        best = -1;
        break;
      }
      if (values[k] <= largest) continue;
      largest = values[k];
      best = static_cast<int32_t>(k);
    }
    y.i[row] = best;
  }
  return One(std::move(y));
}

// y[t,:] = table[tokens[t],:]
inline std::vector<Tensor> embed(const Operands& in, const Attrs&) {
  const int64_t width = in[1]->shape[1];
  Tensor y = Make("f32", {in[0]->shape[0], width});
  for (int64_t t = 0; t < y.shape[0]; ++t) {
    std::copy_n(in[1]->f.begin() + in[0]->i[t] * width, width, y.f.begin() + t * width);
  }
  return One(std::move(y));
}

// y[r,..] = x[rows[r],..]
inline std::vector<Tensor> gather_rows(const Operands& in, const Attrs&) {
  std::vector<int64_t> shape = in[0]->shape;
  shape[0] = in[1]->shape[0];
  Tensor y = Make(in[0]->type, shape);
  const int64_t width = y.elements() / std::max<int64_t>(shape[0], 1);
  for (int64_t r = 0; r < shape[0]; ++r) {
    std::copy_n(in[0]->f.begin() + in[1]->i[r] * width, width, y.f.begin() + r * width);
  }
  return One(std::move(y));
}

// y[..,i] = x[..,i] weight[i] / sqrt(mean_j(x[..,j]^2) + eps)
inline std::vector<Tensor> rms_norm(const Operands& in, const Attrs& attrs) {
  Tensor y = *in[0];
  const int64_t width = y.shape.back();
  for (int64_t row = 0; row < y.elements() / width; ++row) {
    float* const x = y.f.data() + row * width;
    double sum = 0;
    for (int64_t k = 0; k < width; ++k) sum += double{x[k]} * x[k];
    const double scale = 1 / std::sqrt(sum / static_cast<double>(width) + attrs.at("eps").number);
    for (int64_t k = 0; k < width; ++k) x[k] = static_cast<float>(x[k] * scale * in[1]->f[k]);
  }
  return One(std::move(y));
}

// y[..,n] = sum_k weight[n,k] x[..,k] + bias[n]
inline std::vector<Tensor> linear(const Operands& in, const Attrs&) {
  const int64_t rows = in[1]->shape[0], width = in[1]->shape[1];
  std::vector<int64_t> shape = in[0]->shape;
  shape.back() = rows;
  Tensor y = Make(in[0]->type, shape);
  for (int64_t t = 0; t < in[0]->elements() / width; ++t) {
    for (int64_t n = 0; n < rows; ++n) {
      double sum = 0;
      for (int64_t k = 0; k < width; ++k) {
        sum += double{in[1]->f[n * width + k]} * in[0]->f[t * width + k];
      }
      if (in[2] != nullptr) sum += in[2]->f[n];
      y.f[t * rows + n] = static_cast<float>(sum);
    }
  }
  return One(std::move(y));
}

// y[..] = activation(gate[..]) up[..]
inline std::vector<Tensor> glu(const Operands& in, const Attrs& attrs) {
  Tensor y = *in[0];
  const bool silu = attrs.at("activation").text == "silu";
  for (size_t k = 0; k < y.f.size(); ++k) {
    const double x = y.f[k];
    const double gated =
        silu ? x / (1 + std::exp(-x))
             : 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
    y.f[k] = static_cast<float>(gated * in[1]->f[k]);
  }
  return One(std::move(y));
}

inline std::vector<Tensor> split_heads(const Operands& in, const Attrs& attrs) {
  Tensor y = *in[0];
  const int64_t heads = static_cast<int64_t>(attrs.at("heads").number);
  y.shape = {y.shape[0], heads, y.shape[1] / heads};
  return One(std::move(y));
}

inline std::vector<Tensor> merge_heads(const Operands& in, const Attrs&) {
  Tensor y = *in[0];
  y.shape = {y.shape[0], y.shape[1] * y.shape[2]};
  return One(std::move(y));
}

// y[..,i] = x[..,start + i]
inline std::vector<Tensor> slice(const Operands& in, const Attrs& attrs) {
  const int64_t width = in[0]->shape.back();
  const int64_t start = static_cast<int64_t>(attrs.at("start").number);
  std::vector<int64_t> shape = in[0]->shape;
  shape.back() = static_cast<int64_t>(attrs.at("size").number);
  Tensor y = Make(in[0]->type, shape);
  for (int64_t k = 0; k < y.elements(); ++k) {
    y.f[k] = in[0]->f[k / shape.back() * width + start + k % shape.back()];
  }
  return One(std::move(y));
}

// The angle of pair `p` a position.
inline double Frequency(const Attrs& attrs, const Tensor* factors, int64_t p) {
  const double dims = attrs.at("dims").number, base = attrs.at("base").number;
  double frequency = std::pow(base, -2.0 * static_cast<double>(p) / dims);
  if (factors != nullptr) frequency /= factors->f[p];
  const std::string& scaling = attrs.at("scaling").text;
  if (scaling == "linear") frequency /= attrs.at("factor").number;
  if (scaling == "yarn") {
    const auto pair_of = [&](const char* turns) {
      const double context = attrs.at("original_context").number;
      return dims * std::log(context / (6.283185307179586 * attrs.at(turns).number)) /
             (2 * std::log(base));
    };
    const double low = std::max(0.0, std::floor(pair_of("beta_fast")));
    const double high = std::min(dims - 1, std::ceil(pair_of("beta_slow")));
    const double at = (static_cast<double>(p) - low) / std::max(0.001, high - low);
    const double ramp = 1 - std::min(1.0, std::max(0.0, at));
    frequency *= ramp + (1 - ramp) / attrs.at("factor").number;
  }
  return frequency;
}

// (a, b) -> magnitude (a cos(p f) - b sin(p f), a sin(p f) + b cos(p f)) of one head
template <typename T>
void Rotate(const Attrs& attrs, const Tensor* factors, double position, T* x) {
  const int64_t pairs = static_cast<int64_t>(attrs.at("dims").number) / 2;
  const bool neox = attrs.at("pairing").text == "neox";
  for (int64_t p = 0; p < pairs; ++p) {
    const double angle = position * Frequency(attrs, factors, p);
    const double c = std::cos(angle) * attrs.at("magnitude").number;
    const double s = std::sin(angle) * attrs.at("magnitude").number;
    const int64_t first = neox ? p : 2 * p, second = neox ? p + pairs : 2 * p + 1;
    const double a = x[first], b = x[second];
    x[first] = static_cast<T>(a * c - b * s);
    x[second] = static_cast<T>(a * s + b * c);
  }
}

inline std::vector<Tensor> rope(const Operands& in, const Attrs& attrs) {
  Tensor y = *in[0];
  const int64_t heads = y.shape[1], width = y.shape[2];
  for (int64_t row = 0; row < y.shape[0] * heads; ++row) {
    Rotate(attrs, in[2], in[1]->i[row / heads], y.f.data() + row * width);
  }
  return One(std::move(y));
}

// cache[cells[t],:,:] = x[t,:,:]
inline std::vector<Tensor> kv_append(const Operands& in, const Attrs&) {
  Tensor cache = *in[0];
  const int64_t width = cache.shape[1] * cache.shape[2];
  for (int64_t t = 0; t < in[1]->shape[0]; ++t) {
    float* const cell = cache.f.data() + in[2]->i[t] * width;
    std::copy_n(in[1]->f.begin() + t * width, width, cell);
    RoundRow(cache.type, cell, width);
  }
  std::vector<Tensor> results;
  results.push_back(std::move(cache));
  return results;
}

// The cell of position j, or -1: pages[sequence, j / page_tokens] says where.
inline int64_t CellOf(const Tensor& pages, int64_t sequence, int64_t j, const Attrs& attrs) {
  const int64_t tokens = static_cast<int64_t>(attrs.at("page_tokens").number);
  if (j / tokens >= pages.shape[1]) return -1;
  const int64_t page = pages.i[sequence * pages.shape[1] + j / tokens];
  return page < 0 ? -1 : page * tokens + j % tokens;
}

// s[t,h,j] = scale sum_d q[t,h,d] (k_cache[cell(t,j)] + rope_j(k_bias))[h / (H/K), d]
inline std::vector<Tensor> attn_scores(const Operands& in, const Attrs& attrs) {
  const Tensor &q = *in[0], &cache = *in[1], &sequences = *in[2], &pages = *in[3];
  const int64_t heads = q.shape[1], width = q.shape[2], kv_heads = cache.shape[1];
  const int64_t span = static_cast<int64_t>(attrs.at("span").number);
  Tensor s = Make("f32", {q.shape[0], heads, span});
  for (int64_t j = 0; j < span; ++j) {
    std::vector<double> bias(static_cast<size_t>(kv_heads * width), 0.0);
    if (in[4] != nullptr) {
      std::copy(in[4]->f.begin(), in[4]->f.end(), bias.begin());
      for (int64_t h = 0; h < kv_heads; ++h) {
        Rotate(attrs, nullptr, static_cast<double>(j), bias.data() + h * width);
      }
    }
    for (int64_t t = 0; t < q.shape[0]; ++t) {
      const int64_t cell = CellOf(pages, sequences.i[t], j, attrs);
      for (int64_t h = 0; cell >= 0 && h < heads; ++h) {
        const int64_t head = h / (heads / kv_heads);
        double sum = 0;
        for (int64_t d = 0; d < width; ++d) {
          sum += q.f[(t * heads + h) * width + d] *
                 (cache.f[(cell * kv_heads + head) * width + d] + bias[head * width + d]);
        }
        s.f[(t * heads + h) * span + j] = static_cast<float>(attrs.at("scale").number * sum);
      }
    }
  }
  return One(std::move(s));
}

// p[t,h,j] = softmax over the visible j of s[t,h,j] (and the sink)
inline std::vector<Tensor> masked_softmax(const Operands& in, const Attrs& attrs) {
  Tensor p = *in[0];
  const int64_t heads = p.shape[1], span = p.shape[2];
  const bool causal = attrs.at("causal").number != 0;
  const double window = attrs.at("window").number;
  for (int64_t row = 0; row < p.shape[0] * heads; ++row) {
    const int64_t position = in[1]->i[row / heads];
    const auto visible = [&](int64_t j) {
      return (!causal || j <= position) &&
             (window == 0 || static_cast<double>(position - j) < window);
    };
    float* const x = p.f.data() + row * span;
    const Tensor* const sinks = in[2];
    double most = -std::numeric_limits<double>::infinity();
    if (sinks != nullptr) most = sinks->f[row % heads];
    for (int64_t j = 0; j < span; ++j) {
      if (visible(j)) most = std::max(most, double{x[j]});
    }
    double sum = sinks != nullptr ? std::exp(sinks->f[row % heads] - most) : 0;
    for (int64_t j = 0; j < span; ++j) {
      if (visible(j)) sum += std::exp(x[j] - most);
    }
    for (int64_t j = 0; j < span; ++j) {
      x[j] = visible(j) ? static_cast<float>(std::exp(x[j] - most) / sum) : 0;
    }
  }
  return One(std::move(p));
}

// y[t,h,d] = sum_j p[t,h,j] v_cache[cell(t,j), h / (H/K), d]
inline std::vector<Tensor> attn_values(const Operands& in, const Attrs& attrs) {
  const Tensor &p = *in[0], &cache = *in[1], &sequences = *in[2], &pages = *in[3];
  const int64_t heads = p.shape[1], span = p.shape[2];
  const int64_t kv_heads = cache.shape[1], width = cache.shape[2];
  Tensor y = Make("f32", {p.shape[0], heads, width});
  for (int64_t row = 0; row < p.shape[0] * heads; ++row) {
    const int64_t head = row % heads / (heads / kv_heads);
    std::vector<double> sum(static_cast<size_t>(width), 0.0);
    for (int64_t j = 0; j < span; ++j) {
      const double weight = p.f[row * span + j];
      const int64_t cell = weight == 0 ? -1 : CellOf(pages, sequences.i[row / heads], j, attrs);
      for (int64_t d = 0; cell >= 0 && d < width; ++d) {
        sum[d] += weight * cache.f[(cell * kv_heads + head) * width + d];
      }
    }
    for (int64_t d = 0; d < width; ++d) y.f[row * width + d] = static_cast<float>(sum[d]);
  }
  return One(std::move(y));
}

// experts[t,:], weights[t,:] = the used largest of softmax(scores[t,:])
inline std::vector<Tensor> moe_route(const Operands& in, const Attrs& attrs) {
  const int64_t tokens = in[0]->shape[0], experts = in[0]->shape[1];
  const int64_t used = static_cast<int64_t>(attrs.at("used").number);
  std::vector<Tensor> results = {Make("i32", {tokens, used}), Make("f32", {tokens, used})};
  for (int64_t t = 0; t < tokens; ++t) {
    const float* const x = in[0]->f.data() + t * experts;
    const double most = *std::max_element(x, x + experts);
    std::vector<double> p;
    for (int64_t e = 0; e < experts; ++e) p.push_back(std::exp(x[e] - most));
    const double all = std::accumulate(p.begin(), p.end(), 0.0);
    for (double& share : p) share /= all;
    std::vector<int32_t> order(static_cast<size_t>(experts));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return p[a] > p[b]; });
    double total = 1;
    if (attrs.at("normalise").number != 0) {
      total = 0;
      for (int64_t u = 0; u < used; ++u) total += p[order[u]];
      total = std::max(total, 0x1p-14);
    }
    for (int64_t u = 0; u < used; ++u) {
      results[0].i[t * used + u] = order[u];
      results[1].f[t * used + u] = static_cast<float>(p[order[u]] / total);
    }
  }
  return results;
}

// y[t,u,n] = sum_k weight[experts[t,u],n,k] x[t,(u,)k]
inline std::vector<Tensor> expert_linear(const Operands& in, const Attrs&) {
  const Tensor &x = *in[0], &weight = *in[1], &experts = *in[2];
  const int64_t used = experts.shape[1], rows = weight.shape[1], width = weight.shape[2];
  Tensor y = Make("f32", {experts.shape[0], used, rows});
  for (int64_t tu = 0; tu < experts.elements(); ++tu) {
    const float* const from = x.f.data() + (x.shape.size() == 2 ? tu / used : tu) * width;
    for (int64_t n = 0; n < rows; ++n) {
      double sum = 0;
      for (int64_t k = 0; k < width; ++k) {
        sum += double{weight.f[(experts.i[tu] * rows + n) * width + k]} * from[k];
      }
      y.f[tu * rows + n] = static_cast<float>(sum);
    }
  }
  return One(std::move(y));
}

// y[t,n] = sum_u weights[t,u] x[t,u,n]
inline std::vector<Tensor> expert_sum(const Operands& in, const Attrs&) {
  const int64_t tokens = in[0]->shape[0], used = in[0]->shape[1], width = in[0]->shape[2];
  Tensor y = Make(in[0]->type, {tokens, width});
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t n = 0; n < width; ++n) {
      double sum = 0;
      for (int64_t u = 0; u < used; ++u) {
        sum += double{in[1]->f[t * used + u]} * in[0]->f[(t * used + u) * width + n];
      }
      y.f[t * width + n] = static_cast<float>(sum);
    }
  }
  return One(std::move(y));
}

// Says how far `got` is from `expected`, relative (root mean square) and where it is worst; whether
// that is within `tolerance`. A NaN or infinity on one side alone never is.
inline bool Compare(const std::string& name, const Tensor& expected, const Tensor& got,
                    double tolerance) {
  double error = 0, size = 0, most = 0;
  int64_t worst = 0, odd = 0;
  const int64_t n = expected.elements();
  for (int64_t k = 0; k < n; ++k) {
    const double a = expected.i.empty() ? expected.f[k] : expected.i[k];
    const double b = got.i.empty() ? got.f[k] : got.i[k];
    if (!std::isfinite(a) || !std::isfinite(b)) {
      const bool same = a == b || (std::isnan(a) && std::isnan(b));
      if (!same && odd++ == 0) worst = k;
      continue;
    }
    error += (a - b) * (a - b);
    size += a * a;
    if (odd == 0 && std::abs(a - b) > most) {
      most = std::abs(a - b);
      worst = k;
    }
  }
  const double relative = error == 0 ? 0 : size == 0 ? HUGE_VAL : std::sqrt(error / size);
  const bool good = odd == 0 && (expected.i.empty() ? relative <= tolerance : error == 0);
  std::printf("%s: %s, relative error %.3g (allowed %.3g)", name.c_str(),
              good ? "as expected" : "WRONG", relative, tolerance);
  if (odd > 0) std::printf(", %lld lone NaN or infinite", static_cast<long long>(odd));
  if (!good) {
    std::string at;
    int64_t rest = worst, inner = n;
    for (const int64_t dim : expected.shape) {
      inner /= dim;
      at += (at.empty() ? "" : ",") + std::to_string(rest / inner);
      rest %= inner;
    }
    std::printf("; at [%s] expected %.9g, got %.9g", at.c_str(),
                expected.i.empty() ? expected.f[worst] : expected.i[worst],
                got.i.empty() ? got.f[worst] : got.i[worst]);
  }
  std::printf("\n");
  return good;
}

}  // namespace repro
