#include "tools/step_watch.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "ir/base/status.h"
#include "ir/base/windows.h"
#include "ir/reference/dequant.h"
#include "ir/text/parse.h"
#include "ir/trace/axis_names.h"
#include "ir/trace/value_error.h"
#include "runtime/plan/cache_layout.h"
#include "runtime/plan/layout.h"
#include "tools/repro/cuda_repro.h"
#include "tools/repro/write_repro.h"

namespace renga {
namespace {

// Elements that are filled or looked at a piece at a time: of a long prompt's logits there are
// hundreds of megabytes.
constexpr int64_t kMostElements = int64_t{1} << 18;

int64_t BytesOf(const StepMemory& memory, int32_t buffer) {
  const std::vector<int64_t> shape = ShapeOf(memory, buffer);
  const int64_t width = std::max<int64_t>(shape.empty() ? 1 : shape.back(), 1);
  return Count(shape) / width *
         RowBytes(memory.plan().buffers[static_cast<size_t>(buffer)].type.dtype, width);
}

const plan::Buffer& OwnerOf(const plan::Plan& plan, int32_t buffer) {
  const plan::Buffer& of = plan.buffers[static_cast<size_t>(buffer)];
  return of.view_of < 0 ? of : plan.buffers[static_cast<size_t>(of.view_of)];
}

// Whether two buffers have bytes in common at the sizes of the run. (Where a device has one of them
// elsewhere, they have fewer.)
bool Overlap(const StepMemory& memory, int32_t a, int32_t b) {
  const plan::Buffer& one = OwnerOf(memory.plan(), a);
  const plan::Buffer& other = OwnerOf(memory.plan(), b);
  if (one.space != other.space) return false;
  if (one.space != plan::Space::kArena && one.space != plan::Space::kPersistent) {
    return one.index == other.index;
  }
  const auto end = [&](const plan::Buffer& of, int32_t buffer) {
    return of.offset + static_cast<uint64_t>(BytesOf(memory, buffer));
  };
  return one.offset < end(other, b) && other.offset < end(one, a);
}

std::string PlaceText(const TensorType& type, const std::vector<int64_t>& shape, int64_t index) {
  TracedValue value;
  value.shape = shape;
  value.axes = AxisNames(type);
  return CoordinatesText(value, index);
}

std::string NameOf(float value) { return std::isnan(value) ? "NaN" : value > 0 ? "inf" : "-inf"; }

// Whether the fault was there before: in what the step reads or in the model's own weights.
std::string AboutInputs(const NodeCase& own, const WeightBytes& weights) {
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

}  // namespace

std::string NotFinite(const HostTensor& tensor, const TensorType& type) {
  int64_t first = -1, count = 0;
  for (size_t k = 0; k < tensor.f.size(); ++k) {
    if (std::isfinite(tensor.f[k])) continue;
    if (count++ == 0) first = static_cast<int64_t>(k);
  }
  if (count == 0) return "";
  const float value = tensor.f[static_cast<size_t>(first)];
  return StrCat(NameOf(value), " at ", PlaceText(type, tensor.shape, first), "; ", count, " of ",
                tensor.elements(), " elements are no finite numbers");
}

absl::StatusOr<StepHooks> StepWatch::Hooks(std::shared_ptr<const StepMemory> memory,
                                           const StepWatchOptions& options) {
  RENGA_ASSIGN_OR_RETURN(StepValues values, StepValues::Create(std::move(memory)));
  const std::shared_ptr<StepWatch> watch(new StepWatch(options, std::move(values)));
  const auto annotated = [watch](int step, const absl::Status& status) {
    if (absl::IsDataLoss(status)) return status;  // what was found
    return Annotate(status, StrCat("step ", step, " (", watch->plan().steps[step].name, ")"));
  };
  return StepHooks{.before = [=](int step) -> absl::StatusOr<bool> {
                     RENGA_RETURN_IF_ERROR(annotated(step, watch->Before(step)));
                     return false;
                   },
                   .after = [=](int step) { return annotated(step, watch->After(step)); }};
}

// Whether an output has memory of its own: what a step works on in place must not be touched.
bool StepWatch::IsApart(const plan::Step& step, int32_t output) const {
  // The new cells of a cache are nobody's input.
  if (plan().buffers[static_cast<size_t>(output)].space == plan::Space::kCache) return true;
  return std::none_of(step.inputs.begin(), step.inputs.end(), [&](int32_t input) {
    return input >= 0 && Overlap(values_.memory(), output, input);
  });
}

absl::Status StepWatch::FindRanges(const plan::Step& step) {
  ranges_.assign(step.outputs.size(), {});
  std::vector<int32_t> cells;  // that the run writes; all caches of a step are of one group
  for (size_t i = 0; i < step.outputs.size(); ++i) {
    const plan::Buffer& buffer = plan().buffers[static_cast<size_t>(step.outputs[i])];
    const Poison* const poison = FindPoison(buffer.type.dtype);
    if (poison == nullptr) continue;
    if (buffer.space != plan::Space::kCache) {
      const int64_t count = Count(ShapeOf(values_.memory(), step.outputs[i]));
      if (count > 0) ranges_[i].push_back({0, count, 0});
      continue;
    }
    const plan::Cache& cache = plan().caches[static_cast<size_t>(buffer.index)];
    if (cells.empty()) {
      RENGA_ASSIGN_OR_RETURN(
          cells, values_.Input(WindowInput("cells", plan::WindowOf(plan(), cache.group))));
    }
    const int64_t width = cache.heads * cache.head_dim;
    for (const int32_t cell : cells) {
      const plan::ByteRange place = plan::CellRanges(plan(), cache, cell)[0];
      if (!ranges_[i].empty()) {
        Range& last = ranges_[i].back();
        if (last.offset + static_cast<uint64_t>(last.elements * poison->bytes) == place.offset) {
          last.elements += width;
          continue;
        }
      }
      ranges_[i].push_back({place.offset, width, cell * width});
    }
  }
  return absl::OkStatus();
}

absl::Status StepWatch::FillRanges(const Poison& poison, size_t output, int32_t buffer) {
  for (const Range& range : ranges_[output]) {
    for (int64_t done = 0; done < range.elements; done += kMostElements) {
      const size_t bytes =
          static_cast<size_t>(std::min(kMostElements, range.elements - done) * poison.bytes);
      if (filled_with_ == nullptr || filled_with_->pattern != poison.pattern ||
          filled_with_->bytes != poison.bytes || fill_.size() < bytes) {
        fill_ = Poisoned(poison, static_cast<int64_t>(bytes) / poison.bytes);
        filled_with_ = &poison;
      }
      RENGA_RETURN_IF_ERROR(
          values_.memory().Write(buffer, range.offset + static_cast<uint64_t>(done * poison.bytes),
                                 absl::MakeConstSpan(fill_).first(bytes)));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Odd> StepWatch::ScanRanges(const Poison& poison, size_t output, int32_t buffer) {
  Odd odd;
  for (const Range& range : ranges_[output]) {
    for (int64_t done = 0; done < range.elements; done += kMostElements) {
      const size_t bytes =
          static_cast<size_t>(std::min(kMostElements, range.elements - done) * poison.bytes);
      if (read_.size() < bytes) read_.resize(bytes);
      const absl::Span<uint8_t> piece = absl::MakeSpan(read_).first(bytes);
      RENGA_RETURN_IF_ERROR(values_.memory().Read(
          buffer, range.offset + static_cast<uint64_t>(done * poison.bytes), piece));
      AddOdd(poison, piece, range.first + done, &odd);
    }
  }
  return odd;
}

absl::Status StepWatch::Before(int step) {
  const plan::Step& of = plan().steps[static_cast<size_t>(step)];
  RENGA_RETURN_IF_ERROR(FindRanges(of));
  for (size_t i = 0; i < of.outputs.size(); ++i) {
    if (ranges_[i].empty() || !IsApart(of, of.outputs[i])) continue;
    const DType type = plan().buffers[static_cast<size_t>(of.outputs[i])].type.dtype;
    RENGA_RETURN_IF_ERROR(FillRanges(*FindPoison(type), i, of.outputs[i]));
  }
  return absl::OkStatus();
}

// Of a cache in a type without a poison: what cannot be stored becomes NaN there, in f8_e4m3 but
// for infinity.
absl::Status StepWatch::CheckBlocks(int step, size_t output) const {
  const Node* const node = values_.NodeOf(step);
  if (node == nullptr) return absl::OkStatus();
  const int32_t buffer = plan().steps[static_cast<size_t>(step)].outputs[output];
  RENGA_ASSIGN_OR_RETURN(const HostTensor values, values_.Read(buffer));
  const std::string what = NotFinite(values, values_.graph().value(node->results[output]).type);
  return what.empty() ? absl::OkStatus() : Found(step, output, what);
}

absl::Status StepWatch::After(int step) {
  const plan::Step& of = plan().steps[static_cast<size_t>(step)];
  for (size_t i = 0; i < of.outputs.size(); ++i) {
    const int32_t buffer = of.outputs[i];
    const Poison* const poison = FindPoison(plan().buffers[static_cast<size_t>(buffer)].type.dtype);
    if (poison == nullptr) {
      RENGA_RETURN_IF_ERROR(CheckBlocks(step, i));
      continue;
    }
    RENGA_ASSIGN_OR_RETURN(const Odd odd, ScanRanges(*poison, i, buffer));
    if (odd.unwritten + odd.not_finite == 0) continue;
    int64_t elements = 0;
    for (const Range& range : ranges_[i]) elements += range.elements;
    const Node* const node = values_.NodeOf(step);
    const TensorType type =
        node == nullptr ? TensorType() : values_.graph().value(node->results[i]).type;
    const std::vector<int64_t> shape = ShapeOf(values_.memory(), buffer);
    if (odd.unwritten > 0) {
      return Found(step, i,
                   StrCat(odd.unwritten, " of ", elements, " elements were not written, the first ",
                          "at ", PlaceText(type, shape, odd.first_unwritten)));
    }
    RENGA_ASSIGN_OR_RETURN(const HostTensor values, values_.Read(buffer));
    const float value = values.f[static_cast<size_t>(odd.first_not_finite)];
    return Found(step, i,
                 StrCat(NameOf(value), " at ", PlaceText(type, shape, odd.first_not_finite), "; ",
                        odd.not_finite, " of ", elements, " elements are no finite numbers"));
  }
  return absl::OkStatus();
}

absl::Status StepWatch::Found(int step, size_t output, std::string what) const {
  const plan::Step& of = plan().steps[static_cast<size_t>(step)];
  const Node* const node = values_.NodeOf(step);
  const std::string name =
      node == nullptr ? of.name : values_.graph().value(node->results[output]).name;
  std::string text = StrCat("step ", step, " (", of.name, "), result ", name, ": ", what);
  auto captured = [&]() -> absl::StatusOr<CapturedNode> {
    RENGA_ASSIGN_OR_RETURN(
        const auto weights,
        PlanWeights::Open(std::shared_ptr<const plan::Plan>(std::shared_ptr<void>(), &plan()),
                          options_.plan_path, options_.threads));
    return CaptureStep(values_, values_.graph(), step, weights, options_.threads);
  }();
  if (!captured.ok()) {
    if (!options_.folder.empty()) {
      StrAppend(&text, "; could not be kept: ", ToStd(captured.status().message()));
    }
    return absl::DataLossError(text);
  }
  text += AboutInputs(captured->own, captured->weights->bytes());
  text += Kept(step, *captured, text);
  return absl::DataLossError(text);
}

// Keeps the step where that was asked for, and says so.
std::string StepWatch::Kept(int step, const CapturedNode& node, const std::string& found) const {
  const std::string& folder = options_.folder;
  if (folder.empty()) return "; --repro FOLDER keeps the step and its inputs";
  if (const absl::Status kept = WriteRepro(folder, node, found); !kept.ok()) {
    return StrCat("; could not be kept: ", ToStd(kept.message()));
  }
  std::string text = StrCat("; kept in ", folder);
  if (plan().gpu.targets.empty()) return text;
  CudaReproOptions options;
  options.node = plan().steps[static_cast<size_t>(step)].name;
  options.plan_path = options_.plan_path;
  options.threads = options_.threads;
  options.found = found;
  const std::string kernels = StrCat(folder, "/cuda");
  const absl::Status kept =
      WriteCudaRepro(kernels, plan(), {node, values_.memory().sizes()}, options);
  StrAppend(&text, kept.ok() ? StrCat(", its kernels in ", kernels)
                             : StrCat(", without its kernels: ", ToStd(kept.message())));
  return text;
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
