#include "runtime/text/bpe_encoder.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "ir/base/status.h"
#include "ir/base/strings.h"
#include "runtime/text/utf8.h"

namespace renga {
namespace {

bool IsUtf8(std::string_view text) {
  for (size_t offset = 0; offset < text.size();) {
    const Utf8Step step = ReadUtf8(text.substr(offset));
    if (step.kind != Utf8Step::Kind::kCharacter) return false;
    offset += step.bytes;
  }
  return true;
}

// A part of a piece: some of its bytes, in a list linked by index. id -1: no token.
struct Symbol {
  int32_t previous;
  int32_t next;
  int32_t id;
  uint32_t begin;
  uint32_t bytes;  // 0: joined to the symbol on its left
};

struct Candidate {
  int32_t rank;
  int32_t left;  // index of the left symbol
  int32_t right;
  int32_t left_id;  // the candidate is stale once either symbol has another id
  int32_t right_id;
};

// Heap order: lowest rank on top, the leftmost of equals.
bool After(const Candidate& a, const Candidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.left > b.left;
}

}  // namespace

struct BpeEncoder::Scratch {
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
};

absl::StatusOr<std::unique_ptr<BpeEncoder>> BpeEncoder::Create(const TokenizerData& data,
                                                               const Vocabulary& vocabulary) {
  auto encoder = std::unique_ptr<BpeEncoder>(new BpeEncoder(vocabulary));
  RENGA_ASSIGN_OR_RETURN(encoder->pretokenizer_, PreTokenizer::Create(data.pre));
  if (encoder->pretokenizer_->raw()) {
    return absl::UnimplementedError(StrCat("tokenizer.ggml.pre: pre-tokenizer \"", data.pre,
                                           "\" does not write its pieces in byte letters, which is "
                                           "not supported yet"));
  }
  for (size_t i = 0; i < data.merges.size(); ++i) {
    const auto [left, right] = data.merges[i];
    if (left < 0 || left >= vocabulary.size() || right < 0 || right >= vocabulary.size()) {
      return absl::InvalidArgumentError(StrCat("tokenizer: merge ", i, ": expected ids below ",
                                               vocabulary.size(), ", got ", left, " and ", right));
    }
  }
  encoder->ranks_ = MergeRanks(data.merges);
  return encoder;
}

absl::Status BpeEncoder::Encode(std::string_view text, std::vector<int32_t>* ids) const {
  std::string repaired;
  if (!IsUtf8(text)) {
    repaired = RepairUtf8(text);
    text = repaired;
  }
  RENGA_ASSIGN_OR_RETURN(const std::vector<std::string_view> pieces, pretokenizer_->Split(text));
  Scratch scratch;
  for (std::string_view piece : pieces) {
    if (piece.size() > static_cast<size_t>(INT32_MAX)) {
      return absl::ResourceExhaustedError(
          StrCat("tokenizer: a word of ", piece.size(), " bytes; expected less than 2^31"));
    }
    if (pretokenizer_->ignore_merges()) {
      if (const int32_t id = vocabulary_.Find(piece); id >= 0) {
        ids->push_back(id);
        continue;
      }
    }
    EncodePiece(piece, &scratch, ids);
  }
  return absl::OkStatus();
}

void BpeEncoder::EncodePiece(std::string_view piece, Scratch* scratch,
                             std::vector<int32_t>* ids) const {
  std::vector<Symbol>& symbols = scratch->symbols;
  std::vector<Candidate>& heap = scratch->heap;
  symbols.clear();
  heap.clear();
  const auto size = static_cast<int32_t>(piece.size());
  for (int32_t i = 0; i < size; ++i) {
    symbols.push_back({i - 1, i + 1 < size ? i + 1 : -1,
                       vocabulary_.byte_token(static_cast<unsigned char>(piece[i])),
                       static_cast<uint32_t>(i), 1});
  }
  const auto consider = [&](int32_t left, int32_t right) {
    if (left < 0 || right < 0) return;
    const int32_t rank = ranks_.Find(symbols[left].id, symbols[right].id);
    if (rank < 0) return;
    heap.push_back({rank, left, right, symbols[left].id, symbols[right].id});
    std::push_heap(heap.begin(), heap.end(), After);
  };
  for (int32_t i = 1; i < size; ++i) consider(i - 1, i);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), After);
    const Candidate best = heap.back();
    heap.pop_back();
    Symbol& left = symbols[best.left];
    Symbol& right = symbols[best.right];
    if (left.bytes == 0 || right.bytes == 0 || left.next != best.right || left.id != best.left_id ||
        right.id != best.right_id) {
      continue;
    }
    left.bytes += right.bytes;
    // A merge need not give a token; -1 then merges with nothing any more.
    left.id = vocabulary_.Find(piece.substr(left.begin, left.bytes));
    left.next = right.next;
    if (right.next >= 0) symbols[right.next].previous = best.left;
    right.bytes = 0;
    consider(left.previous, best.left);
    consider(best.left, left.next);
  }
  for (int32_t i = size > 0 ? 0 : -1; i >= 0; i = symbols[i].next) {
    const Symbol& symbol = symbols[i];
    if (symbol.id >= 0) {
      ids->push_back(symbol.id);
      continue;
    }
    // No token: byte by byte. A byte without a token (Falcon has none for 0x0B) is left out, as
    // these vocabularies were trained and as they have no unknown token.
    for (char byte : piece.substr(symbol.begin, symbol.bytes)) {
      const int32_t id = vocabulary_.byte_token(static_cast<unsigned char>(byte));
      if (id >= 0) ids->push_back(id);
    }
  }
}

}  // namespace renga
