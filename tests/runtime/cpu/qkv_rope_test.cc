// qkv_rope against the kernels it replaces, to the bit, and against the reference interpreter.
#include <cmath>
#include <map>
#include <numeric>
#include <optional>

#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "ir/reference/interpreter.h"
#include "ir/text/parse.h"
#include "tests/runtime/cpu/kernel_harness.h"
#include "tests/runtime/cpu/random_weight.h"

namespace renga::cpu {
namespace {

using ::testing::HasSubstr;

struct Shape {
  DType q = DType::kF32, k = DType::kF32, v = DType::kF32;
  DType cache = DType::kF16;
  std::optional<DType> v_cache = std::nullopt;  // else as k's
  int64_t input = 64, heads = 4, kv_heads = 2, width = 16, v_width = 16, dims = 16;
  bool norm = true, biases = true, head_norms = true, factors = true;
  bool k_biased = true;  // where there are biases
  std::string pairing = "neox", scaling = "none";
};

std::string ToString(const Shape& s) {
  return StrCat(Name(s.q), " ", Name(s.k), " ", Name(s.v), " cache ", Name(s.cache), " input ",
                s.input, " heads ", s.heads, "/", s.kv_heads, " x ", s.width, "/", s.v_width,
                " dims ", s.dims, s.norm ? " norm" : "", s.biases ? " biases" : "",
                s.k_biased ? "" : " but on k", s.head_norms ? " head_norms" : "",
                s.factors ? " factors" : "", " ", s.pairing, " ", s.scaling);
}

constexpr int64_t kCells = 96;
constexpr double kEps = 1e-5, kHeadEps = 1e-6, kMagnitude = 1.25;

// The operands of a step for up to kCells tokens. Tokens have positions and cells of their own.
struct Layer {
  Shape shape;
  Tensor x, q, k, v, k_cache, v_cache, positions, cells, norm, q_bias, k_bias, v_bias, q_norm,
      k_norm, factors;

  Layer(const Shape& s, int64_t tokens) : shape(s) {
    const int64_t q_rows = s.heads * s.width, k_rows = s.kv_heads * s.width;
    const int64_t v_rows = s.kv_heads * s.v_width;
    // Weights are of all sizes: keep the products within half precision.
    x = Tensor::Floats({tokens, s.input}, RandomFloats(tokens * s.input, 1, s.norm ? 3 : 0.003f));
    q = RandomWeight(s.q, q_rows, s.input, 2);
    k = RandomWeight(s.k, k_rows, s.input, 3);
    v = RandomWeight(s.v, v_rows, s.input, 4);
    k_cache = Tensor::Make(s.cache, {kCells, s.kv_heads, s.width});
    v_cache = Tensor::Make(s.v_cache.value_or(s.cache), {kCells, s.kv_heads, s.v_width});
    std::vector<int32_t> at(tokens), cell(tokens);
    for (int64_t t = 0; t < tokens; ++t) {
      at[t] = static_cast<int32_t>(t % 3 == 0 ? 3 + t : 1000 * t + 7);
      cell[t] = static_cast<int32_t>((t * 7 + 5) % kCells);
    }
    positions = Tensor::Ints({tokens}, at);
    cells = Tensor::Ints({tokens}, cell);
    norm = Tensor::Floats({s.input}, RandomFloats(s.input, 5, 0.003f));
    q_bias = Tensor::Floats({q_rows}, RandomFloats(q_rows, 6));
    k_bias = Tensor::Floats({k_rows}, RandomFloats(k_rows, 7));
    v_bias = Tensor::Floats({v_rows}, RandomFloats(v_rows, 8));
    q_norm = Tensor::Floats({s.width}, RandomFloats(s.width, 9));
    k_norm = Tensor::Floats({s.width}, RandomFloats(s.width, 10));
    std::vector<float> f(s.dims / 2);
    for (size_t i = 0; i < f.size(); ++i) f[i] = 1 + 0.5f * static_cast<float>(i);
    factors = Tensor::Floats({s.dims / 2}, f);
  }

