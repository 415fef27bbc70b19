// What --layer and --node leave of a stage, and what to say where they leave nothing.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "runtime/plan/plan.h"
#include "tools/renga/dump_input.h"

namespace renga {

// Remembers what it was asked about, so that a filter that keeps nothing can be told what there is.
class DumpFilter {
 public:
  // Borrows `flags`. `what` names the items for messages: "nodes", "steps".
  DumpFilter(const DumpFlags& flags, std::string_view what) : flags_(flags), what_(what) {}

  // Layers that the model has whether or not the stage says something of them.
  void AddLayers(int64_t layers);

  // Whether to show the item. A node is also found by the name of one that it came from.
  bool Keeps(std::string_view name) { return Keeps(name, LayerOf(name), {}); }
  bool Keeps(std::string_view name, int layer, const std::vector<std::string>& provenance);

  // A step of a plan is also found by what it computes in its layer: "3.qkv_rope", "3.qkv".
  bool Keeps(const plan::Plan& plan, const plan::Step& step);

  // After all items: NotFound, saying which layers there are or which names are nearest, where a
  // filter kept nothing that it could have kept.
  absl::Status CheckFound() const;

 private:
  absl::Status NoLayer() const;
  absl::Status NoNode() const;

  const DumpFlags& flags_;
  const std::string what_;
  bool kept_ = false;
  bool layer_seen_ = false;
  int last_layer_ = -1;
  std::vector<std::string> names_;  // of the layer asked for, or all
};

}  // namespace renga
