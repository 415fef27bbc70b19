#include "runtime/text/vocabulary.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "ir/base/status.h"
#include "ir/base/strings.h"
#include "runtime/text/utf8.h"

namespace renga {
namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581

// The byte that each letter of byte-level BPE stands for: printable Latin-1 letters stand for
// themselves, the other 68 bytes in rising order are U+0100, U+0101, ... Source: GPT-2's encoder.
constexpr int kLetters = 0x100 + 68;
std::array<int16_t, kLetters> MakeByteOfLetter() {
  std::array<int16_t, kLetters> table;
  table.fill(-1);
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
    table[printable ? byte : next++] = static_cast<int16_t>(byte);
  }
  return table;
}

// Whether the token's text stands for itself rather than being written in letters.
bool IsVerbatim(TokenType type) {
  return type == TokenType::kControl || type == TokenType::kUserDefined ||
         type == TokenType::kUnknown;
}

absl::Status Check(const TokenizerData& data) {
  if (data.offsets.size() < 2) {
    return absl::InvalidArgumentError("tokenizer: the vocabulary has no tokens");
  }
  if (data.offsets.size() - 1 > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    return absl::InvalidArgumentError("tokenizer: the vocabulary has more than 2^31 tokens");
  }
  const size_t size = data.offsets.size() - 1;
  if (data.offsets.front() != 0 || data.offsets.back() != data.text.size() ||
      !std::is_sorted(data.offsets.begin(), data.offsets.end())) {
    return absl::InvalidArgumentError(
        "tokenizer: token offsets do not rise from 0 to the size of the text");
  }
  if (data.types.size() != size) {
    return absl::InvalidArgumentError(
        StrCat("tokenizer: token types: expected ", size, ", got ", data.types.size()));
  }
  if (!data.scores.empty() && data.scores.size() != size) {
    return absl::InvalidArgumentError(
        StrCat("tokenizer: scores: expected ", size, ", got ", data.scores.size()));
  }
  const auto check = [&](const char* what, int32_t id, int32_t lowest) -> absl::Status {
    if (id >= lowest && id < static_cast<int32_t>(size)) return absl::OkStatus();
    return absl::InvalidArgumentError(
        StrCat("tokenizer: ", what, ": expected a token id below ", size, ", got ", id));
  };
  RENGA_RETURN_IF_ERROR(check("bos", data.bos, -1));
  RENGA_RETURN_IF_ERROR(check("eos", data.eos, -1));
  RENGA_RETURN_IF_ERROR(check("eot", data.eot, -1));
  RENGA_RETURN_IF_ERROR(check("eom", data.eom, -1));
  RENGA_RETURN_IF_ERROR(check("unk", data.unk, -1));
  RENGA_RETURN_IF_ERROR(check("pad", data.pad, -1));
  for (int32_t id : data.end_of_generation) {
    RENGA_RETURN_IF_ERROR(check("end of generation", id, 0));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Vocabulary>> Vocabulary::Create(const TokenizerData& data) {
  auto vocabulary = std::unique_ptr<Vocabulary>(new Vocabulary);
  Vocabulary& v = *vocabulary;
  if (data.model == "llama") {
    v.kind_ = Kind::kSentencePiece;
  } else if (data.model == "gpt2") {
    v.kind_ = Kind::kByteLevel;
  } else {
    return absl::UnimplementedError(
        StrCat("tokenizer.ggml.model: expected \"llama\" (SentencePiece) or \"gpt2\" "
               "(byte-level BPE), got \"",
               data.model, "\""));
  }
  RENGA_RETURN_IF_ERROR(Check(data));
  v.types_ = data.types;
  if (v.kind_ == Kind::kSentencePiece) {
    v.text_ = data.text;
    v.offsets_ = data.offsets;
  } else {
    const auto byte_of_letter = MakeByteOfLetter();
    v.text_.reserve(data.text.size());
    v.offsets_.reserve(data.offsets.size());
    for (int32_t id = 0; id < data.size(); ++id) {
      v.offsets_.push_back(static_cast<uint32_t>(v.text_.size()));
      const std::string_view token = data.token(id);
      if (IsVerbatim(v.types_[id])) {
        v.text_.append(token);
        continue;
      }
      for (size_t offset = 0; offset < token.size();) {
        const size_t begin = offset;
        const uint32_t letter = DecodeUtf8(token, &offset);
        if (letter < kLetters && byte_of_letter[letter] >= 0) {
          v.text_.push_back(static_cast<char>(byte_of_letter[letter]));
        } else {  // no letter: it can stand for nothing but itself
          v.text_.append(token.substr(begin, offset - begin));
        }
      }
    }
    v.offsets_.push_back(static_cast<uint32_t>(v.text_.size()));
  }
  v.index_ = TokenIndex(v.text_, v.offsets_);
  for (int32_t id = 0; id < v.size(); ++id) v.longest_ = std::max(v.longest_, v.text(id).size());
  for (int byte = 0; byte < 256; ++byte) {
    const char self = static_cast<char>(byte);
    int32_t id = -1;
    if (v.kind_ == Kind::kSentencePiece) id = v.Find(absl::StrFormat("<0x%02X>", byte));
    v.byte_tokens_[byte] = id >= 0 ? id : v.Find(std::string_view(&self, 1));
  }
  return vocabulary;
}

void Vocabulary::AppendPiece(int32_t id, bool show_special, std::string* out) const {
  std::string_view rest = text(id);
  switch (types_[id]) {
    case TokenType::kControl:
    case TokenType::kUnknown:
      if (show_special) out->append(rest);
      return;
    case TokenType::kUserDefined:
      out->append(rest);
      return;
    case TokenType::kUnused:
      return;
    case TokenType::kByte: {
      uint32_t byte = 0;
      if (kind_ == Kind::kSentencePiece && rest.size() == 6 && rest.substr(0, 3) == "<0x" &&
          rest[5] == '>' && absl::SimpleHexAtoi(ToAbsl(rest.substr(3, 2)), &byte)) {
        out->push_back(static_cast<char>(byte));
        return;
      }
      break;
    }
    case TokenType::kUndefined:
    case TokenType::kNormal:
      break;
  }
  if (kind_ == Kind::kByteLevel) {
    out->append(rest);
    return;
  }
  for (size_t mark; (mark = rest.find(kSpaceMark)) != std::string_view::npos;) {
    out->append(rest.substr(0, mark));
    out->push_back(' ');
    rest.remove_prefix(mark + kSpaceMark.size());
  }
  out->append(rest);
}

}  // namespace renga
