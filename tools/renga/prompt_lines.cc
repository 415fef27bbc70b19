#include "tools/renga/prompt_lines.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "absl/strings/str_split.h"
#include "ir/base/status.h"
#include "tools/renga/output.h"

namespace renga {
namespace {

// Puts the value where it belongs; the error says what was expected.
using Setter = absl::Status (*)(const Json& value, PromptLine* line);

absl::Status Expected(std::string_view what, const Json& value) {
  return absl::InvalidArgumentError(StrCat("expected ", what, ", got ", JsonText(value)));
}

template <typename Number>
absl::Status SetInteger(const Json& value, Number* to) {
  if (value.is_number_unsigned() &&
      value.get<uint64_t>() <= uint64_t(std::numeric_limits<Number>::max())) {
    *to = static_cast<Number>(value.get<uint64_t>());
    return absl::OkStatus();
  }
  if (value.is_number_integer() && !value.is_number_unsigned() &&
      std::numeric_limits<Number>::is_signed &&
      value.get<int64_t>() >= int64_t(std::numeric_limits<Number>::min())) {
    *to = static_cast<Number>(value.get<int64_t>());
    return absl::OkStatus();
  }
  return Expected("a whole number", value);
}

absl::Status SetFloat(const Json& value, float* to) {
  if (!value.is_number()) return Expected("a number", value);
  *to = value.get<float>();
  return absl::OkStatus();
}

absl::Status SetText(const Json& value, std::string* to) {
  if (!value.is_string()) return Expected("a text", value);
  *to = value.get<std::string>();
  return absl::OkStatus();
}

struct Field {
  std::string_view name;
  Setter set;
};

constexpr Field kFields[] = {
    {"prompt", [](const Json& value,
                  PromptLine* line) { return SetText(value, &line->prompt.text.emplace()); }},
    {"ids",
     [](const Json& value, PromptLine* line) -> absl::Status {
       if (!value.is_array() || value.empty()) return Expected("an array of token ids", value);
       for (const Json& id : value) {
         RENGA_RETURN_IF_ERROR(SetInteger(id, &line->prompt.ids.emplace_back()));
       }
       return absl::OkStatus();
     }},
    {"n",
     [](const Json& value, PromptLine* line) -> absl::Status {
       RENGA_RETURN_IF_ERROR(SetInteger(value, &line->flags.tokens));
       return CheckTokenCount(line->flags.tokens, "n");
     }},
    {"temp",
     [](const Json& value, PromptLine* line) {
       return SetFloat(value, &line->flags.sampling.params.temperature);
     }},
    {"top_k",
     [](const Json& value, PromptLine* line) {
       return SetInteger(value, &line->flags.sampling.params.top_k);
     }},
    {"top_p", [](const Json& value,
                 PromptLine* line) { return SetFloat(value, &line->flags.sampling.params.top_p); }},
    {"min_p", [](const Json& value,
                 PromptLine* line) { return SetFloat(value, &line->flags.sampling.params.min_p); }},
    {"typical",
     [](const Json& value, PromptLine* line) {
       return SetFloat(value, &line->flags.sampling.params.typical_p);
     }},
    {"repeat_penalty",
     [](const Json& value, PromptLine* line) {
       return SetFloat(value, &line->flags.sampling.params.penalties.repeat);
     }},
    {"presence_penalty",
     [](const Json& value, PromptLine* line) {
       return SetFloat(value, &line->flags.sampling.params.penalties.presence);
     }},
    {"frequency_penalty",
     [](const Json& value, PromptLine* line) {
       return SetFloat(value, &line->flags.sampling.params.penalties.frequency);
     }},
    {"seed",
     [](const Json& value, PromptLine* line) {
       return SetInteger(value, &line->flags.sampling.seed.emplace());
     }},
    {"stop",
     [](const Json& value, PromptLine* line) -> absl::Status {
       line->flags.stop.clear();
       if (value.is_string()) return SetText(value, &line->flags.stop.emplace_back());
       if (!value.is_array()) return Expected("a text or an array of texts", value);
       for (const Json& text : value) {
         RENGA_RETURN_IF_ERROR(SetText(text, &line->flags.stop.emplace_back()));
       }
       return absl::OkStatus();
     }},
    {"ignore_eos",
     [](const Json& value, PromptLine* line) -> absl::Status {
       if (!value.is_boolean()) return Expected("true or false", value);
       line->flags.ignore_eos = value.get<bool>();
       return absl::OkStatus();
     }},
    {"logits",
     [](const Json& value, PromptLine* line) { return SetInteger(value, &line->flags.logits); }},
};

std::string FieldNames() {
  std::vector<std::string_view> names;
  for (const Field& field : kFields) names.push_back(field.name);
  return StrJoin(names, " ");
}

absl::Status ReadLine(std::string_view text, PromptLine* line) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    return absl::InvalidArgumentError(R"(expected a JSON object such as {"prompt": "..."})");
  }
  for (const auto& [name, value] : json.items()) {
    const auto field = std::find_if(std::begin(kFields), std::end(kFields),
                                    [&name](const Field& known) { return known.name == name; });
    if (field == std::end(kFields)) {
      return absl::InvalidArgumentError(
          StrCat("expected only the fields ", FieldNames(), ", got ", JsonText(name)));
    }
    RENGA_RETURN_IF_ERROR(Annotate(field->set(value, line), StrCat("\"", name, "\"")));
  }
  if (line->prompt.text.has_value() != line->prompt.ids.empty()) {
    return absl::InvalidArgumentError("expected either \"prompt\" or \"ids\"");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<PromptLine>> ReadPromptLines(std::string_view text,
                                                        std::string_view name,
                                                        const RunFlags& flags) {
  std::vector<PromptLine> lines;
  int number = 0;
  for (const std::string& piece : std::vector<std::string>(absl::StrSplit(ToAbsl(text), '\n'))) {
    ++number;
    if (piece.find_first_not_of(" \t\r") == std::string::npos) continue;
    PromptLine& line = lines.emplace_back(PromptLine{number, {}, flags});
    RENGA_RETURN_IF_ERROR(Annotate(ReadLine(piece, &line), StrCat(name, ":", number)));
  }
  if (!lines.empty()) return lines;
  return absl::InvalidArgumentError(
      StrCat(name, ": expected a JSON object a line, got nothing but empty lines"));
}

}  // namespace renga
