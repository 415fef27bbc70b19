#include "runtime/plan/print.h"

#include <algorithm>
#include <charconv>

#include "absl/strings/str_format.h"
#include "ir/base/status.h"
#include "runtime/plan/layout.h"

namespace renga::plan {
namespace {

std::string BufferText(const Plan& plan, int32_t index) {
  if (index < 0) return "-";
  const Buffer& buffer = plan.buffers[index];
  return StrCat(buffer.space == Space::kWeight ? "@" : "%", buffer.name);
}

std::string_view KernelText(const Plan& plan, const Step& step) {
  if (step.kind == StepKind::kKernel) return plan.kernels[step.kernel].name;
  return ToString(step.kind);
}

// "arena +1024", "input 0", "view of %0.q_proj"
std::string PlaceText(const Plan& plan, const Buffer& buffer) {
  if (buffer.view_of >= 0) return StrCat("view of ", BufferText(plan, buffer.view_of));
  if (buffer.space == Space::kArena || buffer.space == Space::kPersistent) {
    return StrCat(ToString(buffer.space), " +", buffer.offset);
  }
  return StrCat(ToString(buffer.space), " ", buffer.index,
                buffer.type.layout.empty() ? "" : StrCat(", layout ", buffer.type.layout));
}

void AppendHeader(const Plan& plan, std::string* text) {
  const ModelInfo& model = plan.model;
  const Geometry& geometry = plan.geometry;
  StrAppend(text, "plan ", kFormatVersion, " for ", plan.target, ", by ", plan.producer, "\n");
  StrAppend(text, "model ", model.architecture, " \"", model.name, "\"  ", model.layers,
            " layers  ", model.embedding, " wide  ", model.heads, "/", model.kv_heads, " heads x ",
            model.head_dim, "  vocab ", model.vocab, "  ", model.file_type, "\n");
  StrAppend(text, "geometry  context ", geometry.context, "  page ", geometry.page_tokens,
            " tokens  sequences ", geometry.max_sequences, "  step ", geometry.max_step_tokens,
            " tokens  batch-invariant ", geometry.invariant_tokens, "\n");
  for (const Symbol& symbol : plan.symbols) {
    StrAppend(text, "dim ", symbol.name, " = 1..", symbol.max, "\n");
  }
  for (const GpuTarget& target : plan.gpu.targets) {
    StrAppend(text, "target ", target.name, "  ", target.shared_per_block,
              " bytes of shared memory a block\n");
  }
  for (const GpuPacker& packer : plan.gpu.packers) {
    StrAppend(text, "packer ", Name(packer.type), "  ", plan.gpu.kernels[packer.kernel].name, "\n");
  }
  if (plan.gpu.sampler.kernel >= 0) {
    StrAppend(text, "sampler  ", plan.gpu.kernels[plan.gpu.sampler.kernel].name, "\n");
  }
  for (const ModelFile& file : plan.files) {
    StrAppend(text, "file ", file.path, "  ", file.bytes, " bytes\n");
  }
}

void AppendBuffers(const Plan& plan, std::string* text) {
  size_t width = 0;
  for (const Buffer& buffer : plan.buffers) width = std::max(width, buffer.name.size() + 1);
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    const Buffer& buffer = plan.buffers[i];
    const std::string line =
        absl::StrFormat("buffer %-4d %-*s  %-18s %12d bytes  %s", i, static_cast<int>(width),
                        BufferText(plan, static_cast<int32_t>(i)),
                        ToString(buffer.type, plan.symbols), buffer.bytes, PlaceText(plan, buffer));
    StrAppend(text, line, "\n");
  }
}

// "layer 0", "layers 0-2", "layers 0, 2, 5-6".
std::string LayersText(const std::vector<int32_t>& numbers) {
  std::vector<std::string> runs;
  for (size_t i = 0, end = 0; i < numbers.size(); i = end) {
    for (end = i + 1; end < numbers.size() && numbers[end] == numbers[end - 1] + 1;) ++end;
    runs.push_back(end == i + 1 ? StrCat(numbers[i]) : StrCat(numbers[i], "-", numbers[end - 1]));
  }
  return StrCat(numbers.size() == 1 ? "layer " : "layers ", StrJoin(runs, ", "));
}

// The caches of a layer as one line, that of all layers that have the same as theirs; where layers
// have pages of their own, what those are for.
std::string PrintKvOfLayers(const Plan& plan) {
  struct Layers {
    std::vector<int32_t> numbers;
    std::string types;
    uint64_t bytes = 0;  // of one
    int32_t group = 0;
  };
  std::vector<Layers> alike;
  for (size_t i = 0; i < plan.caches.size();) {
    Layers one{{plan.caches[i].layer}, "", 0, plan.caches[i].group};
    for (; i < plan.caches.size() && plan.caches[i].layer == one.numbers[0]; ++i) {
      const Cache& cache = plan.caches[i];
      StrAppend(&one.types, one.types.empty() ? "" : " + ", Name(cache.dtype));
      one.bytes += CacheBytes(plan, cache);
    }
    const auto found = std::find_if(alike.begin(), alike.end(), [&one](const Layers& other) {
      return other.types == one.types && other.bytes == one.bytes && other.group == one.group;
    });
    if (found != alike.end()) {
      found->numbers.push_back(one.numbers[0]);
    } else {
      alike.push_back(std::move(one));
    }
  }
  std::string text;
  for (const Layers& one : alike) {
    const std::string window =
        one.group == 0 ? ""
                       : StrCat("; ", CacheCells(plan, one.group), " cells, for a window of ",
                                WindowOf(plan, one.group), " keys");
    StrAppend(&text,
              absl::StrFormat("  %-10s %15d bytes  %s%s%s\n", LayersText(one.numbers), one.bytes,
                              one.numbers.size() == 1 ? "" : "each, ", one.types, window));
  }
  return text;
}

}  // namespace

