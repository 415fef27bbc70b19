#include "tools/compare/plan_diff.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "ir/base/strings.h"
#include "tools/compare/tensor_role.h"

namespace renga {
namespace {

using Facts = std::vector<std::pair<std::string, std::string>>;

Facts FactsOf(const plan::Plan& plan) {
  Facts facts = {
      {"target", plan.target},
      {"architecture", plan.model.architecture},
      {"model", plan.model.name},
      {"file type", plan.model.file_type},
      {"context", StrCat(plan.geometry.context)},
      {"sequences", StrCat(plan.geometry.max_sequences)},
      {"step tokens", StrCat(plan.geometry.max_step_tokens)},
      {"page tokens", StrCat(plan.geometry.page_tokens)},
      {"vocabulary", StrCat(plan.model.vocab)},
      {"steps", StrCat(plan.steps.size())},
      {"memory.weights", StrCat(plan.memory.weights, " bytes")},
      {"memory.kv", StrCat(plan.memory.kv, " bytes")},
      {"memory.activations", StrCat(plan.memory.activations, " bytes")},
      {"memory.total", StrCat(plan.memory.total(), " bytes")},
  };
  std::vector<std::string> passes;
  for (const plan::PassRecord& pass : plan.passes) passes.push_back(pass.name);
  facts.emplace_back("passes", StrJoin(passes, " "));
  return facts;
}

std::map<std::string, int> StepsByKernel(const plan::Plan& plan) {
  std::map<std::string, int> steps;
  for (const plan::Step& step : plan.steps) {
    if (step.kernel >= 0) ++steps[plan.kernels[step.kernel].name];
  }
  return steps;
}

std::string StepsText(int steps) {
  return steps == 0 ? "" : StrCat(steps, steps == 1 ? " step" : " steps");
}

}  // namespace

std::vector<FactChange> DiffPlanFacts(const plan::Plan& a, const plan::Plan& b) {
  std::vector<FactChange> changes;
  const Facts facts_a = FactsOf(a), facts_b = FactsOf(b);
  for (size_t i = 0; i < facts_a.size(); ++i) {
    if (facts_a[i].second == facts_b[i].second) continue;
    changes.push_back({facts_a[i].first, facts_a[i].second, facts_b[i].second});
  }
  const std::map<std::string, int> steps_a = StepsByKernel(a), steps_b = StepsByKernel(b);
  std::set<std::string> kernels;
  for (const auto& [name, count] : steps_a) kernels.insert(name);
  for (const auto& [name, count] : steps_b) kernels.insert(name);
  const auto count_in = [](const std::map<std::string, int>& steps, const std::string& name) {
    const auto found = steps.find(name);
    return found == steps.end() ? 0 : found->second;
  };
  for (const std::string& name : kernels) {
    const int before = count_in(steps_a, name), after = count_in(steps_b, name);
    if (before == after) continue;
    changes.push_back({StrCat("kernel ", name), StepsText(before), StepsText(after)});
  }
  return changes;
}

std::vector<ChangeGroup> DiffPlanWeights(const plan::Plan& a, const plan::Plan& b) {
  std::map<std::string_view, const plan::Weight*> weights_of_a;
  for (const plan::Weight& weight : a.weights) weights_of_a[weight.source.name] = &weight;
  std::set<std::string_view> seen;
  std::map<std::pair<bool, std::string>, size_t> index;
  std::vector<ChangeGroup> groups;
  for (const plan::Weight& weight : b.weights) {
    if (!seen.insert(weight.source.name).second) continue;  // in another layout
    const auto found = weights_of_a.find(weight.source.name);
    if (found == weights_of_a.end()) continue;
    const plan::Weight& other = *found->second;
    if (other.source.dtype != weight.source.dtype || other.source.shape != weight.source.shape ||
        other.digest == weight.digest) {
      continue;
    }
    const TensorRole role = RoleOfTensor(weight.source.name);
    const auto [at, added] = index.try_emplace({role.layer < 0, role.role}, groups.size());
    if (added) {
      ChangeGroup group;
      group.kind = ChangeKind::kWeightValues;
      group.subject = Subject::kWeight;
      group.role = role.role;
      groups.push_back(std::move(group));
    }
    if (role.layer >= 0) groups[at->second].layers.push_back(role.layer);
  }
  for (ChangeGroup& group : groups) std::sort(group.layers.begin(), group.layers.end());
  return groups;
}

}  // namespace renga
