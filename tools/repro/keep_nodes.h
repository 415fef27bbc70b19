// Repro folders for the nodes of a plan that something has pointed at.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/repro/captured_node.h"

namespace renga {

struct KeptNode {
  std::string name, op;
  std::string folder;          // empty where nothing was wrong with it alone
  bool pass_at_fault = false;  // the plan's graph asks for the wrong thing; else a kernel is wrong
  double error = 0, tolerance = 0;  // relative, of its worst result
};

// Runs the plan on the cpu as CaptureNodes does, and writes a folder for each node that is wrong
// alone: `folder` for the first, "folder-2" and so on for up to `most`. Errors as CaptureNodes and
// WriteRepro.
absl::StatusOr<std::vector<KeptNode>> KeepNodes(const std::shared_ptr<const plan::Plan>& plan,
                                                const std::string& plan_path,
                                                const CaptureOptions& options,
                                                const std::string& folder, const std::string& found,
                                                int most);

// "node 1.act (gate_up): the plan's graph is wrong, so a pass; relative error 0.9 (allowed 0.001);
// folder"
std::string KeptText(const KeptNode& node);

}  // namespace renga
