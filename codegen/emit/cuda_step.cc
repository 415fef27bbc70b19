#include "codegen/emit/cuda_step.h"

#include <algorithm>

#include "ir/base/status.h"
#include "ir/core/op_def.h"
#include "runtime/plan/layout.h"

namespace renga::codegen {
namespace {

// Operand whose storage the result takes over; kNoValue when it has its own.
ValueId AliasedOperand(const Node& node, int result) {
  for (const renga::Alias& alias : node.op->aliases) {
    if (alias.result == result) return node.operands[alias.operand];
  }
  return kNoValue;
}

}  // namespace

absl::StatusOr<CudaStep> CudaStep::Create(const Node& node, std::string_view kernel, ValueId rows,
                                          PlanBuilder& builder) {
  const Value& value = builder.graph().value(rows);
  const Dim& first = value.type.shape[0];
  CudaStep result(node, builder);
  if (first.is_symbol()) result.symbol_ = plan::FindSymbol(builder.plan(), first.symbol);
  if (result.symbol_ < 0) {
    return absl::UnimplementedError(StrCat(RefText(value), ": expected a number of rows that is ",
                                           "known at run time only, got ", ToString(value.type)));
  }
  for (size_t i = 0; i < node.results.size(); ++i) {
    if (const ValueId operand = AliasedOperand(node, static_cast<int>(i)); operand != kNoValue) {
      builder.Alias(node.results[i], operand);
      continue;
    }
    RENGA_RETURN_IF_ERROR(builder.AddBuffer(node.results[i], plan::Space::kArena, -1));
  }
  std::vector<plan::Attr> attrs;
  for (const auto& [name, attr] : node.attrs) {
    // The symbol of the key positions is an argument of the launches.
    if (name != "span") attrs.push_back({name, attr});
  }
  builder.AddStep(node, kernel, std::move(attrs)).chosen_by = result.symbol_;
  result.index_ = builder.plan().steps.size() - 1;
  return result;
}

int32_t CudaStep::operand(std::string_view name) const {
  for (size_t i = 0; i < node_.operands.size(); ++i) {
    if (node_.op->operands[i].name == name) return builder_.buffer(node_.operands[i]);
  }
  return -1;
}

const Value& CudaStep::value(std::string_view name) const {
  size_t i = 0;
  while (node_.op->operands[i].name != name) ++i;
  return graph().value(node_.operands[i]);
}

plan::Step& CudaStep::step() const { return builder_.step(index_); }

int64_t CudaStep::Int(std::string_view attr) const {
  return std::get<int64_t>(node_.attrs.find(attr)->second);
}
double CudaStep::Float(std::string_view attr) const {
  return std::get<double>(node_.attrs.find(attr)->second);
}
bool CudaStep::Bool(std::string_view attr) const {
  return std::get<bool>(node_.attrs.find(attr)->second);
}
std::string CudaStep::NameAttr(std::string_view attr) const {
  return std::get<std::string>(node_.attrs.find(attr)->second);
}

int64_t CudaStep::max_rows() const { return builder_.plan().symbols[symbol_].max; }

absl::StatusOr<plan::Expr> CudaStep::Symbol(std::string_view name) const {
  const int32_t symbol = plan::FindSymbol(builder_.plan(), name);
  if (symbol >= 0) return plan::SymbolValue(symbol);
  return absl::InvalidArgumentError(StrCat("expected a dim ", name, ", got none of that name"));
}

absl::StatusOr<plan::Expr> CudaStep::Elements(const TensorType& type) const {
  plan::Expr count = plan::Constant(1);
  for (const Dim& dim : type.shape) {
    if (dim.is_symbol()) {
      RENGA_ASSIGN_OR_RETURN(const plan::Expr size, Symbol(dim.symbol));
      count = count * size;
    } else {
      count = count * plan::Constant(dim.value);
    }
  }
  return count;
}

absl::StatusOr<int32_t> CudaStep::AddScratch(std::string_view name, plan::TensorType type) {
  RENGA_ASSIGN_OR_RETURN(const int32_t buffer,
                         builder_.AddScratch(StrCat(step().name, "#", name), std::move(type)));
  step().scratch.push_back(buffer);
  return buffer;
}

absl::StatusOr<int32_t> CudaStep::RowScratch(std::string_view name, DType type, int64_t size) {
  return AddScratch(name, {type, {{symbol_, 1}, {-1, size}}});
}

absl::StatusOr<int32_t> CudaStep::Scratch(std::string_view name, DType type, int64_t elements) {
  return AddScratch(name, {type, {{-1, elements}}});
}

int32_t CudaStep::Persistent(std::string_view name, int64_t bytes) {
  const int32_t buffer = builder_.Persistent(name, bytes);
  std::vector<int32_t>& scratch = step().scratch;
  if (std::find(scratch.begin(), scratch.end(), buffer) == scratch.end()) {
    scratch.push_back(buffer);
  }
  return buffer;
}

void CudaStep::Launch(CudaLaunch launch) { launches_.push_back(std::move(launch)); }

void CudaStep::EndVariant(int64_t last, std::string reason, int64_t alike) {
  last = std::min(last, max_rows());
  if (served_ == 0 && alike < max_rows()) builder_.LimitInvariantTokens(alike);
  if (last > served_) {
    const std::string range =
        StrCat(builder_.plan().symbols[symbol_].name, " = ", served_ + 1, "..", last);
    const std::string ir = OperatorText(graph(), node_);
    plan::Variant variant{.last = last, .launches = {}, .reason = std::move(reason)};
    for (CudaLaunch& launch : launches_) {
      variant.launches.push_back(
          {.kernel = builder_.AddGpuKernel(MakeGpuKernel(launch.kernel, ir, range)),
           .grid = {std::move(launch.grid_x), std::move(launch.grid_y), std::move(launch.grid_z)},
           .dynamic_shared = std::move(launch.shared),
           .args = std::move(launch.args),
           .overlaps_previous = true});
    }
    step().variants.push_back(std::move(variant));
    served_ = last;
  }
  launches_.clear();
}

absl::Status CudaStep::RequireF32(std::initializer_list<std::string_view> operands) const {
  for (const std::string_view name : operands) {
    if (!has(name) || type(name).dtype == DType::kF32) continue;
    return absl::UnimplementedError(StrCat(RefText(value(name)), ": type ", Name(type(name).dtype),
                                           " has no kernel as operand ", name,
                                           "; supported: f32; the cpu target has all types"));
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> CudaStep::ConstSize(std::string_view operand, size_t axis) const {
  const std::vector<Dim>& shape = type(operand).shape;
  if (axis < shape.size() && !shape[axis].is_symbol()) return shape[axis].value;
  return absl::UnimplementedError(StrCat(RefText(value(operand)), ": expected a constant size of ",
                                         "axis ", axis, ", got ", ToString(type(operand))));
}

plan::Arg Pointer(std::string_view name, int32_t buffer) {
  if (buffer < 0) return {.kind = plan::ArgKind::kNull, .name = std::string(name)};
  return {.kind = plan::ArgKind::kPointer, .name = std::string(name), .buffer = buffer};
}
plan::Arg Int32(std::string_view name, plan::Expr size) {
  return {.kind = plan::ArgKind::kInt32, .name = std::string(name), .size = std::move(size)};
}
plan::Arg Int64(std::string_view name, plan::Expr size) {
  return {.kind = plan::ArgKind::kInt64, .name = std::string(name), .size = std::move(size)};
}
plan::Arg RowTiles(std::string_view name, int32_t buffer, plan::Expr rows, int64_t pitch,
                   int64_t tile_rows) {
  constexpr uint32_t kTileColumns = 64;  // 128 bytes
  plan::Arg arg{
      .kind = plan::ArgKind::kTensorMap, .name = std::string(name), .buffer = buffer, .map = {}};
  arg.map.type = DType::kF16;
  arg.map.axes = {{.size = plan::Constant(pitch), .tile = kTileColumns},
                  {.size = std::move(rows),
                   .stride = static_cast<uint64_t>(2 * pitch),
                   .tile = static_cast<uint32_t>(tile_rows)}};
  arg.map.swizzle = plan::Swizzle::k128Bytes;
  return arg;
}

}  // namespace renga::codegen
