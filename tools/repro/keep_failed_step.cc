#include "tools/repro/keep_failed_step.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "ir/base/output_file.h"
#include "ir/base/status.h"
#include "ir/base/windows.h"
#include "ir/text/parse.h"
#include "runtime/exec/step_inputs.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/serialize.h"
#include "tools/repro/cuda_repro.h"
#include "tools/repro/kept_step.h"
#include "tools/step_recorder.h"

namespace renga {
namespace {

// Tokens of one sequence that are computed at once, before the run in which the step failed.
struct Piece {
  int64_t sequence = 0;  // in that run
  GivenRun run;
};

class Replay {
 public:
  Replay(const GivenSteps& given, const KeepOptions& options)
      : given_(given), plan_(*given.plan.plan), options_(options) {}

  absl::StatusOr<CapturedNode> Compute() {
    if (!plan_.geometry.windows.empty()) {
      return absl::UnimplementedError(
          "of a plan whose layers see a window of keys, what was forgotten cannot be computed "
          "again");
    }
    RENGA_ASSIGN_OR_RETURN(graph_, Parse(plan_.ir, "the plan's graph"));
    RemovePacking(graph_);
    RENGA_ASSIGN_OR_RETURN(const size_t index, FindNode());
    RENGA_RETURN_IF_ERROR(FindPieces());
    const auto shared = std::shared_ptr<const plan::Plan>(std::shared_ptr<void>(), &plan_);
    CapturedNode node;
    RENGA_ASSIGN_OR_RETURN(node.weights,
                           PlanWeights::Open(shared, given_.plan.path, options_.threads));
    const WeightBytes weights = node.weights->bytes();
    const int64_t cells = Cells();
    SymbolValues fixed;
    for (const SymbolDef& symbol : graph_.symbols) {
      if (SplitWindow(symbol.name).base == "C") fixed[symbol.name] = cells;
    }
    RENGA_ASSIGN_OR_RETURN(const auto interpreter,
                           Interpreter::Create(graph_, weights, fixed, options_.threads));
    int64_t done = 0;
    for (const Piece& piece : pieces_) {
      if (options_.progress) options_.progress(done, tokens_);
      const StepState state = StateFor(piece.run, cells);
      RENGA_RETURN_IF_ERROR(interpreter->Run(Unfixed(state.symbols, fixed), Params(state)));
      done += static_cast<int64_t>(piece.run.tokens.size());
    }
    if (options_.progress) options_.progress(done, tokens_);
    const StepState state = StateFor(given_.run, cells);
    std::map<ValueId, HostTensor> values;  // that the node reads
    const Node& of = graph_.nodes[index];
    const std::set<ValueId> reads(of.operands.begin(), of.operands.end());
    for (size_t i = 0; i < graph_.caches.size(); ++i) {
      if (!reads.contains(graph_.caches[i])) continue;
      values[graph_.caches[i]] = interpreter->Cache(static_cast<int>(i));
    }
    RENGA_RETURN_IF_ERROR(
        RunUpTo(index, *interpreter, Unfixed(state.symbols, fixed), Params(state), reads, &values));
    node.name = std::string(NodeName(graph_, of));
    node.op = std::string(of.op->name);
    node.device = plan_.target;
    const auto recorded = [&](ValueId id) -> absl::StatusOr<std::optional<HostTensor>> {
      if (graph_.value(id).kind == ValueKind::kParam) {
        return state.params.find(graph_.value(id).name)->second;
      }
      const auto found = values.find(id);
      if (found == values.end()) return std::nullopt;
      return found->second;
    };
    RENGA_ASSIGN_OR_RETURN(node.own, CutOut(graph_, of.results, recorded, state.symbols));
    node.part = node.own;
    RENGA_ASSIGN_OR_RETURN(node.expected, Evaluate(node.own, weights, options_.threads));
    node.expected.resize(of.results.size());
    return node;
  }

  const Graph& graph() const { return graph_; }

