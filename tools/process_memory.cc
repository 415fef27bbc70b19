#include "tools/process_memory.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <utility>
#include <vector>

#include "ir/base/status.h"
#include "runtime/exec/cpu_kernels.h"
#include "runtime/plan/layout.h"
#include "runtime/text/sampling_filters.h"
#include "runtime/text/tokenizer.h"

namespace renga {
namespace {

uint64_t TouchedActivations(const plan::Plan& plan) {
  std::vector<plan::Symbol> symbols = plan.symbols;
  for (plan::Symbol& symbol : symbols) {
    if (symbol.name == "R") symbol.max = std::min(symbol.max, plan.geometry.max_sequences);
  }
  std::vector<std::pair<uint64_t, uint64_t>> ranges;  // of the arena, in bytes
  uint64_t inputs = 0;
  for (const plan::Buffer& buffer : plan.buffers) {
    if (buffer.view_of >= 0) continue;
    if (buffer.space == plan::Space::kInput) inputs += plan::AlignUp(buffer.bytes);
    if (buffer.space != plan::Space::kArena) continue;
    const uint64_t bytes = plan::MaxBytes(buffer.type, symbols).value_or(buffer.bytes);
    ranges.emplace_back(buffer.offset, buffer.offset + bytes);
  }
  std::sort(ranges.begin(), ranges.end());
  uint64_t touched = 0, at = 0;
  for (const auto& [begin, end] : ranges) {
    touched += end > at ? end - std::max(at, begin) : 0;
    at = std::max(at, end);
  }
  return touched + inputs;
}

}  // namespace

std::optional<uint64_t> ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  uint64_t all = 0, resident = 0;
  if (!(file >> all >> resident)) return std::nullopt;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

uint64_t GpuBytes(const plan::Plan& plan) {
  const uint64_t fixed = plan::ArenaBytes(plan) + plan::PersistentBytes(plan);
  const uint64_t sampling = plan::SamplingBytes(plan);
  const uint64_t inputs = plan.memory.activations - fixed - sampling;
  return plan.memory.weights + plan.memory.kv + fixed + 2 * inputs + 2 * plan::AlignUp(sampling);
}

absl::StatusOr<ProcessMemory> ProcessMemoryOf(const plan::Plan& plan, int threads) {
  const auto tokenizer = Tokenizer::Create(plan.tokenizer);  // or what there is of it
  RENGA_ASSIGN_OR_RETURN(const std::vector<cpu::PreparedKernel> kernels, PrepareCpuKernels(plan));
  const cpu::ScratchBytes scratch = CpuScratch(plan, kernels, threads);
  return ProcessMemory{.weights = plan.memory.weights,
                       .kv = plan.memory.kv,
                       .activations = TouchedActivations(plan),
                       .scratch = scratch.worker * static_cast<uint64_t>(threads) + scratch.shared,
                       .threads = threads,
                       .sampling = static_cast<uint64_t>(plan.geometry.max_sequences) *
                                   static_cast<uint64_t>(plan.model.vocab) *
                                   (sizeof(float) + sizeof(Candidate)),
                       .program = ResidentBytes()};
}

}  // namespace renga
