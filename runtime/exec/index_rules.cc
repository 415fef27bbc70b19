#include "runtime/exec/index_rules.h"

#include <algorithm>
#include <vector>

#include "absl/types/span.h"
#include "ir/base/status.h"
#include "ir/base/windows.h"

namespace renga {
namespace {

constexpr std::string_view kCells = "C";

// Operand `operand` of `kernel` must be the input `input`; where `of` >= 0 it indexes axis 0 of
// operand `of`, which must have the size `size`: a symbol that the executor checks the values
// against, or "" for a constant that becomes the limit of the token ids. Cells and pages of a
// window go with the symbol C of that window (ir/base/windows.h).
struct IndexRule {
  std::string_view kernel;
  size_t operand;
  std::string_view input;
  int of;
  std::string_view size;
};

constexpr IndexRule kIndexRules[] = {
    {"attention", 3, "positions", -1, ""},
    {"attention", 4, "sequences", 5, "S"},
    {"attention", 5, "pages", 1, "C"},
    {"attention", 5, "pages", 2, "C"},
    {"attention_direct", 3, "positions", -1, ""},
    {"attention_direct", 4, "sequences", 5, "S"},
    {"attention_direct", 5, "pages", 1, "C"},
    {"attention_direct", 5, "pages", 2, "C"},
    {"attn_scores", 2, "sequences", 3, "S"},
    {"attn_scores", 3, "pages", 1, "C"},
    {"attn_scores", 5, "positions", -1, ""},
    {"attn_values", 2, "sequences", 3, "S"},
    {"attn_values", 3, "pages", 1, "C"},
    {"embed", 0, "tokens", 1, ""},
    {"gather_rows", 1, "rows", 0, "T"},
    {"kv_append", 2, "cells", 0, "C"},
    {"masked_softmax", 1, "positions", -1, ""},
    {"qkv_rope", 6, "positions", -1, ""},
    {"qkv_rope", 7, "cells", 4, "C"},
    {"qkv_rope", 7, "cells", 5, "C"},
    {"rope", 1, "positions", -1, ""},
};

// Operand `operand` of `kernel`, not an input but computed by steps of the kernel `producer`, whose
// values are below axis `axis` of its operand `counted`; it indexes axis 0 of operand `of`.
struct ProducedRule {
  std::string_view kernel;
  size_t operand;
  int of;
  std::string_view producer;
  size_t counted;
  size_t axis;
};

constexpr ProducedRule kProducedRules[] = {
    {"expert_linear", 2, 1, "moe_route", 0, 1},
};

// Kernels that walk a page table: their pages must be the plan's.
constexpr std::string_view kPagedKernels[] = {"attention", "attention_direct", "attn_scores",
                                              "attn_values"};

// Those of them that walk the key positions 0..n-1, where n is a size: it must be L, which the
// executor keeps within the table it was given. attention walks to the largest of the positions,
// which the executor keeps within it too.
struct SpanRule {
  std::string_view kernel;
  bool output;  // whether `tensor` counts outputs or inputs
  size_t tensor;
  size_t axis;
};

constexpr SpanRule kSpanRules[] = {
    {"attn_scores", true, 0, 2},
    {"attn_values", false, 0, 2},
};

// Results that kernels write into an operand's storage: the entries that a run does not write must
// be those of the runs before.
struct InPlaceRule {
  std::string_view kernel;
  size_t output;
  size_t operand;
};

constexpr InPlaceRule kInPlaceRules[] = {
    {"kv_append", 0, 0},
    {"qkv_rope", 1, 4},
    {"qkv_rope", 2, 5},
};

class Checker {
 public:
  Checker(const plan::Plan& plan, const plan::Step& step, size_t index, IndexLimits& limits)
      : plan_(plan), step_(step), limits_(limits) {
    kernel_ = plan.kernels[step.kernel].name;
    where_ = StrCat("step ", index, " (", step.name, ", kernel ", kernel_, ")");
  }

  absl::Status Run() {
    for (size_t i = 0; i < step_.inputs.size(); ++i) {
      const plan::Buffer* buffer = Input(i);
      if (buffer == nullptr || buffer->type.dtype != DType::kI32) continue;
      RENGA_RETURN_IF_ERROR(CheckOperand(i, *buffer));
    }
    RENGA_RETURN_IF_ERROR(CheckInPlace());
    for (const SpanRule& rule : kSpanRules) {
      if (rule.kernel == kernel_) RENGA_RETURN_IF_ERROR(CheckSpan(rule));
    }
    for (std::string_view kernel : kPagedKernels) {
      if (kernel == kernel_) return CheckPages();
    }
    return absl::OkStatus();
  }

 private:
  absl::Status CheckOperand(size_t operand, const plan::Buffer& buffer) {
    bool known = false;
    for (const IndexRule& rule : kIndexRules) {
      if (rule.kernel != kernel_ || rule.operand != operand) continue;
      const WindowName input =
          rule.size == kCells ? SplitWindow(buffer.name) : WindowName{buffer.name, 0};
      if (buffer.space != plan::Space::kInput || input.base != rule.input) {
        return Error(operand, StrCat("the input ", rule.input), buffer.name);
      }
      if (rule.of >= 0) RENGA_RETURN_IF_ERROR(CheckIndexed(rule, input.window));
      known = true;
    }
    if (known) return absl::OkStatus();
    for (const ProducedRule& rule : kProducedRules) {
      if (rule.kernel == kernel_ && rule.operand == operand) return CheckProduced(rule);
    }
    return absl::UnimplementedError(
        StrCat(where_, ": operand ", operand, ": no rule says what these indices may be"));
  }