  std::vector<Tensor*> Inputs() {
    const auto when = [](bool present, Tensor& tensor) { return present ? &tensor : nullptr; };
    const Shape& s = shape;
    return {&x,
            &q,
            &k,
            &v,
            &k_cache,
            &v_cache,
            &positions,
            &cells,
            when(s.norm, norm),
            when(s.biases, q_bias),
            when(s.biases && s.k_biased, k_bias),
            when(s.biases, v_bias),
            when(s.head_norms, q_norm),
            when(s.head_norms, k_norm),
            when(s.factors, factors)};
  }

  std::vector<plan::Attr> RopeAttrs() const {
    std::vector<plan::Attr> attrs = {
        {"base", 10000.0},         {"dims", shape.dims},       {"factor", 4.0},
        {"magnitude", kMagnitude}, {"pairing", shape.pairing}, {"scaling", shape.scaling}};
    if (shape.scaling != "yarn") return attrs;
    attrs.push_back({"beta_fast", 32.0});
    attrs.push_back({"beta_slow", 1.0});
    attrs.push_back({"original_context", int64_t{2048}});
    return attrs;
  }
  std::vector<plan::Attr> Attrs() const {
    std::vector<plan::Attr> attrs = RopeAttrs();
    attrs.push_back({"q_heads", shape.heads});
    attrs.push_back({"kv_heads", shape.kv_heads});
    if (shape.norm) attrs.push_back({"eps", kEps});
    if (shape.head_norms) attrs.push_back({"head_eps", kHeadEps});
    return attrs;
  }

  Tensor NewQ() const { return Tensor::Make(DType::kF32, {x.sizes[0], shape.heads, shape.width}); }

