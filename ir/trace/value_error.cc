#include "ir/trace/value_error.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ir/base/status.h"

namespace renga {
namespace {

std::string ShapeText(const TracedValue& value) {
  return StrCat(Name(value.dtype), "[", StrJoin(value.shape, ","), "]");
}

std::string AxisName(const TracedValue& value, size_t axis) {
  if (axis < value.axes.size() && !value.axes[axis].empty()) return value.axes[axis];
  return StrCat("axis ", axis);
}

// Of element `at` of an axis, as a reader counts.
int64_t IndexOf(const TracedValue& value, size_t axis, int64_t at) {
  const bool listed = axis == 0 && at < static_cast<int64_t>(value.positions.size());
  return listed ? value.positions[at] : at;
}

// The stretch of each side that is compared, in elements.
struct Overlap {
  int64_t a_begin = 0, b_begin = 0, size = 0;
};

absl::StatusOr<Overlap> FindOverlap(const TracedValue& a, const TracedValue& b) {
  const int64_t n_a = a.elements(), n_b = b.elements();
  if (n_a == n_b) return Overlap{0, 0, n_a};
  const bool rows_of_one_kind = a.shape.size() == b.shape.size() && !a.shape.empty() &&
                                a.shape[0] > 0 && b.shape[0] > 0 &&
                                std::equal(a.shape.begin() + 1, a.shape.end(), b.shape.begin() + 1);
  if (!rows_of_one_kind) {
    return absl::InvalidArgumentError(
        StrCat("%", b.name, ": expected values of the same size, got ", ShapeText(a), " and ",
               ShapeText(b), "; the graphs mean different things by this name"));
  }
  const int64_t size = std::min(n_a, n_b);
  if (AxisName(b, 0) == "cell") return Overlap{0, 0, size};
  return Overlap{n_a - size, n_b - size, size};
}

// Which indices of each axis have an element beyond the tolerance.
class Marks {
 public:
  explicit Marks(const TracedValue& value) : value_(value) {
    for (const int64_t size : value.shape) seen_.emplace_back(size, false);
  }

  void Mark(int64_t index) {
    for (size_t axis = seen_.size(); axis-- > 0;) {
      seen_[axis][index % value_.shape[axis]] = true;
      index /= value_.shape[axis];
    }
  }

  // Nothing is said of an axis with one index, and nothing where there is no common trait.
  std::string Text(int64_t first_row) const {
    std::vector<std::string> parts;
    for (size_t axis = 0; axis < seen_.size(); ++axis) {
      const std::vector<bool>& seen = seen_[axis];
      const int64_t begin = axis == 0 ? first_row : 0;
      const int64_t size = static_cast<int64_t>(seen.size());
      const int64_t marked = std::count(seen.begin(), seen.end(), true);
      if (size - begin < 2 || marked == 0) continue;
      if (marked == 1 && size > 2) {
        const auto at = std::find(seen.begin(), seen.end(), true) - seen.begin();
        parts.push_back(StrCat("only ", AxisName(value_, axis), " ", IndexOf(value_, axis, at)));
      } else if (axis == 0 && begin == 0 && IndexOf(value_, 0, 0) == 0 && !seen[0] &&
                 marked == size - 1) {
        parts.push_back(StrCat(AxisName(value_, axis), " 0 equal"));
      }
    }
    return StrJoin(parts, ", ");
  }

 private:
  const TracedValue& value_;
  std::vector<std::vector<bool>> seen_;
};

}  // namespace

double Roundoff(DType type) {
  if (type == DType::kF16) return 0x1p-11;
  if (type == DType::kBF16) return 0x1p-8;
  if (type == DType::kF8_E4M3) return 0x1p-4;
  return 0;
}

double RoundoffOf(std::string_view types) {
  double largest = 0;
  while (!types.empty()) {
    const size_t end = std::min(types.find('+'), types.size());
    const auto dtype = DTypeFromName(types.substr(0, end));
    if (dtype.has_value()) largest = std::max(largest, Roundoff(*dtype));
    types.remove_prefix(std::min(end + 1, types.size()));
  }
  return largest;
}

std::string CoordinatesText(const TracedValue& value, int64_t index) {
  std::vector<std::string> parts(value.shape.size());
  for (size_t axis = value.shape.size(); axis-- > 0;) {
    const int64_t size = std::max<int64_t>(value.shape[axis], 1);
    parts[axis] = StrCat(AxisName(value, axis), " ", IndexOf(value, axis, index % size));
    index /= size;
  }
  return StrJoin(parts, ", ");
}

absl::StatusOr<ValueError> CompareValues(const TracedValue& a, const TracedValue& b, double rtol) {
  RENGA_ASSIGN_OR_RETURN(const Overlap overlap, FindOverlap(a, b));
  ValueError error;
  error.elements = overlap.size;
  error.a_nans = a.stats.nans;
  error.b_nans = b.stats.nans;
  error.a_infs = a.stats.infs;
  error.b_infs = b.stats.infs;
  const std::vector<float> all_a = AsFloats(a), all_b = AsFloats(b);
  const float* x = all_a.data() + overlap.a_begin;
  const float* y = all_b.data() + overlap.b_begin;

  double a_squares = 0, b_squares = 0, products = 0, difference = 0, sum_abs = 0;
  int64_t numbers = 0;
  for (int64_t i = 0; i < overlap.size; ++i) {
    if (!std::isfinite(x[i]) || !std::isfinite(y[i])) continue;
    const double p = x[i], q = y[i], d = p - q;
    ++numbers;
    a_squares += p * p;
    b_squares += q * q;
    products += p * q;
    difference += d * d;
    sum_abs += std::abs(d);
  }
  if (numbers > 0) {
    error.mean_abs = sum_abs / static_cast<double>(numbers);
    error.rms_a = std::sqrt(a_squares / static_cast<double>(numbers));
    error.rms_b = std::sqrt(b_squares / static_cast<double>(numbers));
  }
  constexpr double kInfinite = std::numeric_limits<double>::infinity();
  if (difference > 0)
    error.relative = a_squares > 0 ? std::sqrt(difference / a_squares) : kInfinite;
  const double norms = std::sqrt(a_squares) * std::sqrt(b_squares);
  error.cosine = norms > 0 ? products / norms : (a_squares == b_squares ? 1 : 0);

  Marks marks(b);
  for (int64_t i = 0; i < overlap.size; ++i) {
    const double p = x[i], q = y[i];
    double distance = std::abs(p - q);
    if (!std::isfinite(p) || !std::isfinite(q)) {
      const bool same = p == q || (std::isnan(p) && std::isnan(q));
      distance = same ? 0 : kInfinite;
      if (!same) ++error.lone_nonfinite;
    }
    if (error.worst < 0 || distance > error.max_abs) {
      error.max_abs = distance;
      error.worst = overlap.b_begin + i;
      error.a_at_worst = p;
      error.b_at_worst = q;
    }
    if (distance > 0 && !(distance <= rtol * (std::abs(p) + error.rms_a))) {
      if (error.first < 0) error.first = overlap.b_begin + i;
      ++error.beyond;
      marks.Mark(overlap.b_begin + i);
    }
  }
  if (error.worst >= 0) error.worst_at = CoordinatesText(b, error.worst);
  if (error.first >= 0) error.first_at = CoordinatesText(b, error.first);
  if (error.beyond > 0) {
    const int64_t row = b.shape.empty() ? 1 : std::max<int64_t>(b.elements() / b.shape[0], 1);
    error.observation = marks.Text(overlap.b_begin / row);
  }
  return error;
}

}  // namespace renga
