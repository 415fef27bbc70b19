// dump --stage memory: what lies where and when, what lies there at another time, and the sums.
#include <algorithm>
#include <optional>
#include <thread>

#include "absl/strings/str_format.h"
#include "ir/base/status.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/lifetime.h"
#include "runtime/plan/print.h"
#include "tools/process_memory.h"
#include "tools/renga/dump_filter.h"
#include "tools/renga/dump_input.h"
#include "tools/renga/memory_map.h"
#include "tools/renga/text.h"

namespace renga {
namespace {

constexpr size_t kFewBuffers = 6;

// Null of a plan for GPUs.
Json ProcessJson(const std::optional<ProcessMemory>& process) {
  if (!process) return nullptr;
  return {{"threads", process->threads},
          {"activations", process->activations},
          {"scratch", process->scratch},
          {"sampling", process->sampling},
          {"program", process->program ? Json(*process->program) : Json()},
          {"total", process->total()}};
}

Json MemoryJson(const DumpFlags& flags, const plan::Plan& plan,
                const std::optional<ProcessMemory>& process) {
  const std::vector<plan::Lifetime> lives = plan::Lifetimes(plan);
  const std::vector<std::vector<int>> sharers = Sharers(plan, lives);
  Json arena = Json::array(), caches = Json::array();
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    const plan::Buffer& buffer = plan.buffers[i];
    if (buffer.space != plan::Space::kArena || buffer.view_of >= 0) continue;
    if (!flags.Keeps(buffer.name)) continue;
    Json shares = Json::array();
    for (const int other : sharers[i]) shares.push_back(plan.buffers[other].name);
    arena.push_back({{"name", buffer.name},
                     {"offset", buffer.offset},
                     {"bytes", buffer.bytes},
                     {"first_step", lives[i].first},
                     {"last_step", lives[i].last},
                     {"shares_bytes_with", std::move(shares)}});
  }
  for (const plan::Cache& cache : plan.caches) {
    if (flags.layer && cache.layer != *flags.layer) continue;
    caches.push_back({{"name", cache.name},
                      {"layer", cache.layer},
                      {"type", std::string(Name(cache.dtype))},
                      {"window", plan::WindowOf(plan, cache.group)},
                      {"cells", plan::CacheCells(plan, cache.group)},
                      {"cell_bytes", cache.cell_bytes}});
  }
  const Peak peak = FullestStep(plan, lives);
  Json fullest = nullptr;
  if (peak.step >= 0) {
    fullest = {{"step", peak.step}, {"name", plan.steps[peak.step].name}, {"bytes", peak.bytes}};
  }
  return {{"weights", plan.memory.weights},
          {"kv", plan.memory.kv},
          {"activations", plan.memory.activations},
          {"total", plan.memory.total()},
          {"process", ProcessJson(process)},
          {"gpu", plan.gpu.targets.empty() ? Json() : Json(GpuBytes(plan))},
          {"arena_bytes", plan::ArenaBytes(plan)},
          {"fullest", std::move(fullest)},
          {"cache_cells", plan::CacheCells(plan)},
          {"sampling_bytes", plan::SamplingBytes(plan)},
          {"arena", std::move(arena)},
          {"caches", std::move(caches)}};
}

std::string MemoryText(const DumpFlags& flags, const plan::Plan& plan,
                       const std::optional<ProcessMemory>& process) {
  const std::vector<plan::Lifetime> lives = plan::Lifetimes(plan);
  const std::vector<MemorySection> sections = MemorySections(plan, lives, flags.layer);
  size_t most = 0;
  for (const MemorySection& section : sections) most = std::max(most, section.layers.size());
  std::string text;
  bool drawn = false;
  for (const MemorySection& section : sections) {
    // One screen: what most layers look like, and what takes few lines.
    const bool typical = !drawn && most > 0 && section.layers.size() == most;
    drawn = drawn || typical;
    if (flags.layer || typical || section.buffers.size() <= kFewBuffers) {
      StrAppend(&text, MemorySectionText(plan, lives, section), "\n");
    } else {
      StrAppend(&text, MemorySectionLine(plan, section), "\n");
    }
  }
  if (const Peak peak = FullestStep(plan, lives); peak.step >= 0) {
    StrAppend(&text, absl::StrFormat("%-12s %15d bytes  at step %d, %s\n", "fullest", peak.bytes,
                                     peak.step, EscapeForTerminal(plan.steps[peak.step].name)));
  }
  text += plan::PrintMemory(plan);
  if (!plan.gpu.targets.empty()) {
    StrAppend(&text, absl::StrFormat(
                         "%-12s %15d bytes  inputs and sampling twice, as two runs may be under "
                         "way; the driver's context and the code come to it\n",
                         "gpu", GpuBytes(plan)));
  }
  if (!process || !process->program) return text;
  const auto line = [&text](std::string_view name, uint64_t bytes, std::string_view note) {
    StrAppend(&text, absl::StrFormat("%-12s %15d bytes  %s\n", ToAbsl(name), bytes, ToAbsl(note)));
  };
  const std::string threads =
      process->threads == 1 ? "1 thread" : StrCat(process->threads, " threads");
  line("scratch", process->scratch, StrCat("what kernels work in, of ", threads, " (-t)"));
  line("sampling", process->sampling, "a row of logits and candidates a sequence, on the host");
  line("program", *process->program,
       "what runs it takes besides: itself, the plan as it is read, the vocabulary");
  std::string note = "all of these once the context is full";
  if (process->activations < plan.memory.activations) {
    StrAppend(&note, "; of the activations ", process->activations,
              " bytes are touched, with logits of one row a sequence");
  }
  line("process", process->total(), note);
  return text;
}

}  // namespace

absl::StatusOr<std::string> DumpMemory(const DumpFlags& flags, FileKind kind) {
  RENGA_ASSIGN_OR_RETURN(const OpenedPlan opened, PlanOf(flags, kind));
  DumpFilter filter(flags, "buffers");
  filter.AddLayers(opened.plan->model.layers);
  RENGA_RETURN_IF_ERROR(filter.CheckFound());
  std::optional<ProcessMemory> process;
  if (opened.plan->gpu.targets.empty()) {
    const int threads = flags.threads > 0
                            ? flags.threads
                            : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    RENGA_ASSIGN_OR_RETURN(process, ProcessMemoryOf(*opened.plan, threads));
  }
  if (flags.json) return JsonText(MemoryJson(flags, *opened.plan, process));
  return MemoryText(flags, *opened.plan, process);
}

}  // namespace renga
