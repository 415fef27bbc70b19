#include "tools/verify_steps.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <optional>
#include <set>
#include <utility>

#include "ir/base/status.h"
#include "runtime/exec/step_batch.h"
#include "runtime/memory/kv_pages.h"
#include "runtime/plan/layout.h"

namespace renga {
namespace {

// So many tokens of a sequence in the step that is checked, behind so many others.
struct Part {
  int64_t behind;
  int64_t tokens;
};

struct Kind {
  std::string name;
  std::vector<Part> parts;
};

class StepsVerifier {
 public:
  StepsVerifier(StepRecorder& recorder, const WeightBytes& weights,
                const VerifyStepsOptions& options)
      : recorder_(recorder),
        plan_(recorder.plan()),
        weights_(weights),
        options_(options),
        context_(plan_.geometry.context),
        most_(std::min(plan_.geometry.max_step_tokens, context_)) {}

  absl::StatusOr<StepsVerdict> Run() {
    RENGA_RETURN_IF_ERROR(CheckIds());
    const std::vector<Kind> kinds = Kinds();
    for (size_t i = 0; i < kinds.size(); ++i) {
      done_ = i;
      all_ = kinds.size();
      RENGA_RETURN_IF_ERROR(Check(kinds[i]));
    }
    return std::move(verdict_);
  }

 private:
  absl::Status CheckIds() const {
    if (options_.ids.size() < 2) {
      return absl::InvalidArgumentError(
          StrCat("expected two tokens or more, for at position 0 much cannot be seen, got ",
                 options_.ids.size()));
    }
    for (const std::vector<int32_t>* ids : {&options_.ids, &options_.more}) {
      for (const int32_t id : *ids) {
        if (id >= 0 && id < plan_.model.vocab) continue;
        return absl::OutOfRangeError(
            StrCat("token id: expected 0..", plan_.model.vocab - 1, ", got ", id));
      }
    }
    if (most_ >= 2) return absl::OkStatus();
    return absl::OutOfRangeError(
        StrCat("expected a plan for two tokens a step or more, got one for ",
               plan_.geometry.max_step_tokens, " of a context of ", context_,
               "; name the GGUF, or compile again with --max-step and -c"));
  }

  std::vector<Kind> Kinds() {
    const int64_t first = std::min(static_cast<int64_t>(options_.ids.size()), most_);
    std::vector<Kind> kinds = {{StrCat(first, " tokens from an empty cache"), {{0, first}}}};
    // Positions in the second page where there is one.
    const int64_t far = std::min(context_ - 1, plan_.geometry.page_tokens + 6);
    const int64_t behind = std::min<int64_t>(13, context_ / 2);
    const int64_t chunk = std::min({int64_t{5}, most_ - 2, context_ - behind});
    std::vector<Part> parts = {{behind, chunk}, {far, 1}};
    if (plan_.geometry.max_sequences > 2 && most_ >= chunk + 2) {
      parts.push_back({0, std::min<int64_t>(3, most_ - chunk - 1)});
    }
    if (plan_.geometry.max_sequences < 2) {
      NotRun("several sequences at once", "the plan holds one");
      if (chunk > 0) {
        kinds.push_back({StrCat(chunk, " tokens behind ", behind), {{behind, chunk}}});
      }
    } else if (chunk < 1 || behind < 1 || !HasRoom(parts)) {
      NotRun("several sequences at once", "the plan has no room for them");
    } else {
      kinds.push_back({StrCat(parts.size(), " sequences at once, ", chunk, " tokens behind ",
                              behind, " and one behind ", far),
                       std::move(parts)});
    }
    const bool too_long = context_ > kMostFilled;
    if (too_long && !options_.quick) {
      NotRun("the last token of a full context",
             StrCat("the context is ", context_, ", above ", kMostFilled, " (-c)"));
    }
    if (too_long || options_.quick) {
      if (far > 0) kinds.push_back({StrCat("one token behind ", far), {{far, 1}}});
    } else {
      kinds.push_back({StrCat("the last token of a context of ", context_), {{context_ - 1, 1}}});
    }
    AddOtherKernels(&kinds);
    return kinds;
  }

  // The least numbers of tokens from which on some step of a GPU's plan takes other kernels.
  std::set<int64_t> Thresholds() const {
    std::set<int64_t> thresholds;
    for (const plan::Step& step : plan_.steps) {
      if (step.variants.empty() || plan_.symbols[step.chosen_by].name != "T") continue;
      for (const plan::Variant& variant : step.variants) thresholds.insert(variant.last + 1);
    }
    return thresholds;
  }

  // Steps of as many tokens as take the kernels that no other kind takes.
  void AddOtherKernels(std::vector<Kind>* kinds) {
    std::set<int64_t> counts;
    for (const Kind& kind : *kinds) {
      int64_t tokens = 0;
      for (const Part& part : kind.parts) tokens += part.tokens;
      counts.insert(tokens);
    }
    const std::set<int64_t> thresholds = Thresholds();
    for (auto first = thresholds.begin(); first != thresholds.end(); ++first) {
      const auto next = std::next(first);
      if (*first > plan_.geometry.max_step_tokens) break;  // the end of the last
      const int64_t end = next == thresholds.end() ? *first + 1 : *next;
      const auto has = counts.lower_bound(*first);
      if (has != counts.end() && *has < end) continue;
      if (*first > most_ || options_.quick) {
        NotRun(StrCat("kernels for steps of ", *first, " tokens and more"),
               options_.quick ? std::string("left out by --quick")
                              : StrCat("the context is ", context_, " (-c)"));
        continue;
      }
      // Odd where it can be.
      const int64_t tokens = std::min({*first + 5, end - 1, most_});
      kinds->push_back({StrCat(tokens, " tokens from an empty cache"), {{0, tokens}}});
    }
  }

