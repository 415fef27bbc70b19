#include "tools/step_watch.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "ir/base/status.h"
#include "ir/base/windows.h"
#include "ir/reference/dequant.h"
#include "ir/text/parse.h"
#include "ir/trace/axis_names.h"
#include "ir/trace/value_error.h"
#include "runtime/plan/layout.h"
#include "tools/repro/captured_node.h"
#include "tools/repro/write_repro.h"

namespace renga {
namespace {

// Signalling NaNs, which arithmetic never gives; as i32 a number beyond every id.
constexpr uint32_t kPoison32 = 0x7fa5a5a5;
constexpr uint16_t kPoison16OfHalf = 0x7da5, kPoison16OfBFloat = 0x7fa5;

struct Poison {
  DType type;
  int64_t bytes;  // of an element
  uint32_t pattern;
  uint32_t infinite;  // bits of the exponent, all of which NaN and infinity have; 0: an integer
};
constexpr Poison kPoisons[] = {
    {DType::kF32, 4, kPoison32, 0x7f800000},
    {DType::kI32, 4, kPoison32, 0},
    {DType::kF16, 2, kPoison16OfHalf, 0x7c00},
    {DType::kBF16, 2, kPoison16OfBFloat, 0x7f80},
};

const Poison* FindPoison(DType type) {
  for (const Poison& poison : kPoisons) {
    if (poison.type == type) return &poison;
  }
  return nullptr;
}

struct Range {
  uint8_t* data = nullptr;
  int64_t elements = 0;
  int64_t first = 0;  // index of the range's first element in the tensor
};

int64_t ElementsOf(const cpu::TensorRef& tensor) {
  int64_t count = 1;
  for (int axis = 0; axis < tensor.rank; ++axis) count *= tensor.dims[axis];
  return count;
}

template <typename T>
void FillRange(const Range& range, T pattern) {
  std::fill_n(reinterpret_cast<T*>(range.data), range.elements, pattern);
}

// What a range holds that it should not: of unwritten and of not finite elements how many, and the
// first of the tensor.
struct Odd {
  int64_t unwritten = 0, not_finite = 0;
  int64_t first_unwritten = -1, first_not_finite = -1;
};

template <typename T>
void Scan(const Range& range, const Poison& poison, Odd* odd) {
  const T* const data = reinterpret_cast<const T*>(range.data);
  const T pattern = static_cast<T>(poison.pattern), infinite = static_cast<T>(poison.infinite);
  // The poison is no finite number either, so that one comparison an element is enough.
  const T mask = infinite != 0 ? infinite : static_cast<T>(~T{0});
  const T wanted = infinite != 0 ? infinite : pattern;
  int64_t hits = 0;
  for (int64_t k = 0; k < range.elements; ++k) hits += (data[k] & mask) == wanted;
  if (hits == 0) return;
  for (int64_t k = 0; k < range.elements; ++k) {
    if ((data[k] & mask) != wanted) continue;
    const bool unwritten = data[k] == pattern;
    int64_t& first = unwritten ? odd->first_unwritten : odd->first_not_finite;
    if (first < 0) first = range.first + k;
    ++(unwritten ? odd->unwritten : odd->not_finite);
  }
}

bool Overlap(const uint8_t* a, int64_t a_bytes, const uint8_t* b, int64_t b_bytes) {
  return a < b + b_bytes && b < a + a_bytes;
}

int64_t BytesOf(const cpu::TensorRef& tensor) {
  const int64_t width = tensor.rank == 0 ? 1 : tensor.dims[tensor.rank - 1];
  return ElementsOf(tensor) / std::max<int64_t>(width, 1) * RowBytes(tensor.dtype, width);
}

// Parts of output `index` of a step that the step must write in this run.
std::vector<Range> RangesOf(const Executor& executor, absl::Span<const int32_t> cells, int step,
                            size_t index) {
  const plan::Plan& plan = executor.plan();
  const plan::Step& of = plan.steps[static_cast<size_t>(step)];
  const int32_t buffer = of.outputs[index];
  const cpu::TensorRef tensor = executor.tensor(buffer);
  const Poison* const poison = FindPoison(tensor.dtype);
  if (poison == nullptr || ElementsOf(tensor) == 0) return {};
  if (plan.buffers[static_cast<size_t>(buffer)].space != plan::Space::kCache) {
    return {{tensor.data, ElementsOf(tensor), 0}};
  }
  std::vector<Range> ranges;
  const int64_t width = ElementsOf(tensor) / tensor.dims[0];
  for (const int32_t cell : cells) {
    const int64_t first = cell * width;
    ranges.push_back({tensor.data + first * poison->bytes, width, first});
  }
  return ranges;
}

// Whether an output has memory of its own: what a step works on in place must not be touched.
bool IsApart(const Executor& executor, const plan::Step& step, int32_t output) {
  const cpu::TensorRef to = executor.tensor(output);
  const plan::Buffer& buffer = executor.plan().buffers[static_cast<size_t>(output)];
  if (buffer.space == plan::Space::kCache) return true;  // its new cells are nobody's input
  return std::none_of(step.inputs.begin(), step.inputs.end(), [&](int32_t input) {
    if (input < 0) return false;
    const cpu::TensorRef from = executor.tensor(input);
    return Overlap(to.data, BytesOf(to), from.data, BytesOf(from));
  });
}

std::string PlaceText(const TensorType& type, const std::vector<int64_t>& shape, int64_t index) {
  TracedValue value;
  value.shape = shape;
  value.axes = AxisNames(type);
  return CoordinatesText(value, index);
}

// That the step writes to: all its caches are of one group.
absl::Span<const int32_t> CellsOf(const Executor& executor, int step) {
  const plan::Plan& plan = executor.plan();
  int group = 0;
  for (const int32_t output : plan.steps[static_cast<size_t>(step)].outputs) {
    const plan::Buffer& buffer = plan.buffers[static_cast<size_t>(output)];
    if (buffer.space == plan::Space::kCache) group = plan.caches[buffer.index].group;
  }
  const std::string name = WindowInput("cells", plan::WindowOf(plan, group));
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    if (plan.buffers[i].name != name || plan.buffers[i].space != plan::Space::kInput) continue;
    const cpu::TensorRef cells = executor.tensor(static_cast<int32_t>(i));
    return absl::MakeConstSpan(cells.as<int32_t>(), static_cast<size_t>(ElementsOf(cells)));
  }
  return {};
}

}  // namespace

