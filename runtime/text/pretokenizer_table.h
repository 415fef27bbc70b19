// What every `tokenizer.ggml.pre` of a GGUF file means: the regular expressions that cut text into
// the pieces that byte-level BPE works on. Data only; pretokenizer.h runs it.
#pragma once

#include <string>
#include <string_view>

#include "absl/types/span.h"

namespace renga {

// A way of cutting text that several names share. Each pass runs over every piece that the pass
// before has left: matches become pieces, and so does each stretch between matches.
struct PreTokenizerFamily {
  std::string_view name;
  absl::Span<const std::string_view> passes;  // PCRE2 syntax; see pretokenizer.h for `\s`
  bool raw = false;  // pieces are not written in byte letters: merges run over UTF-8 characters
};

struct PreTokenizerName {
  std::string_view name;       // value of tokenizer.ggml.pre
  std::string_view family;     // PreTokenizerFamily::name
  bool ignore_merges = false;  // a piece that is a token as a whole is taken without merging
};

absl::Span<const PreTokenizerFamily> PreTokenizerFamilies();
absl::Span<const PreTokenizerName> PreTokenizerNames();

// Null if unknown. The empty name (a file without tokenizer.ggml.pre) is "default".
const PreTokenizerName* FindPreTokenizerName(std::string_view name);
const PreTokenizerFamily* FindPreTokenizerFamily(std::string_view family);

// All names, sorted, separated by ", ": for error messages.
std::string KnownPreTokenizers();

}  // namespace renga
