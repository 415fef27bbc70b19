// What an operator's `infer` sees: operand types and attributes, with the checks most operators
// need.
#pragma once

#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "ir/core/attr.h"
#include "ir/core/op_def.h"
#include "ir/core/type.h"

namespace renga {

class InferCall {
 public:
  // `operands` has one entry per operand of `op`, null where an optional one is absent.
  InferCall(const OpDef& op, std::vector<const TensorType*> operands, const AttrMap& attrs)
      : op_(op), operands_(std::move(operands)), attrs_(attrs) {}

  bool has(int operand) const { return operands_[operand] != nullptr; }
  const TensorType& type(int operand) const { return *operands_[operand]; }

  bool has_attr(std::string_view name) const { return attrs_.find(name) != attrs_.end(); }
  int64_t Int(std::string_view name) const { return std::get<int64_t>(attrs_.find(name)->second); }
  double Float(std::string_view name) const { return std::get<double>(attrs_.find(name)->second); }
  bool Bool(std::string_view name) const { return std::get<bool>(attrs_.find(name)->second); }
  const std::string& Name(std::string_view name) const {
    return std::get<std::string>(attrs_.find(name)->second);
  }

  // "operand x: expected rank 3, got f32[T,64]"
  absl::Status ExpectRank(int operand, int rank) const;
  absl::Status ExpectDType(int operand, DType dtype) const;
  absl::Status ExpectType(int operand, const TensorType& type) const;
  absl::Status ExpectShape(int operand, const std::vector<Dim>& shape) const;
  absl::Status ExpectDim(int operand, int axis, const Dim& dim) const;
  absl::Status ExpectPlain(int operand) const;   // f32, f16 or bf16: something arithmetic works on
  absl::Status ExpectCached(int operand) const;  // one of CacheTypes
  absl::Status ExpectOneOf(std::string_view attr, absl::Span<const std::string_view> names) const;
  absl::Status ExpectPositive(std::string_view attr) const;  // int or finite float attribute > 0
  absl::Status ExpectAttr(std::string_view attr, std::string_view because) const;

  // Size of an axis that must be constant.
  absl::StatusOr<int64_t> ConstDim(int operand, int axis) const;

  // "operand x" prefix for an operator's own checks.
  absl::Status OperandError(int operand, std::string_view expected) const;

 private:
  const OpDef& op_;
  std::vector<const TensorType*> operands_;
  const AttrMap& attrs_;
};

}  // namespace renga
