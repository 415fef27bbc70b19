// Sizes that are computed when a step is launched: grid dimensions, shared memory, counts among the
// arguments. Small expressions over the plan's symbols, in postfix order.
//
// Every operation is monotone in what it works on, and no value is negative, so an expression is
// largest where all its symbols are: one evaluation at the symbols' bounds checks all others.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace renga::plan {

enum class ExprOp : uint8_t {
  kConstant = 0,  // ExprTerm::value, 0 or more
  kSymbol = 1,    // value of symbol ExprTerm::value
  kAdd = 2,       // the two before it, here and below
  kMultiply = 3,
  kCeilDivide = 4,  // rounded up; the divisor is a constant from 1 on
  kMin = 5,
  kMax = 6,
};

struct ExprTerm {
  ExprOp op = ExprOp::kConstant;
  int64_t value = 0;
  friend bool operator==(const ExprTerm&, const ExprTerm&) = default;
};

// An expression has 1 to kMaxExprTerms terms that leave one value. Default: the constant 1.
inline constexpr size_t kMaxExprTerms = 32;
struct Expr {
  std::vector<ExprTerm> terms = {{ExprOp::kConstant, 1}};
  friend bool operator==(const Expr&, const Expr&) = default;
};

// For whoever builds a plan. Constants are folded.
Expr Constant(int64_t value);
Expr SymbolValue(int32_t symbol);
Expr operator+(const Expr& a, const Expr& b);
Expr operator*(const Expr& a, const Expr& b);
Expr CeilDivide(const Expr& a, int64_t divisor);
Expr Min(const Expr& a, const Expr& b);
Expr Max(const Expr& a, const Expr& b);

// The value with symbol i at symbols[i], which are 0 or more. The expression is untrusted:
// InvalidArgument where it is malformed, names a symbol that does not exist, or overflows an
// int64_t.
absl::StatusOr<int64_t> Evaluate(const Expr& expr, absl::Span<const int64_t> symbols);

// "min(ceil_div(T, 16) * 2, 132)". `names` are the symbols'; one that does not exist prints as "?",
// a malformed expression as "?" alone.
std::string ToString(const Expr& expr, absl::Span<const std::string> names);

}  // namespace renga::plan
