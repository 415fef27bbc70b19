#include "runtime/text/tokenizer.h"

#include <algorithm>
#include <utility>

#include "ir/base/status.h"
#include "ir/base/strings.h"

namespace renga {

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Create(const TokenizerData& data) {
  auto tokenizer = std::unique_ptr<Tokenizer>(new Tokenizer);
  Tokenizer& t = *tokenizer;
  RENGA_ASSIGN_OR_RETURN(t.vocabulary_, Vocabulary::Create(data));
  if (t.vocabulary_->kind() == Vocabulary::Kind::kByteLevel) {
    RENGA_ASSIGN_OR_RETURN(t.bpe_, BpeEncoder::Create(data, *t.vocabulary_));
  } else {
    RENGA_ASSIGN_OR_RETURN(t.spm_, SpmEncoder::Create(data, *t.vocabulary_));
    t.add_space_prefix_ = data.add_space_prefix;
  }
  t.special_ = std::make_unique<SpecialTokens>(*t.vocabulary_);
  t.end_of_generation_ = data.end_of_generation;
  std::sort(t.end_of_generation_.begin(), t.end_of_generation_.end());
  t.bos_ = data.bos;
  t.eos_ = data.eos;
  t.add_bos_ = data.add_bos;
  t.add_eos_ = data.add_eos;
  return tokenizer;
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::Encode(std::string_view text,
                                                       const EncodeOptions& options) const {
  std::vector<int32_t> ids;
  if (options.add_special && add_bos()) ids.push_back(bos_);
  // SentencePiece puts its space before the first stretch of text and after every special token.
  bool space_prefix = add_space_prefix_;
  for (const TextFragment& fragment : special_->Split(text, options.parse_special)) {
    if (fragment.id >= 0) {
      ids.push_back(fragment.id);
      space_prefix = add_space_prefix_;
      continue;
    }
    if (bpe_ != nullptr) {
      RENGA_RETURN_IF_ERROR(bpe_->Encode(fragment.text, &ids));
    } else {
      RENGA_RETURN_IF_ERROR(spm_->Encode(fragment.text, space_prefix, &ids));
    }
    space_prefix = false;
  }
  if (options.add_special && add_eos()) ids.push_back(eos_);
  return ids;
}

std::string Tokenizer::TokenPiece(int32_t id, bool show_special) const {
  std::string piece;
  if (id >= 0 && id < size()) vocabulary_->AppendPiece(id, show_special, &piece);
  return piece;
}

absl::StatusOr<std::string> Tokenizer::Decode(absl::Span<const int32_t> ids,
                                              const DecodeOptions& options) const {
  std::string text;
  bool first = true;
  for (int32_t id : ids) {
    if (id < 0 || id >= size()) {
      return absl::OutOfRangeError(
          StrCat("detokenize: token id ", id, ": expected 0 to ", size() - 1));
    }
    vocabulary_->AppendPiece(id, options.show_special, &text);
    if (first && options.strip_leading_space && add_space_prefix_ && !text.empty() &&
        text.front() == ' ') {
      text.erase(0, 1);
    }
    first = false;
  }
  return text;
}

bool Tokenizer::IsEndOfGeneration(int32_t id) const {
  return std::binary_search(end_of_generation_.begin(), end_of_generation_.end(), id);
}

}  // namespace renga
