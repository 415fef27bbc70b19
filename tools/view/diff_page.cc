#include "tools/view/diff_page.h"

#include <cmath>
#include <iterator>

#include "ir/base/strings.h"
#include "tools/view/graph_data.h"
#include "tools/view/html.h"

namespace renga {
namespace {

using view::GraphData;
using view::Json;

// In the order of ChangeKind.
constexpr ChangeSign kSigns[] = {
    {"+", "added"},    // kAdded
    {"-", "removed"},  // kRemoved
    {"=>", "moved"},   // kFused
    {"<=", "moved"},   // kSplit
    {"<>", "moved"},   // kRewritten
    {"=", "moved"},    // kRenamed
    {">>", "moved"},   // kOrder
    {"~", "changed"},  // kOperator
    {"~", "changed"},  // kAttribute
    {"~", "changed"},  // kOperand
    {"~", "changed"},  // kType
    {"~", "changed"},  // kShape
    {"~", "changed"},  // kWeightType
    {"~", "changed"},  // kWeightValues
};
static_assert(std::size(kSigns) == static_cast<size_t>(ChangeKind::kWeightValues) + 1);

Json KindsJson() {
  Json kinds = Json::array();
  for (size_t i = 0; i < std::size(kSigns); ++i) {
    kinds.push_back(Json::array({std::string(ToString(static_cast<ChangeKind>(i))),
                                 std::string(kSigns[i].sign), std::string(kSigns[i].look)}));
  }
  return kinds;
}

Json SubjectsJson() {
  Json subjects = Json::array();
  for (int i = 0; i <= static_cast<int>(Subject::kReturn); ++i) {
    subjects.push_back(std::string(ToString(static_cast<Subject>(i))));
  }
  return subjects;
}

Json Number(double number) { return std::isfinite(number) ? Json(number) : Json(nullptr); }

// [match, maximum, relative RMS, cosine, worst, first] and [match, a, b].
Json ErrorsJson(const std::vector<MatchError>& errors) {
  Json json = Json::array();
  for (const MatchError& error : errors) {
    json.push_back(Json::array({error.match, Number(error.max_abs), Number(error.rel_rms),
                                Number(error.cosine), error.worst, error.first}));
  }
  return json;
}

Json TimesJson(const std::vector<MatchTime>& times) {
  Json json = Json::array();
  for (const MatchTime& time : times) {
    json.push_back(Json::array({time.match, Number(time.a_us), Number(time.b_us)}));
  }
  return json;
}

// matches [[nodes of a], [nodes of b], by]; changes [kind, subject, match, a's name, b's name,
// layer, what, before, after]; groups [kind, subject, layers as text, [change], role, what,
// before, after].
void AddDiff(const GraphDiff& diff, Json* data) {
  Json matches = Json::array(), changes = Json::array(), groups = Json::array();
  for (const NodeMatch& match : diff.matches) {
    matches.push_back(Json::array({match.a, match.b, std::string(ToString(match.by))}));
  }
  for (const Change& change : diff.changes) {
    changes.push_back(Json::array({static_cast<int>(change.kind), static_cast<int>(change.subject),
                                   change.match, change.a_name, change.b_name, change.layer,
                                   change.what, change.before, change.after}));
  }
  for (const ChangeGroup& group : diff.groups) {
    groups.push_back(Json::array({static_cast<int>(group.kind), static_cast<int>(group.subject),
                                  LayersText(group.layers), group.changes, group.role, group.what,
                                  group.before, group.after}));
  }
  (*data)["kinds"] = KindsJson();
  (*data)["subjects"] = SubjectsJson();
  (*data)["matches"] = std::move(matches);
  (*data)["order"] = ReadingOrder(diff);
  (*data)["changes"] = std::move(changes);
  (*data)["groups"] = std::move(groups);
}

}  // namespace

ChangeSign SignOf(ChangeKind kind) { return kSigns[static_cast<size_t>(kind)]; }

std::vector<int> ReadingOrder(const GraphDiff& diff) {
  // Matches of a alone, by the match they follow; the last entry is the start.
  std::vector<std::vector<int>> behind(diff.matches.size() + 1);
  std::vector<bool> placed(diff.matches.size());
  size_t anchor = diff.matches.size();
  for (const int match : diff.match_of_a) {
    if (!diff.matches[match].b.empty()) {
      anchor = static_cast<size_t>(match);
    } else if (!placed[match]) {
      placed[match] = true;
      behind[anchor].push_back(match);
    }
  }
  std::vector<int> order = behind.back();
  for (const int match : diff.match_of_b) {
    if (placed[match]) continue;
    placed[match] = true;
    order.push_back(match);
    order.insert(order.end(), behind[match].begin(), behind[match].end());
  }
  return order;
}

std::string DiffPageHtml(const DiffPage& page) {
  Json data = {{"producer", page.producer},
               {"facts", page.facts},
               {"a", {{"title", page.a_title}, {"graph", GraphData(*page.a)}}},
               {"b", {{"title", page.b_title}, {"graph", GraphData(*page.b)}}},
               {"errors", ErrorsJson(page.errors)},
               {"times", TimesJson(page.times)}};
  AddDiff(*page.diff, &data);
  const std::string title = StrCat(page.a_title, " against ", page.b_title);
  return view::Page({.skeleton = &view::kDiffHtml,
                     .title = title,
                     .styles = {&view::kViewCss, &view::kDiffCss},
                     .scripts = {&view::kModelJs, &view::kViewJs, &view::kDiffJs}},
                    data);
}

}  // namespace renga
