// The vocabulary: padding, BOS and EOS, texts that stand twice.
#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "ir/base/status.h"
#include "tools/lint/check.h"
#include "tools/lint/keys.h"

namespace renga {
namespace {

constexpr std::string_view kTokens = "tokenizer.ggml.tokens";

std::vector<Finding> RunPadded(const LintInput& input) {
  std::vector<Finding> findings;
  const int64_t tokens = input.model.tokenizer.size();
  for (const std::string_view name : {"token_embd.weight", "output.weight"}) {
    const GgufTensor* tensor = input.file.FindTensor(name);
    if (tensor == nullptr || tensor->rank < 2 || tensor->dims[0] <= tokens) continue;
    findings.push_back(AboutTensor(
        *tensor, Sureness::kMaybe, StrCat(tensor->dims[0], " rows for ", tokens, " tokens"),
        "the rows beyond the tokens stand for no text: renga never generates them, other engines "
        "may",
        "nothing, if the original's vocab_size is the same; else tokens are missing"));
  }
  const auto said = ModelInt(input, "vocab_size");
  if (said && *said < tokens) {
    findings.push_back(AboutKey(ModelKey(input, "vocab_size"), Sureness::kMaybe,
                                StrCat("is ", *said, ", and there are ", tokens, " tokens"),
                                "who goes by this number cuts tokens off; renga goes by the tokens",
                                "compare with vocab_size of the original's configuration"));
  }
  return findings;
}

// A token whose id the file does not record, so that the custom of SentencePiece stands in.
void CheckAssumed(const LintInput& input, std::string_view name, int32_t id, std::string_view text,
                  std::vector<Finding>* findings) {
  const std::string key = StrCat("tokenizer.ggml.", name, "_token_id");
  const TokenizerData& data = input.model.tokenizer;
  if (input.file.Find(key) != nullptr || id < 0 || id >= data.size() || data.token(id) == text) {
    return;
  }
  findings->push_back(AboutKey(
      key, Sureness::kLikely,
      StrCat("is missing; by custom it is ", id, ", but that token is '", data.token(id), "'"),
      "texts begin or end with a token that means something else",
      "set the id that the original's tokenizer has"));
}

// Ids that renga does not use, so that nothing else has looked at them; -1, in an unsigned field
// too, means none.
void CheckRange(const LintInput& input, const MetaEntry& entry, std::vector<Finding>* findings) {
  if (!entry.key.starts_with("tokenizer.ggml.") || !entry.key.ends_with("_token_id")) return;
  const auto id = entry.value.AsInt();
  const int64_t tokens = input.model.tokenizer.size();
  constexpr int64_t kNone = 0xFFFFFFFF;
  if (!id.ok() || *id == -1 || *id == kNone || (*id >= 0 && *id < tokens)) return;
  findings->push_back(AboutKey(entry.key, Sureness::kMaybe,
                               StrCat("is ", *id, ", and there are ", tokens, " tokens"),
                               "renga does not use this id; an engine that does fails, or reads "
                               "beyond its tables",
                               "set the id that the original's tokenizer has, or remove the key"));
}

std::vector<Finding> RunSpecial(const LintInput& input) {
  const TokenizerData& data = input.model.tokenizer;
  std::vector<Finding> findings;
  if (data.add_bos && data.bos < 0) {
    findings.push_back(
        AboutKey("tokenizer.ggml.bos_token_id", Sureness::kLikely,
                 "is missing, and texts shall begin with BOS",
                 "texts begin without it; a model that was trained with BOS answers worse",
                 "set the id that the original's tokenizer has, or add_bos_token to false"));
  }
  if (data.add_eos && data.eos < 0) {
    findings.push_back(AboutKey("tokenizer.ggml.eos_token_id", Sureness::kLikely,
                                "is missing, and texts shall end with EOS", "they end without it",
                                "set the id that the original's tokenizer has"));
  }
  if (data.end_of_generation.empty()) {
    findings.push_back(AboutKey("tokenizer.ggml.eos_token_id", Sureness::kLikely,
                                "there is no EOS, and no token whose name says that it ends a text",
                                "nothing ends a generation but its limit",
                                "set the id that the original's generation_config has"));
  }
  if (data.model == "llama") {
    CheckAssumed(input, "bos", data.bos, "<s>", &findings);
    CheckAssumed(input, "eos", data.eos, "</s>", &findings);
  }
  for (const MetaEntry& entry : input.file.metadata().entries()) {
    CheckRange(input, entry, &findings);
  }
  const bool has_types = input.file.Find("tokenizer.ggml.token_type") != nullptr;
  if (has_types && data.eos >= 0 && data.types[data.eos] == TokenType::kNormal) {
    findings.push_back(AboutKey(
        "tokenizer.ggml.token_type", Sureness::kMaybe,
        StrCat("EOS, token ", data.eos, " '", data.token(data.eos), "', is a normal token"),
        "it may come out of ordinary text and is printed when generated",
        "make it a control token (3), as the original's tokenizer has it"));
  }
  return findings;
}

std::vector<Finding> RunDuplicates(const LintInput& input) {
  const TokenizerData& data = input.model.tokenizer;
  absl::flat_hash_map<absl::string_view, int32_t> first;
  first.reserve(data.size());
  int64_t duplicates = 0, empty = 0;
  int32_t shown = -1, shown_first = -1;
  for (int32_t id = 0; id < data.size(); ++id) {
    if (data.types[id] == TokenType::kUnused) continue;
    if (data.token(id).empty()) {
      ++empty;
      continue;
    }
    const auto [at, added] = first.try_emplace(ToAbsl(data.token(id)), id);
    if (added || duplicates++ > 0) continue;
    shown = id;
    shown_first = at->second;
  }
  std::vector<Finding> findings;
  if (duplicates > 0) {
    findings.push_back(AboutKey(
        kTokens, Sureness::kLikely,
        StrCat(duplicates, duplicates == 1 ? " token has" : " tokens have",
               " the text of an earlier one; the first is ", shown, ", '", data.token(shown),
               "', as ", shown_first),
        "text becomes one of the two ids only, so what the model learned of the other is lost",
        "compare with the original's tokenizer; unused tokens should be of type unused (5)"));
  }
  if (empty > 0) {
    findings.push_back(AboutKey(
        kTokens, Sureness::kMaybe,
        StrCat(empty, empty == 1 ? " token is" : " tokens are", " empty and not marked unused"),
        "a generated one is nothing to see", "mark them as unused (5), if they are"));
  }
  return findings;
}

}  // namespace

const Check kPaddedVocab = {"padded-vocab", "more rows than tokens, or fewer than said", RunPadded};
const Check kSpecialTokens = {"special-tokens",
                              "BOS and EOS that are missing or mean another token", RunSpecial};
const Check kDuplicateTokens = {"duplicate-tokens", "texts that stand at more than one id",
                                RunDuplicates};

}  // namespace renga
