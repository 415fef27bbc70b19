// Metadata values for people: what `dump --stage gguf` shows.
#pragma once

#include <cstdint>
#include <string>

#include "frontend/gguf/metadata_value.h"

namespace renga {

// "32", "1e-05", "true", "'llama'", "[1, 2, 3, ... 97 more]": at most `max_elements` elements of an
// array and `max_bytes` bytes of a string are shown. Unprintable bytes of strings are escaped;
// floats are the shortest text that reads back to the same value.
std::string MetaText(const MetaValue& value, uint64_t max_elements, uint64_t max_bytes);

}  // namespace renga