  bool HasRoom(const std::vector<Part>& parts) const {
    const KvPages all(plan_);
    for (int group = 0; group < all.groups(); ++group) {
      int64_t pages = 0;
      for (const Part& part : parts) pages += all.MostPages(part.behind + part.tokens, group);
      if (pages * all.page_tokens() > all.cells(group)) return false;
    }
    return true;
  }

  void NotRun(std::string_view what, std::string_view why) {
    verdict_.not_run.push_back(StrCat(what, ": ", why));
  }

  // Token at a position of the n-th sequence of a step: of each another text.
  int32_t TokenAt(size_t sequence, int64_t position) const {
    const std::vector<int32_t>& ids = options_.ids;
    const std::vector<int32_t>& more = options_.more.empty() ? ids : options_.more;
    const size_t at = static_cast<size_t>(position) + 5 * sequence;
    return at < ids.size() ? ids[at] : more[at % more.size()];
  }

  std::vector<int32_t> Tokens(size_t sequence, int64_t from, int64_t count) const {
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i < count; ++i) tokens.push_back(TokenAt(sequence, from + i));
    return tokens;
  }

  absl::Status Check(const Kind& kind) {
    // What an earlier step left could be just what this one fails to write.
    RENGA_RETURN_IF_ERROR(recorder_.Forget());
    KvPages pages(plan_);
    const int64_t max_rows = std::max<int64_t>(1, plan::SymbolMax(plan_, "R", most_));
    StepBatch batch;
    std::vector<int> sequences;
    for (size_t i = 0; i < kind.parts.size(); ++i) {
      RENGA_ASSIGN_OR_RETURN(const int sequence, pages.NewSequence());
      sequences.push_back(sequence);
      // In pieces of seven, as prompts come, and the last one alone.
      for (int64_t at = 0; at < kind.parts[i].behind;) {
        if (options_.nodes.cancel != nullptr && *options_.nodes.cancel) {
          return absl::CancelledError("interrupted");
        }
        const int64_t left = kind.parts[i].behind - at;
        const int64_t count = std::min({left > 1 ? left - 1 : left, most_, int64_t{7}});
        batch.Clear();
        RENGA_RETURN_IF_ERROR(Append(pages, sequence, i, at, count, 0, &batch));
        RENGA_RETURN_IF_ERROR(recorder_.Run(batch.Inputs(pages), 0, nullptr));
        at += count;
      }
    }
    batch.Clear();
    int64_t rows = max_rows;
    for (size_t i = 0; i < kind.parts.size(); ++i) {
      const int64_t left = static_cast<int64_t>(kind.parts.size() - i) - 1;
      const int64_t of_this = std::clamp<int64_t>(rows - left, 0, kind.parts[i].tokens);
      rows -= of_this;
      RENGA_RETURN_IF_ERROR(Append(pages, sequences[i], i, kind.parts[i].behind,
                                   kind.parts[i].tokens, of_this, &batch));
    }
    int64_t cells = 0;
    for (const int sequence : sequences) {
      for (int group = 0; group < pages.groups(); ++group) {
        for (const int32_t page : pages.pages(sequence, group)) {
          cells = std::max(cells, (int64_t{page} + 1) * pages.page_tokens());
        }
      }
    }
    RecordedStep record;
    RENGA_RETURN_IF_ERROR(
        recorder_.Run(batch.Inputs(pages), std::min(cells, pages.cells()), &record));
    VerifyOptions nodes = options_.nodes;
    if (!plan_.gpu.targets.empty()) nodes.node = kHalfNodeTolerance;
    if (VerifyLog* const log = options_.log; log != nullptr) {
      nodes.known = [log, &kind](std::string_view name) -> std::optional<double> {
        const std::optional<std::string> found = log->Find(kind.name, name);
        return found ? ExactNumber(*found) : std::nullopt;
      };
      nodes.on_right = [log, &kind](std::string_view name, double share) {
        return log->Add(kind.name, name, ExactText(share));
      };
    }
    if (nodes.progress) {
      nodes.progress = [this](int64_t done, int64_t of) {
        options_.nodes.progress(static_cast<int64_t>(done_) * of + done,
                                static_cast<int64_t>(all_) * of);
      };
    }
    RENGA_ASSIGN_OR_RETURN(Verdict found, VerifyTrace(record.trace, recorder_.graph(), weights_,
                                                      nodes, &record.state));
    AddStep(kind.name, std::move(found), &verdict_.nodes);
    verdict_.steps.push_back(kind.name);
    return absl::OkStatus();
  }

  absl::Status Append(KvPages& pages, int sequence, size_t number, int64_t from, int64_t count,
                      int64_t rows, StepBatch* batch) const {
    std::vector<int32_t> cells;
    RENGA_RETURN_IF_ERROR(pages.Append(sequence, count, &cells));
    batch->Add(sequence, from, Tokens(number, from, count), cells, rows);
    return absl::OkStatus();
  }

  StepRecorder& recorder_;
  const plan::Plan& plan_;
  const WeightBytes& weights_;
  const VerifyStepsOptions& options_;
  const int64_t context_, most_;
  size_t done_ = 0, all_ = 1;  // steps
  StepsVerdict verdict_;
};

}  // namespace

absl::StatusOr<StepsVerdict> VerifySteps(StepRecorder& recorder, const WeightBytes& weights,
                                         const VerifyStepsOptions& options) {
  return StepsVerifier(recorder, weights, options).Run();
}

}  // namespace renga
