// What the steps of a plan read and write, as the values of the plan's graph: to look at a
// step, to have the interpreter do its work, or to take the node out and keep it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "ir/core/graph.h"
#include "ir/reference/interpreter.h"
#include "tools/repro/node_case.h"
#include "tools/step_memory.h"

namespace renga {

class StepValues {
 public:
  // Errors: InvalidArgument where the plan's graph does not parse.
  static absl::StatusOr<StepValues> Create(std::shared_ptr<const StepMemory> memory);

  StepValues(StepValues&&) = default;  // nodes stay where they are

  const Graph& graph() const { return graph_; }
  const plan::Plan& plan() const { return memory_->plan(); }
  const StepMemory& memory() const { return *memory_; }

  // The node that step `step` computes; nullptr where the graph has none of its name.
  const Node* NodeOf(int step) const { return nodes_[static_cast<size_t>(step)]; }

  // The buffer as it is now: of a cache the cells in pages that this run knows, of other values
  // all. Reads are good for inputs of the step that ran last or is about to, and for outputs of
  // the former. Errors are the memory's.
  absl::StatusOr<HostTensor> Read(int32_t buffer) const;

  // Into the buffer, as its type rounds; of a cache the cells that this run writes.
  absl::Status Write(int32_t buffer, const HostTensor& tensor) const;

  // Sizes of this run, by name; C counts the cells that Read gives.
  absl::StatusOr<SymbolValues> Sizes() const;

  // What this run has in the plan's input of that name; empty where the plan has none.
  absl::StatusOr<std::vector<int32_t>> Input(const std::string& name) const;

  // What step `step` computes, out of what it reads, as `graph` has it: the plan's own graph or
  // another of the same model, in which the values that the step reads have the same names and
  // types. InvalidArgument where they have not.
  absl::StatusOr<NodeCase> CutOutStep(const Graph& graph, int step) const;

 private:
  explicit StepValues(std::shared_ptr<const StepMemory> memory) : memory_(std::move(memory)) {}

  absl::StatusOr<int64_t> Cells(int64_t window) const;
  int64_t WindowOf(int32_t buffer) const;  // of a cache's group, else 0

  std::shared_ptr<const StepMemory> memory_;
  Graph graph_;                             // of the plan, without packing
  std::vector<const Node*> nodes_;          // by step
  std::map<std::string, int32_t> buffers_;  // of what is no weight, by name
};

}  // namespace renga
