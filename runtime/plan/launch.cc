#include "runtime/plan/launch.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "ir/base/status.h"

namespace renga::plan {
namespace {

struct Field {
  size_t bytes, alignment;
};
constexpr Field kFields[] = {{8, 8},  // by ArgKind
                             {8, 8},
                             {4, 4},
                             {8, 8},
                             {kTensorMapBytes, kTensorMapAlignment}};

const Field& FieldOf(ArgKind kind) { return kFields[static_cast<size_t>(kind)]; }

size_t RoundUp(size_t at, size_t alignment) { return (at + alignment - 1) / alignment * alignment; }

// What of a buffer a field begins at.
absl::StatusOr<uint64_t> AddressOf(const Arg& arg, absl::Span<const uint64_t> addresses) {
  if (arg.buffer < 0 || static_cast<size_t>(arg.buffer) >= addresses.size()) {
    return absl::InvalidArgumentError(
        StrCat("expected a buffer 0..", addresses.size(), ", got ", arg.buffer));
  }
  return addresses[arg.buffer] + arg.offset;
}

// Little-endian, like every machine that has these GPUs.
void Put(uint64_t value, absl::Span<uint8_t> field) {
  std::memcpy(field.data(), &value, field.size());
}

absl::Status PackPointer(const Arg& arg, absl::Span<const uint64_t> addresses,
                         absl::Span<uint8_t> field) {
  RENGA_ASSIGN_OR_RETURN(const uint64_t address, AddressOf(arg, addresses));
  Put(address, field);
  return absl::OkStatus();
}

absl::Status PackSize(const Arg& arg, absl::Span<const int64_t> symbols,
                      absl::Span<uint8_t> field) {
  RENGA_ASSIGN_OR_RETURN(const int64_t size, Evaluate(arg.size, symbols));
  if (arg.kind == ArgKind::kInt32 && size > std::numeric_limits<int32_t>::max()) {
    return absl::InvalidArgumentError(StrCat("expected a number below 2^31, got ", size));
  }
  Put(static_cast<uint64_t>(size), field);
  return absl::OkStatus();
}

absl::Status PackMap(const Arg& arg, absl::Span<const uint64_t> addresses,
                     absl::Span<const int64_t> symbols, const TensorMapEncoder& encode,
                     absl::Span<uint8_t> field) {
  if (encode == nullptr) {
    return absl::FailedPreconditionError(
        "expected a device that encodes tensor maps, got one that does not");
  }
  RENGA_ASSIGN_OR_RETURN(const uint64_t address, AddressOf(arg, addresses));
  RENGA_ASSIGN_OR_RETURN(const TensorMapSpec spec, SpecOf(arg.map, address, symbols));
  RENGA_ASSIGN_OR_RETURN(const EncodedTensorMap map, encode(spec));
  std::memcpy(field.data(), map.data(), map.size());
  return absl::OkStatus();
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
    const Field& field = FieldOf(arg.kind);
    end = RoundUp(end, field.alignment) + field.bytes;
    largest = std::max(largest, field.alignment);
  }
  return RoundUp(end, largest);
}

absl::StatusOr<std::vector<uint8_t>> PackArguments(absl::Span<const Arg> args,
                                                   absl::Span<const uint64_t> addresses,
                                                   absl::Span<const int64_t> symbols,
                                                   const TensorMapEncoder& encode) {
  std::vector<uint8_t> block(ArgumentBytes(args), 0);
  size_t at = 0;
  for (const Arg& arg : args) {
    at = RoundUp(at, FieldOf(arg.kind).alignment);
    const absl::Span<uint8_t> field = absl::MakeSpan(block).subspan(at, FieldOf(arg.kind).bytes);
    absl::Status packed;
    if (arg.kind == ArgKind::kPointer) {
      packed = PackPointer(arg, addresses, field);
    } else if (arg.kind == ArgKind::kTensorMap) {
      packed = PackMap(arg, addresses, symbols, encode, field);
    } else if (arg.kind != ArgKind::kNull) {
      packed = PackSize(arg, symbols, field);
    }
    if (!packed.ok()) return Annotate(packed, StrCat("argument ", arg.name));
    at += field.size();
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
  if (const GpuSampler& sampler = plan.gpu.sampler; sampler.kernel >= 0) {
    most[sampler.kernel] = std::max(most[sampler.kernel], sampler.dynamic_shared);
  }
  return most;
}

}  // namespace renga::plan
