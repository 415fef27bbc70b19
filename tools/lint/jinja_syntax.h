// The outer syntax of a Jinja template. No parser of the language: what stands inside a tag is only
// looked at as far as it takes to find the tag's end.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace renga {

struct JinjaError {
  int64_t line = 0;  // from 1
  std::string what;
};

// The first thing wrong with: {{ }}, {% %} and {# #} that are closed; quotes and brackets inside
// them that match; block tags (if, for, macro, set without =, ...) that are closed by their own end
// tag; elif and else where they belong; tags that Jinja, or Hugging Face's use of it, knows.
// nullopt where nothing is. Linear in the template's length.
std::optional<JinjaError> CheckJinjaSyntax(std::string_view source);

}  // namespace renga
