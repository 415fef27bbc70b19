#include "ir/core/infer.h"

#include <algorithm>
#include <cmath>

#include "ir/base/status.h"
#include "ir/core/cache_rounding.h"

namespace renga {

absl::Status InferCall::OperandError(int operand, std::string_view expected) const {
  return absl::InvalidArgumentError(StrCat("operand ", op_.operands[operand].name, ": expected ",
                                           expected, ", got ", ToString(type(operand))));
}

absl::Status InferCall::ExpectRank(int operand, int rank) const {
  if (type(operand).rank() == rank) return absl::OkStatus();
  return OperandError(operand, StrCat("rank ", rank));
}

absl::Status InferCall::ExpectDType(int operand, DType dtype) const {
  if (type(operand).dtype == dtype) return absl::OkStatus();
  return OperandError(operand, renga::Name(dtype));
}

absl::Status InferCall::ExpectType(int operand, const TensorType& expected) const {
  if (type(operand) == expected) return absl::OkStatus();
  return OperandError(operand, ToString(expected));
}

absl::Status InferCall::ExpectShape(int operand, const std::vector<Dim>& shape) const {
  if (type(operand).shape == shape) return absl::OkStatus();
  return OperandError(operand, ToString(TensorType{type(operand).dtype, shape}));
}

absl::Status InferCall::ExpectDim(int operand, int axis, const Dim& dim) const {
  const TensorType& t = type(operand);
  const int at = axis < 0 ? t.rank() + axis : axis;
  if (at >= 0 && at < t.rank() && t.shape[at] == dim) return absl::OkStatus();
  return OperandError(operand, StrCat("size ", ToString(dim), " at axis ", axis));
}

absl::Status InferCall::ExpectPlain(int operand) const {
  const DType dtype = type(operand).dtype;
  if (dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16)
    return absl::OkStatus();
  return OperandError(operand, "f32, f16 or bf16");
}

absl::Status InferCall::ExpectCached(int operand) const {
  const absl::Span<const DType> types = CacheTypes();
  if (std::find(types.begin(), types.end(), type(operand).dtype) != types.end()) {
    return absl::OkStatus();
  }
  return OperandError(operand, CacheTypeNames());
}

absl::Status InferCall::ExpectOneOf(std::string_view attr,
                                    absl::Span<const std::string_view> names) const {
  const std::string& value = Name(attr);
  for (std::string_view name : names) {
    if (value == name) return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      StrCat("attribute ", attr, ": expected one of ", StrJoin(names, ", "), ", got ", value));
}

absl::Status InferCall::ExpectPositive(std::string_view attr) const {
  const AttrValue& value = attrs_.find(attr)->second;
  const bool positive = TypeOf(value) == AttrType::kInt
                            ? std::get<int64_t>(value) > 0
                            : std::isfinite(std::get<double>(value)) && std::get<double>(value) > 0;
  if (positive) return absl::OkStatus();
  return absl::InvalidArgumentError(
      StrCat("attribute ", attr, ": expected a positive number, got ", ToString(value)));
}

absl::Status InferCall::ExpectAttr(std::string_view attr, std::string_view because) const {
  if (has_attr(attr)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      StrCat("attribute ", attr, ": expected because ", because, ", got none"));
}

absl::StatusOr<int64_t> InferCall::ConstDim(int operand, int axis) const {
  const TensorType& t = type(operand);
  const int at = axis < 0 ? t.rank() + axis : axis;
  if (at >= 0 && at < t.rank() && !t.shape[at].is_symbol()) return t.shape[at].value;
  return OperandError(operand, StrCat("a constant size at axis ", axis));
}

}  // namespace renga
