#include "runtime/exec/cpu_timeline.h"

#include <memory>
#include <utility>

#include "runtime/plan/layout.h"

namespace renga {

void NoteSteps(Executor* executor, Timeline* timeline) {
  struct State {
    double run_begin = 0, step_begin = 0;
    int64_t run = -1;
  };
  const auto state = std::make_shared<State>();
  const plan::Plan& plan = executor->plan();
  const int32_t tokens = plan::FindSymbol(plan, "T");
  StepHooks hooks;
  hooks.before = [=](int step) -> absl::StatusOr<bool> {
    state->step_begin = timeline->Now();
    if (step == 0) {
      ++state->run;
      state->run_begin = state->step_begin;
    }
    return false;
  };
  hooks.after = [=, &plan](int step) {
    const double now = timeline->Now();
    timeline->Add(
        {TimelineRow::kSteps, plan.steps[step].name, state->step_begin, now, state->run, 0});
    return absl::OkStatus();
  };
  hooks.end = [=] {
    timeline->Add({TimelineRow::kRuns, "run", state->run_begin, timeline->Now(), state->run,
                   tokens < 0 ? 0 : executor->sizes()[tokens]});
  };
  executor->SetHooks(std::move(hooks));
}

}  // namespace renga
