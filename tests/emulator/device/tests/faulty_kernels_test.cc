// A test of the test: the mistakes that hand-written engines make, put into kernels and launches
// one at a time. Running a tiny model must fail on each, and say which step and kernel it is and,
// where the emulator sees it happen, at which line.
#include <functional>
#include <map>
#include <set>
#include <utility>

#include "gmock/gmock.h"
#include "runtime/plan/launch.h"
#include "tests/emulator/device/step_reference.h"
#include "tests/emulator/device/tests/faulty_kernels.h"
#include "tests/support/tiny_record.h"

namespace renga::emulator {
namespace {

using testing::HasSubstr;

struct Fault {
  std::string name;
  std::string model;
  // In a header of codegen/kernels: `from` becomes `to`.
  std::string header, from, to;
  // Or in the plan. Kernels whose source changes are compiled.
  std::function<absl::Status(plan::Plan*)> edit;
  // What the error says: in which kernel, what, and perhaps where.
  std::string kernel, what, where;
  // Tokens of the first step and of the plan's longest: up to 8 take the kernels for decoding.
  int64_t step_tokens = 7;
};

// ---- Mistakes of a plan ----

// In all sources of kernels whose names hold `kernel`.
auto InSource(std::string kernel, std::string from, std::string to) {
  return [=](plan::Plan* plan) {
    for (plan::GpuKernel& known : plan->gpu.kernels) {
      if (known.name.find(kernel) == std::string::npos) continue;
      RENGA_RETURN_IF_ERROR(Annotate(Replace(from, to, &known.source), known.name));
    }
    return absl::OkStatus();
  };
}

// For each launch of a kernel whose name holds `kernel`, of which there must be some.
auto InLaunches(std::string kernel, std::function<void(const plan::Step&, plan::Launch*)> change) {
  return [=](plan::Plan* plan) {
    int changed = 0;
    for (plan::Step& step : plan->steps) {
      for (plan::Variant& variant : step.variants) {
        for (plan::Launch& launch : variant.launches) {
          if (plan->gpu.kernels[launch.kernel].name.find(kernel) == std::string::npos) continue;
          change(step, &launch);
          ++changed;
        }
      }
    }
    if (changed > 0) return absl::OkStatus();
    return absl::NotFoundError(StrCat("no launch of a kernel ", kernel));
  };
}

plan::Arg& ArgOf(plan::Launch* launch, std::string_view name) {
  for (plan::Arg& arg : launch->args) {
    if (arg.name == name) return arg;
  }
  ADD_FAILURE() << "no argument " << name;
  return launch->args[0];
}

auto WithoutArgument(std::string kernel, std::string name) {
  return InLaunches(kernel, [name](const plan::Step&, plan::Launch* launch) {
    ArgOf(launch, name) = {.kind = plan::ArgKind::kNull, .name = name};
  });
}

// `name` points to where `other` does.
auto WithArgumentOf(std::string kernel, std::string name, std::string other) {
  return InLaunches(kernel, [=](const plan::Step&, plan::Launch* launch) {
    ArgOf(launch, name).buffer = ArgOf(launch, other).buffer;
  });
}

const std::vector<Fault>& Faults() {
  static const auto& faults = *new std::vector<Fault>{
      // Rotation of queries and keys.
      {.name = "rope_pairs_neighbours",
       .model = "qwen2",
       .edit = InSource("qkv_rope", "RopePairing::kNeox", "RopePairing::kNorm"),
       .kernel = "qkv_rope",
       .what = "wrong values of 0."},
      {.name = "rope_position_one_off",
       .model = "qwen2",
       .header = "rope.cuh",
       .from = "= position * frequency",
       .to = "= (position + 1) * frequency",
       .kernel = "qkv_rope",
       .what = "wrong values of 0."},
      {.name = "rope_of_too_few_dims",
       .model = "qwen2",
       .edit = InSource("qkv_rope", "kDims = 16", "kDims = 8"),
       .kernel = "qkv_rope",
       .what = "wrong values of 0."},
      // The cache.
      {.name = "cells_by_position",
       .model = "qwen2",
       .edit = WithArgumentOf("qkv_rope", "cells", "positions"),
       .kernel = "qkv_rope",
       .what = "did not write all of cell"},
      {.name = "second_kv_head_never_stored",
       .model = "qwen2",
       .header = "kv_cache.cuh",
       .from = "if (cell < 0) return;",
       .to = "if (cell < 0 || head > 0) return;",
       .kernel = "qkv_rope",
       .what = "did not write all of cell"},
      {.name = "keys_of_the_wrong_page",
       .model = "qwen2",
       .header = "attention_keys.cuh",
       .from = "at * Config::kPageTokens + key % Config::kPageTokens",
       .to = "key",
       .kernel = "attention",
       .what = "that nothing has written",
       .where = "codegen/kernels/"},
      // Attention.
      {.name = "heads_not_grouped",
       .model = "llama",
       .header = "attention_rows.cuh",
       .from = "return kv_head * kGroup + first_head + row % kTileHeads;",
       .to = "return kv_head + (first_head + row % kTileHeads) * Config::kKvHeads;",
       .kernel = "attention",
       .what = "wrong values of 0."},
      {.name = "scores_without_scale",
       .model = "qwen2",
       .header = "attention.cuh",
       .from = "row_scale.inverse * static_cast<float>(Config::kScale)",
       .to = "row_scale.inverse",
       .kernel = "attention",
       .what = "wrong values of 0."},
      {.name = "mask_one_off",
       .model = "qwen2",
       .header = "attention.cuh",
       .from = "key <= position_[r]",
       .to = "key < position_[r]",
       .kernel = "attention",
       .what = "wrong values of 0."},
      {.name = "window_where_there_is_none",
       .model = "qwen2",
       .edit = InSource("attention", "kWindow = 0", "kWindow = 4"),
       .kernel = "attention",
       .what = "wrong values of 0."},
      // Keys of qwen2 are not copied: their bias is added on the way.
      {.name = "copies_not_waited_for",
       .model = "llama",
       .header = "attention.cuh",
       .from = "WaitForCopies<1>();",
       .to = "",
       .kernel = "attention",
       .what = "WaitForCopies is missing",
       .where = "codegen/kernels/attention.cuh:"},
      {.name = "keys_of_this_step_read_early",
       .model = "qwen2",
       .header = "attention.cuh",
       .from = "key >= run.fresh && key < run.high",
       .to = "key > run.fresh && key < run.high",
       .kernel = "attention",
       .what = "WaitForPreviousKernel",
       .where = "codegen/kernels/"},
      {.name = "padding_of_a_head_not_cleared",
       .model = "llama-tied",
       .header = "attention.cuh",
       .from = "Keys(stage).ClearPadding();",
       .to = "",
       .kernel = "attention",
       .what = "that nothing has written: shared array",
       .where = "codegen/kernels/attention.cuh:"},
      // Products.
      {.name = "bias_dropped",
       .model = "qwen2",
       .edit = WithoutArgument("qkv_rope", "q_bias"),
       .kernel = "qkv_rope",
       .what = "wrong values of 0."},
      {.name = "weights_of_another_segment",
       .model = "qwen2",
       .edit = WithArgumentOf("qkv_rope", "v", "k"),
       .kernel = "qkv_rope",
       .what = "wrong values of 0."},
      {.name = "residual_dropped",
       .model = "qwen2",
       .edit = WithoutArgument("linear_add", "residual"),
       .kernel = "linear_add",
       .what = "wrong values of 0."},
      {.name = "another_activation",
       .model = "qwen2",
       .edit = InSource("gate_up", "kSilu", "kGeluTanh"),
       .kernel = "gate_up",
       .what = "wrong values of 0."},
      {.name = "barrier_missing",
       .model = "qwen2",
       .header = "linear.cuh",
       .from = "const float* all = tile_sums.Put(sums);\n    SyncThreads();",
       .to = "const float* all = tile_sums.Put(sums);",
       .kernel = "linear_add",
       .what = "nothing has written: shared array",
       .where = "codegen/kernels/matvec.cuh:"},
      {.name = "previous_kernel_not_waited_for",
       .model = "qwen2",
       .header = "gate_up.cuh",
       .from = "WaitForPreviousKernel();",
       .to = "",
       .kernel = "gate_up",
       .what = "WaitForPreviousKernel",
       .where = "codegen/kernels/"},
      {.name = "rows_beyond_the_last",
       .model = "qwen2",
       .header = "gate_up.cuh",
       .from = "if (n >= Gate::kRows) return;",
       .to = "",
       .kernel = "gate_up",
       .what = "race: writes 4 bytes",
       .where = "codegen/kernels/gate_up.cuh:"},
      {.name = "padding_of_rows_not_cleared",
       .model = "qwen2",
       .header = "activations.cuh",
       .from = "for (int k = kK + threadIdx.x; k < kPaddedK; k += kThreads) {\n        to[k] = "
               "Half{0};",
       .to = "for (int k = kK + threadIdx.x; k < kPaddedK; k += kThreads) {",
       .kernel = "linear_add",
       .what = "nothing has written: shared array",
       .where = "codegen/kernels/matvec.cuh:"},
      {.name = "last_token_forgotten",
       .model = "qwen2",
       .header = "gate_up.cuh",
       .from = "up_sums.Add(sums, args.tokens,",
       .to = "up_sums.Add(sums, max(1, args.tokens - 1),",
       .kernel = "gate_up",
       .what = "did not write all of its output 0."},
      {.name = "ticket_not_returned",
       .model = "qwen2",
       .header = "ticket.cuh",
       .from = "if (last) AtomicExchange(counter, 0);",
       .to = "",
       .kernel = "qkv_rope",
       .what = "left its scratch qkv_rope.tickets other than zero"},
      // Products for many tokens.
      {.name = "chunk_not_awaited_together",
       .model = "qwen2",
       .header = "matmul.cuh",
       .from = "SyncThreads();  // this load is there, and all are done with the one before",
       .to = "",
       .kernel = "matmul",
       .what = "race: reads 4 bytes",
       .where = "codegen/kernels/matmul.cuh:",
       .step_tokens = 18},
      {.name = "rows_of_f16_missing",
       .model = "qwen2",
       .edit = InLaunches(
           "half_rows",
           [](const plan::Step&, plan::Launch* launch) { launch->grid[0] = plan::Constant(1); }),
       .kernel = "matmul",
       .what = "that nothing has written: buffer '",
       .where = "codegen/kernels/matmul.cuh:",
       .step_tokens = 18},
      // Launches.
      {.name = "token_beyond_the_table",
       .model = "qwen2",
       .header = "rows.cuh",
       .from = "(there ? token : 0) * kRowBytes",
       .to = "(token + Config::kVocabulary) * kRowBytes",
       .kernel = "embed",
       .what = "out of bounds",
       .where = "codegen/kernels/"},
      {.name = "too_little_shared_memory",
       .model = "qwen2",
       .edit = InLaunches("gate_up",
                          [](const plan::Step&, plan::Launch* launch) {
                            launch->dynamic_shared = plan::Constant(512);
                          }),
       .kernel = "gate_up",
       .what = "SharedArena: takes",
       .where = "codegen/kernels/"},
      {.name = "output_over_an_input",
       .model = "qwen2",
       .edit = WithArgumentOf("gate_up", "y", "x"),
       .kernel = "gate_up",
       .what = "read-only memory: buffer '",
       .where = "codegen/kernels/gate_up.cuh:"},
      {.name = "too_few_blocks",
       .model = "qwen2",
       .edit = InLaunches(
           "embed",
           [](const plan::Step&, plan::Launch* launch) { launch->grid[0] = plan::Constant(1); }),
       .kernel = "embed",
       .what = "did not write all of its output"},
  };
  return faults;
}

constexpr int kTokens = 20;

struct Base {
  SharedPlan plan;
  std::shared_ptr<const KernelLibrary> kernels;
};

// The right plan and kernels of a model.
absl::StatusOr<Base> BaseOf(const std::string& model, int64_t step_tokens) {
  static auto& known = *new std::map<std::pair<std::string, int64_t>, Base>;
  if (const auto found = known.find({model, step_tokens}); found != known.end()) {
    return found->second;
  }
  renga::CompileOptions options = GpuOptions(32);
  options.max_step_tokens = step_tokens;
  options.page_tokens = 4;
  Base base;
  RENGA_ASSIGN_OR_RETURN(base.plan, PlanFor(StrCat(TinyRecord::Folder(), model, ".gguf"), options));
  const plan::Plan* const plans[] = {base.plan.get()};
  RENGA_ASSIGN_OR_RETURN(base.kernels, CompilePlans(plans, KernelOptions()));
  return known[{model, step_tokens}] = base;
}

// Some tokens of a tiny model, as many as may be in the first step and then one by one, every step
// compared with the reference.
absl::Status RunTokens(const SharedPlan& plan, DeviceOptions options) {
  RENGA_ASSIGN_OR_RETURN(const auto forward, EmulatorForward::Create(plan, std::move(options)));
  RENGA_ASSIGN_OR_RETURN(const auto reference, StepReference::Watch(*forward));
  std::vector<int32_t> tokens(kTokens);
  for (int i = 0; i < kTokens; ++i) tokens[i] = i * 37 % TinyRecord::kVocab;
  size_t chunk = static_cast<size_t>(plan->geometry.max_step_tokens);
  for (size_t begin = 0; begin < tokens.size(); begin += chunk, chunk = 1) {
    const auto part = absl::MakeConstSpan(tokens).subspan(begin, chunk);
    std::vector<float> logits;
    RENGA_RETURN_IF_ERROR(forward->Run(part, {static_cast<int32_t>(part.size()) - 1}, &logits));
  }
  return absl::OkStatus();
}

// The error that the fault leads to; Ok where it is not noticed; another than kInternal where it
// cannot be tried.
absl::Status RunWithFault(const Fault& fault) {
  RENGA_ASSIGN_OR_RETURN(const Base base, BaseOf(fault.model, fault.step_tokens));
  auto plan = std::make_shared<plan::Plan>(*base.plan);
  KernelHeaders headers;
  if (!fault.header.empty()) {
    RENGA_RETURN_IF_ERROR(headers.Edit(fault.header, fault.from, fault.to));
  }
  if (fault.edit) RENGA_RETURN_IF_ERROR(fault.edit(plan.get()));
  DeviceOptions options;
  const auto changed = [&](const plan::GpuKernel& kernel) {
    const size_t index = &kernel - plan->gpu.kernels.data();
    return kernel.source != base.plan->gpu.kernels[index].source ||
           (!fault.header.empty() && headers.Includes(kernel.source, fault.header));
  };
  const auto& kernels = plan->gpu.kernels;
  if (std::any_of(kernels.begin(), kernels.end(), changed)) {
    RENGA_ASSIGN_OR_RETURN(auto faulty, CompileSome(*plan, headers.root(), changed));
    options.kernels.push_back(std::move(faulty));
  }
  options.kernels.push_back(base.kernels);
  return RunTokens(plan, options);
}

class FaultyKernelTest : public testing::TestWithParam<size_t> {};

TEST_P(FaultyKernelTest, IsNoticedAndNamed) {
  const Fault& fault = Faults()[GetParam()];
  const absl::Status status = RunWithFault(fault);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
  const std::string message(status.message());
  EXPECT_THAT(message, HasSubstr("step "));
  EXPECT_THAT(message, HasSubstr(StrCat("kernel ", fault.kernel)));
  EXPECT_THAT(message, HasSubstr(fault.what));
  EXPECT_THAT(message, HasSubstr(fault.where));
}

INSTANTIATE_TEST_SUITE_P(All, FaultyKernelTest, testing::Range<size_t>(0, Faults().size()),
                         [](const auto& info) { return Faults()[info.param].name; });

TEST(FaultyKernel, WithoutAFaultNothingIsSaid) {
  std::set<std::pair<std::string, int64_t>> bases;
  for (const Fault& fault : Faults()) bases.insert({fault.model, fault.step_tokens});
  for (const auto& [model, step_tokens] : bases) {
    const auto base = BaseOf(model, step_tokens);
    ASSERT_TRUE(base.ok()) << base.status();
    DeviceOptions options;
    options.kernels = {base->kernels};
    const absl::Status status = RunTokens(base->plan, options);
    EXPECT_TRUE(status.ok()) << model << ": " << status;
  }
}

}  // namespace
}  // namespace renga::emulator
