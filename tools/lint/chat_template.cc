// The chat templates: whether they can be Jinja, and whether the markers they write are tokens.
#include <set>

#include "ir/base/status.h"
#include "ir/base/token_index.h"
#include "tools/lint/check.h"
#include "tools/lint/jinja_syntax.h"

namespace renga {
namespace {

constexpr std::string_view kPrefix = "tokenizer.chat_template";
constexpr size_t kLongestMarker = 64;  // bytes
constexpr size_t kShownMarkers = 4;

// Texts like <|im_start|> in the template that are no token.
std::set<std::string_view> MarkersWithoutToken(const TokenIndex& tokens, std::string_view source) {
  std::set<std::string_view> markers;
  for (size_t at = source.find("<|"); at != source.npos; at = source.find("<|", at + 2)) {
    const size_t end = source.substr(0, at + kLongestMarker).find("|>", at + 2);
    if (end == source.npos) continue;
    const std::string_view marker = source.substr(at, end + 2 - at);
    if (marker.size() == 4 || marker.find_first_of(" \t\r\n'\"{}+~") != marker.npos) continue;
    if (tokens.Find(marker) < 0) markers.insert(marker);
  }
  return markers;
}

void CheckTemplate(const TokenIndex& tokens, std::string_view key, std::string_view source,
                   std::vector<Finding>* findings) {
  if (const auto error = CheckJinjaSyntax(source)) {
    // Extensions of Jinja may add tags; everything else cannot be parsed by anybody.
    const bool unknown_tag = error->what.ends_with(" is no tag");
    findings->push_back(AboutKey(key, unknown_tag ? Sureness::kMaybe : Sureness::kCertain,
                                 StrCat("line ", error->line, ": ", error->what),
                                 "the template cannot be parsed, so a chat is put to the model in "
                                 "another form than it knows",
                                 "take the template of the original's tokenizer_config.json"));
  }
  const std::set<std::string_view> markers = MarkersWithoutToken(tokens, source);
  if (markers.empty()) return;
  std::string names;
  size_t shown = 0;
  for (const std::string_view marker : markers) {
    if (shown++ == kShownMarkers) break;
    StrAppend(&names, shown > 1 ? ", " : "", marker);
  }
  if (markers.size() > kShownMarkers) {
    StrAppend(&names, " and ", markers.size() - kShownMarkers, " more");
  }
  findings->push_back(AboutKey(key, Sureness::kMaybe,
                               StrCat("writes ", names, ", which no token is"),
                               "the marker reaches the model as several tokens of ordinary text",
                               "see whether template and vocabulary come from the same model"));
}

std::vector<Finding> Run(const LintInput& input) {
  std::vector<Finding> findings;
  const TokenizerData& data = input.model.tokenizer;
  const TokenIndex tokens(data.text, data.offsets);
  for (const MetaEntry& entry : input.file.metadata().entries()) {
    if (!entry.key.starts_with(kPrefix)) continue;
    if (const auto source = entry.value.AsString(); source.ok()) {
      CheckTemplate(tokens, entry.key, *source, &findings);
    }
  }
  return findings;
}

}  // namespace

const Check kChatTemplate = {"chat-template", "a chat template that cannot be parsed", Run};

}  // namespace renga
