// Checks of an untrusted plan step, with messages that name the step, the operand and both sides.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/device/cpu/kernel.h"

namespace renga::cpu {

class StepCheck {
 public:
  // `operands` and `results` name the step's inputs and outputs for messages.
  StepCheck(const StepSignature& step, std::initializer_list<std::string_view> operands,
            std::initializer_list<std::string_view> results)
      : step_(step), operands_(operands), results_(results) {}

  // The step has `required` to operands.size() inputs, the first `required` of them present, and
  // all outputs; every tensor's rank is 1..4 and every size is a known symbol or in 1..2^31-1.
  absl::Status Counts(size_t required) const;

  std::string_view name() const { return step_.name; }

  // Operand i, which Counts found present / may find absent (nullptr).
  const plan::TensorType& In(size_t i) const { return *step_.inputs[i]; }
  const plan::TensorType* Optional(size_t i) const {
    return i < step_.inputs.size() ? step_.inputs[i] : nullptr;
  }
  const plan::TensorType& Out(size_t i) const { return *step_.outputs[i]; }

  // Also refuses a layout: only products with weights understand one, and they take no InType.
  absl::Status InType(size_t i, std::initializer_list<DType> allowed, size_t rank) const;
  // Operand i lies as in the model file.
  absl::Status FileLayout(size_t i) const;
  // The rank alone, for weights, whose type is checked elsewhere.
  absl::Status InRank(size_t i, size_t rank) const;
  absl::Status OutType(size_t i, std::initializer_list<DType> allowed, size_t rank) const;

  // Tensor `a` (an operand's or result's name, for the message) has the size `b` at `axis`.
  absl::Status SameDim(std::string_view a_name, const plan::TensorType& a, size_t axis,
                       std::string_view b_name, const plan::Dim& b) const;
  absl::Status SameShape(std::string_view a_name, const plan::TensorType& a,
                         std::string_view b_name, const plan::TensorType& b) const;

  // The constant size of operand i at `axis`.
  absl::StatusOr<int64_t> ConstDim(size_t i, size_t axis) const;

  // Attributes. An integer is accepted for a float. NotFound is never returned: a missing attribute
  // is an InvalidArgument that names it.
  absl::StatusOr<double> Float(std::string_view name) const;
  absl::StatusOr<int64_t> Int(std::string_view name) const;
  absl::StatusOr<bool> Bool(std::string_view name) const;
  absl::StatusOr<std::string> OneOf(std::string_view name,
                                    std::initializer_list<std::string_view> allowed) const;
  bool HasAttr(std::string_view name) const;
  // No attribute outside `known` is given: one that a kernel ignores would change the meaning
  // silently.
  absl::Status OnlyAttrs(std::initializer_list<std::string_view> known) const;

  // InvalidArgument "step 'name': message".
  absl::Status Error(std::string_view message) const;

  // "T" or "896".
  std::string DimText(const plan::Dim& dim) const;
  std::string ShapeText(const plan::TensorType& type) const;

 private:
  absl::Status Tensor(std::string_view name, const plan::TensorType& type) const;
  absl::Status Type(std::string_view name, const plan::TensorType& type,
                    std::initializer_list<DType> allowed, size_t rank) const;
  absl::StatusOr<const plan::AttrValue*> Find(std::string_view name) const;

  const StepSignature& step_;
  std::vector<std::string_view> operands_;
  std::vector<std::string_view> results_;
};

}  // namespace renga::cpu
