// Numbers of the metadata, for checks that look at what is there and leave errors to the frontend.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tools/lint/check.h"

namespace renga {

// "llama.rope.freq_base" for "rope.freq_base".
std::string ModelKey(const LintInput& input, std::string_view key);

// The number under ModelKey(key); nullopt where there is none, or it is no number.
std::optional<double> ModelNumber(const LintInput& input, std::string_view key);

// The same for integers alone.
std::optional<int64_t> ModelInt(const LintInput& input, std::string_view key);

// "1e-05": the shortest text that reads back to the same f32, as the key's author wrote it.
std::string NumberText(double number);

}  // namespace renga