bool StepFilter::Keeps(const Step& step) const {
  if (layer.has_value() && step.layer != *layer) return false;
  return node.empty() || step.name == node ||
         std::find(step.provenance.begin(), step.provenance.end(), node) != step.provenance.end();
}

std::string PrintPlan(const Plan& plan, const StepFilter& filter) {
  std::string text;
  if (!filter.layer.has_value() && filter.node.empty()) {
    AppendHeader(plan, &text);
    AppendBuffers(plan, &text);
  }
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    if (filter.Keeps(plan.steps[i])) StrAppend(&text, PrintStep(plan, i), "\n");
  }
  return text;
}

std::string PrintStep(const Plan& plan, size_t index) {
  const Step& step = plan.steps[index];
  std::string text = StrCat("step ", index, " ", KernelText(plan, step), " ", step.name, " (");
  for (size_t i = 0; i < step.inputs.size(); ++i) {
    StrAppend(&text, i == 0 ? "" : ", ", BufferText(plan, step.inputs[i]));
  }
  text += ")";
  for (size_t i = 0; i < step.attrs.size(); ++i) {
    StrAppend(&text, i == 0 ? " {" : ", ", step.attrs[i].name, "=", ToString(step.attrs[i].value));
  }
  StrAppend(&text, step.attrs.empty() ? "" : "}", " -> ");
  for (size_t i = 0; i < step.outputs.size(); ++i) {
    StrAppend(&text, i == 0 ? "" : ", ", BufferText(plan, step.outputs[i]), ": ",
              ToString(plan.buffers[step.outputs[i]].type, plan.symbols));
  }
  return text + PrintVariants(plan, step);
}

std::string PrintMemory(const Plan& plan) {
  uint64_t together = 0;
  size_t buffers = 0;
  for (const Buffer& buffer : plan.buffers) {
    if (buffer.space != Space::kArena || buffer.view_of >= 0) continue;
    together += AlignUp(buffer.bytes);
    ++buffers;
  }
  const uint64_t arena = ArenaBytes(plan);
  std::string text;
  const auto total = [&text](std::string_view name, uint64_t bytes, std::string_view note) {
    StrAppend(&text, absl::StrFormat("%-12s %15d bytes  %s\n", ToAbsl(name), bytes, ToAbsl(note)));
  };
  const uint64_t persistent = PersistentBytes(plan);
  total("arena", arena, StrCat(buffers, " buffers, ", together, " bytes without sharing"));
  const uint64_t sampling = SamplingBytes(plan);
  total("inputs", plan.memory.activations - arena - persistent - sampling,
        StrCat(plan.inputs.size(), " buffers"));
  if (persistent > 0) total("persistent", persistent, "counters, zeros between the steps");
  if (sampling > 0) total("sampling", sampling, "parameters, results and what blocks keep");
  total("activations", plan.memory.activations,
        persistent + sampling > 0 ? "all of these" : "arena and inputs");
  total("kv", plan.memory.kv,
        StrCat(plan.caches.size(), " caches of ", plan.geometry.windows.empty() ? "" : "up to ",
               CacheCells(plan), " cells"));
  text += PrintKvOfLayers(plan);
  total("weights", plan.memory.weights, StrCat(plan.weights.size(), " tensors"));
  total("total", plan.memory.total(), "");
  return text;
}

std::string_view ToString(Space space) {
  constexpr std::string_view kNames[] = {"input", "weight", "cache", "arena", "persistent"};
  return kNames[static_cast<size_t>(space)];
}

std::string_view ToString(StepKind kind) {
  constexpr std::string_view kNames[] = {"kernel", "gemm", "copy", "set"};
  return kNames[static_cast<size_t>(kind)];
}

std::string ToString(const AttrValue& value) {
  if (const auto* number = std::get_if<int64_t>(&value)) return StrCat(*number);
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  char digits[32];  // the shortest form that reads back has at most 24 characters
  const auto end = std::to_chars(digits, digits + sizeof(digits), std::get<double>(value)).ptr;
  std::string text(digits, end);
  // As in the IR, a float is told from an int.
  if (text.find_first_not_of("0123456789-") == std::string::npos) text += ".0";
  return text;
}

}  // namespace renga::plan
