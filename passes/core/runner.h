// Runs passes over a graph and watches them.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ir/core/graph.h"
#include "passes/core/ledger.h"
#include "passes/core/pass.h"

namespace renga {

struct RunPassesOptions {
  std::optional<std::vector<std::string>> only;  // run these only; in pipeline order all the same
  std::vector<std::string> disabled;             // and not these
  // Single rewrites to leave out: "PASS:NODE" with the node's name as the ledger has it where the
  // pass matched ("fuse-norm:3.attn_norm"), of pack-weights the weight's. One that no pass comes
  // across is InvalidArgument, unless sites_may_be_gone: without one site another may not exist.
  std::vector<std::string> sites_off;
  bool sites_may_be_gone = false;
  // Existing folder for "00.frontend.ir" and "NN.<pass>.ir" after each pass; empty: none.
  std::string dump_dir;
  // Called with what would be dumped: 0 and "frontend" for the graph as given, then the pass's
  // place in the pipeline from 1 and its name. The text is valid during the call.
  std::function<void(int index, std::string_view name, std::string_view text)> on_dump;
};

// What one pass did.
struct PassRecord {
  std::string name;
  bool changed = false;
  int nodes_before = 0;
  int nodes_after = 0;
  double ms = 0;  // in the pass itself, without verifying and printing
};

// Verifies `graph` before and after each pass and drops values a pass left unused. A pass that says
// it changed nothing while the text changed, or the reverse, is an Internal error; so is a graph
// that a pass made illegal. Errors of a pass keep their code and end in "after pass NAME". On
// error the graph is in the state the failing pass left. `ledger` gets the passes' entries
// appended.
absl::StatusOr<std::vector<PassRecord>> RunPasses(Graph& graph, absl::Span<const Pass> pipeline,
                                                  const RunPassesOptions& options, Ledger* ledger);

// With DefaultPipeline().
absl::StatusOr<std::vector<PassRecord>> RunPasses(Graph& graph, const RunPassesOptions& options,
                                                  Ledger* ledger);

}  // namespace renga
