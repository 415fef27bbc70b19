#include "runtime/device/cuda/arena.h"

#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "ir/base/status.h"

namespace renga::cuda {
namespace {

constexpr std::string_view kStart = "no memory for ";

// "1.2 GB", in the units that GPUs are sold by.
std::string SizeText(uint64_t bytes) {
  constexpr std::pair<double, const char*> kUnits[] = {{1e9, "GB"}, {1e6, "MB"}, {1e3, "kB"}};
  const double size = static_cast<double>(bytes);
  for (const auto& [unit, name] : kUnits) {
    if (size >= unit) return absl::StrFormat("%.1f %s", size / unit, name);
  }
  return StrCat(bytes, " bytes");
}

}  // namespace

absl::Status ExplainMemory(const absl::Status& status, const Context& context,
                           const plan::Plan& plan, std::string_view what) {
  if (!absl::IsResourceExhausted(status)) return status;
  if (ToStd(status.message()).starts_with(kStart)) return status;
  const plan::Memory& memory = plan.memory;
  const absl::StatusOr<size_t> free = context.FreeBytes();
  return absl::ResourceExhaustedError(
      StrCat(kStart, what, ": the plan takes ", SizeText(memory.weights), " of weights, ",
             SizeText(memory.kv), " of keys and values and ", SizeText(memory.activations),
             " of activations at up to ", plan.geometry.max_step_tokens, " tokens a step, ",
             SizeText(memory.total()), " in all; of the ",
             SizeText(static_cast<uint64_t>(context.gpu().memory_bytes)), " of ",
             context.gpu().name, " ", free.ok() ? SizeText(*free) : "an unknown part",
             " are free; use a smaller context (-c), fewer tokens a step (--max-step), smaller "
             "keys and values (--kv-type), fewer sequences (--max-seqs) or a smaller quantisation "
             "(",
             status.message(), ")"));
}

absl::StatusOr<Memory> AllocateArena(ContextRef context, const plan::Plan& plan,
                                     std::string_view what, uint64_t bytes) {
  absl::StatusOr<Memory> memory = Memory::Allocate(context, bytes);
  if (memory.ok()) return memory;
  return ExplainMemory(memory.status(), *context, plan, what);
}

}  // namespace renga::cuda