  // The tokens [first, first + count) alone.
  Layer Tokens(int64_t first, int64_t count) const {
    Layer part = *this;
    const auto cut = [&](Tensor& tensor) {
      const int64_t bytes = static_cast<int64_t>(tensor.bytes.size()) / tensor.sizes[0];
      tensor.bytes.assign(tensor.bytes.begin() + first * bytes,
                          tensor.bytes.begin() + (first + count) * bytes);
      tensor.sizes[0] = tensor.type.shape[0].value = count;
    };
    cut(part.x);
    cut(part.positions);
    cut(part.cells);
    return part;
  }
};

Tensor Reshaped(Tensor tensor, std::vector<int64_t> sizes) {
  tensor.type.shape.clear();
  for (const int64_t size : sizes) tensor.type.shape.push_back({-1, size});
  tensor.sizes = std::move(sizes);
  return tensor;
}

// The steps that qkv_rope replaces, into the caches of `layer`; returns q.
Tensor Chain(Layer& layer, ThreadPool& pool) {
  const Shape& s = layer.shape;
  const int64_t tokens = layer.x.sizes[0];
  Tensor h = layer.x;
  if (s.norm) RunStep("rms_norm", {&layer.x, &layer.norm}, {&h}, {{"eps", kEps}}, pool);
  const auto heads = [&](Tensor& weight, Tensor& bias, int64_t count) {
    const bool biased = s.biases && (&bias != &layer.k_bias || s.k_biased);
    Tensor y = Tensor::Make(DType::kF32, {tokens, weight.sizes[0]});
    RunStep("linear", {&h, &weight, biased ? &bias : nullptr}, {&y}, {}, pool);
    return Reshaped(std::move(y), {tokens, count, weight.sizes[0] / count});
  };
  const auto rotated = [&](Tensor y, Tensor& norm) {
    Tensor normed = y, out = y;
    if (s.head_norms) RunStep("rms_norm", {&y, &norm}, {&normed}, {{"eps", kHeadEps}}, pool);
    RunStep("rope", {&normed, &layer.positions, s.factors ? &layer.factors : nullptr}, {&out},
            layer.RopeAttrs(), pool);
    return out;
  };
  Tensor q = rotated(heads(layer.q, layer.q_bias, s.heads), layer.q_norm);
  Tensor k = rotated(heads(layer.k, layer.k_bias, s.kv_heads), layer.k_norm);
  Tensor v = heads(layer.v, layer.v_bias, s.kv_heads);
  RunStep("kv_append", {&layer.k_cache, &k, &layer.cells}, {&layer.k_cache}, {}, pool);
  RunStep("kv_append", {&layer.v_cache, &v, &layer.cells}, {&layer.v_cache}, {}, pool);
  return q;
}

Tensor Fused(Layer& layer, ThreadPool& pool) {
  Tensor q = layer.NewQ();
  RunStep("qkv_rope", layer.Inputs(), {&q, &layer.k_cache, &layer.v_cache}, layer.Attrs(), pool);
  return q;
}

void ExpectEqualsChain(const Shape& shape, int64_t tokens) {
  SCOPED_TRACE(ToString(shape) + StrCat(" tokens ", tokens));
  ThreadPool one(1), three(3);
  Layer given(shape, tokens), chain = given;
  const Tensor want = Chain(chain, one);
  for (ThreadPool* pool : {&one, &three}) {
    Layer fused = given;
    EXPECT_EQ(Fused(fused, *pool).floats(), want.floats());
    EXPECT_EQ(fused.k_cache.bytes, chain.k_cache.bytes);
    EXPECT_EQ(fused.v_cache.bytes, chain.v_cache.bytes);
  }
  // A token alone, and the others.
  Layer fused = given;
  std::vector<float> q;
  for (const auto& [first, count] : {std::pair<int64_t, int64_t>{0, 1}, {1, tokens - 1}}) {
    if (count == 0) continue;
    Layer part = given.Tokens(first, count);
    part.k_cache = fused.k_cache;
    part.v_cache = fused.v_cache;
    const std::vector<float> got = Fused(part, one).floats();
    q.insert(q.end(), got.begin(), got.end());
    fused.k_cache = part.k_cache;
    fused.v_cache = part.v_cache;
  }
  EXPECT_EQ(q, want.floats());
  EXPECT_EQ(fused.k_cache.bytes, chain.k_cache.bytes);
  EXPECT_EQ(fused.v_cache.bytes, chain.v_cache.bytes);
}

// Bits of an int choose the optional parts.
Shape WithParts(Shape shape, int parts) {
  shape.norm = (parts & 1) != 0;
  shape.biases = (parts & 2) != 0;
  shape.head_norms = (parts & 4) != 0;
  shape.factors = (parts & 8) != 0;
  return shape;
}

TEST(QkvRopeTest, EqualsTheStepsItReplacesForEveryChoiceOfParts) {
  int turn = 0;
  for (const std::string pairing : {"neox", "norm"}) {
    for (const std::string scaling : {"none", "linear", "yarn"}) {
      for (int parts = 0; parts < 16; ++parts, ++turn) {
        Shape shape = WithParts({}, parts);
        shape.pairing = pairing;
        shape.scaling = scaling;
        constexpr DType kCaches[] = {DType::kF32, DType::kF16, DType::kBF16};
        shape.cache = kCaches[turn % 3];
        ExpectEqualsChain(shape, turn % 2 == 0 ? 1 : 5);
      }
    }
  }
}

TEST(QkvRopeTest, EqualsTheStepsItReplacesForEveryShape) {
  const Shape shapes[] = {
      {.input = 1, .heads = 1, .kv_heads = 1, .width = 2, .v_width = 1, .dims = 2},
      {.input = 33, .heads = 3, .kv_heads = 1, .width = 7, .v_width = 5, .dims = 6},
      {.input = 100, .heads = 7, .kv_heads = 7, .width = 9, .v_width = 9, .dims = 2},
      {.input = 65, .heads = 15, .kv_heads = 5, .width = 64, .v_width = 64, .dims = 64},
      {.input = 64, .heads = 14, .kv_heads = 2, .width = 32, .v_width = 48, .dims = 20},
      {.input = 31, .heads = 2, .kv_heads = 1, .width = 80, .v_width = 3, .dims = 48},
  };
  for (const Shape& shape : shapes) {
    for (const int64_t tokens : {1, 2, 3, 4, 31, 95}) {
      ExpectEqualsChain(shape, tokens);
      ExpectEqualsChain(WithParts(shape, 1), tokens);
    }
  }
}

TEST(QkvRopeTest, EqualsTheStepsItReplacesForCoarseCaches) {
  const Shape shape = {.heads = 6, .kv_heads = 3, .width = 64, .v_width = 32, .dims = 48};
  for (const auto& [k, v] : {std::pair(DType::kQ8_0, DType::kQ4_0),
                             {DType::kQ4_0, DType::kF16},
                             {DType::kF32, DType::kQ8_0},
                             {DType::kQ4_0, DType::kQ4_0},
                             {DType::kF8_E4M3, DType::kQ8_0},
                             {DType::kBF16, DType::kF8_E4M3}}) {
    Shape cached = shape;
    cached.cache = k;
    cached.v_cache = v;
    cached.k_biased = v == DType::kF16;
    for (const int64_t tokens : {1, 7, 40}) ExpectEqualsChain(cached, tokens);
  }
}

// Three types at once: what they want of the activations is the same, covers one another, or not.
TEST(QkvRopeTest, EqualsTheStepsItReplacesForTypesMixed) {
  const size_t count = kTypes.size();
  for (size_t i = 0; i < count; ++i) {
    for (const size_t step : {0, 1, 9}) {
      Shape shape = WithParts({}, static_cast<int>((i + step) % 16));
      shape.input = 256;
      shape.q = kTypes[i];
      shape.k = kTypes[(i + step) % count];
      shape.v = kTypes[(i + 2 * step + 1) % count];
      shape.width = shape.v_width = i % 3 == 0 ? 18 : 32;
      for (const int64_t tokens : {1, 3, 11}) ExpectEqualsChain(shape, tokens);
    }
  }
}

TEST(QkvRopeTest, MoreTokensThanAWorkerHolds) {
  // Cells repeat, so only q is compared; 1100 is two whole parts of 512 and a rest.
  ThreadPool one(1), three(3);
  Shape shape;
  shape.heads = 14;
  const Layer given(shape, 1100);
  Layer a = given, b = given, c = given;
  const std::vector<float> want = Chain(a, one).floats();
  EXPECT_EQ(Fused(b, one).floats(), want);
  EXPECT_EQ(Fused(c, three).floats(), want);
}

std::string TypeText(const Tensor& tensor) {
  return StrCat(Name(tensor.type.dtype), "[", StrJoin(tensor.sizes, ","), "]");
}

// The step as a graph, with the projections by themselves.
std::string GraphText(const Layer& layer) {
  const Shape& s = layer.shape;
  std::string text = StrCat("ir 1\n");
  std::string params, operands;
  const auto weight = [&](std::string_view name, const Tensor& tensor) {
    StrAppend(&text, "weight @", name, ": ", TypeText(tensor), "\n");
  };
  weight("q", layer.q);
  weight("k", layer.k);
  weight("v", layer.v);
  const std::pair<std::string_view, const Tensor*> optional[] = {
      {"norm", s.norm ? &layer.norm : nullptr},
      {"q_bias", s.biases ? &layer.q_bias : nullptr},
      {"k_bias", s.biases && s.k_biased ? &layer.k_bias : nullptr},
      {"v_bias", s.biases ? &layer.v_bias : nullptr},
      {"q_norm", s.head_norms ? &layer.q_norm : nullptr},
      {"k_norm", s.head_norms ? &layer.k_norm : nullptr},
      {"factors", s.factors ? &layer.factors : nullptr},
  };
  for (const auto& [name, tensor] : optional) {
    if (tensor == nullptr) continue;
    weight(name, *tensor);
    StrAppend(&operands, ", ", name, "=@", name);
  }
  StrAppend(&text, "cache %k_cache: ", TypeText(layer.k_cache),
            "\ncache %v_cache: ", TypeText(layer.v_cache), "\n",
            "graph @step(%x: ", TypeText(layer.x), ", %positions: ", TypeText(layer.positions),
            ", %cells: ", TypeText(layer.cells), ") {\n");
  const int64_t tokens = layer.x.sizes[0];
  const std::string h = s.norm ? "%h" : "%x";
  if (s.norm) {
    StrAppend(&text, "  %h: ", TypeText(layer.x), " = rms_norm(%x, @norm) {eps=1e-05}\n");
  }
  for (const std::string name : {"q", "k"}) {
    const Tensor& w = name == "q" ? layer.q : layer.k;
    StrAppend(&text, "  %", name, "_proj: f32[", tokens, ",", w.sizes[0], "] = linear(", h, ", @",
              name, s.biases ? StrCat(", bias=@", name, "_bias") : "", ")\n");
  }
  StrAppend(&text, "  %y: f32[", tokens, ",", s.heads, ",", s.width,
            "], %keys: ", TypeText(layer.k_cache), ", %values: ", TypeText(layer.v_cache),
            " = qkv_rope(%x, @q, @k, @v, %k_cache, %v_cache, %positions, %cells", operands,
            ") {base=10000.0, ", s.scaling == "yarn" ? "beta_fast=32.0, beta_slow=1.0, " : "",
            "dims=", s.dims, s.norm ? ", eps=1e-05" : "", ", factor=4.0",
            s.head_norms ? ", head_eps=1e-06" : "", ", kv_heads=", s.kv_heads, ", magnitude=1.25",
            s.scaling == "yarn" ? ", original_context=2048" : "", ", pairing=", s.pairing,
            ", q_heads=", s.heads, ", scaling=", s.scaling,
            "}\n  return %y, %keys, %values, %q_proj, %k_proj\n}\n");
  return text;
}

HostTensor Host(const Tensor& tensor) {
  HostTensor host;
  host.dtype = tensor.type.dtype;
  host.shape = tensor.sizes;
  (host.dtype == DType::kI32 ? void(host.i = tensor.ints()) : void(host.f = tensor.floats()));
  return host;
}

// Largest error of an element of token t's head `head` of `weight` x: that of a product.
double HeadError(const Layer& layer, const Tensor& weight, int64_t width, int64_t head, int64_t t) {
  const Shape& s = layer.shape;
  const int64_t n = s.input;
  std::vector<float> x = layer.x.floats();
  x.assign(x.begin() + t * n, x.begin() + (t + 1) * n);
  if (s.norm) {
    const std::vector<float> norm = layer.norm.floats();
    double sum = 0;
    for (const float v : x) sum += double{v} * v;
    for (int64_t i = 0; i < n; ++i) {
      x[i] = static_cast<float>(x[i] * norm[i] / std::sqrt(sum / static_cast<double>(n) + kEps));
    }
  }
  const std::vector<float> values = Values(weight);
  double error = 0;
  for (int64_t r = head * width; r < (head + 1) * width; ++r) {
    error = std::max(error, Tolerance(weight.type.dtype, values.data() + r * n, x.data(), n));
  }
  // The norm of x is rounded too.
  return 2 * error;
}

// A head that differs by `error` in every element, after head norm and rotation.
double RotatedError(const Layer& layer, const Tensor& norm, const float* projected, double error) {
  if (layer.shape.head_norms) {
    double sum = 0, largest = 0;
    for (int64_t i = 0; i < layer.shape.width; ++i) sum += double{projected[i]} * projected[i];
    for (const float v : norm.floats()) largest = std::max(largest, std::abs(double{v}));
    const double rms = std::sqrt(sum / static_cast<double>(layer.shape.width) + kHeadEps);
    double peak = 0;
    for (int64_t i = 0; i < layer.shape.width; ++i) {
      peak = std::max(peak, std::abs(double{projected[i]}) / rms);
    }
    // The numerator's error and the rms', each at most `error`; second order terms within 2.
    error = 2 * largest * (error / rms) * (1 + peak) + 1e-6 * largest * peak;
  }
  return kMagnitude * std::sqrt(2.0) * error;
}

// Half a step of the cache's type, relative to a number.
double Rounding(DType type) {
  const std::map<DType, double> half_steps = {
      {DType::kF32, 6e-8}, {DType::kF16, 1.0 / 2048}, {DType::kBF16, 1.0 / 256}};
  return half_steps.at(type);
}

std::vector<float> CacheValues(const Tensor& cache) {
  return Values(Reshaped(cache, {cache.sizes[0], cache.sizes[1] * cache.sizes[2]}));
}

void ExpectNearReference(const Shape& shape, int64_t tokens) {
  SCOPED_TRACE(ToString(shape) + StrCat(" tokens ", tokens));
  Layer layer(shape, tokens);
  const std::string text = GraphText(layer);
  const absl::StatusOr<Graph> graph = Parse(text, "layer.ir");
  ASSERT_TRUE(graph.ok()) << graph.status() << "\n" << text;
  const std::map<std::string, const Tensor*> weights = {
      {"q", &layer.q},           {"k", &layer.k},
      {"v", &layer.v},           {"norm", &layer.norm},
      {"q_bias", &layer.q_bias}, {"k_bias", &layer.k_bias},
      {"v_bias", &layer.v_bias}, {"q_norm", &layer.q_norm},
      {"k_norm", &layer.k_norm}, {"factors", &layer.factors}};
  auto interpreter = Interpreter::Create(
      *graph,
      [&](const std::string& name) -> absl::StatusOr<absl::Span<const uint8_t>> {
        return absl::MakeConstSpan(weights.at(name)->bytes);
      },
      {}, /*threads=*/1);
  ASSERT_TRUE(interpreter.ok()) << interpreter.status();
  const absl::Status status =
      (*interpreter)->Run({}, {Host(layer.x), Host(layer.positions), Host(layer.cells)});
  ASSERT_TRUE(status.ok()) << status;

  ThreadPool pool(2);
  const std::vector<float> q = Fused(layer, pool).floats();
  const std::vector<float> keys = CacheValues(layer.k_cache), values = CacheValues(layer.v_cache);
  const auto result = [&](int i) -> const std::vector<float>& {
    return (*interpreter)->Return(i).f;
  };
  const auto compare = [&](const std::vector<float>& got, const std::vector<float>& want,
                           int64_t at, int64_t width, double error, double relative) {
    for (int64_t i = at; i < at + width; ++i) {
      ASSERT_NEAR(got[i], want[i], error + std::abs(want[i]) * (relative + 1e-6)) << i;
    }
  };
  const double half = 2 * Rounding(shape.cache);  // both sides round
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t h = 0; h < shape.heads; ++h) {
      const int64_t row = (t * shape.heads + h) * shape.width;
      const double error = RotatedError(layer, layer.q_norm, result(3).data() + row,
                                        HeadError(layer, layer.q, shape.width, h, t));
      compare(q, result(0), row, shape.width, error, 0);
    }
    const int64_t cell = layer.cells.ints()[t];
    for (int64_t h = 0; h < shape.kv_heads; ++h) {
      const int64_t row = (t * shape.kv_heads + h) * shape.width;
      const double error = RotatedError(layer, layer.k_norm, result(4).data() + row,
                                        HeadError(layer, layer.k, shape.width, h, t));
      compare(keys, result(1), (cell * shape.kv_heads + h) * shape.width, shape.width, error + 1e-7,
              half);
      compare(values, result(2), (cell * shape.kv_heads + h) * shape.v_width, shape.v_width,
              HeadError(layer, layer.v, shape.v_width, h, t) + 1e-7, half);
    }
  }
  // Cells of no token are as they were.
  std::vector<bool> written(kCells);
  for (const int32_t cell : layer.cells.ints()) written[cell] = true;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (!written[i / (shape.kv_heads * shape.width)]) {
      ASSERT_EQ(keys[i], 0);
    }
  }
}