  // As the executor had them.
  std::vector<int64_t> Sizes() const {
    std::vector<int64_t> sizes(plan_.symbols.size());
    BindSymbols(plan_, given_.run.inputs(), &sizes);
    return sizes;
  }

 private:
  absl::StatusOr<size_t> FindNode() const {
    const std::string& name = plan_.steps[static_cast<size_t>(given_.failed_step)].name;
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (NodeName(graph_, graph_.nodes[i]) == name) return i;
    }
    return absl::InvalidArgumentError(
        StrCat("step ", name, ": expected a node of that name in the plan's graph, got none"));
  }

  // The tokens before the run, of every sequence; none of a beginning that several share is
  // computed twice.
  absl::Status FindPieces() {
    const GivenRun& run = given_.run;
    const int64_t page = plan_.geometry.page_tokens, most = plan_.geometry.max_step_tokens;
    const size_t width = run.pages.size() / static_cast<size_t>(run.sequence_count);
    std::set<int64_t> known;  // cells
    for (int64_t s = 0; s < run.sequence_count; ++s) {
      int64_t before = -1;  // tokens of the sequence
      for (size_t i = 0; i < run.tokens.size(); ++i) {
        if (run.sequences[i] != s) continue;
        before = before < 0 ? run.positions[i] : std::min<int64_t>(before, run.positions[i]);
      }
      const auto table =
          absl::MakeConstSpan(run.pages).subspan(static_cast<size_t>(s) * width, width);
      for (int64_t position = 0; position < before; ++position) {
        const size_t entry = static_cast<size_t>(position / page);
        const int64_t cell =
            entry < width && table[entry] >= 0 ? table[entry] * page + position % page : -1;
        if (!known.insert(cell).second) continue;
        const bool there = cell >= 0 && cell < static_cast<int64_t>(given_.tokens.size());
        const int32_t token = there ? given_.tokens[static_cast<size_t>(cell)] : -1;
        if (token < 0) {
          return absl::FailedPreconditionError(
              StrCat("what came before the step was not computed in this run but read from a ",
                     "file: run without --prompt-cache"));
        }
        if (pieces_.empty() || pieces_.back().sequence != s ||
            static_cast<int64_t>(pieces_.back().run.tokens.size()) == most) {
          pieces_.push_back({.sequence = s, .run = {}});
          pieces_.back().run.pages.assign(table.begin(), table.end());
          pieces_.back().run.rows = {0};
        }
        GivenRun& to = pieces_.back().run;
        to.tokens.push_back(token);
        to.positions.push_back(static_cast<int32_t>(position));
        to.sequences.push_back(0);
        to.cells.push_back(static_cast<int32_t>(cell));
        ++tokens_;
      }
    }
    return absl::OkStatus();
  }

  // Up to the last page that the run knows.
  int64_t Cells() const {
    const int64_t page = plan_.geometry.page_tokens;
    int64_t pages = 1;
    for (const int32_t number : given_.run.pages) pages = std::max<int64_t>(pages, number + 1);
    for (const int32_t cell : given_.run.cells) pages = std::max<int64_t>(pages, cell / page + 1);
    return pages * page;
  }

  // A graph has a row at least; a run may have none.
  StepState StateFor(const GivenRun& run, int64_t cells) const {
    StepInputs inputs = run.inputs();
    constexpr int32_t kFirst = 0;
    if (inputs.rows.empty()) inputs.rows = absl::MakeConstSpan(&kFirst, 1);
    return StateOf(plan_, graph_, inputs, cells);
  }

  static SymbolValues Unfixed(const SymbolValues& all, const SymbolValues& fixed) {
    SymbolValues symbols;
    for (const auto& [name, size] : all) {
      if (!fixed.contains(name)) symbols.emplace(name, size);
    }
    return symbols;
  }

  std::vector<HostTensor> Params(const StepState& state) const {
    std::vector<HostTensor> params;
    for (const ValueId id : graph_.params) {
      params.push_back(state.params.find(graph_.value(id).name)->second);
    }
    return params;
  }

