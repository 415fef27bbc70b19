// Where an error enters a run: the nodes whose results are further off than the errors of what they
// read can explain.
//
// The rule, for a value of relative error e_out (relative RMS) that reads values of errors e_i:
//   explained = kAmplification * max_i(e_i * max(1, rms_i / rms_out))
//   unexplained  <=>  e_out > tolerance  and  e_out > explained
// The factor rms_i / rms_out turns an input's error into the output's scale. It is what a sum that
// cancels does to its terms' errors (a residual of 10 + -9.9 makes ten times of them), and more
// than what a softmax does to that of its scores: d log p = d score, so scores of rms s make
// e * s of e, and probabilities have an rms below 1. Linear maps amplify by their largest gain over
// the one that their input meets. Measured: at most 4.7 behind any disturbed weight of stories260K
// (tests/tools/compare_values_test.cc), 5.3 between Qwen2.5-Coder with bf16 and with f32 caches; so
// kAmplification is 8. What the rule calls explained may still be wrong by that factor, and a node
// with more gain is accused wrongly; replay (ir/trace/confirm.h) knows.
#pragma once

#include <vector>

#include "ir/core/graph.h"

namespace renga {

inline constexpr double kAmplification = 8;

// What is known of a value of the graph.
struct KnownError {
  bool known = false;   // compared; else its producer's operands stand for it
  double relative = 0;  // infinite where numbers met NaN
  double rms = 0;       // of the baseline's values
  double tolerance = 0;
};

struct ErrorSource {
  double inputs = 0;         // max_i(e_i * max(1, rms_i / rms_out)); 0 where all inputs are exact
  ValueId input = kNoValue;  // the one that gives it
  bool unexplained = false;
};

// One entry a value of `graph`, as is `errors`. What no node computes counts as exact unless it is
// known: weights, parameters, caches before the run. Linear in nodes.
std::vector<ErrorSource> FindErrorSources(const Graph& graph,
                                          const std::vector<KnownError>& errors);

}  // namespace renga
