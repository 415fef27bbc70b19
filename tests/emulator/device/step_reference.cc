#include "tests/emulator/device/step_reference.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <string_view>
#include <utility>

#include "ir/base/dtype.h"
#include "ir/base/status.h"
#include "ir/base/windows.h"
#include "ir/text/parse.h"

namespace renga::emulator {
namespace {

constexpr double kAllowed = 0.01, kAllowedWithQ8 = 0.05, kAllowedWithE4M3 = 0.12,
                 kAllowedWithQ4 = 0.2;

double AllowedOf(const plan::Plan& plan) {
  double allowed = kAllowed;
  for (const plan::Cache& cache : plan.caches) {
    if (cache.dtype == DType::kQ8_0) allowed = std::max(allowed, kAllowedWithQ8);
    if (cache.dtype == DType::kQ4_0) allowed = std::max(allowed, kAllowedWithQ4);
    if (cache.dtype == DType::kF8_E4M3) allowed = std::max(allowed, kAllowedWithE4M3);
  }
  return allowed;
}

HostTensor Ints(absl::Span<const int32_t> values, std::vector<int64_t> shape) {
  HostTensor tensor;
  tensor.dtype = DType::kI32;
  tensor.shape = std::move(shape);
  tensor.i.assign(values.begin(), values.end());
  return tensor;
}

// A cell in q8_0 or q4_0: its quants, then its scales.
std::vector<float> FromBlocks(DType type, absl::Span<const uint8_t> bytes) {
  constexpr size_t kBlock = 32;
  const size_t blocks = bytes.size() / Info(type).block_bytes;
  const size_t quant_bytes = Info(type).block_bytes - 2;
  std::vector<float> values(blocks * kBlock);
  for (size_t b = 0; b < blocks; ++b) {
    uint16_t scale = 0;
    std::memcpy(&scale, bytes.data() + blocks * quant_bytes + b * 2, 2);
    const uint8_t* quants = bytes.data() + b * quant_bytes;
    const auto quant = [&](size_t i) {
      if (type == DType::kQ8_0) return int{static_cast<int8_t>(quants[i])};
      return (quants[i % 16] >> (i < 16 ? 0 : 4) & 15) - 8;
    };
    for (size_t i = 0; i < kBlock; ++i) {
      double value = quant(i);
      if (type == DType::kQ4_0) {  // turned (ir/core/cache_rounding.h)
        value = 0;
        for (size_t j = 0; j < kBlock; ++j) {
          value += std::popcount(i & j) % 2 == 0 ? quant(j) : -quant(j);
        }
        value /= std::sqrt(double{kBlock});
      }
      values[b * kBlock + i] = static_cast<float>(value * HalfToFloat(scale));
    }
  }
  return values;
}

std::vector<float> ToFloats(DType type, absl::Span<const uint8_t> bytes) {
  if (Info(type).quantized) return FromBlocks(type, bytes);
  std::vector<float> values(bytes.size() / RowBytes(type, 1));
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t bits = 0;
    if (type == DType::kF32) {
      std::memcpy(&values[i], bytes.data() + i * 4, 4);
      continue;
    }
    if (type == DType::kF8_E4M3) {
      values[i] = E4M3ToFloat(bytes[i]);
      continue;
    }
    std::memcpy(&bits, bytes.data() + i * 2, 2);
    values[i] = type == DType::kF16 ? HalfToFloat(bits) : BFloat16ToFloat(bits);
  }
  return values;
}

// Sums over pairs of values.
class Difference {
 public:
  void Add(absl::Span<const float> expected, absl::Span<const float> got) {
    if (expected.size() != got.size()) sizes_differ_ = true;
    for (size_t i = 0; i < std::min(expected.size(), got.size()); ++i) {
      const double error = std::abs(double{got[i]} - expected[i]);
      squares_ += double{expected[i]} * expected[i];
      // A NaN must not be lost in a maximum.
      if (!(error <= largest_)) {
        largest_ = error;
        at_ = count_ + i;
        expected_ = expected[i];
        got_ = got[i];
      }
      errors_ += error * error;
    }
    count_ += expected.size();
  }
  absl::Status Judge(std::string_view name, double allowed) const {
    const double relative = errors_ == 0 ? 0 : std::sqrt(errors_ / squares_);
    if (!sizes_differ_ && relative < allowed) return absl::OkStatus();
    return absl::InternalError(
        StrCat("wrong values of ", name, sizes_differ_ ? " (and another number of them)" : "",
               ": differ from the reference by ", relative * 100, " % (root mean square); element ",
               at_, ": expected ", expected_, ", got ", got_));
  }

