#include "tools/verify_truth.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <string_view>
#include <utility>

#include "ir/base/status.h"
#include "runtime/plan/layout.h"
#include "tools/compiler.h"

namespace renga {
namespace {

CompileOptions OptionsOf(const plan::Plan& plan, int threads) {
  CompileOptions options;
  options.context = plan.geometry.context;
  options.max_sequences = plan.geometry.max_sequences;
  options.max_step_tokens = plan.geometry.max_step_tokens;
  options.max_rows = plan::SymbolMax(plan, "R", plan.geometry.max_step_tokens);
  options.page_tokens = plan.geometry.page_tokens;
  for (const plan::Cache& cache : plan.caches) {
    (cache.name.ends_with("k_cache") ? options.k_type : options.v_type) = cache.dtype;
  }
  options.threads = threads;
  options.only_passes.emplace();
  return options;
}

std::string ShapeText(const WeightSource& source) {
  return StrCat(Name(source.dtype), "[", StrJoin(source.shape, ","), "]");
}

absl::Status CheckSameModel(const std::string& gguf, const OpenedPlan& opened,
                            const plan::Plan& truth) {
  const plan::Plan& plan = *opened.plan;
  const auto other = [&](std::string_view what, const auto& expected, const auto& got) {
    return absl::FailedPreconditionError(
        StrCat(opened.path, ": expected a plan of ", gguf, ", got one of another model: ", what,
               ": ", expected, " in the model, ", got, " in the plan; compile it again"));
  };
  if (plan.model.architecture != truth.model.architecture) {
    return other("architecture", truth.model.architecture, plan.model.architecture);
  }
  if (plan.model.vocab != truth.model.vocab) {
    return other("vocabulary", truth.model.vocab, plan.model.vocab);
  }
  if (plan.caches.size() != truth.caches.size()) {
    return other("layers", truth.caches.size() / 2, plan.caches.size() / 2);
  }
  std::map<std::string_view, const WeightSource*> known;
  for (const plan::Weight& weight : truth.weights) {
    known.emplace(weight.source.name, &weight.source);
  }
  for (const plan::Weight& weight : plan.weights) {
    const auto found = known.find(weight.source.name);
    if (found == known.end()) {
      return other(StrCat("@", weight.source.name), "none", ShapeText(weight.source));
    }
    const std::string expected = ShapeText(*found->second), got = ShapeText(weight.source);
    if (expected != got) return other(StrCat("@", weight.source.name), expected, got);
  }
  return absl::OkStatus();
}

std::string DifferenceText(absl::Span<const uint8_t> file, absl::Span<const uint8_t> device) {
  const auto is_zero = [](uint8_t byte) { return byte == 0; };
  if (std::all_of(device.begin(), device.end(), is_zero)) {
    return "the device has zeros, the file does not";
  }
  size_t differ = 0;
  for (size_t i = 0; i < file.size(); ++i) differ += file[i] != device[i] ? 1 : 0;
  return StrCat("the device has ", differ, " of ", file.size(), " bytes other than the file");
}

}  // namespace

absl::StatusOr<Truth> OpenTruth(const std::string& gguf, const OpenedPlan& opened, int threads) {
  RENGA_ASSIGN_OR_RETURN(Compilation compilation, Compile(gguf, OptionsOf(*opened.plan, threads)));
  Truth truth;
  truth.plan = std::make_shared<const plan::Plan>(std::move(compilation.plan));
  RENGA_RETURN_IF_ERROR(CheckSameModel(gguf, opened, *truth.plan));
  WeightOptions options;
  options.threads = threads;
  options.packed = false;
  RENGA_ASSIGN_OR_RETURN(WeightStore store, WeightStore::Open(*truth.plan, options));
  truth.store = std::make_shared<const WeightStore>(std::move(store));
  options.plan_path = opened.path;
  RENGA_ASSIGN_OR_RETURN(const WeightStore device, WeightStore::Open(*opened.plan, options));
  std::map<std::string_view, size_t> known;
  for (size_t i = 0; i < truth.plan->weights.size(); ++i) {
    known.emplace(truth.plan->weights[i].source.name, i);
  }
  for (size_t i = 0; i < opened.plan->weights.size(); ++i) {
    const plan::Weight& weight = opened.plan->weights[i];
    const size_t of = known.find(weight.source.name)->second;
    if (weight.digest == truth.plan->weights[of].digest && !weight.embedded) continue;
    const auto bytes = [&](const WeightStore& from, size_t index) {
      return absl::MakeConstSpan(from.data(static_cast<int>(index)), weight.source.bytes);
    };
    const auto file = bytes(*truth.store, of), held = bytes(device, i);
    if (std::memcmp(file.data(), held.data(), file.size()) == 0) continue;
    const bool told = std::any_of(truth.faults.begin(), truth.faults.end(), [&](const auto& each) {
      return each.name == weight.source.name;
    });
    if (!told) truth.faults.push_back({weight.source.name, DifferenceText(file, held)});
  }
  return truth;
}

}  // namespace renga
