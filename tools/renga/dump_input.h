// What `dump` works on: a GGUF, a plan or a graph's text, and the stages they lead to.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "ir/core/graph.h"
#include "runtime/plan/plan.h"
#include "tools/renga/model_flags.h"
#include "tools/renga/output.h"

namespace renga {

enum class FileKind { kGguf, kPlan, kIr, kTrace };

// By content, never by name. InvalidArgument for a file that is none of them; else as
// MappedFile::Open.
absl::StatusOr<FileKind> SniffFile(const std::string& path);

struct DumpFlags {
  ModelFlags model;  // model.model is the file
  std::string stage;
  std::string after;         // a pass, or "frontend"
  std::optional<int> layer;  // only this one
  std::string node;          // glob; only these
  std::string around;        // a node; its neighbourhood
  std::optional<int> depth;  // levels of inputs in it
  int threads = 0;           // memory: of a run on the cpu; 0: all cores
  bool diff = false;         // passes: what each did
  std::string output;        // file; empty: stdout
  bool json = false;
  bool dot = false;
  std::string html;   // file; empty: none
  std::string trace;  // file whose statistics the HTML page shows

  bool filtered() const { return layer.has_value() || !node.empty(); }
  // Whether the filters keep something of that name.
  bool Keeps(std::string_view name) const;
  bool Keeps(std::string_view name, int layer, const std::vector<std::string>& provenance) const;
};

// A graph at one point of the pipeline, and what happened on the way.
struct DumpedGraph {
  Graph graph;
  std::vector<plan::PassRecord> passes;
  std::vector<plan::LedgerEntry> ledger;
  // With all passes run: the graph's text before the first and after each; of a plan before the
  // first and after the last.
  std::vector<std::string> texts;
  std::vector<plan::Choice> choices;
};

// The graph that flags.after asks for: by default as the frontend or the .ir file has it, for a
// plan what it executes. With `all_passes` the whole pipeline has run instead.
absl::StatusOr<DumpedGraph> GraphOf(const DumpFlags& flags, FileKind kind, bool all_passes);

// The plan of a GGUF or plan. InvalidArgument for .ir, naming the stage.
absl::StatusOr<OpenedPlan> PlanOf(const DumpFlags& flags, FileKind kind);

// What was done to the graph of any kind of file by all passes.
struct PassHistory {
  std::vector<plan::PassRecord> passes;
  std::vector<plan::LedgerEntry> ledger;
  std::vector<plan::Choice> choices;
  int64_t layers = 0;  // of the model
};
absl::StatusOr<PassHistory> PassHistoryOf(const DumpFlags& flags, FileKind kind);

// `blk.3.attn_q.weight` is of layer 3, as is any node whose name starts with "3."; else -1.
int LayerOfTensor(std::string_view name);

// A layer's number, null outside layers.
inline Json LayerJson(int layer) { return layer < 0 ? Json(nullptr) : Json(layer); }

// The page of --html: the graph that flags.after asks for, by default what the plan executes.
absl::StatusOr<std::string> DumpHtml(const DumpFlags& flags, FileKind kind);

// One function a stage; each returns the text or JSON to print, as flags.json says.
absl::StatusOr<std::string> DumpGguf(const DumpFlags& flags, FileKind kind);
absl::StatusOr<std::string> DumpIr(const DumpFlags& flags, FileKind kind);
absl::StatusOr<std::string> DumpPasses(const DumpFlags& flags, FileKind kind);
absl::StatusOr<std::string> DumpLedger(const DumpFlags& flags, FileKind kind);
absl::StatusOr<std::string> DumpPlan(const DumpFlags& flags, FileKind kind);
absl::StatusOr<std::string> DumpKernels(const DumpFlags& flags, FileKind kind);
absl::StatusOr<std::string> DumpSource(const DumpFlags& flags, FileKind kind);
absl::StatusOr<std::string> DumpMemory(const DumpFlags& flags, FileKind kind);
absl::StatusOr<std::string> DumpWeights(const DumpFlags& flags, FileKind kind);
absl::StatusOr<std::string> DumpTrace(const DumpFlags& flags, FileKind kind);
absl::StatusOr<std::string> DumpTokens(const DumpFlags& flags, FileKind kind);

}  // namespace renga
