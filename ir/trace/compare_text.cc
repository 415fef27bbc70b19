#include <algorithm>
#include <map>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "ir/base/strings.h"
#include "ir/diff/graph_diff.h"
#include "ir/trace/compare.h"

namespace renga {
namespace {

constexpr size_t kMaxLines = 40;

std::string Quoted(const std::string& name) { return StrCat("%", absl::CHexEscape(name)); }

// "3.2e-06", "4.1", "nan": what a reader can keep in mind.
std::string Number(double value) { return absl::StrFormat("%.2g", value); }

std::string At(const std::string& coordinates) {
  return coordinates.empty() ? "" : StrCat("[", coordinates, "]");
}

double Severity(const ComparedValue& value) {
  return value.error.lone_nonfinite > 0 ? value.error.max_abs : value.error.relative;
}

// "NaN: 3 in a, 0 in b; Inf: ..."; empty where both are numbers throughout.
std::string NonfiniteText(const ValueError& error) {
  std::string text;
  if (error.a_nans + error.b_nans > 0) {
    StrAppend(&text, "NaN: ", error.a_nans, " in a, ", error.b_nans, " in b");
  }
  if (error.a_infs + error.b_infs > 0) {
    StrAppend(&text, text.empty() ? "" : "; ", "Inf: ", error.a_infs, " in a, ", error.b_infs,
              " in b");
  }
  return text;
}

// Equal roles of all layers are one line, that of the worst.
struct Line {
  std::vector<int> layers;
  int worst = -1;  // index into values
  int unexplained = 0;
  bool first = false;  // has the first unexplained value
};

std::string Role(const ComparedValue& value) {
  if (value.layer < 0) return value.b_name;
  return value.b_name.substr(std::min(value.b_name.find('.') + 1, value.b_name.size()));
}

// In order of each role's first value.
std::vector<Line> LinesByRole(const TraceComparison& comparison) {
  std::vector<Line> lines;
  std::map<std::pair<bool, std::string>, size_t> index;
  for (size_t i = 0; i < comparison.values.size(); ++i) {
    const ComparedValue& value = comparison.values[i];
    const auto [at, added] = index.try_emplace({value.layer >= 0, Role(value)}, lines.size());
    if (added) lines.emplace_back();
    Line& line = lines[at->second];
    if (value.layer >= 0 && (line.layers.empty() || line.layers.back() != value.layer)) {
      line.layers.push_back(value.layer);
    }
    if (line.worst < 0 || Severity(value) > Severity(comparison.values[line.worst])) {
      line.worst = static_cast<int>(i);
    }
    line.unexplained += value.unexplained ? 1 : 0;
    line.first |=
        !comparison.unexplained.empty() && comparison.unexplained[0] == static_cast<int>(i);
  }
  for (Line& line : lines) {
    std::sort(line.layers.begin(), line.layers.end());
    line.layers.erase(std::unique(line.layers.begin(), line.layers.end()), line.layers.end());
  }
  return lines;
}

// Keeps the lines that matter most, in their order.
size_t DropMildest(const TraceComparison& comparison, std::vector<Line>* lines) {
  if (lines->size() <= kMaxLines) return 0;
  std::vector<size_t> order(lines->size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  const auto rank = [&](size_t i) {
    const Line& line = (*lines)[i];
    return std::make_tuple(line.first, line.unexplained > 0,
                           Severity(comparison.values[line.worst]));
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t x, size_t y) { return rank(x) > rank(y); });
  order.resize(kMaxLines);
  std::sort(order.begin(), order.end());
  std::vector<Line> kept;
  for (const size_t i : order) kept.push_back(std::move((*lines)[i]));
  const size_t dropped = lines->size() - kept.size();
  *lines = std::move(kept);
  return dropped;
}

std::string RunText(const TraceRun& run) {
  std::string text = run.device.empty() ? "?" : run.device;
  if (!run.k_type.empty()) {
    StrAppend(&text, " (KV ", run.k_type,
              run.v_type == run.k_type ? std::string() : StrCat("/", run.v_type), ")");
  }
  return absl::CHexEscape(text);
}

std::string PositionsText(const TraceComparison& comparison) {
  if (comparison.positions.empty()) return "";
  return StrCat(" at positions ", StrJoin(comparison.positions, ","));
}

// Columns, each as wide as its longest cell; numbers to the right.
std::string Table(const std::vector<std::vector<std::string>>& rows,
                  const std::vector<bool>& right) {
  std::vector<size_t> width(right.size());
  for (const auto& row : rows) {
    for (size_t c = 0; c < row.size(); ++c) width[c] = std::max(width[c], row[c].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c) {
      const std::string padding(width[c] - row[c].size(), ' ');
      StrAppend(&line, "  ", right[c] ? padding : "", row[c], right[c] ? "" : padding);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    StrAppend(&text, line, "\n");
  }
  return text;
}

}  // namespace

std::string VerdictText(const TraceComparison& comparison) {
  if (comparison.values.empty()) return "nothing to compare: the runs share no value";
  const std::string rtol = absl::StrFormat("%g", comparison.tolerance.rtol);
  if (!comparison.unexplained.empty()) {
    const ComparedValue& value = comparison.values[comparison.unexplained[0]];
    std::string text =
        StrCat("first difference that its inputs do not explain:  ", Quoted(value.b_name),
               "   max ", Number(value.error.max_abs), " at ", At(value.error.worst_at));
    std::string note = value.error.observation;
    if (const std::string odd = NonfiniteText(value.error); !odd.empty()) {
      StrAppend(&note, note.empty() ? "" : "; ", odd);
    }
    if (!note.empty()) StrAppend(&text, "  (", note, ")");
    return text;
  }
  const ComparedValue& worst = comparison.values[comparison.worst];
  const std::string where = StrCat("worst ", Number(worst.error.relative), " at ",
                                   Quoted(worst.b_name), " ", At(worst.error.worst_at));
  const int64_t beyond = std::count_if(comparison.values.begin(), comparison.values.end(),
                                       [](const ComparedValue& v) { return !v.within(); });
  if (beyond > 0) {
    return StrCat("every difference follows from those before it, but ", beyond, " of ",
                  comparison.values.size(), " values differ by more than ", rtol, ": ", where);
  }
  if (!comparison.skipped.empty()) {
    return StrCat(comparison.skipped.size(), " values have other sizes; the other ",
                  comparison.values.size(), " are equal within ", rtol, ": ", where);
  }
  if (worst.error.identical()) {
    return StrCat("identical: ", comparison.values.size(), " values, every element");
  }
  return StrCat("equal within ", rtol, ": ", comparison.values.size(), " values, ", where);
}

std::string TraceComparisonText(const TraceComparison& comparison) {
  std::string text = StrCat("a ", RunText(comparison.a), ", b ", RunText(comparison.b), ", ",
                            comparison.a.ids.size(), " tokens", PositionsText(comparison),
                            ", tolerance ", absl::StrFormat("%g", comparison.tolerance.rtol), ": ",
                            comparison.tolerance.reason, "\n");
  std::vector<Line> lines = LinesByRole(comparison);
  const size_t identical = std::erase_if(lines, [&](const Line& line) {
    return comparison.values[line.worst].error.identical();  // then all of them are
  });
  const size_t dropped = DropMildest(comparison, &lines);
  std::vector<std::vector<std::string>> rows;
  if (!lines.empty()) {
    rows.push_back({"", "value", "op", "relative", "max", "worst at", ""});
  }
  for (const Line& line : lines) {
    const ComparedValue& value = comparison.values[line.worst];
    const bool many = line.layers.size() > 1;
    std::string mark;
    if (line.first) {
      mark = "<- first unexplained";
    } else if (line.unexplained > 0) {
      mark = "<- unexplained";
    }
    if (line.unexplained > 1) StrAppend(&mark, ", ", line.unexplained, " layers");
    if (line.unexplained > 0 && !value.error.observation.empty()) {
      StrAppend(&mark, " (", value.error.observation, ")");
    }
    if (const std::string odd = NonfiniteText(value.error); !odd.empty()) {
      StrAppend(&mark, mark.empty() ? "" : "  ", odd);
    }
    std::string name = many ? absl::CHexEscape(Role(value)) : Quoted(value.b_name);
    if (!many && value.a_name != value.b_name) {
      StrAppend(&name, " (", Quoted(value.a_name), ")");
    }
    rows.push_back({line.layers.empty() ? "" : LayersText(line.layers), std::move(name),
                    absl::CHexEscape(value.op), Number(Severity(value)),
                    Number(value.error.max_abs),
                    StrCat(many ? StrCat("layer ", value.layer, " ") : std::string(),
                           At(value.error.worst_at)),
                    std::move(mark)});
  }
  StrAppend(&text, Table(rows, {false, false, false, true, true, false, false}));
  if (identical > 0 && !lines.empty()) {
    StrAppend(&text, "  ", identical, identical == 1 ? " role" : " roles", " identical\n");
  }
  if (dropped > 0) StrAppend(&text, "  and ", dropped, " more, none worse\n");
  for (size_t i = 0; i < std::min<size_t>(comparison.skipped.size(), 5); ++i) {
    StrAppend(&text, "  not compared: ", absl::CHexEscape(comparison.skipped[i].reason), "\n");
  }
  if (comparison.skipped.size() > 5) {
    StrAppend(&text, "  not compared: ", comparison.skipped.size() - 5, " more\n");
  }
  if (!comparison.a_only.empty() || !comparison.b_only.empty()) {
    StrAppend(&text, "without a counterpart: ", comparison.a_only.size(), " of a, ",
              comparison.b_only.size(), " of b\n");
  }
  StrAppend(&text, VerdictText(comparison), "\n");
  return text;
}

}  // namespace renga
