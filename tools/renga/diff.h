// What `diff` works on, and the answer of each kind of comparison.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ir/diff/graph_diff.h"
#include "tools/renga/dump_input.h"
#include "tools/renga/model_flags.h"
#include "tools/renga/output.h"
#include "tools/renga/prompt_flags.h"
#include "tools/view/diff_page.h"

namespace renga {

struct DiffFlags {
  std::string a, b;    // files
  ModelFlags options;  // for what is a GGUF; options.model is --model
  std::string after;   // stage of GGUFs' graphs; empty: frontend
  bool values = false;
  bool time = false;
  bool ignore_names = false;
  std::optional<double> rtol;
  PromptFlags prompt;
  std::optional<std::string> ids;
  std::string html;    // file for the page; empty: none
  std::string output;  // file for the text; empty: stdout
  bool json = false;
};

// Two graphs lined up, and what was found out about their nodes.
struct GraphComparison {
  Graph a, b;
  GraphDiff diff;
  std::vector<MatchError> errors;
  std::vector<MatchTime> times;
};

struct DiffAnswer {
  bool equal = true;
  std::string text;
  Json json = Json::object();               // fields in addition to equal, a and b
  std::shared_ptr<GraphComparison> graphs;  // null where no graphs were compared
};

// Graphs and plans, and whatever else a graph can be made of.
absl::StatusOr<DiffAnswer> DiffGraphFiles(const DiffFlags& flags, FileKind a, FileKind b);

// Two GGUFs: metadata and tensors.
absl::StatusOr<DiffAnswer> DiffGgufFiles(const DiffFlags& flags);

// Two folders that `compile --dump-dir` wrote: stage by stage.
absl::StatusOr<DiffAnswer> DiffFolders(const DiffFlags& flags);
bool IsFolder(const std::string& path);

// Two traces.
absl::StatusOr<DiffAnswer> DiffTraceFiles(const DiffFlags& flags);

// A trace and a log of llama.cpp.
absl::StatusOr<DiffAnswer> DiffTraceWithLog(const std::string& trace, const std::string& log);

// Whether the file begins as a log of llama-eval-callback does, compressed or not.
bool IsLlamaLog(const std::string& path);

// The graphs of two files (a GGUF's after flags.after) and how they differ.
absl::StatusOr<std::shared_ptr<GraphComparison>> CompareGraphs(const DiffFlags& flags, FileKind a,
                                                               FileKind b);

// Runs both sides on the reference interpreter and adds what came out to the answer.
absl::Status AddValues(const DiffFlags& flags, FileKind a, FileKind b, DiffAnswer* answer);

// Runs both sides on the cpu in turns and adds how their times compare.
absl::Status AddTime(const DiffFlags& flags, FileKind a, FileKind b, DiffAnswer* answer);

// The page of --html.
std::string DiffHtml(const DiffFlags& flags, const GraphComparison& graphs);

}  // namespace renga
