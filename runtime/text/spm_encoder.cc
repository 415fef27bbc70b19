#include "runtime/text/spm_encoder.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/str_format.h"
#include "ir/base/status.h"
#include "ir/base/strings.h"
#include "runtime/text/utf8.h"

namespace renga {
namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581 stands for a space

// A stretch of the text, in a list linked by index. Neighbours in the list are neighbours in the
// text, so that joining two is adding their sizes.
struct Symbol {
  int32_t previous;
  int32_t next;
  uint32_t begin;
  uint32_t bytes;  // 0: joined to the symbol on its left
};

struct Candidate {
  float score;
  int32_t left;  // index of the left symbol
  int32_t right;
  uint32_t bytes;  // of both together: the candidate is stale once they have another size
  int32_t id;
};

// Heap order: highest score on top, the leftmost of equals.
bool After(const Candidate& a, const Candidate& b) {
  return a.score != b.score ? a.score < b.score : a.left > b.left;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SpmEncoder>> SpmEncoder::Create(const TokenizerData& data,
                                                               const Vocabulary& vocabulary) {
  auto encoder = std::unique_ptr<SpmEncoder>(new SpmEncoder(vocabulary));
  if (data.scores.size() != static_cast<size_t>(vocabulary.size())) {
    return absl::InvalidArgumentError(StrCat("tokenizer: scores: expected ", vocabulary.size(),
                                             " as SentencePiece merges by score, got ",
                                             data.scores.size()));
  }
  for (size_t id = 0; id < data.scores.size(); ++id) {
    if (std::isnan(data.scores[id])) {
      return absl::InvalidArgumentError(
          StrCat("tokenizer: scores: that of token ", id, " is not a number"));
    }
  }
  encoder->scores_ = data.scores;
  encoder->unknown_ = data.unk;
  return encoder;
}

absl::Status SpmEncoder::Encode(std::string_view text, bool space_prefix,
                                std::vector<int32_t>* ids) const {
  std::string marked;
  marked.reserve(text.size() + text.size() / 2 + kSpaceMark.size());
  if (space_prefix) marked.append(kSpaceMark);
  for (char c : text) {
    if (c == ' ') {
      marked.append(kSpaceMark);
    } else {
      marked.push_back(c);
    }
  }
  if (marked.size() > static_cast<size_t>(INT32_MAX)) {
    return absl::ResourceExhaustedError(
        StrCat("tokenizer: a text of ", marked.size(), " bytes; expected less than 2^31"));
  }
  const std::string_view view = marked;

  // Characters, by the lead byte alone: it is how these vocabularies' own tools cut broken text.
  std::vector<Symbol> symbols;
  for (size_t begin = 0; begin < view.size();) {
    const auto bytes = std::min<size_t>(Utf8LengthByLead(static_cast<unsigned char>(view[begin])),
                                        view.size() - begin);
    const auto index = static_cast<int32_t>(symbols.size());
    symbols.push_back({index - 1, begin + bytes < view.size() ? index + 1 : -1,
                       static_cast<uint32_t>(begin), static_cast<uint32_t>(bytes)});
    begin += bytes;
  }

  std::vector<Candidate> heap;
  const auto consider = [&](int32_t left, int32_t right) {
    if (left < 0 || right < 0) return;
    const uint32_t bytes = symbols[left].bytes + symbols[right].bytes;
    if (bytes > vocabulary_.longest()) return;  // also keeps the look-ups short
    const int32_t id = vocabulary_.Find(view.substr(symbols[left].begin, bytes));
    if (id < 0) return;
    heap.push_back({scores_[id], left, right, bytes, id});
    std::push_heap(heap.begin(), heap.end(), After);
  };
  for (int32_t i = 1; i < static_cast<int32_t>(symbols.size()); ++i) consider(i - 1, i);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), After);
    const Candidate best = heap.back();
    heap.pop_back();
    Symbol& left = symbols[best.left];
    Symbol& right = symbols[best.right];
    if (left.bytes == 0 || right.bytes == 0 || left.bytes + right.bytes != best.bytes) continue;
    left.bytes = best.bytes;
    left.next = right.next;
    if (right.next >= 0) symbols[right.next].previous = best.left;
    right.bytes = 0;
    consider(left.previous, best.left);
    consider(best.left, left.next);
  }

  for (int32_t i = symbols.empty() ? -1 : 0; i >= 0; i = symbols[i].next) {
    const std::string_view part = view.substr(symbols[i].begin, symbols[i].bytes);
    if (const int32_t id = vocabulary_.Find(part); id >= 0) {
      ids->push_back(id);
      continue;
    }
    for (char c : part) {
      const auto byte = static_cast<unsigned char>(c);
      int32_t id = vocabulary_.byte_token(byte);
      if (id < 0) id = unknown_;
      if (id < 0) {
        return absl::InvalidArgumentError(
            absl::StrFormat("tokenizer: the vocabulary has neither a token for the byte 0x%02X nor "
                            "an unknown token",
                            byte));
      }
      ids->push_back(id);
    }
  }
  return absl::OkStatus();
}

}  // namespace renga
