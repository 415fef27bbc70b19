// Which requests run, and which of their tokens the next step takes.
#include <algorithm>
#include <atomic>
#include <utility>
#include <vector>

#include "ir/base/status.h"
#include "runtime/exec/engine.h"

namespace renga {
namespace {

// Logits held at once when every prompt position's are wanted: 64 MiB.
constexpr int64_t kMaxLogits = int64_t{1} << 24;

int64_t CommonBeginning(absl::Span<const int32_t> a, absl::Span<const int32_t> b) {
  const size_t most = std::min(a.size(), b.size());
  return std::mismatch(a.begin(), a.begin() + static_cast<int64_t>(most), b.begin()).first -
         a.begin();
}

}  // namespace

bool Engine::EndIfCancelled(Request& request) {
  const std::atomic<bool>* cancel = request.completion.options().cancel;
  if (cancel == nullptr || !cancel->load()) return false;
  End(request, request.completion.Finish(FinishReason::kInterrupted));
  return true;
}

void Engine::Admit() {
  for (auto next = running_.begin(); next != running_.end();) EndIfCancelled(*(next++)->second);
  // Of a long queue only the beginning is looked at.
  int64_t later = 0;
  for (auto next = waiting_.begin();
       next != waiting_.end() && running() < max_running_ && later < max_running_;) {
    Request& request = *(next++)->second;
    if (EndIfCancelled(request)) continue;
    const Admission admission = AdmitOne(request);
    // What does not fit holds up those behind it, or small ones could keep it out forever.
    if (admission == Admission::kNoRoom) return;
    if (admission == Admission::kLater) ++later;
  }
}

Engine::Admission Engine::AdmitOne(Request& request) {
  const absl::StatusOr<int> sequence = pages_.NewSequence();
  if (!sequence.ok()) return Admission::kNoRoom;
  int64_t known = 0;
  if (share_prefixes_ && !request.completion.options().prompt_top) {
    known = *pages_.Reuse(*sequence, request.tokens);  // an error only of one that has tokens
  }
  const bool fits = running_.empty() || Fits(request, known);
  if (!fits || WaitsForAnother(request, known)) {
    pages_.Free(*sequence);
    return fits ? Admission::kLater : Admission::kNoRoom;
  }
  waiting_.erase(request.id);
  running_[request.id] = &request;
  request.sequence = *sequence;
  request.computed = known;
  if (request.started == Clock::time_point()) {
    request.started = Clock::now();
    request.completion.timings().reused_tokens = known;
    counters_.reused_tokens += known;
  }
  request.ever_computed = std::max(request.ever_computed, known);
  return Admission::kRuns;
}

// Pages of a group that it will have at the end.
int64_t Engine::MostPages(const Request& request, int group) const {
  const int64_t context = runner_->plan().geometry.context;
  const int64_t wanted = request.completion.options().max_tokens;
  int64_t tokens = context;
  if (wanted >= 0 && !request.completion.options().shift)
    tokens = std::min(context, request.prompt_tokens + wanted);
  return pages_.MostPages(tokens, group);
}

bool Engine::Fits(const Request& request, int64_t known) const {
  for (int group = 0; group < pages_.groups(); ++group) {
    if (!FitsIn(group, request, known)) return false;
  }
  return true;
}

bool Engine::FitsIn(int group, const Request& request, int64_t known) const {
  const int64_t page = pages_.page_tokens();
  const int64_t tokens = static_cast<int64_t>(request.tokens.size());
  if (deterministic_) {
    // Nobody may have to go again.
    int64_t most = MostPages(request, group);
    for (const auto& [id, other] : running_) most += MostPages(*other, group);
    return most <= pages_.cells(group) / page;
  }
  // The next token's page too, and one for each that runs: else it would soon have to go again.
  if (group == 0) {
    return (tokens + page) / page - known / page + running() <= pages_.free_pages();
  }
  // Who has all pages that a window needs takes no more.
  int64_t needed = pages_.MostPages(tokens + 1, group);
  for (const auto& [id, other] : running_) {
    const int64_t held = static_cast<int64_t>(pages_.pages(other->sequence).size()) -
                         pages_.first_page(other->sequence, group);
    needed += std::min(held + 1, MostPages(*other, group));
  }
  return needed <= pages_.cells(group) / page;
}

// Somebody is about to compute what this request begins with, beyond what is known of it.
bool Engine::WaitsForAnother(const Request& request, int64_t known) const {
  if (!share_prefixes_ || request.completion.options().prompt_top) return false;
  const int64_t page = pages_.page_tokens();
  for (const auto& [id, other] : running_) {
    const int64_t common = std::min(CommonBeginning(request.tokens, other->tokens),
                                    static_cast<int64_t>(request.tokens.size()) - 1) /
                           page * page;
    if (common > known && other->computed < common) return true;
  }
  return false;
}

void Engine::Leave(Request& request) {
  if (request.sequence < 0) return;
  Drop(request);
  pages_.Free(request.sequence);
  request.sequence = -1;
  running_.erase(request.id);
}

void Engine::Preempt(Request& request) {
  ++counters_.preemptions;
  Leave(request);
  request.computed = 0;
  waiting_[request.id] = &request;
}

void Engine::Schedule() {
  while (true) {
    pieces_.clear();
    batch_.Clear();
    if (deterministic_) return ScheduleAlike();
    // Younger ones may be preempted on the way.
    for (const auto& [id, request] : running_) {
      if (request->pending() == 1) SchedulePiece(*request);
    }
    for (const auto& [id, request] : running_) {
      if (request->pending() > 1) SchedulePiece(*request);
    }
    if (!pieces_.empty() || running_.empty()) return;
    // All wait for pages that the others hold; alone, each has enough.
    Preempt(*running_.rbegin()->second);
  }
}

// In turn, up to the first that would not be what it is alone: a piece of a prompt, or more tokens
// than the plan's kernels keep apart. Each has its pages (FitsIn).
void Engine::ScheduleAlike() {
  const int64_t most =
      std::min({runner_->plan().geometry.invariant_tokens, step_tokens_, max_rows_});
  auto next = running_.upper_bound(last_served_);
  for (int64_t left = running(); left > 0; --left, ++next) {
    if (next == running_.end()) next = running_.begin();
    Request& request = *next->second;
    const bool single = request.pending() == 1;
    if (!pieces_.empty() && (!single || batch_.tokens() >= most)) return;
    SchedulePiece(request);
    last_served_ = next->first;
    if (!single) return;
  }
}

void Engine::SchedulePiece(Request& request) {
  int64_t tokens = std::min(request.pending(), step_tokens_ - batch_.tokens());
  const int64_t rows_left = max_rows_ - static_cast<int64_t>(batch_.rows());
  int64_t rows = 0;
  if (request.wants_prompt_rows()) {
    const int64_t most = std::max<int64_t>(1, kMaxLogits / runner_->plan().model.vocab);
    tokens = std::min({tokens, rows_left, most});
    rows = request.computed + tokens - std::max(request.computed, request.prompt_rows);
  }
  if (tokens == request.pending() && request.completion.options().max_tokens != 0) {
    rows = std::max<int64_t>(rows, 1);
  }
  if (tokens < 1 || rows > rows_left || !Append(request, tokens)) return;
  const absl::Span<const int32_t> taken =
      absl::MakeConstSpan(request.tokens)
          .subspan(static_cast<size_t>(request.computed), static_cast<size_t>(tokens));
  pieces_.push_back(
      {&request, tokens, std::max<int64_t>(rows, 0),
       batch_.Add(request.sequence, request.computed, taken, cells_, std::max<int64_t>(rows, 0))});
}

bool Engine::Append(Request& request, int64_t tokens) {
  cells_.clear();
  while (!pages_.Append(request.sequence, tokens, &cells_).ok()) {
    if (!MakeRoomFor(request)) return false;
  }
  return true;
}

// Only the youngest gives way, and only to an older one.
bool Engine::MakeRoomFor(const Request& request) {
  Request& youngest = *running_.rbegin()->second;
  if (youngest.id <= request.id || InStep(youngest)) return false;
  Preempt(youngest);
  return true;
}

bool Engine::InStep(const Request& request) const {
  return std::any_of(pieces_.begin(), pieces_.end(),
                     [&request](const Piece& piece) { return piece.request == &request; });
}

}  // namespace renga
