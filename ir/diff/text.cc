// A diff as text for people: a line a group, aligned.
#include <algorithm>

#include "absl/strings/str_format.h"
#include "ir/base/strings.h"
#include "ir/diff/graph_diff.h"

namespace renga {
namespace {

constexpr size_t kMaxLines = 200;    // two graphs that have nothing in common; --json has it all
constexpr size_t kMaxRole = 64;      // characters of a list of roles
constexpr size_t kCountColumn = 72;  // counts stand below each other up to this width

std::string WithCommas(size_t number) {
  const std::string digits = StrCat(number);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

std::string Counted(size_t number, std::string_view noun) {
  return StrCat(WithCommas(number), " ", noun, number == 1 ? "" : "s");
}

// Names come from files: bytes that a terminal could obey are shown, not sent.
std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f) {
      out += absl::StrFormat("\\x%02x", byte);
    } else {
      out += c;
    }
  }
  return out;
}

// "q, k, v, ..." cut at a comma.
std::string ShortRole(const std::string& role) {
  if (role.size() <= kMaxRole) return role;
  const size_t comma = role.rfind(", ", kMaxRole);
  if (comma == std::string::npos) return role;
  return StrCat(role.substr(0, comma), ", ...");
}

std::string GroupText(const ChangeGroup& group) {
  std::string text;
  if (group.subject != Subject::kNode) StrAppend(&text, ToString(group.subject), " ");
  const std::string arrow = StrCat(group.before, " -> ", group.after);
  const std::string role = ShortRole(group.role);
  switch (group.kind) {
    case ChangeKind::kAdded:
      StrAppend(&text, role);
      if (!group.after.empty()) StrAppend(&text, ": ", group.after);
      break;
    case ChangeKind::kRemoved:
      StrAppend(&text, role);
      if (!group.before.empty()) StrAppend(&text, ": ", group.before);
      break;
    case ChangeKind::kFused:
    case ChangeKind::kSplit:
    case ChangeKind::kRewritten:
      StrAppend(&text, group.before, "  ->  ", group.after);
      break;
    case ChangeKind::kRenamed:
      StrAppend(&text, group.what.empty() ? "" : StrCat(group.what, ": "), arrow);
      break;
    case ChangeKind::kAttribute:
    case ChangeKind::kOperand:
      // A return has no operand names: "return 0" is all there is to say.
      if (group.subject == Subject::kReturn) {
        text = StrCat(group.what, ": ", arrow);
      } else {
        StrAppend(&text, role, ".", group.what, ": ", arrow);
      }
      break;
    case ChangeKind::kOrder:
    case ChangeKind::kOperator:
    case ChangeKind::kType:
    case ChangeKind::kShape:
    case ChangeKind::kWeightType:
    case ChangeKind::kWeightValues:
      StrAppend(&text, role, group.what.empty() ? "" : StrCat(" ", group.what), ": ", arrow);
      break;
  }
  return Escaped(text);
}

std::string NodesText(const Graph& a, const Graph& b) {
  if (a.nodes.size() == b.nodes.size()) return Counted(a.nodes.size(), "node");
  return StrCat(Counted(a.nodes.size(), "node"), " against ", WithCommas(b.nodes.size()));
}

std::string EqualText(const Graph& graph) {
  std::string text = StrCat("equal: ", Counted(graph.nodes.size(), "node"), ", ",
                            Counted(graph.weights.size(), "weight"));
  if (!graph.caches.empty()) StrAppend(&text, ", ", Counted(graph.caches.size(), "cache"));
  return text + "\n";
}

}  // namespace

std::string LayersText(const std::vector<int>& layers) {
  if (layers.empty()) return "outside layers";
  std::string text = layers.size() == 1 ? "layer " : "layers ";
  for (size_t i = 0; i < layers.size();) {
    size_t end = i + 1;
    while (end < layers.size() && layers[end] == layers[end - 1] + 1) ++end;
    StrAppend(&text, i == 0 ? "" : ",", layers[i]);
    // Two in a row are no range worth the name, unless they are all there is.
    if (end - i > 2 || (end - i == 2 && layers.size() == 2)) {
      StrAppend(&text, "-", layers[end - 1]);
      i = end;
    } else {
      ++i;
    }
  }
  return text;
}

std::string GraphDiffText(const Graph& a, const Graph& b, const GraphDiff& diff) {
  if (diff.equal()) return EqualText(b);
  const size_t shown = std::min(diff.groups.size(), kMaxLines);
  std::vector<std::string> texts;
  size_t layers_width = 0, kind_width = 0, text_width = 0;
  for (size_t i = 0; i < shown; ++i) {
    const ChangeGroup& group = diff.groups[i];
    texts.push_back(GroupText(group));
    layers_width = std::max(layers_width, LayersText(group.layers).size());
    kind_width = std::max(kind_width, ToString(group.kind).size());
    if (texts.back().size() <= kCountColumn) text_width = std::max(text_width, texts.back().size());
  }
  std::string text;
  for (size_t i = 0; i < shown; ++i) {
    const ChangeGroup& group = diff.groups[i];
    const size_t count = group.changes.size();
    std::string line =
        absl::StrFormat("%-*s  %-*s  %s", static_cast<int>(layers_width), LayersText(group.layers),
                        static_cast<int>(kind_width), ToAbsl(ToString(group.kind)), texts[i]);
    if (count > 1) {
      if (texts[i].size() < text_width) line.append(text_width - texts[i].size(), ' ');
      StrAppend(&line, "  ", WithCommas(count), " x");
    }
    StrAppend(&text, line, "\n");
  }
  if (shown < diff.groups.size()) {
    StrAppend(&text, "... and ", WithCommas(diff.groups.size() - shown), " more\n");
  }
  const size_t kinds = diff.groups.size();
  StrAppend(&text, WithCommas(kinds), kinds == 1 ? " kind" : " kinds", " of change in ",
            NodesText(a, b));
  // What is likely, not certain: a reader who doubts a line should know where to.
  const size_t likely =
      std::count_if(diff.matches.begin(), diff.matches.end(),
                    [](const NodeMatch& match) { return match.by == MatchBy::kStructure; });
  if (likely > 0) StrAppend(&text, "; ", WithCommas(likely), " lined up by structure alone");
  text += ".\n";
  return text;
}

}  // namespace renga
