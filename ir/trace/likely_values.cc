// What wrong values say by themselves, without computing anything again.
#include <algorithm>
#include <cmath>
#include <string_view>

#include "absl/types/span.h"
#include "ir/base/strings.h"
#include "ir/trace/likely.h"

namespace renga {
namespace {

constexpr int64_t kMostSlices = 1024;  // along an axis; each is held against each

// An array as slices along one of its axes.
struct Axis {
  std::string name;
  int64_t outer, count, inner;  // flat index: (o * count + slice) * inner + i
};

std::vector<Axis> AxesOf(const TracedValue& value) {
  std::vector<Axis> axes;
  int64_t outer = 1;
  for (size_t i = 0; i < value.shape.size(); ++i) {
    int64_t inner = 1;
    for (size_t j = i + 1; j < value.shape.size(); ++j) inner *= value.shape[j];
    axes.push_back(
        {i < value.axes.size() ? value.axes[i] : StrCat("axis ", i), outer, value.shape[i], inner});
    outer *= value.shape[i];
  }
  return axes;
}

// Two slices of two arrays: the squares of their difference and of the first.
struct Distance {
  double errors = 0, squares = 0, both = 0;
  bool same() const { return errors <= kSameValue * kSameValue * squares; }
};

Distance Between(const Axis& axis, absl::Span<const float> a, int64_t slice_a,
                 absl::Span<const float> b, int64_t slice_b, bool give_up = false) {
  Distance distance;
  for (int64_t o = 0; o < axis.outer; ++o) {
    const float* x = a.data() + (o * axis.count + slice_a) * axis.inner;
    const float* y = b.data() + (o * axis.count + slice_b) * axis.inner;
    for (int64_t i = 0; i < axis.inner; ++i) {
      const double d = double{x[i]} - y[i];
      distance.errors += d * d;
      distance.squares += double{x[i]} * x[i];
      distance.both += double{y[i]} * y[i];
      // Far from it at the first number: so are nearly all pairs.
      if (give_up && i == 0 && o == 0 && std::abs(d) > 0.05 * (std::abs(x[i]) + std::abs(y[i]))) {
        distance.errors = 1;
        distance.squares = 0;
        return distance;
      }
    }
  }
  return distance;
}

std::string RangeText(const std::vector<int64_t>& numbers) {
  const bool run = numbers.back() - numbers.front() + 1 == static_cast<int64_t>(numbers.size());
  if (numbers.size() > 2 && run) return StrCat(numbers.front(), "..", numbers.back());
  if (numbers.size() <= 4) return StrJoin(numbers, ", ");
  return StrCat(numbers[0], ", ", numbers[1], " and ", numbers.size() - 2, " more");
}

// Wrong slices along an axis that are all zeros, or all as they were before, while others are
// right.
Likely Missing(const Axis& axis, absl::Span<const float> e, absl::Span<const float> g,
               const std::vector<float>* before) {
  std::vector<int64_t> wrong;
  bool zeros = true, old = before != nullptr && before->size() >= g.size();
  for (int64_t slice = 0; slice < axis.count; ++slice) {
    const Distance d = Between(axis, e, slice, g, slice);
    if (d.same()) continue;
    wrong.push_back(slice);
    zeros = zeros && d.both == 0;
    old = old &&
          Between(axis, absl::MakeConstSpan(*before).first(g.size()), slice, g, slice).errors == 0;
  }
  if (wrong.empty() || static_cast<int64_t>(wrong.size()) == axis.count) return {};
  const std::string where = StrCat(axis.name, " ", RangeText(wrong));
  if (old) return {"not written", StrCat(where, ": nothing was written, it is as it was before")};
  if (!zeros) return {};
  const bool rest = wrong.back() == axis.count - 1 && wrong.size() > 1 &&
                    wrong.back() - wrong.front() + 1 == static_cast<int64_t>(wrong.size());
  if (!rest) return {"zeros", StrCat(where, " holds zeros")};
  return {"truncated", StrCat("only the first ", wrong.front(), " of ", axis.count, " along ",
                              axis.name, " are there, the rest is zeros")};
}

// The pairs' halves and neighbours, each in the other's place.
std::string OrderText(const std::vector<int64_t>& from, std::string_view axis) {
  const int64_t n = static_cast<int64_t>(from.size()), half = n / 2;
  bool split = n % 2 == 0 && n > 2, joined = split;
  for (int64_t i = 0; i < n; ++i) {
    split = split && from[i] == (i < half ? 2 * i : 2 * (i - half) + 1);
    joined = joined && from[i] == (i % 2 == 0 ? i / 2 : half + i / 2);
  }
  if (split) return StrCat(axis, ": halves (i, i+", half, ") hold what belongs to (2i, 2i+1)");
  if (joined) return StrCat(axis, ": pairs (2i, 2i+1) hold what belongs to (i, i+", half, ")");
  std::vector<std::string> some;
  int64_t moved = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (from[i] == i || ++moved > 2) continue;
    some.push_back(StrCat(axis, " ", i, " holds what belongs to ", from[i]));
  }
  return StrCat(StrJoin(some, ", "), moved > 2 ? StrCat(", and ", moved - 2, " more such") : "");
}

// Every slice along the axis is one of the expected ones, but not each its own.
Likely Moved(const Axis& axis, absl::Span<const float> e, absl::Span<const float> g) {
  if (axis.count < 2 || axis.count > kMostSlices) return {};
  std::vector<int64_t> from(static_cast<size_t>(axis.count));
  int64_t moved = 0;
  for (int64_t slice = 0; slice < axis.count; ++slice) {
    int64_t found = Between(axis, e, slice, g, slice).same() ? slice : -1;
    for (int64_t other = 0; other < axis.count && found < 0; ++other) {
      const Distance d = Between(axis, e, other, g, slice, /*give_up=*/true);
      if (d.squares > 0 ? d.same() : d.errors == 0) found = other;
    }
    if (found < 0) return {};
    from[static_cast<size_t>(slice)] = found;
    moved += found == slice ? 0 : 1;
  }
  if (moved == 0) return {};
  const bool rows = axis.name == "token" || axis.name == "row" || axis.name == "cell";
  return {rows ? "wrong row" : "permuted", OrderText(from, axis.name)};
}

// The same numbers with two neighbouring axes exchanged.
Likely Transposed(const TracedValue& expected, absl::Span<const float> e,
                  absl::Span<const float> g) {
  const std::vector<int64_t>& shape = expected.shape;
  for (size_t first = 0; first + 1 < shape.size(); ++first) {
    const int64_t rows = shape[first], columns = shape[first + 1];
    if (rows < 2 || columns < 2) continue;
    int64_t inner = 1;
    for (size_t i = first + 2; i < shape.size(); ++i) inner *= shape[i];
    double errors = 0, squares = 0;
    for (size_t at = 0; at < e.size(); ++at) {
      const int64_t flat = static_cast<int64_t>(at), i = flat % inner, c = flat / inner % columns,
                    r = flat / inner / columns % rows, o = flat / inner / columns / rows;
      const double d =
          double{e[at]} - g[static_cast<size_t>(((o * columns + c) * rows + r) * inner + i)];
      errors += d * d;
      squares += double{e[at]} * e[at];
    }
    if (errors > kSameValue * kSameValue * squares) continue;
    return {"transposed", StrCat("is transposed: ", expected.axes[first], " and ",
                                 expected.axes[first + 1], " are exchanged")};
  }
  return {};
}

}  // namespace

