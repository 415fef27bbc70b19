// The steps of an executor for the cpu, in a timeline.
#pragma once

#include "runtime/exec/executor.h"
#include "runtime/exec/timeline.h"

namespace renga {

// Notes every step of every run by its name, and the runs. Takes the executor's hooks; the timeline
// must outlive it.
void NoteSteps(Executor* executor, Timeline* timeline);

}  // namespace renga
