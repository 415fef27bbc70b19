// Faults in CUDA kernels and in how they are launched, found on the emulator: by what it sees
// (races, memory that nothing has written, loops that do not end), or by verify, which compares
// every node of what they computed.
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "tests/emulator/device/tests/faulty_kernels.h"
#include "tests/emulator/selftest/support.h"
#include "tests/faults/zoo/emulator_steps.h"
#include "tests/faults/zoo/zoo.h"
#include "tests/support/test_data.h"

namespace renga::faults {
namespace {

using emulator::CompilePlans;
using emulator::CompileSome;
using emulator::DeviceOptions;
using emulator::KernelHeaders;
using emulator::KernelOptions;
using emulator::Replace;
using testing::HasSubstr;
using testing::IsEmpty;

// ---- kernels alone ----

const absl::StatusOr<std::unique_ptr<emulator::KernelLibrary>>& ZooKernels() {
  static const auto& library = *new absl::StatusOr<std::unique_ptr<emulator::KernelLibrary>>([] {
    auto source = emulator::ReadKernelSource(RENGA_SOURCE_DIR "/tests/faults/zoo_kernels.cu");
    if (!source.ok()) {
      return absl::StatusOr<std::unique_ptr<emulator::KernelLibrary>>(source.status());
    }
    source->name = "zoo_kernels.cu";
    return emulator::KernelLibrary::Compile(KernelOptions(), {*source});
  }());
  return library;
}

struct Ran {
  absl::Status status;
  absl::Status read;  // of all of y
  std::vector<float> y;
};

Ran RunKernel(const std::string& name, const emulator::Schedule& schedule) {
  const auto& library = ZooKernels();
  if (!library.ok()) return {library.status(), {}, {}};
  const auto kernel = (*library)->Find(name);
  if (!kernel.ok()) return {kernel.status(), {}, {}};
  emulator::Emulator machine;
  const float* x = emulator::Upload(&machine, "x", emulator::NoiseOf(64, 3));
  float* y = emulator::Fresh<float>(&machine, "y", 64);
  emulator::LaunchOptions options{.schedule = schedule};
  options.max_accesses = 20'000;
  Ran ran;
  ran.status = machine.Launch(**kernel, {{1}, {64}, 1024}, options, x, y);
  std::vector<uint8_t> bytes(64 * sizeof(float));
  ran.read = machine.memory().Read(y, absl::MakeSpan(bytes));
  ran.y.resize(64);
  std::memcpy(ran.y.data(), bytes.data(), bytes.size());
  return ran;
}

// Each thread's array is its own: what the others hold is not there, and shows as such.
TEST(ZooKernel, F01QueryInAnArrayOfEachThread) {
  for (const emulator::NamedSchedule& schedule : emulator::TestSchedules()) {
    const Ran right = RunKernel("private_query_ok", schedule.schedule);
    ASSERT_TRUE(right.status.ok() && right.read.ok()) << right.status << right.read;
    const Ran wrong = RunKernel("private_query", schedule.schedule);
    ASSERT_TRUE(wrong.status.ok()) << wrong.status;
    for (size_t i = 0; i < 64; ++i) {
      EXPECT_LT(std::abs(right.y[i]), 64);
      EXPECT_FALSE(std::abs(wrong.y[i]) < 1e30) << "locals are filled with what no number is";
    }
  }
}

TEST(ZooKernel, WhatTheEmulatorSees) {
  const std::map<std::string, std::string> faults = {
      {"shared_query", "reads 4 bytes that nothing has written: shared array 0"},  // 1
      {"endless_halving", "does a loop not end?"},                                 // 15
      {"halving_without_barrier", "race: "}};                                      // 16
  for (const emulator::NamedSchedule& schedule : emulator::TestSchedules()) {
    for (const auto& [kernel, says] : faults) {
      const absl::Status status = RunKernel(kernel, schedule.schedule).status;
      EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << kernel << " " << status;
      const std::string message(status.message());
      EXPECT_THAT(message, HasSubstr(StrCat("kernel ", kernel)));
      EXPECT_THAT(message, HasSubstr("zoo_kernels.cu:")) << "the line";
      EXPECT_THAT(message, HasSubstr(says));
    }
    EXPECT_TRUE(RunKernel("halving_ok", schedule.schedule).status.ok());
  }
}

TEST(ZooKernel, F08RowsThatNothingWrites) {
  const Ran wrong = RunKernel("rows_of_the_width", {});
  EXPECT_TRUE(wrong.status.ok()) << wrong.status;
  EXPECT_THAT(
      std::string(wrong.read.message()),
      HasSubstr("buffer 'y': nothing has written 128 of the bytes read, the first at +128"));
  EXPECT_TRUE(RunKernel("rows_of_the_width_ok", {}).read.ok());
}

// ---- a model's kernels ----

struct Edit {
  std::string header, from, to;
};

struct CudaFault {
  std::string name;  // with the number in docs/faults.md
  std::vector<Edit> headers;
  std::function<absl::Status(plan::Plan*)> change;
  // What the emulator says at once; or, empty, what verify says of results with these names.
  std::string kernel, says;
  std::vector<std::string> suffixes;
  std::string likely;
};
void PrintTo(const CudaFault& one, std::ostream* os) { *os << one.name; }

absl::Status EachLaunch(plan::Plan* plan, std::string_view kernel,
                        const std::function<void(plan::Launch*)>& change) {
  int changed = 0;
  for (plan::Step& step : plan->steps) {
    for (plan::Variant& variant : step.variants) {
      for (plan::Launch& launch : variant.launches) {
        if (plan->gpu.kernels[launch.kernel].name.find(kernel) == std::string::npos) continue;
        change(&launch);
        ++changed;
      }
    }
  }
  return changed > 0 ? absl::OkStatus() : absl::NotFoundError(StrCat("no launch of ", kernel));
}

// In the sources of kernels whose names hold `kernel`.
std::function<absl::Status(plan::Plan*)> InSource(const std::string& kernel,
                                                  const std::string& from, const std::string& to) {
  return [=](plan::Plan* plan) {
    for (plan::GpuKernel& each : plan->gpu.kernels) {
      if (each.name.find(kernel) != 0) continue;
      RENGA_RETURN_IF_ERROR(Replace(from, to, &each.source));
    }
    return absl::OkStatus();
  };
}

std::vector<CudaFault> CudaFaults() {
  return {
      {"f02_pairs_of_rope",
       {},
       InSource("qkv_rope", "RopePairing::kNeox", "RopePairing::kNorm"),
       "",
       "",
       {".q", ".k_cells"},
       "rotates the pairs (2i, 2i+1), the model's are (i, i+8)"},
      {"f08_as_many_logits_as_the_model_is_wide",
       {},
       InSource("head", "Packed<F32, 512, 64>", "Packed<F32, 64, 64>"),
       "head",
       "did not write all of its output logits",
       {},
       ""},
      {"f10_cells_by_position",
       {{"attention_keys.cuh", "at * Config::kPageTokens + key % Config::kPageTokens", "key"}},
       nullptr,
       "",
       "",
       {".mix"},
       "as if every sequence had the pages 0, 1, 2"},
      {"f11_not_written_in_decode",
       {{"qkv_rope.cuh", "args.cells[t], head, values",
         "args.tokens == 1 ? -1 : args.cells[t], head, values"},
        {"qkv_rope.cuh", "if (args.cells[t] < 0) continue;",
         "if (args.cells[t] < 0 || args.tokens == 1) continue;"}},
       nullptr,
       "qkv_rope",
       "did not write all of cell",
       {},
       ""},
      {"f12_second_head_not_written",
       {{"kv_cache.cuh", "if (cell < 0) return;", "if (cell < 0 || head > 0) return;"}},
       nullptr,
       "qkv_rope",
       "did not write all of cell",
       {},
       ""},
      {"f13_position_ignored",
       {{"rope.cuh", "const double turns = position * frequency",
         "const double turns = 0 * frequency"}},
       nullptr,
       "",
       "",
       {".q", ".k_cells"},
       "as if every position were 0"},
      {"f14_over_an_operand",
       {},
       [](plan::Plan* plan) {
         return EachLaunch(plan, "gate_up", [](plan::Launch* launch) {
           int32_t x = -1;
           for (const plan::Arg& arg : launch->args) {
             if (arg.name == "x") x = arg.buffer;
           }
           for (plan::Arg& arg : launch->args) {
             if (arg.name == "y") arg.buffer = x;
           }
         });
       },
       "gate_up",
       "read-only memory: buffer '",
       {},
       ""},
  };
}

const std::string& Model() {
  static const auto& model = *new std::string(TestData("tiny/qwen2.gguf"));
  return model;
}

struct Base {
  std::shared_ptr<const plan::Plan> plan;
  std::shared_ptr<const emulator::KernelLibrary> kernels;
};

absl::StatusOr<Base> MakeBase() {
  renga::CompileOptions options =
      CompileOptionsOf({.fused = true, .context = 32, .page_tokens = 4});
  options.target = "sm_90a";
  options.only_lower = true;
  options.max_step_tokens = options.max_rows = 8;  // the kernels for few tokens
  Base base;
  RENGA_ASSIGN_OR_RETURN(Compilation compilation, Compile(Model(), options));
  base.plan = std::make_shared<const plan::Plan>(std::move(compilation.plan));
  const plan::Plan* const plans[] = {base.plan.get()};
  RENGA_ASSIGN_OR_RETURN(base.kernels, CompilePlans(plans, KernelOptions()));
  return base;
}

const absl::StatusOr<Base>& TheBase() {
  static const auto& base = *new absl::StatusOr<Base>(MakeBase());
  return base;
}

// Kernels compute with f16 operands and f32 sums: one rounding of an operand is 2^-11 at most, and
// a product of two has the root of their squares.
constexpr double kHalfOperands = 2e-3;

absl::StatusOr<StepsVerdict> VerifyOnEmulator(std::shared_ptr<const plan::Plan> plan,
                                              DeviceOptions options, Graph* graph) {
  RENGA_ASSIGN_OR_RETURN(const auto recorder,
                         OpenEmulatorSteps(std::move(plan), std::move(options)));
  *graph = recorder->graph();
  RENGA_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(Model()));
  const WeightBytes weights =
      [&](const std::string& name) -> absl::StatusOr<absl::Span<const uint8_t>> {
    const GgufTensor* tensor = file.FindTensor(name);
    if (tensor == nullptr) return absl::NotFoundError(name);
    return file.data(*tensor);
  };
  VerifyStepsOptions verify{{1, 40, 77, 5, 9}, {}, true, {}};
  verify.nodes.rtol = kHalfOperands;
  verify.nodes.threads = 1;
  return VerifySteps(*recorder, weights, verify);
}

class CudaZooTest : public testing::TestWithParam<CudaFault> {};

TEST_P(CudaZooTest, IsFoundAndNothingElse) {
  const CudaFault& fault = GetParam();
  const absl::StatusOr<Base>& base = TheBase();
  ASSERT_TRUE(base.ok()) << base.status();
  auto plan = std::make_shared<plan::Plan>(*base->plan);
  KernelHeaders headers;
  for (const Edit& edit : fault.headers) {
    ASSERT_TRUE(headers.Edit(edit.header, edit.from, edit.to).ok());
  }
  const absl::Status done = fault.change ? fault.change(plan.get()) : absl::OkStatus();
  ASSERT_TRUE(done.ok()) << done;
  const auto changed = [&](const plan::GpuKernel& kernel) {
    const size_t index = &kernel - plan->gpu.kernels.data();
    bool is = kernel.source != base->plan->gpu.kernels[index].source;
    for (const Edit& edit : fault.headers) is |= headers.Includes(kernel.source, edit.header);
    return is;
  };
  DeviceOptions options;
  const auto& kernels = plan->gpu.kernels;
  if (std::any_of(kernels.begin(), kernels.end(), changed)) {
    auto faulty = CompileSome(*plan, headers.root(), changed);
    ASSERT_TRUE(faulty.ok()) << faulty.status();
    options.kernels.push_back(*std::move(faulty));
  }
  options.kernels.push_back(base->kernels);
  Graph graph;
  const auto verdict = VerifyOnEmulator(plan, std::move(options), &graph);
  if (!fault.says.empty()) {
    EXPECT_EQ(verdict.status().code(), absl::StatusCode::kInternal) << verdict.status();
    const std::string message(verdict.status().message());
    EXPECT_THAT(message, HasSubstr("step "));
    EXPECT_THAT(message, HasSubstr(StrCat("kernel ", fault.kernel)));
    EXPECT_THAT(message, HasSubstr(fault.says));
    return;
  }
  ASSERT_TRUE(verdict.ok()) << verdict.status();
  std::map<std::string, std::string> said = Named(verdict->nodes);
  std::set<std::string> expected = ResultsOf(graph, "qkv_rope", fault.suffixes);
  expected.merge(ResultsOf(graph, "attention", fault.suffixes));
  EXPECT_THAT(expected, testing::Not(IsEmpty()));
  for (const std::string& name : expected) {
    EXPECT_THAT(said[name], HasSubstr(fault.likely)) << name;
    said.erase(name);
  }
  for (const auto& [name, text] : said) ADD_FAILURE() << name << " is blamed: " << text;
}

INSTANTIATE_TEST_SUITE_P(All, CudaZooTest, testing::ValuesIn(CudaFaults()),
                         [](const auto& info) { return info.param.name; });

TEST(CudaZoo, RightKernelsAreNotBlamed) {
  const absl::StatusOr<Base>& base = TheBase();
  ASSERT_TRUE(base.ok()) << base.status();
  DeviceOptions options;
  options.kernels = {base->kernels};
  Graph graph;
  const auto verdict = VerifyOnEmulator(base->plan, std::move(options), &graph);
  ASSERT_TRUE(verdict.ok()) << verdict.status();
  EXPECT_THAT(Named(verdict->nodes), IsEmpty());
  EXPECT_EQ(verdict->steps.size(), 3u);
  EXPECT_LT(verdict->nodes.worst_share, 0.5) << verdict->nodes.worst;
}

}  // namespace
}  // namespace renga::faults