Likely LikelyFromValues(const TracedValue& expected, const TracedValue& got,
                        const ValueError& error, const std::vector<float>* before) {
  if (error.b_nans > 0 && error.a_nans == 0) return {"not a number", "holds NaN"};
  if (error.b_infs > 0 && error.a_infs == 0) return {"not a number", "holds infinities"};
  if (error.rms_b == 0 && error.rms_a > 0) return {"zeros", "holds zeros"};
  const std::vector<float> e = AsFloats(expected), g = AsFloats(got);
  if (e.size() != g.size() || expected.axes.size() != expected.shape.size()) return {};
  if (before != nullptr && before->size() >= g.size() &&
      std::equal(g.begin(), g.end(), before->begin())) {
    return {"not written", "is as it was before: nothing was written"};
  }
  double dot = 0, squares = 0, both = 0;
  for (size_t i = 0; i < e.size(); ++i) {
    dot += double{e[i]} * g[i];
    squares += double{e[i]} * e[i];
    both += double{g[i]} * g[i];
  }
  // The scale that fits best, and what it leaves.
  const double scale = squares > 0 ? dot / squares : 0;
  const double rest = both - 2 * scale * dot + scale * scale * squares;
  if (scale != 0 && both > 0 && std::sqrt(std::max(0.0, rest) / both) < kSameValue) {
    return {"scaled", StrCat("is ", static_cast<float>(scale), " times what it should be")};
  }
  const std::vector<Axis> axes = AxesOf(expected);
  for (const Axis& axis : axes) {
    if (Likely likely = Missing(axis, e, g, before); !likely.text.empty()) return likely;
  }
  const int64_t rows = expected.shape.empty() ? 0 : expected.shape[0];
  if (rows >= 3) {
    const Axis& first = axes[0];
    const auto shifted = [&](int64_t expected_from, int64_t got_from) {
      double errors = 0, all = 0;
      for (int64_t row = 0; row + 1 < rows; ++row) {
        const Distance d = Between(first, e, row + expected_from, g, row + got_from);
        errors += d.errors;
        all += d.squares;
      }
      return all > 0 && std::sqrt(errors / all) < kSameValue;
    };
    if (shifted(0, 1)) return {"wrong row", "each row is that of the one before"};
    if (shifted(1, 0)) return {"wrong row", "each row is that of the one after"};
  }
  if (Likely likely = Transposed(expected, e, g); !likely.text.empty()) return likely;
  for (const Axis& axis : axes) {
    if (Likely likely = Moved(axis, e, g); !likely.text.empty()) return likely;
  }
  return {};
}

}  // namespace renga
