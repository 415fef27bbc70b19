#include "runtime/exec/step_inputs.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "ir/base/status.h"
#include "ir/base/windows.h"
#include "runtime/plan/layout.h"

namespace renga {
namespace {

using Values = absl::Span<const int32_t>;
struct Input {
  std::string_view name;
  std::string_view type;
  Values StepInputs::*values;
  Values WindowInputs::*of_window = nullptr;  // where groups with a window have their own
};
constexpr Input kInputs[] = {
    {"tokens", "i32[T]", &StepInputs::tokens},
    {"positions", "i32[T]", &StepInputs::positions},
    {"sequences", "i32[T]", &StepInputs::sequences},
    {"cells", "i32[T]", &StepInputs::cells, &WindowInputs::cells},
    {"pages", "i32[S,P]", &StepInputs::pages, &WindowInputs::pages},
    {"rows", "i32[R]", &StepInputs::rows},
};

// Cells of each cache of a group; without caches a cell is only a number.
int64_t CellsOf(const plan::Plan& plan, int64_t window = 0) {
  const int64_t page = plan.geometry.page_tokens;
  return plan::SymbolMax(plan, WindowSymbol("C", window),
                         (plan.geometry.context + page - 1) / page * page);
}

bool HasWindow(const plan::Plan& plan, int64_t window) {
  const std::vector<int64_t>& windows = plan.geometry.windows;
  return window == 0 || std::find(windows.begin(), windows.end(), window) != windows.end();
}

struct SymbolValue {
  std::string_view name;
  int64_t (*of)(const plan::Plan& plan, const StepInputs& inputs);
};
constexpr std::string_view kCells = "C";
constexpr SymbolValue kSymbols[] = {
    {"T", [](const plan::Plan&, const StepInputs& in) -> int64_t { return in.tokens.size(); }},
    {"S", [](const plan::Plan&, const StepInputs& in) -> int64_t { return in.sequence_count; }},
    {"R", [](const plan::Plan&, const StepInputs& in) -> int64_t { return in.rows.size(); }},
    {"L",
     [](const plan::Plan&, const StepInputs& in) -> int64_t {
       return int64_t{*std::max_element(in.positions.begin(), in.positions.end())} + 1;
     }},
    {"P",
     [](const plan::Plan&, const StepInputs& in) -> int64_t {
       return static_cast<int64_t>(in.pages.size()) / in.sequence_count;
     }},
    {kCells, [](const plan::Plan& plan, const StepInputs&) -> int64_t { return CellsOf(plan); }},
};

template <typename Entries>
auto Find(const Entries& entries, std::string_view name) {
  const auto found = std::find_if(std::begin(entries), std::end(entries),
                                  [name](const auto& entry) { return entry.name == name; });
  return found == std::end(entries) ? nullptr : &*found;
}

const Input* FindInput(const plan::Plan& plan, std::string_view name) {
  const WindowName of = SplitWindow(name);
  const Input* input = Find(kInputs, of.base);
  if (input == nullptr || of.window == 0) return input;
  return input->of_window != nullptr && HasWindow(plan, of.window) ? input : nullptr;
}

bool IsCells(const plan::Plan& plan, const WindowName& symbol) {
  return symbol.base == kCells && symbol.window > 0 && HasWindow(plan, symbol.window);
}

absl::Status ValueError(std::string_view input, size_t index, int64_t limit, int64_t got) {
  return absl::OutOfRangeError(
      StrCat(input, "[", index, "]: expected 0..", limit - 1, ", got ", got));
}

absl::Status CheckBelow(std::string_view input, absl::Span<const int32_t> values, int64_t limit) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] < 0 || values[i] >= limit) return ValueError(input, i, limit, values[i]);
  }
  return absl::OkStatus();
}

absl::Status CheckCount(std::string_view input, size_t count, size_t expected) {
  if (count == expected) return absl::OkStatus();
  return absl::InvalidArgumentError(
      StrCat(input, ": expected ", expected, " values (one a token), got ", count));
}