TEST(QkvRopeTest, NearTheReferenceForTypesMixed) {
  const size_t count = kTypes.size();
  constexpr DType kCaches[] = {DType::kF32, DType::kF16, DType::kBF16};
  for (size_t i = 0; i < count; ++i) {
    Shape shape = WithParts({}, static_cast<int>(i % 16));
    shape.input = 256;
    shape.q = kTypes[i];
    shape.k = kTypes[(i + 5) % count];
    shape.v = kTypes[(i + 11) % count];
    shape.cache = kCaches[i % 3];
    shape.pairing = i % 2 == 0 ? "neox" : "norm";
    shape.scaling = i % 5 < 2 ? "none" : i % 5 == 2 ? "linear" : "yarn";
    ExpectNearReference(shape, 1 + static_cast<int64_t>(i % 4));
  }
}

TEST(QkvRopeTest, NearTheReferenceForOddShapes) {
  for (int parts = 0; parts < 16; ++parts) {
    Shape shape = WithParts(
        {.input = 45, .heads = 6, .kv_heads = 3, .width = 11, .v_width = 7, .dims = 8}, parts);
    shape.q = DType::kF16;
    shape.v = DType::kBF16;
    shape.pairing = parts % 2 == 0 ? "norm" : "neox";
    ExpectNearReference(shape, parts % 3 == 0 ? 1 : 9);
  }
}

