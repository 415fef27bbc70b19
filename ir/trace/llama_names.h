// Which of our values a tensor of a llama.cpp log is, and at which place of ours each of its
// numbers stands.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ir/core/graph.h"
#include "ir/trace/llama_log.h"
#include "ir/trace/trace.h"

namespace renga {

// How a log's tensor follows from the value that it is lined up with, where it is not that itself.
enum class LogDerivation : uint8_t {
  kSame,
  kUnscaled,  // scores before the factor that our operator applies
  kNormed,    // rows divided by their root mean square: the norm without its weight
  kSilu,      // x / (1 + exp(-x))
  kUpToBias,  // a linear map before its bias, which the trace does not hold: the rows' differences
              // to row 0 are compared
  kScores,    // q . k of `value` and `other`, where attention is one node that keeps them inside
  kProbs,     // their masked softmax
  kZeros,     // a cache before the run
  kAdded,     // `value` less `other`, which our node adds to it
};
std::string_view ToString(LogDerivation derivation);  // "", "before its scale", ...

// Order of a log tensor's axes, innermost first, against ours, which are [row, head, dim]: row is a
// token, or a cell of a cache.
enum class LogOrder : uint8_t {
  kTokens,        // as ours lies, tokens outermost; the heads may be merged or split
  kCells,         // the same of a cache
  kDimTokenHead,  // (permuted): [head, token, dim]
  kKeyTokenHead,  // [head, token, key]; keys are padded
  kDimCellHead,   // [head, cell, dim]
  kCellHeadDim,   // [dim, head, cell]: V caches lie transposed unless flash attention reads them
  kCellDimHead,   // [head, dim, cell]
  kCellChannel,   // a transposed V cache as one row of numbers
  kVocabulary,    // as kTokens; the log's may be padded
};

struct LogMatch {
  int tensor = -1;    // index into LlamaLog::tensors
  std::string value;  // ours, without sigil
  std::string other;  // the second one of a derivation from two
  LogDerivation derivation = LogDerivation::kSame;
  LogOrder order = LogOrder::kTokens;
  double factor = 0;  // scale (kUnscaled, kProbs), eps (kNormed)
};

// Tensors [begin, end) of the log that have a counterpart in the trace, in order. `graph` is the
// one that was traced: it says which value a weight leads to, and the scales. Close to linear in
// tensors and nodes.
std::vector<LogMatch> LineUpLog(const Trace& trace, const Graph& graph, const LlamaLog& log,
                                int begin, int end);

// "Qcur-12 (view)" -> "Qcur-# (view)" and 12; "cache_k_l3" -> "cache_k_l#" and 3; -1 without one.
struct LogRole {
  std::string role;
  int layer = -1;
};
LogRole RoleOf(std::string_view name);

}  // namespace renga
