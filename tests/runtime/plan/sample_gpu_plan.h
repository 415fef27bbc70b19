// SamplePlan for two GPUs: the same steps, with kernels, launches and scratch. One step has two
// variants of which the second launches twice.
#pragma once

#include "runtime/plan/sample_args.h"
#include "tests/runtime/plan/sample_plan.h"

namespace renga::plan {

// The weight "packed" lies as GPUs want it. Buffers beyond SamplePlan's: 12 half (scratch of y), 13
// next (which the step of logits gives too), 14 counters (persistent, of logits).
inline Plan SampleGpuPlan() {
  Plan plan = SamplePlan();
  plan.target = "sm_80,sm_90a";
  plan.gpu.targets = {{"sm_80", 80, 163 << 10, false}, {"sm_90a", 90, 227 << 10, true}};
  const auto image = [](int32_t target) {
    return GpuImage{target,
                    40,
                    0,
                    16,
                    8,
                    32,
                    "threads",
                    std::string("\x7f\x45LF\0code", 9),
                    target == 0 ? "// ptx" : "",
                    "a warning"};
  };
  for (const std::string name : {"rows_1", "add_2", "linear_3"}) {
    plan.gpu.kernels.push_back({name,
                                StrCat("f32[T,8] = ", name, "(f32[T,8])"),
                                StrCat("// source of ", name, "\nvoid ", name, "();\n"),
                                128,
                                {image(0), image(1)}});
  }
  plan.gpu.kernels.push_back(
      {"sample_4", "next = sample(logits)", "// source\n", kSampleThreads, {image(0), image(1)}});
  plan.gpu.packers = {{DType::kQ8_0, 1, 4096}};
  plan.gpu.sampler = {3, 2048};
  plan.weights[2].layout = plan.buffers[11].type.layout = "mma";
  plan.buffers[11].bytes = MaxBytes(plan.buffers[11].type, plan.symbols).value_or(0);
  plan.choices = {{"packed", "layout", "mma", {"file", "mma"}, "what GPUs read"}};
  const int32_t t = 0, r = 2;
  const Dim tokens = {t, 1};
  plan.buffers.push_back({"half", {DType::kF16, {tokens, {-1, 32}}}, Space::kArena, -1, 256, 256});
  plan.buffers.push_back({"next", {DType::kI32, {{r, 1}}}, Space::kArena, -1, 512, 16});
  plan.buffers.push_back({"counters", {DType::kI32, {{-1, 5}}}, Space::kPersistent, -1, 0, 20});
  plan.outputs.push_back("next");
  plan.steps[4].outputs.push_back(13);
  const auto pointer = [](std::string name, int32_t buffer, uint64_t offset = 0) {
    return Arg{ArgKind::kPointer, std::move(name), buffer, offset};
  };
  const auto rows = [&](int32_t kernel, std::vector<Arg> args, int32_t symbol) {
    args.push_back({ArgKind::kInt32, "tokens", -1, 0, SymbolValue(symbol)});
    return Launch{kernel,
                  {SymbolValue(symbol), Constant(1), Constant(1)},
                  Constant(0),
                  std::move(args),
                  true};
  };
  const auto one = [&](size_t step, Launch launch, int32_t symbol) {
    plan.steps[step].chosen_by = symbol;
    plan.steps[step].variants = {{4, {std::move(launch)}, "the only one"}};
  };
  one(0, rows(0, {pointer("tokens", 0), pointer("table", 3), pointer("y", 6)}, t), t);
  one(1, rows(0, {pointer("x", 7), pointer("cells", 2), pointer("cache", 5)}, t), t);
  one(3, rows(0, {pointer("x", 8), pointer("rows", 1), pointer("y", 9)}, r), r);
  one(4,
      rows(2,
           {pointer("x", 9),
            pointer("weight", 4),
            {ArgKind::kNull, "bias"},
            pointer("y", 10),
            pointer("counters", 14, 4)},
           r),
      r);
  plan.steps[4].scratch = {14};
  Step& add = plan.steps[2];
  add.scratch = {12};
  add.chosen_by = t;
  add.variants = {{1, {rows(1, {pointer("a", 6), pointer("b", 6), pointer("y", 8)}, t)}, "a token"},
                  {4,
                   {rows(0, {pointer("x", 6), pointer("y", 12)}, t),
                    {1,
                     {CeilDivide(SymbolValue(t) * Constant(8), 3), Min(SymbolValue(t), Constant(2)),
                      Constant(1)},
                     Constant(1024) + SymbolValue(t) * Constant(64),
                     {pointer("a", 12),
                      pointer("y", 8),
                      {ArgKind::kInt64, "count", -1, 0, SymbolValue(t) * Constant(8)}},
                     true}},
                   "several tokens"}};
  plan.memory = ComputeMemory(plan);
  return plan;
}

}  // namespace renga::plan
