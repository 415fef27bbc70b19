#include "ir/trace/log_values.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ir/base/status.h"

namespace renga {
namespace {

OurValues Plain(const TracedValue& value) {
  OurValues ours;
  ours.numbers = AsFloats(value);
  ours.rows = value.shape.empty() ? 1 : value.shape[0];
  ours.channels = ours.rows > 0 ? value.elements() / ours.rows : 0;
  ours.shape = value.shape;
  ours.axes = value.axes;
  return ours;
}

void Normalise(OurValues& ours, double eps) {
  for (int64_t row = 0; row < ours.rows; ++row) {
    float* x = ours.numbers.data() + row * ours.channels;
    double squares = 0;
    for (int64_t i = 0; i < ours.channels; ++i) squares += double{x[i]} * x[i];
    const double scale = 1 / std::sqrt(squares / static_cast<double>(ours.channels) + eps);
    for (int64_t i = 0; i < ours.channels; ++i) x[i] = static_cast<float>(x[i] * scale);
  }
}

// q . k of every token and head with the key of every token: [token, head, key]. One sequence,
// whose positions are its cells.
absl::StatusOr<OurValues> Scores(const TracedValue& q, const TracedValue& cells) {
  const bool fits = q.shape.size() == 3 && cells.shape.size() == 3 && q.shape[0] > 0 &&
                    cells.shape[1] > 0 && q.shape[1] % cells.shape[1] == 0 &&
                    q.shape[2] == cells.shape[2] && cells.shape[0] >= q.shape[0];
  if (!fits) {
    return absl::InvalidArgumentError(StrCat("%", q.name, " [", StrJoin(q.shape, ","), "] and %",
                                             cells.name, " [", StrJoin(cells.shape, ","),
                                             "]: expected queries and keys of one attention"));
  }
  const int64_t tokens = q.shape[0], heads = q.shape[1], dim = q.shape[2];
  const int64_t kv_heads = cells.shape[1];
  const std::vector<float> queries = AsFloats(q), keys = AsFloats(cells);
  OurValues ours;
  ours.rows = tokens;
  ours.channels = heads * tokens;
  ours.shape = {tokens, heads, tokens};
  ours.axes = {"token", "head", "key"};
  ours.numbers.resize(tokens * heads * tokens);
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t h = 0; h < heads; ++h) {
      const float* x = queries.data() + (t * heads + h) * dim;
      for (int64_t j = 0; j < tokens; ++j) {
        const float* k = keys.data() + (j * kv_heads + h / (heads / kv_heads)) * dim;
        double sum = 0;
        for (int64_t d = 0; d < dim; ++d) sum += double{x[d]} * k[d];
        ours.numbers[(t * heads + h) * tokens + j] = static_cast<float>(sum);
      }
    }
  }
  return ours;
}

// `sum` less `added`. Its error is that of the sum, however small what is left may be.
absl::StatusOr<OurValues> Difference(const TracedValue& sum, const TracedValue& added) {
  if (sum.shape != added.shape) {
    return absl::InvalidArgumentError(StrCat("%", sum.name, " [", StrJoin(sum.shape, ","),
                                             "] and %", added.name, " [", StrJoin(added.shape, ","),
                                             "]: expected equal sizes"));
  }
  OurValues ours = Plain(sum);
  double squares = 0;
  for (const float x : ours.numbers) squares += double{x} * x;
  ours.rms_floor =
      std::sqrt(squares / static_cast<double>(std::max<size_t>(ours.numbers.size(), 1)));
  const std::vector<float> residual = AsFloats(added);
  for (size_t i = 0; i < residual.size(); ++i) ours.numbers[i] -= residual[i];
  return ours;
}

// Causal: token t sees the keys 0..t.
void Softmax(OurValues& scores, double scale) {
  const int64_t heads = scores.shape[1], keys = scores.shape[2];
  for (int64_t row = 0; row < scores.rows * heads; ++row) {
    float* s = scores.numbers.data() + row * keys;
    const int64_t visible = row / heads + 1;
    double max = -std::numeric_limits<double>::infinity(), sum = 0;
    for (int64_t j = 0; j < visible; ++j) max = std::max(max, s[j] * scale);
    for (int64_t j = 0; j < visible; ++j) sum += std::exp(s[j] * scale - max);
    for (int64_t j = 0; j < keys; ++j) {
      s[j] = j < visible ? static_cast<float>(std::exp(s[j] * scale - max) / sum) : 0.0f;
    }
  }
}

