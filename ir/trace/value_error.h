// How far one value of a run is from the same value of another run: figures over all elements, and
// where it is worst.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ir/trace/trace.h"

namespace renga {

struct ValueError {
  int64_t elements = 0;  // compared
  double max_abs = 0;    // infinite where only one side is a number
  double mean_abs = 0;   // this and the next two over the elements where both sides are numbers
  double relative = 0;   // ||a - b|| / ||a||; infinite where only b is not zero
  double cosine = 1;     // of a and b as vectors; 1 where both are zero
  double rms_a = 0;
  double rms_b = 0;

  // Elements beyond rtol * (|a| + rms of a); elements that are a number on one side only.
  int64_t beyond = 0;

  // Flat indices into b's value; -1 where there is none.
  int64_t worst = -1;  // where |a - b| is largest
  int64_t first = -1;  // the first one beyond
  double a_at_worst = 0, b_at_worst = 0;

  int64_t a_nans = 0, b_nans = 0, a_infs = 0, b_infs = 0;
  int64_t lone_nonfinite = 0;  // elements that are a number, or the same infinity, on one side only

  // Coordinates of `worst` and `first`: "token 1, head 9, dim 12"; empty where there is none.
  std::string worst_at, first_at;

  // What the elements beyond the tolerance have in common: "token 0 equal", "only head 9"; may be
  // empty.
  std::string observation;

  // Whether the values of every element are the same number (or both NaN).
  bool identical() const { return max_abs == 0 && lone_nonfinite == 0; }
};

// What rounding to the type can do to a number, relative: half the distance of neighbours for f16,
// bf16 and f8_e4m3. 0 for f32, whose rounding every tolerance covers, for blocks and for integers.
double Roundoff(DType type);
// By name; 0 for none, and the largest of "f16+q8_0" (cache_types_text.h).
double RoundoffOf(std::string_view types);

// Flat index -> "token 1, head 9, dim 12". An axis without a name is called "axis N".
std::string CoordinatesText(const TracedValue& value, int64_t index);

// Compares element by element, in b's coordinates. Values of the same number of elements are
// compared as they lie, whatever their shapes: merged heads are split heads. Where only the first
// size differs, what both have is compared: the first cells of caches of different sizes; the last
// rows of a value that one side computes only for the rows asked for. Otherwise InvalidArgument
// with both shapes. `rtol`: see ValueError::beyond.
absl::StatusOr<ValueError> CompareValues(const TracedValue& a, const TracedValue& b, double rtol);

}  // namespace renga