// What `prepare` says to the layer's step after `damage`.
std::string RefusalAfter(void (*damage)(std::vector<Tensor*>& in, std::vector<Tensor*>& out,
                                        std::vector<plan::Attr>& attrs)) {
  Layer layer(Shape(), 3);
  Tensor q = layer.NewQ();
  std::vector<Tensor*> in = layer.Inputs(), out = {&q, &layer.k_cache, &layer.v_cache};
  std::vector<plan::Attr> attrs = layer.Attrs();
  damage(in, out, attrs);
  const std::string message = Refusal("qkv_rope", in, out, attrs);
  const std::string at = "step 'the.step': ";
  return message.substr(0, at.size()) == at ? message.substr(at.size()) : message;
}

using In = std::vector<Tensor*>;
using Attrs = std::vector<plan::Attr>;

void Set(Attrs& attrs, std::string_view name, plan::AttrValue value) {
  for (plan::Attr& attr : attrs) {
    if (attr.name == name) attr.value = value;
  }
}
void Drop(Attrs& attrs, std::string_view name) {
  std::erase_if(attrs, [&](const plan::Attr& attr) { return attr.name == name; });
}

TEST(QkvRopeTest, RefusesSizesThatDisagree) {
  EXPECT_EQ(RefusalAfter([](In&, In&, Attrs&) {}), "");
  EXPECT_EQ(RefusalAfter([](In& in, In&, Attrs&) { in.resize(7); }),
            "got 7 inputs, expected 8 to 15 (x, q, k, v, k_cache, v_cache, pos, cells, norm, "
            "q_bias, k_bias, v_bias, q_norm, k_norm, factors)");
  EXPECT_EQ(RefusalAfter([](In& in, In&, Attrs&) { in[5] = nullptr; }),
            "input v_cache is absent, expected a tensor");
  EXPECT_THAT(RefusalAfter([](In&, In& out, Attrs&) { out.pop_back(); }),
              HasSubstr("got 2 outputs, expected 3"));
  EXPECT_EQ(RefusalAfter([](In& in, In&, Attrs&) { in[0]->type.shape[1].value = 63; }),
            "norm has shape [64], expected 63 at axis 0 as in x");
  EXPECT_EQ(RefusalAfter([](In& in, In&, Attrs&) { in[2]->type.shape[1].value = 32; }),
            "x has shape [3,64], expected 32 at axis 1 as in k");
  EXPECT_EQ(RefusalAfter([](In& in, In&, Attrs&) { in[3]->type.shape.pop_back(); }),
            "v has shape [32], expected 2 dimensions");
  EXPECT_EQ(RefusalAfter([](In& in, In&, Attrs&) { in[1]->Symbol(0, 0); }),
            "q has shape [T,64], expected a constant at axis 0");
  EXPECT_THAT(RefusalAfter([](In& in, In&, Attrs&) { in[2]->type.dtype = DType::kI64; }),
              HasSubstr("k has type i64, supported"));
  EXPECT_EQ(RefusalAfter([](In& in, In&, Attrs&) { in[4]->type.shape[1].value = 3; }),
            "k_cache has shape [96,3,16], expected 2 at axis 1 as in attribute kv_heads");
  EXPECT_EQ(RefusalAfter([](In& in, In&, Attrs&) { in[5]->type.shape[2].value = 15; }),
            "v_cache has shape [96,2,15], expected 16 at axis 2 as in a head of v");
  EXPECT_EQ(RefusalAfter([](In& in, In&, Attrs&) { in[4]->type.dtype = DType::kQ5_0; }),
            "k_cache has type q5_0, expected f32, f16, bf16, q8_0, q4_0, f8_e4m3");
  EXPECT_EQ(RefusalAfter([](In& in, In&, Attrs&) { in[5]->type.dtype = DType::kQ4_0; }),
            "a cache of q4_0 has shape [96,2,16], expected a multiple of 32 at axis 2");
  EXPECT_EQ(RefusalAfter([](In&, In& out, Attrs&) { out[1] = out[0]; }),
            "output k_cache has type f32, expected f16");
  EXPECT_EQ(RefusalAfter([](In& in, In& out, Attrs&) {
              static Tensor other = Tensor::Make(DType::kF16, {95, 2, 16});
              out[2] = &other;
            }),
            "output v_cache has shape [95,2,16], expected [96,2,16] as v_cache");
  EXPECT_EQ(RefusalAfter([](In&, In& out, Attrs&) { out[0]->type.shape[2].value = 8; }),
            "output q has shape [3,4,8], expected 16 at axis 2 as in a head of q");
  EXPECT_EQ(RefusalAfter([](In&, In& out, Attrs&) { out[0]->type.shape[0].value = 2; }),
            "output q has shape [2,4,16], expected 3 at axis 0 as in x");
  EXPECT_EQ(RefusalAfter([](In& in, In&, Attrs&) { in[6]->type.shape[0].value = 2; }),
            "pos has shape [2], expected 3 at axis 0 as in x");
  EXPECT_EQ(RefusalAfter([](In& in, In&, Attrs&) { in[7]->type.shape[0].value = 4; }),
            "cells has shape [4], expected 3 at axis 0 as in x");
  EXPECT_EQ(RefusalAfter([](In& in, In&, Attrs&) { in[7]->type.dtype = DType::kF32; }),
            "cells has type f32, expected i32");
  EXPECT_EQ(RefusalAfter([](In& in, In&, Attrs&) { in[11]->type.shape[0].value = 31; }),
            "v_bias has shape [31], expected 32 at axis 0 as in v");
  EXPECT_EQ(RefusalAfter([](In& in, In&, Attrs&) { in[13]->type.shape[0].value = 4; }),
            "k_norm has shape [4], expected 16 at axis 0 as in a head of k");
  EXPECT_EQ(RefusalAfter([](In& in, In&, Attrs&) { in[14]->type.shape[0].value = 4; }),
            "factors has shape [4], expected 8 at axis 0 as in half of attribute dims");
}

