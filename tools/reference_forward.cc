#include "tools/reference_forward.h"

#include <utility>

#include "ir/base/status.h"
#include "ir/text/parse.h"
#include "runtime/plan/layout.h"

namespace renga {
namespace {

HostTensor Ints(std::vector<int32_t> values, std::vector<int64_t> shape) {
  HostTensor tensor;
  tensor.dtype = DType::kI32;
  tensor.shape = std::move(shape);
  tensor.i = std::move(values);
  return tensor;
}

// One sequence in row 0 of the page table, pages in order.
class ReferenceForward final : public Forward {
 public:
  static absl::StatusOr<std::unique_ptr<Forward>> Open(std::shared_ptr<const plan::Plan> plan,
                                                       std::shared_ptr<const WeightStore> weights,
                                                       int threads, Observer observer) {
    std::unique_ptr<ReferenceForward> self(new ReferenceForward());
    RENGA_ASSIGN_OR_RETURN(self->graph_, Parse(plan->ir, "the plan's graph"));
    self->plan_ = std::move(plan);
    self->weights_ = std::move(weights);
    self->observer_ = std::move(observer);
    const std::vector<ValueId>& returns = self->graph_.returns;
    for (size_t i = 0; i < returns.size(); ++i) {
      const Value& value = self->graph_.value(returns[i]);
      if (value.name == "next" && value.type.dtype == DType::kI32) {
        self->next_ = static_cast<int>(i);
      }
    }
    const SymbolDef* cells = self->graph_.FindSymbol("C");
    if (cells == nullptr) {
      return absl::InvalidArgumentError("the plan's graph: expected the symbol C, got none");
    }
    RENGA_ASSIGN_OR_RETURN(
        self->interpreter_,
        Interpreter::Create(
            self->graph_, [&](const std::string& name) { return self->WeightOf(name); },
            {{"C", cells->max}}, threads));
    return std::unique_ptr<Forward>(std::move(self));
  }

  absl::Status Run(absl::Span<const int32_t> tokens, absl::Span<const int32_t> rows,
                   std::vector<float>* logits) override {
    rows_ = 0;
    const int64_t t = static_cast<int64_t>(tokens.size());
    const int64_t page_tokens = plan_->geometry.page_tokens;
    if (t < 1 || t > max_step_tokens() || position_ + t > context()) {
      return absl::OutOfRangeError(StrCat("expected 1..",
                                          std::min(max_step_tokens(), context() - position_),
                                          " more tokens in a context of ", context(), ", got ", t));
    }
    for (int32_t token : tokens) {
      if (token < 0 || token >= vocab()) {
        return absl::OutOfRangeError(
            StrCat("token id: expected 0..", vocab() - 1, ", got ", token));
      }
    }
    std::vector<int32_t> positions(t), pages;
    for (int64_t i = 0; i < t; ++i) positions[i] = static_cast<int32_t>(position_ + i);
    const int64_t length = position_ + t;
    const int64_t used = (length + page_tokens - 1) / page_tokens;
    for (int64_t p = 0; p < used; ++p) pages.push_back(static_cast<int32_t>(p));
    // The graph has at least one row; a caller that wants none gets nothing.
    std::vector<int32_t> asked(rows.begin(), rows.end());
    if (asked.empty()) asked.push_back(0);
    const int64_t r = static_cast<int64_t>(asked.size());

    std::vector<HostTensor> params;
    for (ValueId id : graph_.params) {
      const std::string& name = graph_.value(id).name;
      if (name == "tokens") {
        params.push_back(Ints({tokens.begin(), tokens.end()}, {t}));
      } else if (name == "positions" || name == "cells") {  // pages are in order
        params.push_back(Ints(positions, {t}));
      } else if (name == "sequences") {
        params.push_back(Ints(std::vector<int32_t>(t, 0), {t}));
      } else if (name == "pages") {
        params.push_back(Ints(pages, {1, used}));
      } else if (name == "rows") {
        params.push_back(Ints(asked, {r}));
      } else {
        return absl::InvalidArgumentError(
            StrCat("the plan's graph: expected tokens, positions, sequences, cells, pages and rows "
                   "as parameters, got %",
                   name));
      }
    }
    RENGA_RETURN_IF_ERROR(interpreter_->Run(
        {{"T", t}, {"S", 1}, {"R", r}, {"L", length}, {"P", used}}, params, observer_));
    position_ = length;
    rows_ = rows.size();
    return logits == nullptr ? absl::OkStatus() : Logits(logits);
  }

  absl::Status Logits(std::vector<float>* logits) const override {
    logits->clear();
    if (rows_ > 0) *logits = interpreter_->Return(0).f;
    return absl::OkStatus();
  }

  absl::Span<const int32_t> next() const override {
    if (next_ < 0 || rows_ == 0) return {};
    return interpreter_->Return(next_).i;
  }

  absl::Status Truncate(int64_t position) override {
    if (position < 0 || position > position_) {
      return absl::OutOfRangeError(StrCat("position: expected 0..", position_, ", got ", position));
    }
    position_ = position;  // later entries are overwritten before they are read
    return absl::OkStatus();
  }

  int64_t position() const override { return position_; }
  int64_t context() const override { return plan_->geometry.context; }
  int64_t max_step_tokens() const override { return plan_->geometry.max_step_tokens; }
  int64_t max_rows() const override { return plan::SymbolMax(*plan_, "R", max_step_tokens()); }
  int64_t vocab() const override { return plan_->model.vocab; }
  std::string_view device() const override { return "reference"; }

 private:
  ReferenceForward() = default;

  absl::StatusOr<absl::Span<const uint8_t>> WeightOf(const std::string& name) const {
    for (size_t i = 0; i < plan_->weights.size(); ++i) {
      const WeightSource& source = plan_->weights[i].source;
      if (source.name == name) {
        return absl::MakeConstSpan(weights_->data(static_cast<int>(i)), source.bytes);
      }
    }
    return absl::InvalidArgumentError(StrCat(
        "the plan's graph: expected an entry in the weight table for @", name, ", got none"));
  }

  std::shared_ptr<const plan::Plan> plan_;
  std::shared_ptr<const WeightStore> weights_;
  Graph graph_;
  Observer observer_;
  std::unique_ptr<Interpreter> interpreter_;
  int64_t position_ = 0;
  int next_ = -1;    // number of the result next; -1: the graph has none
  size_t rows_ = 0;  // of the last run
};

}  // namespace

absl::StatusOr<std::unique_ptr<Forward>> OpenReference(std::shared_ptr<const plan::Plan> plan,
                                                       std::shared_ptr<const WeightStore> weights,
                                                       int threads, Observer observer) {
  return ReferenceForward::Open(std::move(plan), std::move(weights), threads, std::move(observer));
}

}  // namespace renga
