// Puts a page together: skeleton, style, scripts and data in one file that needs no other.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tools/view/graph_data.h"

namespace renga::view {

// A file of assets/, built into the program.
struct Asset {
  std::string_view text;
  std::string_view sha256;  // of the text, base64: what the page's policy allows to run
};

extern const Asset kViewCss;
extern const Asset kModelJs;
extern const Asset kViewJs;
extern const Asset kDumpHtml;
extern const Asset kDumpCss;
extern const Asset kDumpJs;
extern const Asset kPanelJs;
extern const Asset kMemoryJs;
extern const Asset kDiffHtml;
extern const Asset kDiffCss;
extern const Asset kDiffJs;

// As text of an HTML element or attribute. Control characters become spaces.
std::string HtmlEscape(std::string_view text);

// As content of a <script type="application/json">: no byte of it can end the element. In strings,
// bytes that are no UTF-8 become U+FFFD; control characters but line breaks and tabs, and those
// that turn the direction of writing, become the text of their escapes ("\\u001b").
std::string ScriptJson(const Json& json);

// What a page is made of; the title is plain text. Styles and scripts apply in their order, the
// scripts after the page's elements and the data are there.
struct PageParts {
  const Asset* skeleton;
  std::string_view title;
  std::vector<const Asset*> styles;
  std::vector<const Asset*> scripts;
};
std::string Page(const PageParts& parts, const Json& data);

}  // namespace renga::view
