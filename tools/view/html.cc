#include "tools/view/html.h"

#include <utility>

#include "ir/base/strings.h"

namespace renga::view {
namespace {

// The skeleton's marks, each of which it has once. The order is that of the skeleton.
std::string Fill(std::string_view skeleton,
                 const std::vector<std::pair<std::string_view, std::string>>& parts) {
  std::string text;
  for (const auto& [mark, part] : parts) {
    const size_t at = skeleton.find(mark);
    StrAppend(&text, skeleton.substr(0, at), part);
    skeleton.remove_prefix(at == std::string_view::npos ? skeleton.size() : at + mark.size());
  }
  StrAppend(&text, skeleton);
  return text;
}

// Nothing but the page's own style and scripts, which are named by their digests: markup that got
// in through a name could neither run nor reach the network.
std::string Policy(const PageParts& parts) {
  std::string policy = "default-src 'none'; base-uri 'none'; form-action 'none'; script-src";
  for (const Asset* script : parts.scripts) StrAppend(&policy, " 'sha256-", script->sha256, "'");
  StrAppend(&policy, "; style-src");
  for (const Asset* style : parts.styles) StrAppend(&policy, " 'sha256-", style->sha256, "'");
  return policy;
}

// The character that the UTF-8 in `text` begins with, where it changes the direction of what
// follows or breaks lines without being seen; else 0.
uint32_t HiddenCodePoint(std::string_view text) {
  if (text.starts_with("\xd8\x9c")) return 0x61c;
  if (text.size() < 3 || text[0] != '\xe2') return 0;
  const uint32_t code = 0x2000 | (text[1] & 0x3f) << 6 | (text[2] & 0x3f);
  const bool direction = code == 0x200e || code == 0x200f || (code >= 0x202a && code <= 0x202e) ||
                         (code >= 0x2066 && code <= 0x2069);
  return direction || code == 0x2028 || code == 0x2029 ? code : 0;
}

}  // namespace

std::string HtmlEscape(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '&':
        escaped += "&amp;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
    }
  }
  return escaped;
}

std::string ScriptJson(const Json& json) {
  const std::string text =
      json.dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
  std::string escaped;
  escaped.reserve(text.size() + text.size() / 16);
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '<' || c == '>' || c == '&') {
      StrAppend(&escaped, "\\u00", absl::Hex(c, absl::kZeroPad2));
    } else if (c == '\\') {
      // A backslash more makes a control character its own visible escape.
      const char kind = text[++i];
      escaped += std::string_view("ubfr").find(kind) == std::string_view::npos ? "\\" : "\\\\";
      escaped += kind;
    } else if (const uint32_t hidden = HiddenCodePoint(std::string_view(text).substr(i, 3))) {
      StrAppend(&escaped, "\\\\u", absl::Hex(hidden, absl::kZeroPad4));
      i += hidden < 0x800 ? 1 : 2;
    } else {
      escaped += c;
    }
  }
  return escaped;
}

std::string Page(const PageParts& parts, const Json& data) {
  std::string code, style;
  for (const Asset* asset : parts.scripts) StrAppend(&code, "<script>", asset->text, "</script>\n");
  for (const Asset* asset : parts.styles) StrAppend(&style, "<style>", asset->text, "</style>\n");
  return Fill(parts.skeleton->text,
              {{"{{policy}}", Policy(parts)},
               {"{{title}}", HtmlEscape(parts.title)},
               {"{{style}}", style},
               {"{{data}}", StrCat("<script type=\"application/json\" id=\"data\">",
                                   ScriptJson(data), "</script>")},
               {"{{scripts}}", code}});
}

}  // namespace renga::view
