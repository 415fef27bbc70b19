// The operators that stand alone: embed, gather_rows, rms_norm, arg_max, rope, kv_append, add, glu.
#include <cmath>
#include <limits>

#include "codegen/kernels/args.cuh"
#include "ir/core/cache_rounding.h"
#include "tests/emulator/kernels/caches.h"
#include "tests/emulator/kernels/rope_reference.h"
#include "tests/emulator/kernels/support.h"
#include "tests/emulator/kernels/weights.h"

namespace renga::emulator {
namespace {

constexpr DType kTypes[] = {DType::kF32,  DType::kF16,    DType::kBF16, DType::kQ8_0, DType::kQ4_0,
                            DType::kQ4_1, DType::kQ5_0,   DType::kQ5_1, DType::kQ4_K, DType::kQ5_K,
                            DType::kQ6_K, DType::kIQ4_NL, DType::kMXFP4};
const std::string kCaches[] = {"Half", "Bfloat16", "float", "Q8", "Q4", "E4m3"};
const RopeCase kRopes[] = {
    {.dims = 64, .pairing = "kNeox", .base = 1e6},
    {.dims = 20, .pairing = "kNorm", .scaling = "kLinear", .base = 1e4, .factor = 4},
    {.dims = 48,
     .pairing = "kNeox",
     .scaling = "kYarn",
     .base = 1e4,
     .factor = 8,
     .magnitude = 1.2,
     .yarn_low = 2,
     .yarn_high = 11},
};

std::string Upper(DType type) {
  std::string name(Name(type));
  for (char& c : name) c = static_cast<char>(toupper(c));
  return name;
}

const CaseLibrary* Library() {
  static const CaseLibrary* library = [] {
    std::map<std::string, std::string> texts;
    const auto add = [&](const std::string& name, const std::string& header,
                         const std::string& config, const std::string& args,
                         const std::string& call) {
      texts[name] = StrCat("#include \"codegen/kernels/", header,
                           ".cuh\"\nusing namespace renga::kernels;\nstruct Config {\n", config,
                           "};\nextern \"C\" __global__ void ", name, "(const ", args, " args) { ",
                           call, "(args); }\n");
    };
    for (const DType type : kTypes) {
      add(StrCat("embed_", Name(type)), "rows",
          StrCat("  using File = File", Upper(type),
                 ";\n  static constexpr int kVocabulary = 7, kWidth = 512, kThreads = 96;\n"),
          "EmbedArgs", "Embed<Config>");
    }
    const std::string width = "  static constexpr int kWidth = 333, kThreads = 64;\n";
    add("gather_rows", "rows", width, "GatherRowsArgs", "GatherRows<Config>");
    add("slice", "rows", width + "  static constexpr int kStart = 101, kSize = 77;\n", "SliceArgs",
        "Slice<Config>");
    add("rms_norm", "rows", width + "  static constexpr float kEps = 1e-5f;\n", "RmsNormArgs",
        "RmsNorm<Config>");
    add("arg_max", "rows", width, "ArgMaxArgs", "ArgMax<Config>");
    for (const std::string& cache : kCaches) {
      add("kv_append_" + cache, "heads",
          StrCat(
              "  static constexpr int kHeads = 3, kHeadDim = 64, kWarps = 2;\n  using Element = ",
              cache, ";\n"),
          "KvAppendArgs", "KvAppend<Config>");
    }
    int rope = 0;
    for (const RopeCase& c : kRopes) {
      add(StrCat("rope_", rope++), "heads",
          StrCat("  static constexpr int kHeads = 3, kHeadDim = 64, kWarps = 2;\n", c.Text()),
          "RopeArgs", "RopeAlone<Config>");
    }
    add("add", "elementwise", "", "AddArgs", "AddElements");
    add("glu_silu", "elementwise", "", "GluArgs", "GluElements<Activation::kSilu>");
    add("glu_gelu_tanh", "elementwise", "", "GluArgs", "GluElements<Activation::kGeluTanh>");
    return CompileCases(texts).release();
  }();
  return library;
}

TEST(Simple, EmbedIsExact) {
  RENGA_NEED_KERNELS(Library());
  for (const DType type : kTypes) {
    SCOPED_TRACE(std::string(Name(type)));
    Random random(23);
    TestWeight table = MakeWeight(type, 7, 512, 0.3f, &random);
    if (type == DType::kMXFP4) {  // a subnormal scale
      table.file[3 * RowBytes(type, 512)] = 0;
      FindDequant(type)(table.file.data(), 7 * 512, table.values.data());
    }
    const std::vector<int32_t> tokens = {3, 0, 6, 7, -1};
    const auto y = UnderAllSchedules<float>(*Library(), [&](KernelRun& run) {
      kernels::EmbedArgs args = {};
      args.tokens = run.Input("tokens", tokens);
      args.table = run.Input("table", table.file);
      args.y = run.Output<float>("y", 5 * 512);
      run.Launch(StrCat("embed_", Name(type)), {5}, 96, 0, args);
      return run.Read(args.y, 5 * 512);
    });
    if (HasFatalFailure()) return;
    for (int i = 0; i < 5 * 512; ++i) {
      if (i >= 3 * 512) {
        ASSERT_TRUE(std::isnan(y[i]));
      } else {
        ASSERT_EQ(y[i], table.values[tokens[i / 512] * 512 + i % 512]) << i;
      }
    }
  }
}

TEST(Simple, GatherRows) {
  RENGA_NEED_KERNELS(Library());
  Random random(1);
  const std::vector<float> x = random.Vector(4 * 333, 1);
  const std::vector<int32_t> rows = {3, 3, 0, 4};
  const auto y = UnderAllSchedules<float>(*Library(), [&](KernelRun& run) {
    kernels::GatherRowsArgs args = {};
    args.x = run.Input("x", x);
    args.rows = run.Input("rows", rows);
    args.y = run.Output<float>("y", 4 * 333);
    args.rows_of_x = 4;
    run.Launch("gather_rows", {4}, 64, 0, args);
    return run.Read(args.y, 4 * 333);
  });
  if (HasFatalFailure()) return;
  for (int i = 0; i < 3 * 333; ++i) ASSERT_EQ(y[i], x[rows[i / 333] * 333 + i % 333]);
  for (int i = 3 * 333; i < 4 * 333; ++i) ASSERT_TRUE(std::isnan(y[i]));
}

TEST(Simple, Slice) {
  RENGA_NEED_KERNELS(Library());
  Random random(1);
  const std::vector<float> x = random.Vector(3 * 333, 1);
  const auto y = UnderAllSchedules<float>(*Library(), [&](KernelRun& run) {
    kernels::SliceArgs args = {};
    args.x = run.Input("x", x);
    args.y = run.Output<float>("y", 3 * 77);
    run.Launch("slice", {3}, 64, 0, args);
    return run.Read(args.y, 3 * 77);
  });
  if (HasFatalFailure()) return;
  for (int i = 0; i < 3 * 77; ++i) ASSERT_EQ(y[i], x[i / 77 * 333 + 101 + i % 77]);
}

TEST(Simple, RmsNormInPlace) {
  RENGA_NEED_KERNELS(Library());
  Random random(1);
  const std::vector<float> x = random.Vector(3 * 333, 7), weight = random.Vector(333, 2);
  const auto y = UnderAllSchedules<float>(*Library(), [&](KernelRun& run) {
    kernels::RmsNormArgs args = {};
    args.y = run.Input("x", x);
    args.x = args.y;
    args.weight = run.Input("weight", weight);
    run.Launch("rms_norm", {3}, 64, 8, args);
    return run.Read(args.y, 3 * 333);
  });
  if (HasFatalFailure()) return;
  const std::vector<double> expected = Normed(x, weight, 1e-5, 3);
  // f32 sums of 333 squares and an approximate root: a few units of the last digit.
  for (int i = 0; i < 3 * 333; ++i) {
    ASSERT_NEAR(y[i], expected[i], 3e-6 * std::abs(expected[i]) + 1e-12) << i;
  }
}

TEST(Simple, ArgMax) {
  RENGA_NEED_KERNELS(Library());
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::vector<float> x(6 * 333, -2);
  x[332] = x[40] = -1;           // row 0: the lower of equals
  x[333 + 100] = std::nanf("");  // row 1
  x[2 * 333 + 7] = kInfinity;    // row 2
  for (int i = 0; i < 333; ++i) x[3 * 333 + i] = -kInfinity;
  x[4 * 333 + 5] = 0.0f, x[4 * 333 + 4] = -0.0f;
  const auto y = UnderAllSchedules<int32_t>(*Library(), [&](KernelRun& run) {
    kernels::ArgMaxArgs args = {};
    args.x = run.Input("x", x);
    args.y = run.Output<int32_t>("y", 6);
    run.Launch("arg_max", {6}, 64, 16, args);
    return run.Read(args.y, 6);
  });
  EXPECT_EQ(y, (std::vector<int32_t>{40, -1, -1, -1, 4, 0}));
}

TEST(Simple, KvAppend) {
  RENGA_NEED_KERNELS(Library());
  Random random(4);
  const std::vector<float> x = random.Vector(3 * 3 * 64, 5);
  const std::vector<int32_t> cells = {4, -1, 0};
  for (const std::string& element : kCaches) {
    SCOPED_TRACE(element);
    const CacheCase cache(element);
    const auto stored = UnderAllSchedules<float>(*Library(), [&](KernelRun& run) {
      const DeviceCache device = cache.Upload(&run, "cache", 5, 3, 64);
      kernels::KvAppendArgs args = {};
      args.x = run.Input("x", x);
      args.cells = run.Input("cells", cells);
      args.cache = device.values;
      args.scales = device.scales;
      args.tokens = 3;
      run.Launch("kv_append_" + element, {2}, 64, 2 * 64 * 4, args);
      return cache.Download(&run, device);
    });
    if (HasFatalFailure()) return;
    for (int i = 0; i < 5 * 192; ++i) {
      const int cell = i / 192;
      if (cell != 4 && cell != 0) {
        ASSERT_NEAR(stored[i], cache.mark(), cache.mark() / 127.0)
            << "written where nothing was to be stored";
        continue;
      }
      const auto row = x.begin() + (cell == 4 ? 0 : 2) * 192;
      const std::vector<double> from = cache.Rounded({row, row + 192});
      const std::vector<double> got =
          cache.Rounded({stored.begin() + cell * 192, stored.begin() + cell * 192 + 192});
      double largest = 0;
      for (int j = i % 192 / 32 * 32; j < i % 192 / 32 * 32 + 32; ++j) {
        largest = std::max(largest, std::abs(from[j]));
      }
      ASSERT_NEAR(got[i % 192], from[i % 192], cache.Error(from[i % 192], largest)) << i;
    }
  }
}

// The same bits as the interpreter rounds to, on every f16 and on both sides of every boundary.
TEST(Simple, KvAppendRoundsToE4m3AsTheReferenceDoes) {
  RENGA_NEED_KERNELS(Library());
  constexpr size_t kWidth = 3 * 64;
  std::vector<float> x;
  for (int half = 0; half < 65536; ++half) x.push_back(HalfToFloat(static_cast<uint16_t>(half)));
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (int code = 0; code < 0x7e; ++code) {
    const float low = E4M3ToFloat(static_cast<uint8_t>(code)),
                high = E4M3ToFloat(static_cast<uint8_t>(code + 1)), middle = (low + high) / 2;
    for (const float at : {low, middle, high}) {
      for (const float near : {std::nextafter(at, -kInfinity), at, std::nextafter(at, kInfinity)}) {
        x.insert(x.end(), {near, -near});
      }
    }
  }
  for (const float large : {448.0f, 463.99f, 464.0f, 480.0f, 1e30f, 3.4e38f, kInfinity}) {
    x.insert(x.end(), {large, -large});
  }
  for (const float small : {1e-45f, 1e-39f, 1.2e-38f, 1e-20f}) x.insert(x.end(), {small, -small});
  x.insert(x.end(), {std::nanf(""), -std::nanf("")});
  x.resize((x.size() + kWidth - 1) / kWidth * kWidth);
  std::vector<int32_t> cells(x.size() / kWidth);
  for (size_t i = 0; i < cells.size(); ++i) cells[i] = static_cast<int32_t>(cells.size() - 1 - i);
  const CacheCase cache("E4m3");
  const auto codes = UnderAllSchedules<uint8_t>(*Library(), [&](KernelRun& run) {
    const DeviceCache device =
        cache.Upload(&run, "cache", static_cast<int64_t>(cells.size()), 3, 64);
    kernels::KvAppendArgs args = {};
    args.x = run.Input("x", x);
    args.cells = run.Input("cells", cells);
    args.cache = device.values;
    args.tokens = static_cast<int>(cells.size());
    run.Launch("kv_append_E4m3", {8}, 64, 2 * 64 * 4, args);
    return run.Read(static_cast<uint8_t*>(device.values), device.count);
  });
  if (HasFatalFailure()) return;
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t at = static_cast<size_t>(cells[i / kWidth]) * kWidth + i % kWidth;
    float kept = x[i];
    RoundRow(DType::kF8_E4M3, absl::MakeSpan(&kept, 1));
    ASSERT_EQ(codes[at], FloatToE4M3(kept)) << x[i];
    const float back = E4M3ToFloat(codes[at]);
    ASSERT_TRUE(back == kept || (std::isnan(back) && std::isnan(kept))) << x[i];
  }
}

TEST(Simple, Rope) {
  RENGA_NEED_KERNELS(Library());
  Random random(4);
  const std::vector<int32_t> positions = {0, 131071, 77};
  int number = 0;
  for (const RopeCase& c : kRopes) {
    SCOPED_TRACE(number);
    const std::vector<float> x = random.Vector(3 * 3 * 64, 5);
    std::vector<float> factors;
    for (int p = 0; p < c.dims / 2; ++p) factors.push_back(random.Between(1, 4));
    const auto y = UnderAllSchedules<float>(*Library(), [&](KernelRun& run) {
      kernels::RopeArgs args = {};
      args.y = run.Input("x", x);
      args.x = args.y;
      args.positions = run.Input("positions", positions);
      args.factors = run.Input("factors", factors);
      args.tokens = 3;
      run.Launch(StrCat("rope_", number), {2}, 64, 2 * 64 * 4, args);
      return run.Read(args.y, 3 * 3 * 64);
    });
    if (HasFatalFailure()) return;
    for (int row = 0; row < 9; ++row) {
      std::vector<double> v(x.begin() + row * 64, x.begin() + row * 64 + 64), e(64, 1e-7);
      c.Rotate(positions[row / 3], factors, v.data(), e.data());
      for (int d = 0; d < 64; ++d) ASSERT_NEAR(y[row * 64 + d], v[d], e[d]) << row << " " << d;
    }
    ++number;
  }
}

TEST(Simple, AddAndGlu) {
  RENGA_NEED_KERNELS(Library());
  Random random(4);
  const std::vector<float> a = random.Vector(777, 9), b = random.Vector(777, 9);
  const auto run_one = [&](const std::string& name) {
    return UnderAllSchedules<float>(*Library(), [&](KernelRun& run) {
      const float* first = run.Input("a", a);
      const float* second = run.Input("b", b);
      float* y = run.Output<float>("y", 777);
      if (name == "add") {
        run.Launch(name, {2}, 64, 0, kernels::AddArgs{first, second, y, 777});
      } else {
        run.Launch(name, {2}, 64, 0, kernels::GluArgs{first, second, y, 777});
      }
      return run.Read(y, 777);
    });
  };
  const auto sum = run_one("add"), silu = run_one("glu_silu"), gelu = run_one("glu_gelu_tanh");
  if (HasFatalFailure()) return;
  for (int i = 0; i < 777; ++i) {
    ASSERT_EQ(sum[i], a[i] + b[i]);
    const double x = a[i], u = 0.7978845608028654 * (x + 0.044715 * x * x * x);
    // The exponent is rounded to f32: up to 2^-24 of 2 u, which reaches 66.
    ASSERT_NEAR(silu[i], x / (1 + std::exp(-x)) * b[i], 1e-5 * std::abs(x * b[i]));
    ASSERT_NEAR(gelu[i], 0.5 * x * (1 + std::tanh(u)) * b[i], 1e-5 * std::abs(x * b[i]));
  }
}

}  // namespace
}  // namespace renga::emulator
