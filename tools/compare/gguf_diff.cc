#include "tools/compare/gguf_diff.h"

#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <mutex>
#include <tuple>
#include <utility>

#include "frontend/gguf/metadata_text.h"
#include "ir/base/status.h"
#include "ir/base/strings.h"
#include "ir/reference/dequant.h"
#include "ir/reference/parallel.h"
#include "tools/compare/tensor_role.h"

namespace renga {
namespace {

constexpr uint64_t kShownElements = 4;
constexpr uint64_t kShownBytes = 48;
constexpr int64_t kRowsPerPiece = 64;

std::string Short(const MetaValue& value) { return MetaText(value, kShownElements, kShownBytes); }

// The whole value as text is the comparison: equal numbers of different widths are equal. Only the
// types of arrays' elements count where they differ in kind.
bool SameValue(const MetaValue& a, const MetaValue& b) {
  constexpr uint64_t kAll = std::numeric_limits<uint64_t>::max();
  return MetaText(a, kAll, kAll) == MetaText(b, kAll, kAll);
}

// Of long texts the shown beginnings may be equal.
std::string TextNote(const MetaValue& a, const MetaValue& b) {
  const auto text_a = a.AsString(), text_b = b.AsString();
  if (!text_a.ok() || !text_b.ok()) return "";
  if (std::max(text_a->size(), text_b->size()) <= kShownBytes) return "";
  size_t first = 0;
  while (first < std::min(text_a->size(), text_b->size()) && (*text_a)[first] == (*text_b)[first]) {
    ++first;
  }
  return StrCat("the first difference at byte ", first);
}

void CompareArrays(const MetaValue& a, const MetaValue& b, MetadataChange* change, bool* equal) {
  const auto items_a = a.AsItems(a.size()), items_b = b.AsItems(b.size());
  if (!items_a.ok() || !items_b.ok()) return;  // the file changed while it was read
  const size_t common = std::min(items_a->size(), items_b->size());
  int64_t different = 0, first = -1;
  for (size_t i = 0; i < common; ++i) {
    if (SameValue((*items_a)[i], (*items_b)[i])) continue;
    ++different;
    if (first < 0) first = static_cast<int64_t>(i);
  }
  *equal = different == 0 && items_a->size() == items_b->size();
  if (*equal) return;
  if (items_a->size() != items_b->size()) {
    change->before = StrCat(items_a->size(), " elements");
    change->after = StrCat(items_b->size(), " elements");
    change->note = first < 0 ? StrCat("the first ", common, " are equal")
                             : StrCat("they differ from element ", first, " on");
    return;
  }
  change->before = Short((*items_a)[first]);
  change->after = Short((*items_b)[first]);
  change->note = StrCat(different, " of ", common, " elements, the first at ", first);
}

void CompareMetadata(const Metadata& a, const Metadata& b, GgufDiff* diff) {
  for (const MetaEntry& entry : a.entries()) {
    MetadataChange change;
    change.key = std::string(entry.key);
    change.before = Short(entry.value);
    const MetaValue* other = b.Find(entry.key);
    if (other == nullptr) {
      change.kind = ChangeKind::kRemoved;
      diff->metadata.push_back(std::move(change));
      continue;
    }
    ++diff->keys;
    change.after = Short(*other);
    bool equal = false;
    if (entry.value.is_array() != other->is_array()) {
      change.kind = ChangeKind::kType;
      change.before = entry.value.TypeText();
      change.after = other->TypeText();
    } else if (entry.value.is_array()) {
      CompareArrays(entry.value, *other, &change, &equal);
    } else {
      equal = SameValue(entry.value, *other);
      change.note = TextNote(entry.value, *other);
    }
    if (!equal) diff->metadata.push_back(std::move(change));
  }
  for (const MetaEntry& entry : b.entries()) {
    if (a.Find(entry.key) != nullptr) continue;
    diff->metadata.push_back(
        {ChangeKind::kAdded, std::string(entry.key), "", Short(entry.value), ""});
  }
}

std::string TypeText(const GgufTensor& tensor) {
  return StrCat(Name(tensor.type), "[", StrJoin(tensor.shape(), ","), "]");
}

// Rows of one tensor on both sides, compared piece by piece so that threads share a large one.
class WeightComparison {
 public:
  WeightComparison(const GgufFile& a, const GgufFile& b, const GgufDiffOptions& options)
      : a_(a), b_(b), options_(options), threads_(options.threads) {}

