// The pre-tokenizer of byte-level BPE: which pieces text is cut into before anything is merged.
#include "ir/base/status.h"
#include "runtime/text/pretokenizer_table.h"
#include "tools/lint/check.h"

namespace renga {
namespace {

constexpr std::string_view kKey = "tokenizer.ggml.pre";

std::vector<Finding> Run(const LintInput& input) {
  const TokenizerData& data = input.model.tokenizer;
  if (data.model != "gpt2") return {};
  if (data.pre.empty() || data.pre == "default") {
    return {
        AboutKey(kKey, data.pre.empty() ? Sureness::kLikely : Sureness::kMaybe,
                 data.pre.empty() ? "is missing, which means default" : "is default",
                 "numbers, spaces and words are cut unlike in training, so that the model reads "
                 "tokens it hardly knows",
                 "convert the model with a converter that knows its tokenizer")};
  }
  if (FindPreTokenizerName(data.pre) == nullptr) {
    return {AboutKey(kKey, Sureness::kCertain, StrCat("is '", data.pre, "', which is unknown"),
                     "no text can be turned into tokens",
                     "correct the name; renga tokenize lists those that are known")};
  }
  return {};
}

}  // namespace

const Check kPreTokenizer = {"pre-tokenizer", "a pre-tokenizer that is unknown or missing", Run};

}  // namespace renga
