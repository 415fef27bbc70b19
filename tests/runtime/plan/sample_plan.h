// A small plan made by hand that uses every field, for the tests of what reads plans.
#pragma once

#include "runtime/plan/layout.h"
#include "runtime/plan/plan.h"

namespace renga::plan {

// Vocabulary of 10, width 8, one cache, a step of at most 4 tokens. Buffers by index:
//   0 tokens  1 rows  2 cells  3 @table  4 @out  5 0.k_cache  6 x  7 x_heads (view of 6)  8 y
//   9 last  10 logits  11 @packed, which nothing reads
inline Plan SamplePlan() {
  Plan plan;
  plan.target = "cpu";
  plan.producer = "renga test";
  plan.model = {"llama", "Sample", "Q8_0", 1, 8, 2, 1, 4, 16, 10, 64};
  TokenizerData& tokenizer = plan.tokenizer;
  tokenizer.model = "gpt2";
  tokenizer.pre = "qwen2";
  tokenizer.text = std::string("ab\0cdefghi\xff", 11);
  tokenizer.offsets = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11};
  tokenizer.scores = {0, -1, -2, -3, -4, -5, -6, -7, -8, 1.5f};
  tokenizer.types.assign(10, TokenType::kNormal);
  tokenizer.types[1] = TokenType::kControl;
  tokenizer.merges = {{0, 2}, {9, 3}};
  tokenizer.bos = 1;
  tokenizer.eos = 2;
  tokenizer.eot = 3;
  tokenizer.eom = 4;
  tokenizer.unk = 5;
  tokenizer.pad = 6;
  tokenizer.add_bos = true;
  tokenizer.add_eos = true;
  tokenizer.add_space_prefix = true;
  tokenizer.end_of_generation = {2, 3};
  tokenizer.chat_template = "{{ messages }}";
  plan.files = {{"model.gguf", 4096}, {"model-2.gguf", 8192}};
  plan.ignored = {{"rope_freqs.weight", "all ones"}};
  plan.geometry = {/*page_tokens=*/4, /*context=*/16, /*max_sequences=*/2, /*max_step_tokens=*/4};
  plan.symbols = {{"T", 4}, {"S", 2}, {"R", 4}, {"L", 16}, {"P", 4}, {"C", 32}};
  const Dim t = {0, 1}, r = {2, 1}, c = {5, 1};
  plan.inputs = {"tokens", "rows", "cells"};
  plan.outputs = {"logits"};
  plan.weights = {{{"table", DType::kF32, {10, 8}, 0, 64, 320}, {1, 2}},
                  {{"out", DType::kF16, {10, 8}, 1, 128, 160}, {3, 4}},
                  {{"packed", DType::kQ8_0, {10, 32}, 1, 512, 340}, {5, 6}, "rows8"}};
  plan.caches = {{"0.k_cache", 0, DType::kF16, 2, 4, 16}};
  const auto add = [&plan](std::string name, TensorType type, Space space, int32_t index,
                           uint64_t offset, int32_t view_of = -1) {
    const uint64_t bytes = MaxBytes(type, plan.symbols).value_or(0);
    plan.buffers.push_back(
        {std::move(name), std::move(type), space, index, offset, bytes, view_of});
  };
  add("tokens", {DType::kI32, {t}}, Space::kInput, 0, 0);
  add("rows", {DType::kI32, {r}}, Space::kInput, 1, 0);
  add("cells", {DType::kI32, {t}}, Space::kInput, 2, 0);
  add("table", {DType::kF32, {{-1, 10}, {-1, 8}}}, Space::kWeight, 0, 0);
  add("out", {DType::kF16, {{-1, 10}, {-1, 8}}}, Space::kWeight, 1, 0);
  add("0.k_cache", {DType::kF16, {c, {-1, 2}, {-1, 4}}}, Space::kCache, 0, 0);
  add("x", {DType::kF32, {t, {-1, 8}}}, Space::kArena, -1, 0);
  add("x_heads", {DType::kF32, {t, {-1, 2}, {-1, 4}}}, Space::kArena, -1, 0, 6);
  add("y", {DType::kF32, {t, {-1, 8}}}, Space::kArena, -1, 128);
  add("last", {DType::kF32, {r, {-1, 8}}}, Space::kArena, -1, 0);
  add("logits", {DType::kF32, {r, {-1, 10}}}, Space::kArena, -1, 128);
  add("packed", {DType::kQ8_0, {{-1, 10}, {-1, 32}}, "rows8"}, Space::kWeight, 2, 0);
  plan.kernels = {{"embed"}, {"kv_append"}, {"add"}, {"gather_rows"}, {"linear"}};
  plan.steps = {
      {"x", -1, StepKind::kKernel, 0, {0, 3}, {6}, {}, {"x"}},
      {"0.k_new", 0, StepKind::kKernel, 1, {5, 7, 2}, {5}, {}, {"0.k_new", "0.k"}},
      {"y",
       0,
       StepKind::kKernel,
       2,
       {6, 6},
       {8},
       {{"a_float", 1e-06},
        {"b_int", int64_t{-3}},
        {"c_bool", true},
        {"d_name", std::string("neox")}},
       {"y"}},
      {"last", -1, StepKind::kKernel, 3, {8, 1}, {9}, {}, {"last"}},
      {"logits", -1, StepKind::kKernel, 4, {9, 4, -1}, {10}, {}, {"logits"}},
  };
  plan.memory = ComputeMemory(plan);
  plan.ir = "ir 1\n";
  plan.source_ir = "ir 1\n// source\n";
  plan.passes = {{"dead-nodes", true, 9, 7, 0.25}, {"last-logits", false, 7, 7, 0.5}};
  plan.ledger = {{"last-logits", "logits", -1, LedgerResult::kMatched, ""},
                 {"fuse", "0.k", 0, LedgerResult::kRejected, "has 2 users"}};
  plan.choices = {{"packed", "layout", "rows8", {"file", "rows8"}, "measured"}};
  return plan;
}

}  // namespace renga::plan