std::string NotFinite(const HostTensor& tensor, const TensorType& type) {
  int64_t first = -1, count = 0;
  for (size_t k = 0; k < tensor.f.size(); ++k) {
    if (std::isfinite(tensor.f[k])) continue;
    if (count++ == 0) first = static_cast<int64_t>(k);
  }
  if (count == 0) return "";
  const float value = tensor.f[static_cast<size_t>(first)];
  return StrCat(std::isnan(value) ? "NaN"
                : value > 0       ? "inf"
                                  : "-inf",
                " at ", PlaceText(type, tensor.shape, first), "; ", count, " of ",
                tensor.elements(), " elements are no finite numbers");
}

absl::Status StepWatch::Attach(Executor* executor, const StepWatchOptions& options) {
  RENGA_ASSIGN_OR_RETURN(StepValues values,
                         StepValues::Create(std::make_shared<CpuMemory>(*executor)));
  const std::shared_ptr<const StepWatch> watch(new StepWatch(executor, options, std::move(values)));
  executor->SetHooks({.before = [watch](int step) -> absl::StatusOr<bool> {
                        watch->Before(step);
                        return false;
                      },
                      .after = [watch](int step) { return watch->After(step); }});
  return absl::OkStatus();
}

void StepWatch::Before(int step) const {
  const plan::Step& of = executor_.plan().steps[static_cast<size_t>(step)];
  const absl::Span<const int32_t> cells = CellsOf(executor_, step);
  for (size_t i = 0; i < of.outputs.size(); ++i) {
    if (!IsApart(executor_, of, of.outputs[i])) continue;
    const Poison* const poison = FindPoison(executor_.tensor(of.outputs[i]).dtype);
    for (const Range& range : RangesOf(executor_, cells, step, i)) {
      if (poison->bytes == 4) {
        FillRange(range, poison->pattern);
      } else {
        FillRange(range, static_cast<uint16_t>(poison->pattern));
      }
    }
  }
}

