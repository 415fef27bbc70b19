// Two graphs side by side as one HTML page: what changed, where, and how far values and times went
// apart. No other file, no network, opens from disk.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ir/core/graph.h"
#include "ir/diff/graph_diff.h"

namespace renga {

// How a kind of change is marked, so that colour is never the only sign.
struct ChangeSign {
  std::string_view sign;  // "+", "-", "~", "=>", "<=", "<>", "=", ">>"
  std::string_view look;  // class of the page's style: "added", "removed", "changed", "moved"
};
ChangeSign SignOf(ChangeKind kind);

// How far the values of a match are apart. Numbers that were not computed are NaN.
struct MatchError {
  int match = -1;  // index into GraphDiff::matches
  double max_abs = 0;
  double rel_rms = 0;
  double cosine = 1;
  std::string worst;   // where: "token 3, head 1, dim 12: 0.25 against 0.75"
  bool first = false;  // the first whose error its inputs do not explain
};

// Time of a match's nodes in one run, microseconds.
struct MatchTime {
  int match = -1;
  double a_us = 0;
  double b_us = 0;
};

// What the page shows. Pointers are borrowed for the call; `diff` is of these two graphs.
struct DiffPage {
  std::string a_title;
  std::string b_title;
  std::string producer;                                    // "renga 0.1.0"
  std::vector<std::pair<std::string, std::string>> facts;  // more for the head of the page
  const Graph* a = nullptr;
  const Graph* b = nullptr;
  const GraphDiff* diff = nullptr;
  std::vector<MatchError> errors;  // any order, at most one a match
  std::vector<MatchTime> times;
};

// The matches in the order to read them: those of b in its execution order, and each that only a
// has behind the one that holds the node before it in a. Linear.
std::vector<int> ReadingOrder(const GraphDiff& diff);

// The whole page. Linear in the graphs and changes; names may hold any bytes.
std::string DiffPageHtml(const DiffPage& page);

}  // namespace renga
