// Steps that go on from what the device has chosen before the host has read it.
#include <algorithm>

#include "ir/base/status.h"
#include "runtime/exec/engine.h"

namespace renga {

Engine::~Engine() {
  for (; under_way_ > 0; --under_way_) (void)runner_->Finish();
}

// Whoever else goes on by something else than `next`, which the host chooses.
bool Engine::DeviceChooses(const Request& request) const {
  const Completion& completion = request.completion;
  if (request.look_at_logits) return false;
  return completion.model_chooses() ||
         (runner_->samples() && completion.asks_ahead() && !request.undecided);
}

bool Engine::IsToken(int32_t id) const { return id >= 0 && id < runner_->plan().model.vocab; }

// Whether its request can go on with the token that the device is about to choose.
bool Engine::CanGoOn(const Piece& piece) const {
  if (piece.request == nullptr || piece.rows != 1) return false;
  const Request& request = *piece.request;
  return request.pending() == piece.tokens && DeviceChooses(request) &&
         request.computed + piece.tokens < runner_->plan().geometry.context;
}

// Whether that token is known to be its last.
bool Engine::IsToEnd(const Piece& piece) const {
  const Completion& completion = piece.request->completion;
  return static_cast<int64_t>(completion.result().ids.size()) + 1 ==
         completion.options().max_tokens;
}

// The step under way then has one row of each request that runs, in the order in which the next one
// takes their tokens. Who could begin has begun (Admit), and is not in it. Leaving out one that is
// to end would change the order: a few go along for nothing, unless others wait for their place.
bool Engine::MayGoAhead() const {
  if (!run_ahead_ || pieces_.size() != running_.size() ||
      !std::all_of(pieces_.begin(), pieces_.end(),
                   [this](const Piece& piece) { return CanGoOn(piece); })) {
    return false;
  }
  const auto ends = std::count_if(pieces_.begin(), pieces_.end(),
                                  [this](const Piece& piece) { return IsToEnd(piece); });
  return ends == 0 || (waiting_.empty() && 2 * ends < static_cast<int64_t>(pieces_.size()));
}

// False where the pages do not suffice, and nothing has changed.
bool Engine::ScheduleAhead() {
  batch_.Clear();
  for (const Piece& piece : pieces_) {
    Request& request = *piece.request;
    const int64_t position = request.computed + piece.tokens;
    cells_.clear();
    if (!pages_.Append(request.sequence, 1, &cells_).ok()) {
      for (const Piece& added : ahead_) {
        const int sequence = added.request->sequence;
        (void)pages_.Truncate(sequence, pages_.position(sequence) - 1);
      }
      ahead_.clear();
      return false;
    }
    constexpr int32_t kNotKnown = 0;
    ahead_.push_back(
        {&request, 1, 1,
         batch_.Add(request.sequence, position, absl::MakeConstSpan(&kNotKnown, 1), cells_, 1)});
  }
  return true;
}

absl::Status Engine::StartAhead() {
  {
    const Timeline::Scope scope(timeline_, "schedule");
    if (!MayGoAhead() || !ScheduleAhead()) return absl::OkStatus();
  }
  ++counters_.steps_ahead;
  return StartBatch(/*fed_back=*/true);
}

// Of steps under way: what comes of it is of no use any more. Whatever is done with its pages comes
// after the step that writes to them.
void Engine::Drop(const Request& request) {
  for (std::vector<Piece>* pieces : {&pieces_, &ahead_}) {
    for (Piece& piece : *pieces) {
      if (piece.request != &request) continue;
      counters_.dropped_tokens += piece.tokens;
      piece.request = nullptr;
    }
  }
}

// What the device chose is no token, and the logits that would say why are those of another step by
// now: the same tokens once more, with nothing behind them.
absl::Status Engine::ComputeAgain(Request& request) {
  Drop(request);
  request.look_at_logits = true;
  request.undecided = true;
  return pages_.Truncate(request.sequence, request.computed);
}

}  // namespace renga