absl::Status StepWatch::After(int step) const {
  const plan::Step& of = executor_.plan().steps[static_cast<size_t>(step)];
  const absl::Span<const int32_t> cells = CellsOf(executor_, step);
  for (size_t i = 0; i < of.outputs.size(); ++i) {
    const cpu::TensorRef tensor = executor_.tensor(of.outputs[i]);
    const Poison* const poison = FindPoison(tensor.dtype);
    if (poison == nullptr) {
      // Blocks, of a cache: what cannot be stored becomes NaN.
      RENGA_ASSIGN_OR_RETURN(const HostTensor values, values_.Read(of.outputs[i]));
      const Node* const node = values_.NodeOf(step);
      if (node == nullptr) continue;
      const std::string what = NotFinite(values, values_.graph().value(node->results[i]).type);
      if (!what.empty()) return Found(step, i, what);
      continue;
    }
    Odd odd;
    int64_t elements = 0;
    for (const Range& range : RangesOf(executor_, cells, step, i)) {
      elements += range.elements;
      if (poison->bytes == 4) {
        Scan<uint32_t>(range, *poison, &odd);
      } else {
        Scan<uint16_t>(range, *poison, &odd);
      }
    }
    if (odd.unwritten + odd.not_finite == 0) continue;
    const Node* const node = values_.NodeOf(step);
    const TensorType type =
        node == nullptr ? TensorType() : values_.graph().value(node->results[i]).type;
    const std::vector<int64_t> shape(tensor.dims, tensor.dims + tensor.rank);
    if (odd.unwritten > 0) {
      return Found(step, i,
                   StrCat(odd.unwritten, " of ", elements, " elements were not written, the first ",
                          "at ", PlaceText(type, shape, odd.first_unwritten)));
    }
    RENGA_ASSIGN_OR_RETURN(const HostTensor values, values_.Read(of.outputs[i]));
    const float value = values.f[static_cast<size_t>(odd.first_not_finite)];
    return Found(step, i,
                 StrCat(std::isnan(value) ? "NaN"
                        : value > 0       ? "inf"
                                          : "-inf",
                        " at ", PlaceText(type, shape, odd.first_not_finite), "; ", odd.not_finite,
                        " of ", elements, " elements are no finite numbers"));
  }
  return absl::OkStatus();
}

// Whether the fault was there before: in what the step reads or in the model's own weights.
std::string StepWatch::AboutInputs(const NodeCase& own, const WeightBytes& weights) const {
  for (size_t i = 0; i < own.params.size(); ++i) {
    const Value& value = own.graph.value(own.graph.params[i]);
    if (const std::string what = NotFinite(own.params[i], value.type); !what.empty()) {
      return StrCat("; its input ", RefText(value), " has ", what);
    }
  }
  for (const ValueId id : own.graph.weights) {
    const Value& value = own.graph.value(id);
    const auto bytes = weights(value.name);
    const DequantFn decode = FindDequant(value.type.dtype);
    if (!bytes.ok() || decode == nullptr) continue;
    const int64_t width = value.type.shape.back().value;
    const int64_t row_bytes = RowBytes(value.type.dtype, width);
    HostTensor row;
    row.shape = {width};
    row.f.resize(static_cast<size_t>(width));
    for (int64_t r = 0; (r + 1) * row_bytes <= static_cast<int64_t>(bytes->size()); ++r) {
      decode(bytes->data() + r * row_bytes, width, row.f.data());
      if (NotFinite(row, TensorType()).empty()) continue;
      return StrCat("; the model's own weight ", RefText(value), " is broken: row ", r,
                    " has numbers that are not finite");
    }
  }
  return "; all that it reads is finite";
}

absl::Status StepWatch::Found(int step, size_t output, std::string what) const {
  const plan::Step& of = executor_.plan().steps[static_cast<size_t>(step)];
  const Node* const node = values_.NodeOf(step);
  const std::string name =
      node == nullptr ? of.name : values_.graph().value(node->results[output]).name;
  std::string text = StrCat("step ", step, " (", of.name, "), result ", name, ": ", what);
  auto weights = PlanWeights::Open(
      std::shared_ptr<const plan::Plan>(std::shared_ptr<void>(), &executor_.plan()),
      options_.plan_path, options_.threads);
  if (!weights.ok()) return absl::DataLossError(text);
  const auto captured =
      CaptureStep(executor_, values_, values_.graph(), step, *weights, options_.threads);
  if (!captured.ok()) return absl::DataLossError(text);
  text += AboutInputs(captured->own, (*weights)->bytes());
  if (options_.folder.empty()) {
    text += "; --repro FOLDER keeps the step and its inputs";
  } else if (const absl::Status kept = WriteRepro(options_.folder, *captured, text); kept.ok()) {
    StrAppend(&text, "; kept in ", options_.folder);
  } else {
    StrAppend(&text, "; could not be kept: ", ToStd(kept.message()));
  }
  return absl::DataLossError(text);
}

absl::StatusOr<Observer> WatchInterpreter(const std::string& ir) {
  RENGA_ASSIGN_OR_RETURN(Graph parsed, Parse(ir, "the plan's graph"));
  const auto graph = std::make_shared<const Graph>(std::move(parsed));
  return [graph](const Node& node, absl::Span<HostTensor* const> results) -> absl::Status {
    for (size_t i = 0; i < results.size(); ++i) {
      const Value& value = graph->value(node.results[i]);
      const std::string what = NotFinite(*results[i], value.type);
      if (what.empty()) continue;
      return absl::DataLossError(StrCat("node ", NodeName(*graph, node), " (", node.op->name,
                                        "), result ", value.name, ": ", what));
    }
    return absl::OkStatus();
  };
}

}  // namespace renga
