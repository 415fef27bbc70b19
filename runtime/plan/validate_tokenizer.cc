#include "ir/base/status.h"
#include "runtime/plan/mismatch.h"
#include "runtime/plan/validate.h"

namespace renga::plan {
namespace {

absl::Status CheckOffsets(const TokenizerData& tokenizer) {
  const std::vector<uint32_t>& offsets = tokenizer.offsets;
  if (offsets.empty()) {
    return tokenizer.text.empty()
               ? absl::OkStatus()
               : Mismatch("text", "none without offsets", StrCat(tokenizer.text.size(), " bytes"));
  }
  if (offsets.front() != 0) return Mismatch("offsets[0]", 0, offsets.front());
  for (size_t i = 1; i < offsets.size(); ++i) {
    if (offsets[i] < offsets[i - 1]) {
      return Mismatch(StrCat("offsets[", i, "]"), StrCat(offsets[i - 1], " or more"), offsets[i]);
    }
  }
  if (offsets.back() != tokenizer.text.size()) {
    return Mismatch("last offset", StrCat(tokenizer.text.size(), " (the text's size)"),
                    offsets.back());
  }
  return absl::OkStatus();
}

absl::Status CheckId(std::string_view where, int32_t id, int32_t low, int32_t size) {
  if (id >= low && id < size) return absl::OkStatus();
  return Mismatch(where, StrCat(low, "..", size - 1), id);
}

absl::Status CheckTables(const TokenizerData& tokenizer, int64_t vocab) {
  if (tokenizer.offsets.size() > (size_t{1} << 31)) {
    return Mismatch("tokens", "fewer than 2^31", tokenizer.offsets.size());
  }
  RENGA_RETURN_IF_ERROR(CheckOffsets(tokenizer));
  const int32_t size = tokenizer.size();
  if (size > 0 && vocab > size) {
    return Mismatch("tokens", StrCat(vocab, " (the model's vocab) or more"), size);
  }
  if (tokenizer.types.size() != static_cast<size_t>(size)) {
    return Mismatch("types", StrCat(size, " (one a token)"), tokenizer.types.size());
  }
  if (!tokenizer.scores.empty() && tokenizer.scores.size() != static_cast<size_t>(size)) {
    return Mismatch("scores", StrCat("none or ", size, " (one a token)"), tokenizer.scores.size());
  }
  for (size_t i = 0; i < tokenizer.merges.size(); ++i) {
    const std::string where = StrCat("merges[", i, "]");
    RENGA_RETURN_IF_ERROR(CheckId(where, tokenizer.merges[i].first, 0, size));
    RENGA_RETURN_IF_ERROR(CheckId(where, tokenizer.merges[i].second, 0, size));
  }
  const std::pair<std::string_view, int32_t> specials[] = {
      {"bos", tokenizer.bos}, {"eos", tokenizer.eos}, {"eot", tokenizer.eot},
      {"eom", tokenizer.eom}, {"unk", tokenizer.unk}, {"pad", tokenizer.pad},
  };
  for (const auto& [name, id] : specials) RENGA_RETURN_IF_ERROR(CheckId(name, id, -1, size));
  const std::vector<int32_t>& ends = tokenizer.end_of_generation;
  for (size_t i = 0; i < ends.size(); ++i) {
    const std::string where = StrCat("end_of_generation[", i, "]");
    RENGA_RETURN_IF_ERROR(CheckId(where, ends[i], 0, size));
    if (i > 0 && ends[i] <= ends[i - 1]) {
      return Mismatch(where, StrCat("more than ", ends[i - 1], " (sorted)"), ends[i]);
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateTokenizer(const TokenizerData& tokenizer, int64_t vocab) {
  return Annotate(CheckTables(tokenizer, vocab), "tokenizer");
}

}  // namespace renga::plan