TEST(QkvRopeTest, RefusesPartsAndAttributesThatDisagree) {
  EXPECT_EQ(RefusalAfter([](In& in, In&, Attrs&) { in[10] = nullptr; }), "");  // attention adds it
  EXPECT_EQ(RefusalAfter([](In& in, In&, Attrs&) { in[11] = nullptr; }),
            "input v_bias is absent, expected a tensor as there is q_bias");
  EXPECT_EQ(RefusalAfter([](In& in, In&, Attrs&) { in[9] = in[10] = nullptr; }),
            "input q_bias is absent, expected a tensor as there is v_bias");
  EXPECT_EQ(RefusalAfter([](In& in, In&, Attrs&) { in[12] = nullptr; }),
            "input q_norm is absent, expected a tensor as there is k_norm");
  EXPECT_EQ(RefusalAfter([](In& in, In&, Attrs&) { in[8] = nullptr; }),
            "attribute eps is given, expected none as there is no norm");
  EXPECT_EQ(RefusalAfter([](In& in, In&, Attrs&) { in[12] = in[13] = nullptr; }),
            "attribute head_eps is given, expected none as there is no q_norm");
  EXPECT_EQ(RefusalAfter([](In&, In&, Attrs& attrs) { Drop(attrs, "head_eps"); }),
            "attribute head_eps is missing");
  EXPECT_EQ(RefusalAfter([](In&, In&, Attrs& attrs) { Set(attrs, "eps", -1.0); }),
            "attribute eps is negative, expected 0 or more");
  EXPECT_EQ(RefusalAfter([](In&, In&, Attrs& attrs) { Set(attrs, "q_heads", int64_t{3}); }),
            "attribute q_heads is 3, expected a divisor of the 64 rows of q");
  EXPECT_EQ(RefusalAfter([](In&, In&, Attrs& attrs) { Set(attrs, "kv_heads", int64_t{0}); }),
            "attribute kv_heads is 0, expected a divisor of the 32 rows of k");
  EXPECT_EQ(RefusalAfter([](In&, In&, Attrs& attrs) { Set(attrs, "kv_heads", INT64_MIN); }),
            "attribute kv_heads is -9223372036854775808, expected a divisor of the 32 rows of k");
  EXPECT_EQ(RefusalAfter([](In&, In&, Attrs& attrs) { Set(attrs, "kv_heads", int64_t{4}); }),
            "k_cache has shape [96,2,16], expected 4 at axis 1 as in attribute kv_heads");
  EXPECT_EQ(RefusalAfter([](In&, In&, Attrs& attrs) { Set(attrs, "dims", int64_t{18}); }),
            "attribute dims is 18, expected an even number in 2..16");
  EXPECT_EQ(RefusalAfter([](In&, In&, Attrs& attrs) { Set(attrs, "pairing", std::string("x")); }),
            "attribute pairing is 'x', expected neox or norm");
  EXPECT_THAT(RefusalAfter([](In&, In&, Attrs& attrs) {
                attrs.push_back({"window", int64_t{3}});
              }),
              HasSubstr("attribute window is unknown"));
}

}  // namespace
}  // namespace renga::cpu
