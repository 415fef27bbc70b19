#include "runtime/plan/launch.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "ir/base/status.h"

namespace renga::plan {
namespace {

size_t BytesOf(ArgKind kind) { return kind == ArgKind::kInt32 ? 4 : 8; }

size_t Place(size_t at, ArgKind kind) {
  const size_t bytes = BytesOf(kind);
  return (at + bytes - 1) / bytes * bytes;
}

}  // namespace

const Variant* ChooseVariant(const Step& step, absl::Span<const int64_t> symbols) {
  if (step.chosen_by < 0 || static_cast<size_t>(step.chosen_by) >= symbols.size()) return nullptr;
  const int64_t value = symbols[step.chosen_by];
  if (value < 1) return nullptr;
  for (const Variant& variant : step.variants) {
    if (value <= variant.last) return &variant;
  }
  return nullptr;
}

absl::StatusOr<LaunchShape> ShapeOf(const Plan& plan, const Launch& launch,
                                    absl::Span<const int64_t> symbols) {
  LaunchShape shape;
  for (size_t i = 0; i < 3; ++i) {
    RENGA_ASSIGN_OR_RETURN(shape.grid[i], Evaluate(launch.grid[i], symbols));
  }
  RENGA_ASSIGN_OR_RETURN(shape.dynamic_shared, Evaluate(launch.dynamic_shared, symbols));
  shape.threads = plan.gpu.kernels[launch.kernel].threads;
  return shape;
}

size_t ArgumentBytes(absl::Span<const Arg> args) {
  size_t end = 0, largest = 1;
  for (const Arg& arg : args) {
    end = Place(end, arg.kind) + BytesOf(arg.kind);
    largest = std::max(largest, BytesOf(arg.kind));
  }
  return (end + largest - 1) / largest * largest;
}

absl::StatusOr<std::vector<uint8_t>> PackArguments(absl::Span<const Arg> args,
                                                   absl::Span<const uint64_t> addresses,
                                                   absl::Span<const int64_t> symbols) {
  std::vector<uint8_t> block(ArgumentBytes(args), 0);
  size_t at = 0;
  for (const Arg& arg : args) {
    at = Place(at, arg.kind);
    uint64_t value = 0;
    if (arg.kind == ArgKind::kPointer) {
      if (arg.buffer < 0 || static_cast<size_t>(arg.buffer) >= addresses.size()) {
        return absl::InvalidArgumentError(StrCat("argument ", arg.name, ": expected a buffer 0..",
                                                 addresses.size(), ", got ", arg.buffer));
      }
      value = addresses[arg.buffer] + arg.offset;
    } else if (arg.kind != ArgKind::kNull) {
      const absl::StatusOr<int64_t> size = Evaluate(arg.size, symbols);
      if (!size.ok()) return Annotate(size.status(), StrCat("argument ", arg.name));
      if (arg.kind == ArgKind::kInt32 && *size > std::numeric_limits<int32_t>::max()) {
        return absl::InvalidArgumentError(
            StrCat("argument ", arg.name, ": expected a number below 2^31, got ", *size));
      }
      value = static_cast<uint64_t>(*size);
    }
    // Little-endian, like every machine that has these GPUs.
    std::memcpy(block.data() + at, &value, BytesOf(arg.kind));
    at += BytesOf(arg.kind);
  }
  return block;
}

std::vector<int64_t> MaxSymbols(const Plan& plan) {
  std::vector<int64_t> symbols;
  for (const Symbol& symbol : plan.symbols) symbols.push_back(symbol.max);
  return symbols;
}

std::vector<int64_t> MaxDynamicShared(const Plan& plan) {
  std::vector<int64_t> most(plan.gpu.kernels.size(), 0);
  std::vector<int64_t> symbols = MaxSymbols(plan);
  for (const Step& step : plan.steps) {
    for (const Variant& variant : step.variants) {
      symbols[step.chosen_by] = variant.last;
      for (const Launch& launch : variant.launches) {
        int64_t& bytes = most[launch.kernel];
        bytes = std::max(bytes, Evaluate(launch.dynamic_shared, symbols).value_or(0));
      }
    }
    if (step.chosen_by >= 0) symbols[step.chosen_by] = plan.symbols[step.chosen_by].max;
  }
  for (const GpuPacker& packer : plan.gpu.packers) {
    most[packer.kernel] = std::max(most[packer.kernel], packer.dynamic_shared);
  }
  return most;
}

}  // namespace renga::plan
