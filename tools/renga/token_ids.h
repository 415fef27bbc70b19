// The tokens that a verb runs: from --ids, or from -p and -f through the model's tokenizer.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/text/tokenizer.h"
#include "tools/renga/prompt_flags.h"

namespace renga {

// Of a GGUF or a plan; reads the vocabulary only.
absl::StatusOr<std::unique_ptr<Tokenizer>> OpenTokenizer(const std::string& model);

struct TokenIds {
  std::vector<int32_t> ids;  // empty: neither flag was given
  std::string text;          // empty where they were given as ids
};

// As `run` does: special tokens in the text count, BOS in front where the model asks for it.
// InvalidArgument for both flags at once, ids outside the vocabulary and texts without tokens.
absl::StatusOr<TokenIds> ReadTokenIds(const std::string& model, const PromptFlags& prompt,
                                      const std::optional<std::string>& ids);

}  // namespace renga