 private:
  double squares_ = 0, errors_ = 0, largest_ = 0, expected_ = 0, got_ = 0;
  size_t count_ = 0, at_ = 0;
  bool sizes_differ_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<StepReference>> StepReference::Create(const plan::Plan& plan,
                                                                     WeightOptions weights) {
  std::unique_ptr<StepReference> self(new StepReference(plan));
  RENGA_ASSIGN_OR_RETURN(self->graph_, Parse(plan.ir, "the plan's graph"));
  SymbolValues cells;
  for (const SymbolDef& symbol : self->graph_.symbols) {
    if (SplitWindow(symbol.name).base == "C") cells[symbol.name] = symbol.max;
  }
  if (cells.empty()) return absl::InvalidArgumentError("the plan's graph: has no symbol C");
  weights.packed = false;
  RENGA_ASSIGN_OR_RETURN(self->weights_, WeightStore::Open(plan, weights));
  const auto bytes = [&](const std::string& name) -> absl::StatusOr<absl::Span<const uint8_t>> {
    for (size_t i = 0; i < plan.weights.size(); ++i) {
      const WeightSource& source = plan.weights[i].source;
      if (source.name != name) continue;
      return absl::MakeConstSpan(self->weights_.data(static_cast<int>(i)), source.bytes);
    }
    return absl::InvalidArgumentError(StrCat("the plan has no weight @", name));
  };
  RENGA_ASSIGN_OR_RETURN(self->interpreter_, Interpreter::Create(self->graph_, bytes, cells, 1));
  return self;
}

absl::Status StepReference::Run(const StepInputs& inputs) {
  const int64_t t = static_cast<int64_t>(inputs.tokens.size()), s = inputs.sequence_count;
  const int64_t p = static_cast<int64_t>(inputs.pages.size()) / s;
  const int64_t l = *std::max_element(inputs.positions.begin(), inputs.positions.end()) + 1;
  // The graph has at least one row; where none is asked for no step that has rows runs.
  std::vector<int32_t> rows(inputs.rows.begin(), inputs.rows.end());
  if (rows.empty()) rows.push_back(0);
  const int64_t r = static_cast<int64_t>(rows.size());
  std::map<std::string, HostTensor, std::less<>> known;
  known["tokens"] = Ints(inputs.tokens, {t});
  known["positions"] = Ints(inputs.positions, {t});
  known["sequences"] = Ints(inputs.sequences, {t});
  known["cells"] = Ints(inputs.cells, {t});
  known["pages"] = Ints(inputs.pages, {s, p});
  cells_ = {{inputs.cells.begin(), inputs.cells.end()}};
  for (const WindowInputs& of : inputs.windows) {
    known[WindowInput("cells", of.window)] = Ints(of.cells, {t});
    known[WindowInput("pages", of.window)] = Ints(of.pages, {s, p});
    cells_.emplace_back(of.cells.begin(), of.cells.end());
  }
  known["rows"] = Ints(rows, {r});
  std::vector<HostTensor> params;
  for (const ValueId id : graph_.params) params.push_back(known[graph_.value(id).name]);
  values_.clear();
  return interpreter_->Run({{"T", t}, {"S", s}, {"R", r}, {"L", l}, {"P", p}}, params,
                           [this](const Node& node, absl::Span<HostTensor* const> results) {
                             for (size_t i = 0; i < results.size(); ++i) {
                               const Value& value = graph_.value(node.results[i]);
                               const bool is_cache =
                                   !value.type.shape.empty() &&
                                   SplitWindow(value.type.shape[0].symbol).base == "C";
                               if (!is_cache) values_[value.name] = *results[i];
                             }
                             return absl::OkStatus();
                           });
}

absl::Status StepReference::Check(int index, EmulatorDevice& device) const {
  for (const int32_t output : plan_.steps[index].outputs) {
    const plan::Buffer& buffer = plan_.buffers[output];
    if (buffer.space == plan::Space::kCache) {
      RENGA_RETURN_IF_ERROR(CheckCache(output, device));
      continue;
    }
    const auto expected = values_.find(buffer.name);
    if (expected == values_.end()) {
      return absl::InternalError(StrCat("the plan's graph has no value ", buffer.name));
    }
    if (buffer.type.dtype == DType::kI32)
      continue;  // tokens: those of nearly tied logits may differ
    std::vector<uint8_t> bytes;
    RENGA_RETURN_IF_ERROR(device.Read(output, &bytes));
    Difference difference;
    difference.Add(expected->second.f, ToFloats(buffer.type.dtype, bytes));
    RENGA_RETURN_IF_ERROR(difference.Judge(buffer.name, AllowedOf(plan_)));
  }
  return absl::OkStatus();
}

absl::Status StepReference::CheckCache(int32_t index, EmulatorDevice& device) const {
  const plan::Buffer& buffer = plan_.buffers[index];
  const plan::Cache& cache = plan_.caches[buffer.index];
  const HostTensor& expected = interpreter_->Cache(buffer.index);
  const size_t elements = static_cast<size_t>(cache.heads * cache.head_dim);
  Difference difference;
  for (const int32_t cell : cells_[cache.group]) {
    std::vector<uint8_t> bytes;
    RENGA_RETURN_IF_ERROR(device.ReadCell(index, cell, &bytes));
    difference.Add(absl::MakeConstSpan(expected.f).subspan(cell * elements, elements),
                   ToFloats(cache.dtype, bytes));
  }
  return difference.Judge(buffer.name, AllowedOf(plan_));
}

absl::StatusOr<std::unique_ptr<StepReference>> StepReference::Watch(EmulatorForward& forward) {
  EmulatorDevice& device = forward.emulator();
  RENGA_ASSIGN_OR_RETURN(std::unique_ptr<StepReference> self,
                         Create(device.plan(), {.plan_path = device.options().plan_path,
                                                .model_path = device.options().model_path}));
  StepReference* reference = self.get();
  forward.set_watcher({[reference](const StepInputs& inputs) { return reference->Run(inputs); },
                       [reference, &device](int step) { return reference->Check(step, device); }});
  return self;
}

}  // namespace renga::emulator