  // The nodes before number `index`, and of their results those that are read.
  absl::Status RunUpTo(size_t index, Interpreter& interpreter, const SymbolValues& symbols,
                       const std::vector<HostTensor>& params, const std::set<ValueId>& reads,
                       std::map<ValueId, HostTensor>* values) const {
    if (index == 0) return absl::OkStatus();
    const Node* const last = &graph_.nodes[index - 1];
    bool enough = false;
    const absl::Status status = interpreter.Run(
        symbols, params,
        [&](const Node& node, absl::Span<HostTensor* const> results) -> absl::Status {
          for (size_t i = 0; i < results.size(); ++i) {
            if (reads.contains(node.results[i])) (*values)[node.results[i]] = *results[i];
          }
          enough = node.results[0] == last->results[0];
          return enough ? absl::CancelledError() : absl::OkStatus();
        });
    return enough ? absl::OkStatus() : status;
  }

  const GivenSteps& given_;
  const plan::Plan& plan_;
  const KeepOptions& options_;
  Graph graph_;  // of the plan, without packing
  std::vector<Piece> pieces_;
  int64_t tokens_ = 0;  // of all pieces
};

// A path that says where the code that ran is.
absl::StatusOr<std::string> PlanPath(const GivenSteps& given, const std::string& folder) {
  if (!given.plan.path.empty() && !given.recompiled) return given.plan.path;
  RENGA_ASSIGN_OR_RETURN(const std::string bytes, plan::Serialize(*given.plan.plan));
  const std::string path = StrCat(folder, "/step.plan");
  RENGA_RETURN_IF_ERROR(WriteFileAtomically(path, {std::string_view(bytes)}));
  return path;
}

// As a shell takes it.
std::string Quoted(const std::string& word) {
  const auto plain = [](char c) {
    return ('a' <= c && c <= 'z') || ('A' <= c && c <= 'Z') || ('0' <= c && c <= '9') ||
           std::string_view("_-./:=+,").find(c) != std::string_view::npos;
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

}  // namespace

absl::StatusOr<KeptFailure> KeepFailedStep(const GivenSteps& given, const std::string& folder,
                                           const KeepOptions& options) {
  const plan::Plan& plan = *given.plan.plan;
  if (given.failed_step < 0 || given.failed_step >= static_cast<int>(plan.steps.size())) {
    return absl::InvalidArgumentError("no step has failed");
  }
  Replay replay(given, options);
  RENGA_ASSIGN_OR_RETURN(const CapturedNode node, replay.Compute());
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    return absl::InvalidArgumentError(
        StrCat(folder, ": cannot create the folder: ", error.message()));
  }
  RENGA_ASSIGN_OR_RETURN(const std::string plan_path, PlanPath(given, folder));
  RENGA_RETURN_IF_ERROR(WriteKeptStep(folder, replay.graph(), given.run, node));
  KeptFailure kept;
  kept.node = node.name;
  kept.alone = {plan_path, "--bad", StrCat("--device ", given.device), "--alone", folder};
  CudaReproOptions repro;
  repro.node = node.name;
  repro.plan_path = given.plan.path;
  repro.threads = options.threads;
  repro.found = options.found;
  repro.again = "renga bisect";
  for (const std::string& word : kept.alone) StrAppend(&repro.again, " ", Quoted(word));
  const std::vector<int64_t> sizes = replay.Sizes();
  const absl::Status written = WriteCudaRepro(folder, plan, {node, sizes}, repro);
  if (absl::IsUnimplemented(written)) {
    kept.without = ToStd(written.message());
    const std::string readme =
        StrCat(node.op, " ", node.name, " for ", plan.target, "\n", options.found,
               "\n\nNo repro.cu: ", kept.without,
               "\nBy Renga, on the GPU, with nothing before it:\n  ", repro.again, "\n");
    RENGA_RETURN_IF_ERROR(WriteFileAtomically(StrCat(folder, "/README.txt"), {readme}));
    return kept;
  }
  RENGA_RETURN_IF_ERROR(written);
  return kept;
}

}  // namespace renga
