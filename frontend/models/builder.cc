#include "frontend/models/builder.h"

#include <charconv>
#include <cmath>
#include <cstdlib>

#include "frontend/gguf/file_type.h"
#include "ir/base/status.h"
#include "ir/core/verify.h"

namespace renga {
namespace {

// How many names an error lists before it only counts.
constexpr size_t kNamesShown = 12;

std::string ShapeText(const std::vector<int64_t>& shape) {
  return StrCat("[", StrJoin(shape, ","), "]");
}

// The file's f32 as the decimal its author wrote (1e-05, not 9.99999974738e-06), so that the IR
// reads well; the difference is below f32's own precision.
double AsWritten(float value) {
  char text[40];
  const auto end = std::to_chars(text, text + sizeof(text) - 1, value).ptr;
  *end = '\0';
  return std::strtod(text, nullptr);
}

}  // namespace

ModelBuilder::ModelBuilder(const GgufFile& file, std::string_view architecture,
                           const GraphOptions& options, int64_t vocab)
    : file_(file), architecture_(architecture), options_(options), vocab_(vocab) {
  const auto pages_for = [&options](int64_t tokens) {
    return (tokens + options.page_tokens - 1) / options.page_tokens;
  };
  const int64_t pages = pages_for(options.context);
  const int64_t all_pages =
      options.kv_tokens ? pages_for(*options.kv_tokens) : options.max_sequences * pages;
  graph_.symbols = {
      {"T", 1, options.max_step_tokens},
      {"S", 1, options.max_sequences},
      {"R", 1, options.max_rows.value_or(options.max_step_tokens)},
      {"L", 1, options.context},
      {"P", 1, pages},
      {"C", 1, all_pages * options.page_tokens},
  };
  const Dim t = Dim::Symbol("T");
  const auto input = [&](std::string name, std::vector<Dim> shape) {
    return graph_.AddValue(std::move(name), {DType::kI32, std::move(shape)}, ValueKind::kParam);
  };
  tokens_ = input("tokens", {t});
  positions_ = input("positions", {t});
  sequences_ = input("sequences", {t});
  cells_ = input("cells", {t});
  pages_ = input("pages", {Dim::Symbol("S"), Dim::Symbol("P")});
  rows_ = input("rows", {Dim::Symbol("R")});
  info_.architecture = architecture_;
  info_.name = std::string(Take(file.GetStringOr("general.name", ""), std::string_view()));
  if (file.Find("general.file_type") != nullptr) {
    info_.file_type = FileTypeLabel(Take(file.GetUint("general.file_type"), uint64_t{0}));
  }
}

void ModelBuilder::Fail(const absl::Status& status) {
  if (status_.ok()) status_ = status;
}

const std::string& ModelBuilder::path() const { return file_.path(); }

std::string ModelBuilder::Key(std::string_view key) const {
  return StrCat(architecture_, ".", key);
}

template <typename T>
T ModelBuilder::Take(absl::StatusOr<T> value, T otherwise) {
  if (value.ok()) return *std::move(value);
  Fail(value.status());
  return otherwise;
}

int64_t ModelBuilder::Size(std::string_view key, absl::StatusOr<int64_t> value, int64_t otherwise) {
  const int64_t size = Take(std::move(value), otherwise);
  // All sizes and counts of models are far below; with this bound a product of two cannot overflow.
  constexpr int64_t kMax = (int64_t{1} << 31) - 1;
  if (size >= 0 && size <= kMax) return size;
  Fail(absl::InvalidArgumentError(
      StrCat(path(), ": ", Key(key), ": expected 0..", kMax, ", got ", size)));
  return otherwise;
}

int64_t ModelBuilder::Int(std::string_view key) { return Size(key, file_.GetInt64(Key(key)), 0); }

int64_t ModelBuilder::Int(std::string_view key, int64_t otherwise) {
  return Size(key, file_.GetInt64Or(Key(key), otherwise), otherwise);
}

double ModelBuilder::Float(std::string_view key) {
  const double value = AsWritten(Take(file_.GetFloat(Key(key)), 0.0f));
  if (std::isfinite(value)) return value;
  Fail(absl::InvalidArgumentError(
      StrCat(path(), ": ", Key(key), ": expected a finite number, got ", value)));
  return 0;
}

double ModelBuilder::Float(std::string_view key, double otherwise) {
  return HasKey(key) ? Float(key) : otherwise;
}

double ModelBuilder::PositiveFloat(std::string_view key) {
  const double value = Float(key);
  if (!ok() || value > 0) return value;
  Fail(absl::InvalidArgumentError(
      StrCat(path(), ": ", Key(key), ": expected a positive number, got ", value)));
  return value;
}

double ModelBuilder::PositiveFloat(std::string_view key, double otherwise) {
  return HasKey(key) ? PositiveFloat(key) : otherwise;
}

bool ModelBuilder::Bool(std::string_view key, bool otherwise) {
  return Take(file_.GetBoolOr(Key(key), otherwise), otherwise);
}

std::string ModelBuilder::String(std::string_view key, std::string_view otherwise) {
  return std::string(Take(file_.GetStringOr(Key(key), otherwise), otherwise));
}

int64_t ModelBuilder::LayerInt(std::string_view key, int layer) {
  const MetaValue* value = file_.Find(Key(key));
  if (value == nullptr || !value->is_array()) return Int(key);
  const std::vector<int64_t> list = Take(file_.GetIntArray(Key(key)), std::vector<int64_t>());
  if (static_cast<size_t>(layer) < list.size()) return Size(key, list[layer], 0);
  Fail(absl::InvalidArgumentError(
      StrCat(path(), ": ", Key(key), ": expected one number a layer, got ", list.size())));
  return 0;
}

int64_t ModelBuilder::LayerInt(std::string_view key, int layer, int64_t otherwise) {
  return HasKey(key) ? LayerInt(key, layer) : otherwise;
}

bool ModelBuilder::HasKey(std::string_view key) const { return file_.Find(Key(key)) != nullptr; }

bool ModelBuilder::HasTensor(std::string_view name) const {
  return file_.FindTensor(name) != nullptr;
}

int64_t ModelBuilder::tensor_count() const { return static_cast<int64_t>(file_.tensors().size()); }

int64_t ModelBuilder::TensorRows(std::string_view name) {
  const GgufTensor* tensor = file_.FindTensor(name);
  if (tensor != nullptr) return tensor->shape()[0];
  Fail(
      absl::InvalidArgumentError(StrCat(path(), ": ", name, ": expected a tensor of this name, as ",
                                        architecture_, " needs it, got none")));
  return 0;
}

ValueId ModelBuilder::Weight(const std::string& name, std::vector<int64_t> shape) {
  if (!ok()) return kNoValue;
  const auto bound = bound_.find(name);
  const GgufTensor* tensor = file_.FindTensor(name);
  if (tensor == nullptr) {
    Fail(absl::InvalidArgumentError(StrCat(path(), ": ", name, ": expected a tensor of shape ",
                                           ShapeText(shape), ", as ", architecture_,
                                           " needs it, got none")));
    return kNoValue;
  }
  const std::vector<int64_t> actual(tensor->shape().begin(), tensor->shape().end());
  if (actual != shape) {
    Fail(
        absl::InvalidArgumentError(StrCat(path(), ": ", name, ": expected shape ", ShapeText(shape),
                                          " from the metadata, got ", ShapeText(actual))));
    return kNoValue;
  }
  if (bound != bound_.end()) return bound->second;
  WeightSource source;
  source.name = name;
  source.dtype = tensor->type;
  source.shape = shape;
  source.file = static_cast<int32_t>(tensor->part);
  source.offset = tensor->offset;
  source.bytes = tensor->bytes;
  weights_.push_back(source);
  const ValueId id =
      graph_.AddValue(name, {tensor->type, {shape.begin(), shape.end()}}, ValueKind::kWeight);
  bound_[name] = id;
  return id;
}

ValueId ModelBuilder::Weight(const std::string& name, std::vector<int64_t> shape,
                             Presence presence) {
  if (presence == Presence::kAbsent) return kNoValue;
  if (presence == Presence::kOptional && !HasTensor(name)) return kNoValue;
  return Weight(name, std::move(shape));
}

void ModelBuilder::Ignore(const std::string& name, std::string_view reason) {
  if (HasTensor(name)) ignored_.push_back({name, std::string(reason)});
}

ValueId ModelBuilder::Op(std::string_view op, std::string name, std::vector<ValueId> operands,
                         AttrMap attrs) {
  const std::vector<ValueId> results =
      Ops(op, {std::move(name)}, std::move(operands), std::move(attrs));
  return results.empty() ? kNoValue : results[0];
}

std::vector<ValueId> ModelBuilder::Ops(std::string_view op, std::vector<std::string> names,
                                       std::vector<ValueId> operands, AttrMap attrs) {
  if (!ok()) return {};
  Node node;
  node.op = FindOp(op);
  if (node.op == nullptr || node.op->results != static_cast<int>(names.size())) {
    Fail(absl::InternalError(StrCat("no operator with ", names.size(), " results is called ", op)));
    return {};
  }
  operands.resize(node.op->operands.size(), kNoValue);
  node.operands = std::move(operands);
  node.attrs = std::move(attrs);
  auto types = InferTypes(graph_, *node.op, node.operands, node.attrs);
  if (!types.ok()) {
    Fail(Annotate(types.status(), StrCat(path(), ": node ", names[0])));
    return {};
  }
  for (size_t i = 0; i < names.size(); ++i) {
    node.results.push_back(
        graph_.AddValue(std::move(names[i]), std::move((*types)[i]), ValueKind::kResult));
  }
  graph_.nodes.push_back(node);
  return node.results;
}

ValueId ModelBuilder::Cache(std::string name, DType dtype, int64_t heads, int64_t head_dim) {
  if (const int64_t block = Info(dtype).block_elements; head_dim % block != 0) {
    Fail(absl::InvalidArgumentError(StrCat(
        path(), ": cache %", name, ": expected heads of a multiple of ", block, " in ", Name(dtype),
        ", got ", head_dim, "; f32, f16, bf16 and f8_e4m3 take any (--kv-type)")));
  }
  return graph_.AddValue(std::move(name), {dtype, {Dim::Symbol("C"), heads, head_dim}},
                         ValueKind::kCache);
}

absl::Status ModelBuilder::CheckAccount() const {
  std::vector<std::string_view> left_over;
  for (const GgufTensor& tensor : file_.tensors()) {
    if (bound_.contains(std::string(tensor.name))) continue;
    bool ignored = false;
    for (const IgnoredTensor& entry : ignored_) ignored |= entry.name == tensor.name;
    if (!ignored) left_over.push_back(tensor.name);
  }
  if (left_over.empty()) return absl::OkStatus();
  const size_t count = left_over.size();
  if (count > kNamesShown) left_over.resize(kNamesShown);
  return absl::InvalidArgumentError(StrCat(
      path(), ": expected the ", architecture_, " graph to use every tensor of the file, got ",
      count, " left over: ", StrJoin(left_over, ", "), count > kNamesShown ? ", ..." : "",
      "; the graph would not compute what the file means"));
}

absl::StatusOr<Model> ModelBuilder::Finish() && {
  RENGA_RETURN_IF_ERROR(status_);
  graph_.returns = {logits_, next_};
  graph_.returns.insert(graph_.returns.end(), cache_returns_.begin(), cache_returns_.end());
  RENGA_RETURN_IF_ERROR(CheckAccount());
  RENGA_RETURN_IF_ERROR(Annotate(Verify(graph_), path()));
  Model model;
  model.graph = std::move(graph_);
  model.info = std::move(info_);
  model.weights = std::move(weights_);
  model.ignored = std::move(ignored_);
  for (const GgufPart& part : file_.parts()) {
    model.files.push_back({part.file.path(), part.file.size()});
  }
  return model;
}

}  // namespace renga
