#include "tools/open_on_host.h"

#include <utility>

#include "ir/base/status.h"
#include "runtime/exec/cpu_runner.h"
#include "runtime/exec/sequence_forward.h"
#include "runtime/memory/weights.h"
#include "tools/reference_runner.h"

namespace renga {

absl::StatusOr<std::unique_ptr<Forward>> OpenOnHost(std::string_view device,
                                                    std::shared_ptr<const plan::Plan> plan,
                                                    int threads) {
  std::unique_ptr<StepRunner> runner;
  if (device == "reference") {
    WeightOptions options;
    options.threads = threads;
    options.packed = false;
    RENGA_ASSIGN_OR_RETURN(WeightStore store, WeightStore::Open(*plan, options));
    RENGA_ASSIGN_OR_RETURN(
        runner, OpenReference(std::move(plan),
                              std::make_shared<const WeightStore>(std::move(store)), threads));
  } else {
    ExecutorOptions options;
    options.threads = threads;
    RENGA_ASSIGN_OR_RETURN(runner, CpuRunner::Create(std::move(plan), options));
  }
  return std::make_unique<SequenceForward>(std::move(runner));
}

}  // namespace renga
