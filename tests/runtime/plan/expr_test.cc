#include "runtime/plan/expr.h"

#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"

namespace renga::plan {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
const std::vector<std::string> kNames = {"T", "L"};

TEST(Expr, ComputesAndPrints) {
  const Expr t = SymbolValue(0), l = SymbolValue(1);
  const struct {
    Expr expr;
    int64_t at_7_100;
    std::string text;
  } cases[] = {
      {{}, 1, "1"},
      {t, 7, "T"},
      {CeilDivide(t, 4), 2, "ceil_div(T, 4)"},
      {CeilDivide(t, 7), 1, "ceil_div(T, 7)"},
      {Constant(2048) + t * Constant(96), 2720, "2048 + T * 96"},
      {(t + Constant(1)) * l, 800, "(T + 1) * L"},
      {Min(CeilDivide(l, 64), Constant(8)), 2, "min(ceil_div(L, 64), 8)"},
      {Max(l, Constant(101)) * t, 707, "max(L, 101) * T"},
      {Constant(3) * Constant(4) + Constant(1), 13, "13"},
      {Constant(1) * t, 7, "T"},
      {CeilDivide(t, 1), 7, "T"},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(ToString(c.expr, kNames), c.text);
    const absl::StatusOr<int64_t> value = Evaluate(c.expr, {7, 100});
    ASSERT_TRUE(value.ok()) << c.text << ": " << value.status();
    EXPECT_EQ(*value, c.at_7_100) << c.text;
  }
}

TEST(Expr, IsLargestWhereItsSymbolsAre) {
  const Expr t = SymbolValue(0), l = SymbolValue(1);
  const Expr expr = Max(CeilDivide(t * l, 3), Min(t + Constant(2), Constant(9))) + l;
  int64_t before = 0;
  for (int64_t size = 0; size < 40; ++size) {
    const int64_t value = Evaluate(expr, {size, size}).value();
    EXPECT_GE(value, before) << size;
    EXPECT_LE(Evaluate(expr, {size, 3}).value(), Evaluate(expr, {size, 4}).value());
    before = value;
  }
}

TEST(Expr, RefusesWhatIsMalformed) {
  using Op = ExprOp;
  const struct {
    std::vector<ExprTerm> terms;
    const char* message;
  } cases[] = {
      {{}, "expected 1 to 32 terms, got 0"},
      {std::vector<ExprTerm>(33, {Op::kConstant, 1}), "expected 1 to 32 terms, got 33"},
      {{{Op::kConstant, -1}}, "expected no negative value, got -1"},
      {{{Op::kSymbol, 2}}, "expected one of 2 symbols, got symbol 2"},
      {{{Op::kSymbol, -1}}, "expected one of 2 symbols, got symbol -1"},
      {{{Op::kSymbol, 0}, {Op::kAdd, 0}}, "expected two values before an operation"},
      {{{Op::kSymbol, 0}, {Op::kSymbol, 1}}, "expected one value at the end, got 2"},
      {{{Op::kSymbol, 0}, {Op::kConstant, 0}, {Op::kCeilDivide, 0}},
       "expected a divisor of 1 or more, got 0"},
      {{{Op::kConstant, 4}, {Op::kSymbol, 0}, {Op::kCeilDivide, 0}},
       "expected a constant divisor, got a computed one"},
      {{{Op::kConstant, kMost}, {Op::kConstant, 1}, {Op::kAdd, 0}}, "expected a value below 2^63"},
      {{{Op::kConstant, kMost}, {Op::kConstant, 2}, {Op::kMultiply, 0}},
       "expected a value below 2^63"},
      {{{Op::kConstant, 1}, {Op::kConstant, 1}, {static_cast<Op>(9), 0}}, "unknown operation 9"},
  };
  for (const auto& c : cases) {
    const Expr expr = {c.terms};
    const absl::Status status = Evaluate(expr, {7, 100}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << c.message;
    EXPECT_THAT(ToStd(status.message()), HasSubstr(c.message));
    ToString(expr, kNames);  // must not crash
  }
}

}  // namespace
}  // namespace renga::plan
