#include "runtime/device/cpu/step_check.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ir/base/status.h"
#include "ir/base/strings.h"

namespace renga::cpu {
namespace {

std::string TypeList(std::initializer_list<DType> types) {
  std::vector<std::string_view> names;
  for (const DType type : types) names.push_back(Name(type));
  return StrJoin(names, ", ");
}

}  // namespace

absl::Status StepCheck::Error(std::string_view message) const {
  return absl::InvalidArgumentError(StrCat("step '", step_.name, "': ", message));
}

std::string StepCheck::DimText(const plan::Dim& dim) const {
  if (dim.symbol < 0) return StrCat(dim.value);
  if (static_cast<size_t>(dim.symbol) >= step_.symbols.size()) return "?";
  return step_.symbols[dim.symbol].name;
}

std::string StepCheck::ShapeText(const plan::TensorType& type) const {
  std::vector<std::string> sizes;
  for (const plan::Dim& dim : type.shape) sizes.push_back(DimText(dim));
  return StrCat("[", StrJoin(sizes, ","), "]");
}

absl::Status StepCheck::Tensor(std::string_view name, const plan::TensorType& type) const {
  if (type.shape.empty() || type.shape.size() > 4) {
    return Error(StrCat(name, " has ", type.shape.size(), " dimensions, expected 1 to 4"));
  }
  for (const plan::Dim& dim : type.shape) {
    if (dim.symbol < 0 && (dim.value < 1 || dim.value > std::numeric_limits<int32_t>::max())) {
      return Error(StrCat(name, " has the size ", dim.value, ", expected 1 to 2147483647"));
    }
    if (dim.symbol >= 0 && static_cast<size_t>(dim.symbol) >= step_.symbols.size()) {
      return Error(StrCat(name, " has a size with symbol number ", dim.symbol,
                          ", expected a number below ", step_.symbols.size()));
    }
  }
  return absl::OkStatus();
}

absl::Status StepCheck::Counts(size_t required) const {
  if (step_.inputs.size() < required || step_.inputs.size() > operands_.size()) {
    return Error(StrCat("got ", step_.inputs.size(), " inputs, expected ",
                        required == operands_.size() ? StrCat(required)
                                                     : StrCat(required, " to ", operands_.size()),
                        " (", StrJoin(operands_, ", "), ")"));
  }
  if (step_.outputs.size() != results_.size()) {
    return Error(StrCat("got ", step_.outputs.size(), " outputs, expected ", results_.size(), " (",
                        StrJoin(results_, ", "), ")"));
  }
  for (size_t i = 0; i < step_.inputs.size(); ++i) {
    if (step_.inputs[i] == nullptr) {
      if (i >= required) continue;
      return Error(StrCat("input ", operands_[i], " is absent, expected a tensor"));
    }
    RENGA_RETURN_IF_ERROR(Tensor(operands_[i], *step_.inputs[i]));
  }
  for (size_t i = 0; i < step_.outputs.size(); ++i) {
    if (step_.outputs[i] == nullptr) {
      return Error(StrCat("output ", results_[i], " is absent, expected a tensor"));
    }
    RENGA_RETURN_IF_ERROR(Tensor(results_[i], *step_.outputs[i]));
  }
  return absl::OkStatus();
}

absl::Status StepCheck::Type(std::string_view name, const plan::TensorType& type,
                             std::initializer_list<DType> allowed, size_t rank) const {
  if (std::find(allowed.begin(), allowed.end(), type.dtype) == allowed.end()) {
    return Error(StrCat(name, " has type ", Name(type.dtype), ", expected ", TypeList(allowed)));
  }
  if (rank != 0 && type.shape.size() != rank) {
    return Error(StrCat(name, " has shape ", ShapeText(type), ", expected ", rank,
                        rank == 1 ? " dimension" : " dimensions"));
  }
  return absl::OkStatus();
}

absl::Status StepCheck::InType(size_t i, std::initializer_list<DType> allowed, size_t rank) const {
  RENGA_RETURN_IF_ERROR(FileLayout(i));
  return Type(operands_[i], *step_.inputs[i], allowed, rank);
}

absl::Status StepCheck::FileLayout(size_t i) const {
  if (step_.inputs[i]->layout.empty()) return absl::OkStatus();
  return Error(StrCat(operands_[i], " has layout ", step_.inputs[i]->layout,
                      ", expected the file's own, which is all that this kernel reads"));
}

absl::Status StepCheck::InRank(size_t i, size_t rank) const {
  return Type(operands_[i], *step_.inputs[i], {step_.inputs[i]->dtype}, rank);
}

absl::Status StepCheck::OutType(size_t i, std::initializer_list<DType> allowed, size_t rank) const {
  return Type(results_[i], *step_.outputs[i], allowed, rank);
}

absl::Status StepCheck::SameDim(std::string_view a_name, const plan::TensorType& a, size_t axis,
                                std::string_view b_name, const plan::Dim& b) const {
  const plan::Dim& dim = a.shape[axis];
  if (dim.symbol == b.symbol && (dim.symbol >= 0 || dim.value == b.value)) {
    return absl::OkStatus();
  }
  return Error(StrCat(a_name, " has shape ", ShapeText(a), ", expected ", DimText(b), " at axis ",
                      axis, " as in ", b_name));
}

absl::Status StepCheck::SameShape(std::string_view a_name, const plan::TensorType& a,
                                  std::string_view b_name, const plan::TensorType& b) const {
  bool same = a.shape.size() == b.shape.size();
  for (size_t i = 0; same && i < a.shape.size(); ++i) {
    same = SameDim(a_name, a, i, b_name, b.shape[i]).ok();
  }
  if (same) return absl::OkStatus();
  return Error(
      StrCat(a_name, " has shape ", ShapeText(a), ", expected ", ShapeText(b), " as ", b_name));
}

absl::StatusOr<int64_t> StepCheck::ConstDim(size_t i, size_t axis) const {
  const plan::TensorType& type = *step_.inputs[i];
  if (type.shape[axis].symbol >= 0) {
    return Error(StrCat(operands_[i], " has shape ", ShapeText(type),
                        ", expected a constant at axis ", axis));
  }
  return type.shape[axis].value;
}

absl::StatusOr<const plan::AttrValue*> StepCheck::Find(std::string_view name) const {
  for (const plan::Attr& attr : step_.attrs) {
    if (attr.name == name) return &attr.value;
  }
  return Error(StrCat("attribute ", name, " is missing"));
}

bool StepCheck::HasAttr(std::string_view name) const {
  return std::any_of(step_.attrs.begin(), step_.attrs.end(),
                     [&](const plan::Attr& attr) { return attr.name == name; });
}

absl::StatusOr<double> StepCheck::Float(std::string_view name) const {
  RENGA_ASSIGN_OR_RETURN(const plan::AttrValue* value, Find(name));
  if (const int64_t* i = std::get_if<int64_t>(value)) return static_cast<double>(*i);
  const double* f = std::get_if<double>(value);
  if (f == nullptr || !std::isfinite(*f)) {
    return Error(StrCat("attribute ", name, " is no finite number"));
  }
  return *f;
}

absl::StatusOr<int64_t> StepCheck::Int(std::string_view name) const {
  RENGA_ASSIGN_OR_RETURN(const plan::AttrValue* value, Find(name));
  if (const int64_t* i = std::get_if<int64_t>(value)) return *i;
  return Error(StrCat("attribute ", name, " is no integer"));
}

absl::StatusOr<bool> StepCheck::Bool(std::string_view name) const {
  RENGA_ASSIGN_OR_RETURN(const plan::AttrValue* value, Find(name));
  if (const bool* b = std::get_if<bool>(value)) return *b;
  return Error(StrCat("attribute ", name, " is neither true nor false"));
}

absl::StatusOr<std::string> StepCheck::OneOf(
    std::string_view name, std::initializer_list<std::string_view> allowed) const {
  RENGA_ASSIGN_OR_RETURN(const plan::AttrValue* value, Find(name));
  const std::string* s = std::get_if<std::string>(value);
  if (s != nullptr && std::find(allowed.begin(), allowed.end(), *s) != allowed.end()) return *s;
  return Error(StrCat("attribute ", name, " is ",
                      s == nullptr ? "no string" : StrCat("'", s->substr(0, 40), "'"),
                      ", expected ", StrJoin(allowed, " or ")));
}

absl::Status StepCheck::OnlyAttrs(std::initializer_list<std::string_view> known) const {
  for (const plan::Attr& attr : step_.attrs) {
    if (std::find(known.begin(), known.end(), attr.name) != known.end()) continue;
    return Error(StrCat("attribute ", attr.name.substr(0, 40), " is unknown, expected ",
                        known.size() == 0 ? std::string("none") : StrJoin(known, ", ")));
  }
  return absl::OkStatus();
}

}  // namespace renga::cpu
