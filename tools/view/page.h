// The graph of a model as one HTML page: no other file, no network, opens from disk.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "ir/base/model.h"
#include "ir/core/graph.h"
#include "ir/trace/trace.h"
#include "runtime/plan/plan.h"

namespace renga {

// What the page shows. Pointers are borrowed for the call; those that may be null leave out what
// they would have told.
struct GraphPage {
  std::string title;                                       // file name
  std::string producer;                                    // "renga 0.1.0"
  std::string stage;                                       // "after rows-asked"
  std::vector<std::pair<std::string, std::string>> facts;  // "architecture", "qwen2"
  const Graph* graph = nullptr;                            // required
  const Graph* source = nullptr;      // as the frontend made it: what provenance names
  const plan::Plan* plan = nullptr;   // steps, buffers and memory
  const Trace* trace = nullptr;       // statistics of values, by name
  std::vector<ModelFile> files;       // that `weights` lie in
  std::vector<WeightSource> weights;  // any order; empty where there is no file
  std::vector<IgnoredTensor> ignored;
  std::vector<plan::PassRecord> passes;
  std::vector<plan::LedgerEntry> ledger;
  std::vector<std::pair<std::string, std::string>> kernel_sources;  // by the kernel's name
};

// Fills in what a plan says: facts, files, weights, ignored tensors, passes and ledger.
void DescribePlan(const plan::Plan& plan, GraphPage* page);

// The whole page. Linear in the graph; names and texts may hold any bytes.
std::string GraphPageHtml(const GraphPage& page);

}  // namespace renga
