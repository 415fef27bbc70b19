#include "tools/reference_runner.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "ir/base/status.h"
#include "ir/base/windows.h"
#include "ir/text/parse.h"
#include "runtime/exec/index_rules.h"
#include "runtime/plan/layout.h"
#include "tools/file_weights.h"

namespace renga {
namespace {

constexpr std::string_view kCells = "C";

class ReferenceRunner final : public StepRunner {
 public:
  static absl::StatusOr<std::unique_ptr<StepRunner>> Open(
      std::shared_ptr<const plan::Plan> plan, std::shared_ptr<const WeightStore> weights,
      int threads, Observer observer) {
    std::unique_ptr<ReferenceRunner> self(new ReferenceRunner());
    RENGA_RETURN_IF_ERROR(CheckInputsAreKnown(*plan));
    RENGA_ASSIGN_OR_RETURN(self->limits_, CheckIndexOperands(*plan));
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
    SymbolValues cells;
    for (const SymbolDef& symbol : self->graph_.symbols) {
      if (SplitWindow(symbol.name).base == kCells) cells[symbol.name] = symbol.max;
    }
    if (!cells.contains(kCells)) {
      return absl::InvalidArgumentError("the plan's graph: expected the symbol C, got none");
    }
    RENGA_ASSIGN_OR_RETURN(
        self->interpreter_,
        Interpreter::Create(self->graph_, FileWeights(*self->plan_, *self->weights_), cells,
                            threads));
    return std::unique_ptr<StepRunner>(std::move(self));
  }

  absl::Status Run(const StepInputs& given) override {
    rows_ = 0;
    RENGA_RETURN_IF_ERROR(CheckStepInputs(*plan_, limits_, given));
    StepInputs inputs = given;
    // The graph has at least one row; a caller that wants none gets nothing.
    constexpr int32_t kFirst = 0;
    if (given.rows.empty()) inputs.rows = absl::MakeConstSpan(&kFirst, 1);
    std::vector<HostTensor> params;
    for (ValueId id : graph_.params) {
      RENGA_ASSIGN_OR_RETURN(params.emplace_back(), ParamOf(graph_.value(id).name, inputs));
    }
    std::vector<int64_t> sizes;
    BindSymbols(*plan_, inputs, &sizes);
    SymbolValues symbols;
    for (size_t i = 0; i < sizes.size(); ++i) {
      const std::string& name = plan_->symbols[i].name;
      if (SplitWindow(name).base != kCells) symbols[name] = sizes[i];
    }
    RENGA_RETURN_IF_ERROR(interpreter_->Run(symbols, params, observer_));
    rows_ = given.rows.size();
    return absl::OkStatus();
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

  absl::Status CopyPages(absl::Span<const PageCopy> copies) override {
    for (const PageCopy& copy : copies) {
      for (const size_t i : CachesOf(copy.group)) {
        const absl::Span<float> from = PageOf(static_cast<int>(i), copy.from);
        std::copy(from.begin(), from.end(), PageOf(static_cast<int>(i), copy.to).begin());
      }
    }
    return absl::OkStatus();
  }

  absl::Status ReadPage(int group, int32_t page, std::string* bytes) const override {
    for (const size_t i : CachesOf(group)) {
      const absl::Span<float> cells = PageOf(static_cast<int>(i), page);
      bytes->append(reinterpret_cast<const char*>(cells.data()), cells.size() * sizeof(float));
    }
    return absl::OkStatus();
  }

  absl::Status WritePage(int group, int32_t page, std::string_view bytes) override {
    size_t all = 0;
    for (const size_t i : CachesOf(group)) {
      all += PageOf(static_cast<int>(i), page).size() * sizeof(float);
    }
    RENGA_RETURN_IF_ERROR(CheckPageBytes(all, bytes.size()));
    for (const size_t i : CachesOf(group)) {
      const absl::Span<float> cells = PageOf(static_cast<int>(i), page);
      std::memcpy(cells.data(), bytes.data(), cells.size() * sizeof(float));
      bytes.remove_prefix(cells.size() * sizeof(float));
    }
    return absl::OkStatus();
  }

  const plan::Plan& plan() const override { return *plan_; }
  std::string_view device() const override { return "reference"; }

 private:
  ReferenceRunner() = default;

  // Places in Graph::caches.
  std::vector<size_t> CachesOf(int group) const {
    const std::string cells = WindowSymbol(kCells, plan::WindowOf(*plan_, group));
    std::vector<size_t> found;
    for (size_t i = 0; i < graph_.caches.size(); ++i) {
      if (graph_.value(graph_.caches[i]).type.shape[0].symbol == cells) found.push_back(i);
    }
    return found;
  }

  absl::Span<float> PageOf(int cache, int32_t page) const {
    HostTensor& cells = interpreter_->Cache(cache);
    const size_t size = cells.f.size() / static_cast<size_t>(cells.shape[0]) *
                        static_cast<size_t>(plan_->geometry.page_tokens);
    return absl::MakeSpan(cells.f).subspan(static_cast<size_t>(page) * size, size);
  }

  // The plan's inputs are those that runs can fill; its graph may have been written by anybody.
  absl::StatusOr<HostTensor> ParamOf(const std::string& name, const StepInputs& inputs) const {
    if (std::find(plan_->inputs.begin(), plan_->inputs.end(), name) == plan_->inputs.end()) {
      return absl::InvalidArgumentError(
          StrCat("the plan's graph: expected tokens, positions, sequences, cells, pages and rows "
                 "as parameters, got %",
                 name));
    }
    const absl::Span<const int32_t> values = ValuesOf(inputs, name);
    HostTensor tensor;
    tensor.dtype = DType::kI32;
    tensor.shape = {static_cast<int64_t>(values.size())};
    if (SplitWindow(name).base == "pages") {
      tensor.shape = {inputs.sequence_count, tensor.shape[0] / inputs.sequence_count};
    }
    tensor.i.assign(values.begin(), values.end());
    return tensor;
  }

  std::shared_ptr<const plan::Plan> plan_;
  std::shared_ptr<const WeightStore> weights_;
  IndexLimits limits_;
  Graph graph_;
  Observer observer_;
  std::unique_ptr<Interpreter> interpreter_;
  int next_ = -1;    // number of the result next; -1: the graph has none
  size_t rows_ = 0;  // of the last run
};

}  // namespace

absl::StatusOr<std::unique_ptr<StepRunner>> OpenReference(
    std::shared_ptr<const plan::Plan> plan, std::shared_ptr<const WeightStore> weights, int threads,
    Observer observer) {
  return ReferenceRunner::Open(std::move(plan), std::move(weights), threads, std::move(observer));
}

}  // namespace renga
