#include "tools/renga/token_ids.h"

#include <utility>

#include "frontend/gguf/gguf.h"
#include "frontend/models/tokenizer_data.h"
#include "ir/base/status.h"
#include "runtime/plan/serialize.h"
#include "tools/open_model.h"

namespace renga {

absl::StatusOr<std::unique_ptr<Tokenizer>> OpenTokenizer(const std::string& model) {
  RENGA_ASSIGN_OR_RETURN(const bool is_plan, IsPlan(model));
  if (is_plan) {
    RENGA_ASSIGN_OR_RETURN(const plan::Plan plan, plan::LoadPlan(model));
    return Tokenizer::Create(plan.tokenizer);
  }
  RENGA_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(model));
  RENGA_ASSIGN_OR_RETURN(const TokenizerData data, ReadTokenizer(file));
  return Tokenizer::Create(data);
}

absl::StatusOr<TokenIds> ReadTokenIds(const std::string& model, const PromptFlags& prompt,
                                      const std::optional<std::string>& ids) {
  TokenIds result;
  if (ids) {
    if (prompt.text || prompt.file) return absl::InvalidArgumentError("--ids excludes -p and -f");
    RENGA_ASSIGN_OR_RETURN(result.ids, ParseIds(*ids, "--ids"));
    if (result.ids.empty()) {
      return absl::InvalidArgumentError("--ids: expected at least one token id, got none");
    }
    return result;
  }
  RENGA_ASSIGN_OR_RETURN(std::optional<std::string> text, ReadPrompt(prompt));
  if (!text) return result;
  RENGA_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, OpenTokenizer(model));
  EncodeOptions options;
  options.parse_special = true;
  RENGA_ASSIGN_OR_RETURN(result.ids, tokenizer->Encode(*text, options));
  if (result.ids.empty()) {
    return absl::InvalidArgumentError(
        "prompt: empty, and the model puts no token in front of it; give it a text");
  }
  result.text = *std::move(text);
  return result;
}

}  // namespace renga
