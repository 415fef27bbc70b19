#include <algorithm>
#include <map>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "ir/base/strings.h"
#include "ir/trace/compare_log.h"

namespace renga {
namespace {

constexpr size_t kMaxLines = 12;  // of roles that disagree, and of roles without a counterpart

std::string Escaped(const std::string& text) { return absl::CHexEscape(text); }

std::string Head(const ComparedTensor& tensor) {
  return StrCat(Escaped(tensor.name), " (", Escaped(tensor.op), ", line ", tensor.line, ")");
}

std::string Where(const ComparedTensor& tensor) {
  return absl::StrFormat("[%s]: ours %.4f, log %.4f", tensor.at, tensor.ours, tensor.logged);
}

// What is wrong with a tensor: its numbers, or, where they agree, its sum.
std::string Fault(const ComparedTensor& tensor) {
  if (tensor.worst <= 1 && tensor.sum_worst > 1) {
    return absl::StrFormat("the sum of all: ours %.6f, log %.6f", tensor.our_sum,
                           tensor.logged_sum);
  }
  return StrCat("worst at ", Where(tensor));
}

}  // namespace

std::string VerdictText(const LogComparison& comparison) {
  const int64_t matched = static_cast<int64_t>(comparison.tensors.size());
  if (matched == 0) return "nothing to compare: the log and the trace share no value";
  if (comparison.disagree.empty()) {
    std::string text = StrCat("all ", matched, " matched tensors agree");
    if (comparison.worst >= 0) {
      const ComparedTensor& worst = comparison.tensors[comparison.worst];
      StrAppend(&text, "; ", matched - comparison.explained, " within their tolerance, worst ",
                absl::StrFormat("%.2g", worst.worst), " of it: ", Head(worst), " ", Where(worst));
    }
    if (comparison.worst_explained >= 0) {
      const ComparedTensor& worst = comparison.tensors[comparison.worst_explained];
      StrAppend(&text, "; ", comparison.explained,
                " more by what the errors before them explain (our caches are ",
                comparison.run.k_type, "/", comparison.run.v_type, ", the log's f32), most ",
                Head(worst), " ", Where(worst));
    }
    return text;
  }
  const ComparedTensor& first = comparison.tensors[comparison.disagree[0]];
  std::string text = StrCat("first node that disagrees:  %", Escaped(first.value), "   log ",
                            Head(first), "   ", Fault(first));
  if (!first.observation.empty()) StrAppend(&text, "  (", first.observation, ")");
  return text;
}

std::string LogComparisonText(const LogComparison& comparison) {
  const size_t matched = comparison.tensors.size();
  const size_t all = matched + comparison.unmatched.size();
  std::string text =
      absl::StrFormat("%d of the log's %d tensors matched (%.1f %%), %d disagree\n", matched, all,
                      100 * comparison.matched_share(), comparison.disagree.size());
  if (comparison.cut_short) {
    StrAppend(&text, "the log is cut short: compared up to line ",
              matched > 0 ? comparison.tensors.back().line : 0, "\n");
  }
  for (size_t i = 0; i < std::min(comparison.disagree.size(), kMaxLines); ++i) {
    const ComparedTensor& tensor = comparison.tensors[comparison.disagree[i]];
    StrAppend(&text, "  differs  %", Escaped(tensor.value), "  ", Head(tensor), "  ", Fault(tensor),
              "\n");
  }
  if (comparison.disagree.size() > kMaxLines) {
    StrAppend(&text, "  and ", comparison.disagree.size() - kMaxLines, " more\n");
  }
  // Roles without a counterpart, each once.
  std::map<std::pair<std::string, std::string>, int> roles;
  for (const UnmatchedTensor& tensor : comparison.unmatched) {
    ++roles[{StrCat(RoleOf(tensor.name).role, " (", tensor.op, ")"), tensor.why}];
  }
  size_t shown = 0;
  for (const auto& [role, count] : roles) {
    if (++shown > kMaxLines) {
      StrAppend(&text, "  not matched: ", roles.size() - kMaxLines, " more roles\n");
      break;
    }
    StrAppend(&text, "  not matched: ", count, " x ", Escaped(role.first), ": ", role.second, "\n");
  }
  StrAppend(&text, VerdictText(comparison), "\n");
  return text;
}

}  // namespace renga
