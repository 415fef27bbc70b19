#include <map>

#include "absl/container/flat_hash_map.h"
#include "ir/base/status.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/mismatch.h"
#include "runtime/plan/validate.h"

namespace renga::plan {
namespace {

// Of one step; bounds the pairs that CheckOutputs looks at.
constexpr size_t kMaxOperands = 64;

// Who wrote which bytes of the arena last. Ranges never overlap; writing one forgets every value it
// touches, so a value that another overwrote while it was still needed is seen missing when read.
class ArenaContent {
 public:
  void Write(const Buffer& buffer, int32_t id) {
    const uint64_t end = buffer.offset + buffer.bytes;
    auto range = ranges_.lower_bound(buffer.offset);
    if (range != ranges_.begin() && std::prev(range)->second.end > buffer.offset) --range;
    while (range != ranges_.end() && range->first < end) range = ranges_.erase(range);
    ranges_[buffer.offset] = {end, id};
  }

  bool Holds(const Buffer& buffer, int32_t id) const {
    const auto range = ranges_.find(buffer.offset);
    return range != ranges_.end() && range->second.id == id;
  }

 private:
  struct Range {
    uint64_t end;
    int32_t id;
  };
  std::map<uint64_t, Range> ranges_;
};

class StepCheck {
 public:
  explicit StepCheck(const Plan& plan) : plan_(plan) {}

  absl::Status Run() {
    for (size_t i = 0; i < plan_.steps.size(); ++i) {
      const Step& step = plan_.steps[i];
      const std::string where = StrCat("step ", i, " (", step.name, ")");
      RENGA_RETURN_IF_ERROR(CheckKernel(where, step));
      RENGA_RETURN_IF_ERROR(CheckAttrs(where, step));
      RENGA_RETURN_IF_ERROR(CheckInputs(where, step));
      RENGA_RETURN_IF_ERROR(CheckOutputs(where, step));
      RENGA_RETURN_IF_ERROR(CheckScratch(where, step));
    }
    return CheckResults();
  }

 private:
  absl::Status CheckKernel(const std::string& where, const Step& step) const {
    const int64_t kernels = static_cast<int64_t>(plan_.kernels.size());
    const bool kernel = step.kind == StepKind::kKernel;
    if (kernel ? (step.kernel < 0 || step.kernel >= kernels) : step.kernel != -1) {
      return Mismatch(StrCat(where, ": kernel"), kernel ? StrCat("0..", kernels - 1) : "-1",
                      step.kernel);
    }
    if (step.layer < -1) return Mismatch(StrCat(where, ": layer"), "-1 or more", step.layer);
    if (step.outputs.empty()) return Mismatch(where, "an output", "none");
    if (step.inputs.size() > kMaxOperands || step.outputs.size() > kMaxOperands) {
      return Mismatch(where, StrCat("at most ", kMaxOperands, " inputs and outputs"),
                      StrCat(step.inputs.size(), " and ", step.outputs.size()));
    }
    if (step.scratch.size() > kMaxOperands) {
      return Mismatch(StrCat(where, ": scratch"), StrCat("at most ", kMaxOperands, " buffers"),
                      step.scratch.size());
    }
    return absl::OkStatus();
  }

  absl::Status CheckAttrs(const std::string& where, const Step& step) const {
    for (size_t i = 0; i < step.attrs.size(); ++i) {
      if (step.attrs[i].name.empty())
        return Mismatch(StrCat(where, ": attribute"), "a name", "none");
      if (i > 0 && step.attrs[i].name <= step.attrs[i - 1].name) {
        return Mismatch(StrCat(where, ": attributes"), "sorted, unique names",
                        StrCat(step.attrs[i].name, " after ", step.attrs[i - 1].name));
      }
    }
    return absl::OkStatus();
  }

  absl::Status CheckInputs(const std::string& where, const Step& step) const {
    for (int32_t input : step.inputs) {
      if (input == -1) continue;
      RENGA_RETURN_IF_ERROR(CheckIndex(StrCat(where, ": input"), input));
      if (plan_.buffers[input].space == Space::kPersistent) {
        return Mismatch(where, "an input that is not persistent", plan_.buffers[input].name);
      }
      RENGA_RETURN_IF_ERROR(CheckHeld(where, input));
    }
    return absl::OkStatus();
  }