absl::Status CheckWindowSizes(const plan::Plan& plan, const StepInputs& inputs) {
  const std::vector<int64_t>& windows = plan.geometry.windows;
  if (inputs.windows.size() != windows.size()) {
    return absl::InvalidArgumentError(StrCat("windows: expected page tables of ", windows.size(),
                                             ", got those of ", inputs.windows.size()));
  }
  for (size_t i = 0; i < windows.size(); ++i) {
    const WindowInputs& of = inputs.windows[i];
    if (of.window != windows[i]) {
      return absl::InvalidArgumentError(StrCat("windows: expected page tables of ", windows[i],
                                               " keys, got those of ", of.window));
    }
    RENGA_RETURN_IF_ERROR(
        CheckCount(WindowInput("cells", of.window), of.cells.size(), inputs.tokens.size()));
    if (of.pages.size() != inputs.pages.size()) {
      return absl::InvalidArgumentError(StrCat(WindowInput("pages", of.window), ": expected ",
                                               inputs.pages.size(), " entries, as in pages, got ",
                                               of.pages.size()));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckSizes(const plan::Plan& plan, const StepInputs& inputs) {
  const int64_t tokens = static_cast<int64_t>(inputs.tokens.size());
  const int64_t rows = static_cast<int64_t>(inputs.rows.size());
  const int64_t sequences = inputs.sequence_count;
  const plan::Geometry& geometry = plan.geometry;
  if (tokens < 1 || tokens > geometry.max_step_tokens) {
    return absl::InvalidArgumentError(
        StrCat("tokens: expected 1..", geometry.max_step_tokens, " a run, got ", tokens));
  }
  RENGA_RETURN_IF_ERROR(CheckCount("positions", inputs.positions.size(), inputs.tokens.size()));
  RENGA_RETURN_IF_ERROR(CheckCount("sequences", inputs.sequences.size(), inputs.tokens.size()));
  RENGA_RETURN_IF_ERROR(CheckCount("cells", inputs.cells.size(), inputs.tokens.size()));
  if (const int64_t max = plan::SymbolMax(plan, "R", rows); rows > max) {
    return absl::InvalidArgumentError(StrCat("rows: expected at most ", max, ", got ", rows,
                                             "; compile for more with --max-rows"));
  }
  if (sequences < 1 || sequences > geometry.max_sequences) {
    return absl::InvalidArgumentError(
        StrCat("sequences: expected 1..", geometry.max_sequences, ", got ", sequences));
  }
  const int64_t entries = static_cast<int64_t>(inputs.pages.size());
  const int64_t max_pages = plan::SymbolMax(plan, "P", entries / sequences);
  if (entries < sequences || entries % sequences != 0 || entries / sequences > max_pages) {
    return absl::InvalidArgumentError(StrCat("pages: expected a table of ", sequences,
                                             " rows and 1..", max_pages, " columns, got ", entries,
                                             " entries"));
  }
  return CheckWindowSizes(plan, inputs);
}

absl::Status CheckPages(std::string_view input, Values values, int64_t pages) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] < -1 || values[i] >= pages) return ValueError(input, i, pages, values[i]);
  }
  return absl::OkStatus();
}

absl::Status CheckValues(const plan::Plan& plan, const IndexLimits& limits,
                         const StepInputs& inputs) {
  const int64_t page_tokens = plan.geometry.page_tokens;
  const int64_t columns = static_cast<int64_t>(inputs.pages.size()) / inputs.sequence_count;
  const int64_t cells = CellsOf(plan);
  RENGA_RETURN_IF_ERROR(CheckBelow("tokens", inputs.tokens, limits.tokens));
  RENGA_RETURN_IF_ERROR(CheckBelow("positions", inputs.positions,
                                   std::min(plan.geometry.context, columns * page_tokens)));
  RENGA_RETURN_IF_ERROR(CheckBelow("sequences", inputs.sequences, inputs.sequence_count));
  RENGA_RETURN_IF_ERROR(CheckBelow("cells", inputs.cells, cells));
  RENGA_RETURN_IF_ERROR(
      CheckBelow("rows", inputs.rows, static_cast<int64_t>(inputs.tokens.size())));
  RENGA_RETURN_IF_ERROR(CheckPages("pages", inputs.pages, cells / page_tokens));
  for (const WindowInputs& of : inputs.windows) {
    const int64_t own = CellsOf(plan, of.window);
    RENGA_RETURN_IF_ERROR(CheckBelow(WindowInput("cells", of.window), of.cells, own));
    RENGA_RETURN_IF_ERROR(CheckPages(WindowInput("pages", of.window), of.pages, own / page_tokens));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckInputsAreKnown(const plan::Plan& plan) {
  for (const plan::Symbol& symbol : plan.symbols) {
    if (Find(kSymbols, symbol.name) != nullptr || IsCells(plan, SplitWindow(symbol.name))) continue;
    return absl::UnimplementedError(
        StrCat("symbol ", symbol.name, ": this runtime binds T S R L P C"));
  }
  for (const std::string& name : plan.inputs) {
    if (FindInput(plan, name) != nullptr) continue;
    return absl::UnimplementedError(
        StrCat("input ", name, ": this runtime fills tokens positions sequences cells pages rows"));
  }
  for (const plan::Buffer& buffer : plan.buffers) {
    if (buffer.space != plan::Space::kInput || buffer.view_of >= 0) continue;
    const Input* input = FindInput(plan, plan.inputs[buffer.index]);
    if (const std::string type = plan::ToString(buffer.type, plan.symbols); input->type != type) {
      return absl::InvalidArgumentError(StrCat("input ", buffer.name, ": expected ", input->type,
                                               ", got ", type, "; compile it again"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckStepInputs(const plan::Plan& plan, const IndexLimits& limits,
                             const StepInputs& inputs) {
  RENGA_RETURN_IF_ERROR(CheckSizes(plan, inputs));
  RENGA_RETURN_IF_ERROR(CheckValues(plan, limits, inputs));
  return CheckSampling(inputs.sampling, static_cast<int64_t>(inputs.rows.size()), plan.model.vocab);
}

absl::Span<const int32_t> ValuesOf(const StepInputs& inputs, std::string_view name) {
  const WindowName of = SplitWindow(name);
  const Input* input = Find(kInputs, of.base);
  if (of.window == 0) return inputs.*(input->values);
  for (const WindowInputs& own : inputs.windows) {
    if (own.window == of.window) return own.*(input->of_window);
  }
  return {};  // CheckStepInputs would have said so
}

void BindSymbols(const plan::Plan& plan, const StepInputs& inputs, std::vector<int64_t>* sizes) {
  sizes->resize(plan.symbols.size());
  for (size_t i = 0; i < sizes->size(); ++i) {
    const WindowName symbol = SplitWindow(plan.symbols[i].name);
    (*sizes)[i] = symbol.window > 0 ? CellsOf(plan, symbol.window)
                                    : Find(kSymbols, symbol.base)->of(plan, inputs);
  }
}

}  // namespace renga
