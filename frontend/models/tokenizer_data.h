// The vocabulary in a GGUF file's metadata.
#pragma once

#include "absl/status/statusor.h"
#include "frontend/gguf/gguf.h"
#include "ir/base/model.h"

namespace renga {

// Reads tokenizer.ggml.* and tokenizer.chat_template and fills in what the files leave unsaid
// (which tokens are special, which end a generation, what is put in front of a text) as llama.cpp
// does, since that is what GGUF files are tested with. Ids, types and table sizes are checked. The
// result keeps nothing of the file. Errors: NotFound if the file has no vocabulary, Unimplemented
// for a kind of tokenizer that is not supported, InvalidArgument for what does not fit together;
// messages name the key.
absl::StatusOr<TokenizerData> ReadTokenizer(const GgufFile& file);

}  // namespace renga
