// A guess: one thing that a node may have done otherwise. The interpreter computes the node so, and
// where that gives the wrong numbers the guess is the answer.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "ir/core/graph.h"
#include "ir/reference/interpreter.h"
#include "ir/trace/likely.h"

namespace renga {

// What the node is computed with; all else is as it was recorded.
struct Alternative {
  Graph graph;
  size_t node = 0;                                      // index of the node in question
  std::map<std::string, std::vector<uint8_t>> weights;  // bytes in place of the file's, by name
  std::map<ValueId, std::function<void(HostTensor*)>> operands;  // changes of recorded values
  std::function<void(HostTensor*)> result;                       // a change of what comes out

  Node& at() { return graph.nodes[node]; }
};

struct Guess {
  // The same for the like nodes of other layers: what explains one is tried first for the next.
  std::string key;
  std::string kind;  // see Likely
  std::string text;
  bool leads = false;  // may come together with one that joins
  bool joins = false;
  // Changes the alternative; false where that cannot be done here.
  std::function<bool(Alternative*)> apply;
};

// The node that result `id` is of, and what the guesses look at.
struct GuessNode {
  const LikelyInputs& inputs;
  ValueId id;
  size_t index;  // of the node
  const Graph& graph() const { return inputs.graph; }
  const Node& node() const { return inputs.graph.nodes[index]; }
};

using Guesses = std::vector<Guess>;

// Attributes, positions, page tables, operands and caches.
void AddInputGuesses(const GuessNode& node, Guesses* guesses);
// The node's weights: as zeros, of another layer, read in another order, unpacked wrongly.
void AddWeightGuesses(const GuessNode& node, Guesses* guesses);

}  // namespace renga