  void SetTotal(int64_t bytes) { total_ = bytes; }
  bool stopped() const { return stopped_; }

  // nullopt where the type cannot be decoded.
  std::optional<WeightError> Compare(const GgufTensor& a, const GgufTensor& b) {
    const DequantFn decode_a = FindDequant(a.type), decode_b = FindDequant(b.type);
    if (decode_a == nullptr || decode_b == nullptr) return std::nullopt;
    const int64_t row = a.row(), rows = a.elements() / row;
    const int64_t pieces = (rows + kRowsPerPiece - 1) / kRowsPerPiece;
    const int64_t bytes_a = RowBytes(a.type, row), bytes_b = RowBytes(b.type, row);
    const uint8_t* data_a = a_.data(a).data();
    const uint8_t* data_b = b_.data(b).data();
    std::vector<WeightError> errors(pieces);  // added in order: the sum must not depend on threads
    threads_.Run(pieces, [&](int64_t piece) {
      if (stopped_) return;
      std::vector<float> values_a(row), values_b(row);
      const int64_t end = std::min(rows, (piece + 1) * kRowsPerPiece);
      for (int64_t r = piece * kRowsPerPiece; r < end; ++r) {
        decode_a(data_a + r * bytes_a, row, values_a.data());
        decode_b(data_b + r * bytes_b, row, values_b.data());
        AddRow(values_a, values_b, &errors[piece]);
      }
      Advance((end - piece * kRowsPerPiece) * (bytes_a + bytes_b));
    });
    WeightError sum;
    for (const WeightError& error : errors) sum.Add(error);
    return sum;
  }

  void Advance(int64_t bytes) {
    const int64_t done = done_ += bytes;
    if (options_.progress && !options_.progress(done, total_)) stopped_ = true;
  }

 private:
  static void AddRow(const std::vector<float>& a, const std::vector<float>& b, WeightError* error) {
    for (size_t i = 0; i < a.size(); ++i) {
      if (!std::isfinite(a[i]) || !std::isfinite(b[i])) {
        error->not_finite += std::memcmp(&a[i], &b[i], sizeof(float)) != 0 ? 1 : 0;
        continue;
      }
      const double difference = static_cast<double>(b[i]) - a[i];
      error->squared_error += difference * difference;
      error->squares += static_cast<double>(a[i]) * a[i];
    }
    error->elements += static_cast<int64_t>(a.size());
  }

