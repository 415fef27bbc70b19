// A sequence on a GPU whose executor a test can look at.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "ir/base/status.h"
#include "runtime/exec/cuda_runner.h"
#include "runtime/exec/sequence_forward.h"

namespace renga {

class CudaSequence : public SequenceForward {
 public:
  static absl::StatusOr<std::unique_ptr<CudaSequence>> Create(
      std::shared_ptr<const plan::Plan> plan, cuda::ContextRef context, const CudaOptions& options,
      std::string name) {
    RENGA_ASSIGN_OR_RETURN(
        std::unique_ptr<CudaRunner> runner,
        CudaRunner::Create(std::move(plan), std::move(context), options, std::move(name)));
    return std::unique_ptr<CudaSequence>(new CudaSequence(std::move(runner)));
  }

  const CudaExecutor& executor() const {
    return static_cast<const CudaRunner&>(runner()).executor();
  }

 private:
  using SequenceForward::SequenceForward;
};

}  // namespace renga
