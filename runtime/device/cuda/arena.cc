#include "runtime/device/cuda/arena.h"

#include <utility>

#include "ir/base/status.h"

namespace renga::cuda {

absl::Status ExplainMemory(const absl::Status& status, const Context& context,
                           const plan::Plan& plan, std::string_view what) {
  if (!absl::IsResourceExhausted(status)) return status;
  const absl::StatusOr<size_t> free = context.FreeBytes();
  return absl::ResourceExhaustedError(StrCat(
      what, ": ", status.message(), "; the plan takes ", plan.memory.weights, " bytes of weights, ",
      plan.memory.kv, " of KV cache and ", plan.memory.activations, " of activations, the GPU (",
      context.gpu().name, ") has ", context.gpu().memory_bytes, " bytes, ",
      free.ok() ? StrCat(*free) : "an unknown number", " of them free",
      "; compile with a smaller context (-c) or fewer sequences (--max-seqs), or take a smaller "
      "quantisation"));
}

absl::StatusOr<Memory> AllocateArena(ContextRef context, const plan::Plan& plan,
                                     std::string_view what, uint64_t bytes) {
  absl::StatusOr<Memory> memory = Memory::Allocate(context, bytes);
  if (memory.ok()) return memory;
  return ExplainMemory(memory.status(), *context, plan, what);
}

}  // namespace renga::cuda