  absl::Status CheckIndexed(const IndexRule& rule, int64_t window) {
    const plan::Buffer* table = Input(static_cast<size_t>(rule.of));
    if (table == nullptr) return Error(rule.of, "a tensor", "none");
    const plan::Dim& dim = table->type.shape[0];
    if (!rule.size.empty()) {
      const std::string size = WindowSymbol(rule.size, window);
      if (DimName(dim) == size) return absl::OkStatus();
      return Error(rule.of, StrCat("axis 0 of size ", size), DimName(dim));
    }
    if (dim.symbol >= 0) return Error(rule.of, "a constant axis 0", DimName(dim));
    limits_.tokens = std::min(limits_.tokens, dim.value);
    return absl::OkStatus();
  }

  // Every step that writes the buffer must be a producer with no more values than the table has
  // entries. The validator has seen that nothing else overwrites it.
  absl::Status CheckProduced(const ProducedRule& rule) const {
    const plan::Buffer* table = Input(static_cast<size_t>(rule.of));
    if (table == nullptr || table->type.shape[0].symbol >= 0) {
      return Error(rule.of, "a constant axis 0", "none");
    }
    const int32_t index = step_.inputs[rule.operand];
    const int32_t view_of = plan_.buffers[index].view_of;
    const int32_t owner = view_of >= 0 ? view_of : index;
    if (plan_.buffers[owner].space != plan::Space::kArena) {
      return Error(rule.operand, StrCat("a result of ", rule.producer), plan_.buffers[owner].name);
    }
    for (const plan::Step& writer : plan_.steps) {
      if (std::find(writer.outputs.begin(), writer.outputs.end(), owner) == writer.outputs.end()) {
        continue;
      }
      if (writer.kind != plan::StepKind::kKernel ||
          plan_.kernels[writer.kernel].name != rule.producer) {
        return Error(rule.operand, StrCat("a result of ", rule.producer), writer.name);
      }
      const int64_t count = Count(writer, rule);
      if (count < 1 || count > table->type.shape[0].value) {
        return Error(rule.operand, StrCat("values below ", table->type.shape[0].value),
                     StrCat("values below ", count));
      }
    }
    return absl::OkStatus();
  }

  // 0 when the size is no constant.
  int64_t Count(const plan::Step& writer, const ProducedRule& rule) const {
    if (rule.counted >= writer.inputs.size() || writer.inputs[rule.counted] < 0) return 0;
    const std::vector<plan::Dim>& shape = plan_.buffers[writer.inputs[rule.counted]].type.shape;
    return rule.axis < shape.size() && shape[rule.axis].symbol < 0 ? shape[rule.axis].value : 0;
  }

  absl::Status CheckInPlace() const {
    std::vector<int32_t> written;
    for (const InPlaceRule& rule : kInPlaceRules) {
      if (rule.kernel != kernel_) continue;
      const plan::Buffer* operand = Input(rule.operand);
      if (operand == nullptr || rule.output >= step_.outputs.size() ||
          step_.outputs[rule.output] != step_.inputs[rule.operand]) {
        return absl::InvalidArgumentError(
            StrCat(where_, ": output ", rule.output, ": expected operand ", rule.operand,
                   ", which it overwrites, got another buffer; compile it again"));
      }
      const int32_t index = step_.outputs[rule.output];
      if (std::find(written.begin(), written.end(), index) != written.end()) {
        return Error(rule.operand, "a buffer of its own", operand->name);
      }
      written.push_back(index);
    }
    return absl::OkStatus();
  }

  absl::Status CheckSpan(const SpanRule& rule) {
    const std::vector<int32_t>& list = rule.output ? step_.outputs : step_.inputs;
    const plan::Buffer* buffer = rule.tensor < list.size() && list[rule.tensor] >= 0
                                     ? &plan_.buffers[list[rule.tensor]]
                                     : nullptr;
    if (buffer == nullptr || buffer->type.shape.size() <= rule.axis ||
        DimName(buffer->type.shape[rule.axis]) != "L") {
      return absl::InvalidArgumentError(
          StrCat(where_, ": expected scores of shape [T,heads,L], got another; compile it again"));
    }
    return absl::OkStatus();
  }

  absl::Status CheckPages() const {
    for (const plan::Attr& attr : step_.attrs) {
      if (attr.name != "page_tokens") continue;
      const int64_t* tokens = std::get_if<int64_t>(&attr.value);
      if (tokens != nullptr && *tokens == plan_.geometry.page_tokens) return absl::OkStatus();
    }
    return absl::InvalidArgumentError(StrCat(where_, ": attribute page_tokens: expected ",
                                             plan_.geometry.page_tokens,
                                             " (the plan's), got another; compile it again"));
  }

  const plan::Buffer* Input(size_t operand) const {
    if (operand >= step_.inputs.size() || step_.inputs[operand] < 0) return nullptr;
    return &plan_.buffers[step_.inputs[operand]];
  }

  std::string DimName(const plan::Dim& dim) const {
    return dim.symbol < 0 ? StrCat(dim.value) : plan_.symbols[dim.symbol].name;
  }

  absl::Status Error(size_t operand, std::string_view expected, std::string_view got) const {
    return absl::InvalidArgumentError(StrCat(where_, ": operand ", operand, ": expected ", expected,
                                             ", got ", got, "; compile it again"));
  }

  const plan::Plan& plan_;
  const plan::Step& step_;
  IndexLimits& limits_;
  std::string_view kernel_;
  std::string where_;
};

}  // namespace

absl::StatusOr<IndexLimits> CheckIndexOperands(const plan::Plan& plan) {
  IndexLimits limits;
  limits.tokens = plan.model.vocab;
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    if (plan.steps[i].kind != plan::StepKind::kKernel) continue;
    RENGA_RETURN_IF_ERROR(Checker(plan, plan.steps[i], i, limits).Run());
  }
  return limits;
}

}  // namespace renga
