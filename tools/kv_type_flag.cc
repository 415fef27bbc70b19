#include "tools/kv_type_flag.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/strings/str_split.h"
#include "ir/base/status.h"
#include "ir/core/cache_rounding.h"

namespace renga {
namespace {

// Digits alone, so that no sign and no space is taken.
std::optional<int64_t> LayerNumber(std::string_view text) {
  constexpr size_t kMostDigits = 6;  // no model has as many layers
  const bool digits =
      std::all_of(text.begin(), text.end(), [](unsigned char c) { return c >= '0' && c <= '9'; });
  int64_t number = 0;
  if (text.empty() || text.size() > kMostDigits || !digits) return std::nullopt;
  for (const char c : text) number = 10 * number + (c - '0');
  return number;
}

// "3" or "0-3".
bool ParseLayers(std::string_view text, KvTypesOfLayers* layers) {
  const size_t dash = text.find('-');
  const auto first = LayerNumber(text.substr(0, dash));
  const auto last = dash == text.npos ? first : LayerNumber(text.substr(dash + 1));
  if (!first || !last || *last < *first) return false;
  layers->first = *first;
  layers->last = *last;
  return true;
}

}  // namespace

absl::Status ParseKvType(const std::string& text, CompileOptions* options) {
  for (const std::string& part : std::vector<std::string>(absl::StrSplit(text, ','))) {
    const auto wrong = [&] {
      return absl::InvalidArgumentError(StrCat(
          "--kv-type: expected k=TYPE, v=TYPE or TYPE for both, of some layers 0-3:k=TYPE, with ",
          CacheTypeNames(), ", got '", part, "'"));
    };
    std::string_view rest = part;
    KvTypesOfLayers layers;
    const size_t colon = rest.find(':');
    if (colon != rest.npos) {
      if (!ParseLayers(rest.substr(0, colon), &layers)) return wrong();
      rest.remove_prefix(colon + 1);
    }
    const bool k = rest.starts_with("k="), v = rest.starts_with("v=");
    if (k || v) rest.remove_prefix(2);
    const std::optional<DType> type = DTypeFromName(rest);
    const absl::Span<const DType> types = CacheTypes();
    if (!type || std::find(types.begin(), types.end(), *type) == types.end()) return wrong();
    if (!v) layers.k = type;
    if (!k) layers.v = type;
    if (colon != part.npos) {
      options->kv_of_layers.push_back(layers);
      continue;
    }
    options->k_type = layers.k.value_or(options->k_type);
    options->v_type = layers.v.value_or(options->v_type);
  }
  return absl::OkStatus();
}

}  // namespace renga