  absl::Status CheckOutputs(const std::string& where, const Step& step) {
    for (size_t i = 0; i < step.outputs.size(); ++i) {
      const int32_t output = step.outputs[i];
      RENGA_RETURN_IF_ERROR(CheckIndex(StrCat(where, ": output"), output));
      const Buffer& buffer = plan_.buffers[output];
      if (buffer.space != Space::kArena && buffer.space != Space::kCache) {
        return Mismatch(where, "an output in the arena or a cache",
                        StrCat(buffer.name, ", which is constant"));
      }
      if (buffer.view_of >= 0) return Mismatch(where, "an output that is no view", buffer.name);
      for (int32_t input : step.inputs) {
        if (input >= 0 && Overlap(plan_.buffers[input], buffer)) {
          return Mismatch(where, "outputs apart from inputs",
                          StrCat(buffer.name, " over ", plan_.buffers[input].name));
        }
      }
      for (size_t j = 0; j < i; ++j) {
        if (Overlap(plan_.buffers[step.outputs[j]], buffer)) {
          return Mismatch(where, "outputs apart from each other",
                          StrCat(buffer.name, " over ", plan_.buffers[step.outputs[j]].name));
        }
      }
      if (buffer.space == Space::kArena) arena_.Write(buffer, output);
    }
    return absl::OkStatus();
  }

  // Scratch lies apart from all that the step reads and writes, and from other scratch.
  absl::Status CheckScratch(const std::string& where, const Step& step) {
    std::vector<int32_t> others = step.inputs;
    others.insert(others.end(), step.outputs.begin(), step.outputs.end());
    for (const int32_t scratch : step.scratch) {
      RENGA_RETURN_IF_ERROR(CheckIndex(StrCat(where, ": scratch"), scratch));
      const Buffer& buffer = plan_.buffers[scratch];
      if ((buffer.space != Space::kArena && buffer.space != Space::kPersistent) ||
          buffer.view_of >= 0) {
        return Mismatch(where, "scratch in the arena or persistent, and no view", buffer.name);
      }
      for (const int32_t other : others) {
        if (other >= 0 && (other == scratch || Overlap(plan_.buffers[other], buffer))) {
          return Mismatch(where, "scratch apart from all else of the step",
                          StrCat(buffer.name, " over ", plan_.buffers[other].name));
        }
      }
      others.push_back(scratch);
      if (buffer.space == Space::kArena) arena_.Write(buffer, scratch);
    }
    return absl::OkStatus();
  }

  // What the caller reads after a run.
  absl::Status CheckResults() const {
    absl::flat_hash_map<std::string, int32_t> buffers;
    for (size_t i = 0; i < plan_.buffers.size(); ++i) {
      if (plan_.buffers[i].space != Space::kWeight) {
        buffers[plan_.buffers[i].name] = static_cast<int32_t>(i);
      }
    }
    absl::flat_hash_map<std::string, int> seen;
    for (const std::string& output : plan_.outputs) {
      const std::string where = StrCat("output ", output);
      const auto found = buffers.find(output);
      if (found == buffers.end()) return Mismatch(where, "a buffer", "none of that name");
      if (seen[output]++ > 0) return Mismatch(where, "one of that name", "two");
      RENGA_RETURN_IF_ERROR(CheckHeld(where, found->second));
    }
    return absl::OkStatus();
  }

  absl::Status CheckIndex(const std::string& where, int32_t index) const {
    const int64_t buffers = static_cast<int64_t>(plan_.buffers.size());
    if (index >= 0 && index < buffers) return absl::OkStatus();
    return Mismatch(where, StrCat("a buffer 0..", buffers - 1), index);
  }

  absl::Status CheckHeld(const std::string& where, int32_t index) const {
    const Buffer& buffer = plan_.buffers[index];
    const int32_t owner = buffer.view_of >= 0 ? buffer.view_of : index;
    if (buffer.space != Space::kArena || arena_.Holds(buffer, owner)) return absl::OkStatus();
    return Mismatch(where, StrCat(buffer.name, " written and still there"),
                    "one not yet written, or overwritten");
  }

  // Caches are overwritten in place; only arena bytes are shared by chance.
  static bool Overlap(const Buffer& a, const Buffer& b) {
    return a.space == Space::kArena && b.space == Space::kArena && a.offset < b.offset + b.bytes &&
           b.offset < a.offset + a.bytes;
  }

  const Plan& plan_;
  ArenaContent arena_;
};

}  // namespace

absl::Status ValidateSteps(const Plan& plan) { return StepCheck(plan).Run(); }

}  // namespace renga::plan
