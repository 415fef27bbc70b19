#include "runtime/plan/expr.h"

#include <algorithm>
#include <utility>

#include "ir/base/status.h"

namespace renga::plan {
namespace {

bool IsConstant(const Expr& expr) {
  return expr.terms.size() == 1 && expr.terms[0].op == ExprOp::kConstant;
}

Expr Binary(const Expr& a, const Expr& b, ExprOp op) {
  Expr result = a;
  result.terms.insert(result.terms.end(), b.terms.begin(), b.terms.end());
  result.terms.push_back({op, 0});
  if (IsConstant(a) && IsConstant(b)) {
    if (const auto folded = Evaluate(result, {}); folded.ok()) return Constant(*folded);
  }
  return result;
}

absl::Status Malformed(std::string_view what) {
  return absl::InvalidArgumentError(StrCat("expression: ", what));
}

absl::StatusOr<int64_t> Apply(ExprOp op, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflow = false;
  switch (op) {
    case ExprOp::kAdd:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case ExprOp::kMultiply:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    case ExprOp::kCeilDivide:
      if (b < 1) return Malformed(StrCat("expected a divisor of 1 or more, got ", b));
      result = a / b + (a % b != 0 ? 1 : 0);
      break;
    case ExprOp::kMin:
      result = std::min(a, b);
      break;
    case ExprOp::kMax:
      result = std::max(a, b);
      break;
    default:
      return Malformed(StrCat("unknown operation ", static_cast<int>(op)));
  }
  if (overflow) return Malformed("expected a value below 2^63, got more");
  return result;
}

}  // namespace

Expr Constant(int64_t value) { return {{{ExprOp::kConstant, value}}}; }
Expr SymbolValue(int32_t symbol) { return {{{ExprOp::kSymbol, symbol}}}; }
Expr operator+(const Expr& a, const Expr& b) { return Binary(a, b, ExprOp::kAdd); }
Expr operator*(const Expr& a, const Expr& b) {
  if (a == Constant(1)) return b;
  return b == Constant(1) ? a : Binary(a, b, ExprOp::kMultiply);
}
Expr CeilDivide(const Expr& a, int64_t divisor) {
  return divisor == 1 ? a : Binary(a, Constant(divisor), ExprOp::kCeilDivide);
}
Expr Min(const Expr& a, const Expr& b) { return Binary(a, b, ExprOp::kMin); }
Expr Max(const Expr& a, const Expr& b) { return Binary(a, b, ExprOp::kMax); }

absl::StatusOr<int64_t> Evaluate(const Expr& expr, absl::Span<const int64_t> symbols) {
  if (expr.terms.empty() || expr.terms.size() > kMaxExprTerms) {
    return Malformed(StrCat("expected 1 to ", kMaxExprTerms, " terms, got ", expr.terms.size()));
  }
  std::vector<int64_t> stack;
  ExprOp before = ExprOp::kAdd;
  for (const ExprTerm& term : expr.terms) {
    const ExprOp previous = std::exchange(before, term.op);
    if (term.op == ExprOp::kConstant) {
      if (term.value < 0) return Malformed(StrCat("expected no negative value, got ", term.value));
      stack.push_back(term.value);
    } else if (term.op == ExprOp::kSymbol) {
      if (term.value < 0 || static_cast<uint64_t>(term.value) >= symbols.size()) {
        return Malformed(
            StrCat("expected one of ", symbols.size(), " symbols, got symbol ", term.value));
      }
      stack.push_back(std::max<int64_t>(0, symbols[term.value]));
    } else {
      if (stack.size() < 2) return Malformed("expected two values before an operation, got fewer");
      if (term.op == ExprOp::kCeilDivide && previous != ExprOp::kConstant) {
        return Malformed("expected a constant divisor, got a computed one");
      }
      const int64_t b = stack.back();
      stack.pop_back();
      RENGA_ASSIGN_OR_RETURN(stack.back(), Apply(term.op, stack.back(), b));
    }
  }
  if (stack.size() != 1) {
    return Malformed(StrCat("expected one value at the end, got ", stack.size()));
  }
  return stack[0];
}

std::string ToString(const Expr& expr, absl::Span<const std::string> names) {
  struct Part {
    std::string text;
    bool sum = false;  // needs parentheses beside a product
  };
  std::vector<Part> stack;
  if (expr.terms.size() > kMaxExprTerms) return "?";
  for (const ExprTerm& term : expr.terms) {
    if (term.op == ExprOp::kConstant) {
      stack.push_back({StrCat(term.value)});
      continue;
    }
    if (term.op == ExprOp::kSymbol) {
      const bool known = term.value >= 0 && static_cast<uint64_t>(term.value) < names.size();
      stack.push_back({known ? names[term.value] : "?"});
      continue;
    }
    if (stack.size() < 2) return "?";
    const Part b = std::move(stack.back());
    stack.pop_back();
    Part& a = stack.back();
    const auto factor = [](const Part& p) { return p.sum ? StrCat("(", p.text, ")") : p.text; };
    const auto call = [&](std::string_view name) {
      return Part{StrCat(name, "(", a.text, ", ", b.text, ")")};
    };
    switch (term.op) {
      case ExprOp::kAdd:
        a = {StrCat(a.text, " + ", b.text), true};
        break;
      case ExprOp::kMultiply:
        a = {StrCat(factor(a), " * ", factor(b))};
        break;
      case ExprOp::kCeilDivide:
        a = call("ceil_div");
        break;
      case ExprOp::kMin:
        a = call("min");
        break;
      case ExprOp::kMax:
        a = call("max");
        break;
      default:
        return "?";
    }
  }
  return stack.size() == 1 ? stack[0].text : "?";
}

}  // namespace renga::plan