constexpr LogPlaces::Axes kAxes[] = {
    {.flat = true},                                     // kTokens
    {.cells = true, .flat = true},                      // kCells
    {.row = 1, .head = 2, .inner = 0},                  // kDimTokenHead
    {.row = 1, .head = 2, .inner = 0, .padded = true},  // kKeyTokenHead
    {.row = 1, .head = 2, .inner = 0, .cells = true},   // kDimCellHead
    {.row = 0, .head = 1, .inner = 2, .cells = true},   // kCellHeadDim
    {.row = 0, .head = 2, .inner = 1, .cells = true},   // kCellDimHead
    {.row = 0, .cells = true, .flat = true},            // kCellChannel
    {.row = 1, .inner = 0, .padded = true},             // kVocabulary
};

const LogPlaces::Axes& AxesOf(LogOrder order) { return kAxes[static_cast<int>(order)]; }

}  // namespace

absl::StatusOr<OurValues> ValuesOf(const Trace& trace, const LogMatch& match) {
  const TracedValue* value = trace.Find(match.value);
  const TracedValue* other = match.other.empty() ? nullptr : trace.Find(match.other);
  if (value == nullptr || (other == nullptr && !match.other.empty())) {
    return absl::InvalidArgumentError(StrCat("%", match.value, ": expected it in the trace"));
  }
  if (match.derivation == LogDerivation::kAdded) return Difference(*value, *other);
  if (other != nullptr) {
    RENGA_ASSIGN_OR_RETURN(OurValues scores, Scores(*value, *other));
    if (match.derivation == LogDerivation::kProbs) Softmax(scores, match.factor);
    return scores;
  }
  OurValues ours = Plain(*value);
  if (match.derivation == LogDerivation::kUnscaled) {
    for (float& x : ours.numbers) x = static_cast<float>(x / match.factor);
  } else if (match.derivation == LogDerivation::kSilu) {
    for (float& x : ours.numbers) x = static_cast<float>(x / (1 + std::exp(-double{x})));
  } else if (match.derivation == LogDerivation::kNormed) {
    Normalise(ours, match.factor);
  } else if (match.derivation == LogDerivation::kZeros) {
    std::fill(ours.numbers.begin(), ours.numbers.end(), 0.0f);
  }
  return ours;
}

absl::StatusOr<LogPlaces> LogPlaces::Create(const LogTensor& tensor, const LogMatch& match,
                                            const OurValues& ours) {
  LogPlaces places;
  places.axes_ = AxesOf(match.order);
  places.ne_ = tensor.ne;
  places.rows_ = ours.rows;
  places.channels_ = ours.channels;
  const Axes& axes = places.axes_;
  const auto& ne = tensor.ne;
  bool fits = ne[3] == 1 && ours.channels > 0 && ours.rows > 0;
  if (axes.flat) {
    fits = fits && tensor.elements() % ours.channels == 0;
    if (fits) places.log_rows_ = tensor.elements() / ours.channels;
  } else {
    const int64_t heads = axes.head < 0 ? 1 : ne[axes.head];
    places.log_rows_ = ne[axes.row];
    fits = fits && ours.channels % heads == 0;
    if (fits) places.inner_ = ours.channels / heads;
    fits =
        fits && (axes.padded ? ne[axes.inner] >= places.inner_ : ne[axes.inner] == places.inner_);
    fits = fits && heads * ne[axes.row] * ne[axes.inner] == tensor.elements();
  }
  if (!fits) {
    return absl::InvalidArgumentError(StrCat("sizes ", SizesText(ne), " in the log, [",
                                             StrJoin(ours.shape, ","), "] in %", match.value));
  }
  places.shift_ = axes.cells ? 0 : ours.rows - places.log_rows_;
  places.begin_ = std::max<int64_t>(places.shift_, 0) * ours.channels;
  places.end_ = std::min(ours.rows, places.log_rows_ + places.shift_) * ours.channels;
  return places;
}

int64_t LogPlaces::Place(int64_t index) const {
  int64_t row = 0, channel = 0;
  if (axes_.flat) {
    row = axes_.row == 0 ? index % log_rows_ : index / channels_;
    channel = axes_.row == 0 ? index / log_rows_ : index % channels_;
  } else {
    const int64_t at[] = {index % ne_[0], index / ne_[0] % ne_[1], index / ne_[0] / ne_[1]};
    const int64_t inner = at[axes_.inner];
    // What is behind our keys is multiplied with empty cells, or masked.
    if (inner >= inner_) return axes_.head < 0 ? kAbsent : kZero;
    row = at[axes_.row];
    channel = (axes_.head < 0 ? 0 : at[axes_.head] * inner_) + inner;
  }
  row += shift_;
  if (row < 0) return kAbsent;
  if (row >= rows_) return axes_.cells ? kZero : kAbsent;
  return row * channels_ + channel;
}

}  // namespace renga