  const GgufFile& a_;
  const GgufFile& b_;
  const GgufDiffOptions& options_;
  RowThreads threads_;
  int64_t total_ = 0;
  std::atomic<int64_t> done_ = 0;
  std::atomic<bool> stopped_ = false;
};

TensorChange MakeChange(ChangeKind kind, const GgufTensor* a, const GgufTensor* b) {
  TensorChange change;
  change.kind = kind;
  change.name = std::string(a != nullptr ? a->name : b->name);
  TensorRole role = RoleOfTensor(change.name);
  change.layer = role.layer;
  change.role = std::move(role.role);
  if (a != nullptr) change.bytes_before = a->bytes;
  if (b != nullptr) change.bytes_after = b->bytes;
  const bool whole = kind != ChangeKind::kWeightType && kind != ChangeKind::kWeightValues;
  if (a != nullptr) change.before = whole ? TypeText(*a) : std::string(Name(a->type));
  if (b != nullptr) change.after = whole ? TypeText(*b) : std::string(Name(b->type));
  return change;
}

absl::Status CompareTensors(const GgufFile& a, const GgufFile& b, const GgufDiffOptions& options,
                            GgufDiff* diff) {
  WeightComparison weights(a, b, options);
  int64_t total = 0;
  for (const GgufTensor& tensor : a.tensors()) {
    const GgufTensor* other = b.FindTensor(tensor.name);
    if (other != nullptr) total += static_cast<int64_t>(tensor.bytes + other->bytes);
  }
  weights.SetTotal(total);
  for (const GgufTensor& tensor : a.tensors()) {
    const GgufTensor* other = b.FindTensor(tensor.name);
    if (other == nullptr) {
      diff->tensors.push_back(MakeChange(ChangeKind::kRemoved, &tensor, nullptr));
      continue;
    }
    ++diff->common_tensors;
    if (tensor.shape() != other->shape()) {
      diff->tensors.push_back(MakeChange(ChangeKind::kShape, &tensor, other));
      weights.Advance(static_cast<int64_t>(tensor.bytes + other->bytes));
      continue;
    }
    const bool same_type = tensor.type == other->type;
    if (same_type && std::memcmp(a.data(tensor).data(), b.data(*other).data(), tensor.bytes) == 0) {
      weights.Advance(static_cast<int64_t>(tensor.bytes + other->bytes));
    } else {
      TensorChange change = MakeChange(
          same_type ? ChangeKind::kWeightValues : ChangeKind::kWeightType, &tensor, other);
      change.error = weights.Compare(tensor, *other);
      diff->tensors.push_back(std::move(change));
    }
    if (weights.stopped()) return absl::CancelledError("interrupted");
  }
  for (const GgufTensor& tensor : b.tensors()) {
    if (a.FindTensor(tensor.name) != nullptr) continue;
    diff->tensors.push_back(MakeChange(ChangeKind::kAdded, nullptr, &tensor));
  }
  return absl::OkStatus();
}

// In the order in which the first member stands in the file.
void GroupTensors(GgufDiff* diff) {
  std::map<std::tuple<ChangeKind, bool, std::string, std::string, std::string>, size_t> index;
  for (size_t i = 0; i < diff->tensors.size(); ++i) {
    const TensorChange& change = diff->tensors[i];
    const auto [at, added] =
        index.try_emplace({change.kind, change.layer < 0, change.role, change.before, change.after},
                          diff->groups.size());
    if (added) {
      diff->groups.push_back(
          {change.kind, change.role, {}, {}, change.before, change.after, std::nullopt, 0, 0});
    }
    TensorGroup& group = diff->groups[at->second];
    if (change.layer >= 0) group.layers.push_back(change.layer);
    group.changes.push_back(static_cast<int>(i));
    group.bytes_before += change.bytes_before;
    group.bytes_after += change.bytes_after;
    if (!change.error) continue;
    if (!group.error) group.error.emplace();
    group.error->Add(*change.error);
  }
  for (TensorGroup& group : diff->groups) std::sort(group.layers.begin(), group.layers.end());
}

}  // namespace

double WeightError::RelativeRms() const {
  if (squared_error == 0) return 0;
  if (squares == 0) return std::numeric_limits<double>::infinity();
  return std::sqrt(squared_error / squares);
}

void WeightError::Add(const WeightError& other) {
  squared_error += other.squared_error;
  squares += other.squares;
  elements += other.elements;
  not_finite += other.not_finite;
}

absl::StatusOr<GgufDiff> DiffGgufs(const GgufFile& a, const GgufFile& b,
                                   const GgufDiffOptions& options) {
  GgufDiff diff;
  CompareMetadata(a.metadata(), b.metadata(), &diff);
  RENGA_RETURN_IF_ERROR(CompareTensors(a, b, options, &diff));
  GroupTensors(&diff);
  return diff;
}

}  // namespace renga
