#include "tools/repro/cuda_repro.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/str_format.h"
#include "ir/base/output_file.h"
#include "ir/base/status.h"
#include "ir/base/windows.h"
#include "ir/text/parse.h"
#include "ir/trace/recorded.h"
#include "ir/trace/run_params.h"
#include "ir/trace/trace_graph.h"
#include "runtime/device/cpu/cache_ops.h"
#include "runtime/plan/cache_layout.h"
#include "runtime/plan/launch.h"
#include "runtime/plan/layout.h"
#include "tools/repro/captured_node.h"
#include "tools/repro/standalone_text.h"
#include "tools/repro/write_repro.h"
#include "tools/step_memory.h"

namespace renga {
namespace {

// Stands in packed arguments for the address of buffer b: to be found again.
constexpr uint64_t kMark = 0xa5, kMarkShift = 56, kBufferShift = 40;

// What the program keeps of a buffer of the plan.
struct Memory {
  int32_t buffer = -1;  // that owns its bytes
  uint64_t bytes = 0;
  std::string start;  // what it holds before; the rest is zeros of caches, garbage elsewhere
  bool zero = false;
};

std::string BytesOfTensor(const HostTensor& tensor, DType type) {
  if (tensor.dtype == DType::kI32) {
    return {reinterpret_cast<const char*>(tensor.i.data()), tensor.i.size() * sizeof(int32_t)};
  }
  const int64_t width = tensor.shape.empty() ? 1 : tensor.shape.back();
  const int64_t rows = tensor.elements() / std::max<int64_t>(width, 1);
  const int64_t row_bytes = RowBytes(type, width);
  std::string bytes(static_cast<size_t>(rows * row_bytes), '\0');
  const cpu::CacheOps ops = *cpu::FindCacheOps(type);
  for (int64_t row = 0; row < rows; ++row) {
    ops.store(tensor.f.data() + row * width, width,
              reinterpret_cast<uint8_t*>(bytes.data()) + row * row_bytes);
  }
  return bytes;
}

class CudaRepro {
 public:
  // `given` may be null: then the interpreter runs the plan's graph.
  CudaRepro(const plan::Plan& plan, const GivenValues* given, const CudaReproOptions& options)
      : plan_(plan), given_(given), options_(options) {}

  absl::Status Prepare() {
    RENGA_RETURN_IF_ERROR(FindStep());
    RENGA_ASSIGN_OR_RETURN(graph_, Parse(plan_.ir, "the plan's graph"));
    RemovePacking(graph_);
    RENGA_ASSIGN_OR_RETURN(const Node* const node, FindNode());
    if (given_ == nullptr) {
      RENGA_RETURN_IF_ERROR(Interpret(*node));
    } else {
      node_ = given_->node;
    }
    BindSizes();
    variant_ = plan::ChooseVariant(*step_, sizes_);
    if (variant_ == nullptr) {
      return absl::InvalidArgumentError(
          StrCat("step ", step_->name, ": starts nothing for ", Tokens(), " tokens"));
    }
    for (const plan::Launch& launch : variant_->launches) {
      RENGA_RETURN_IF_ERROR(AddLaunch(launch));
    }
    for (const int32_t output : step_->outputs) Remember(output);
    return FillMemory();
  }

  absl::Status Write(const std::string& folder) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) {
      return absl::InvalidArgumentError(
          StrCat(folder, ": cannot create the folder: ", error.message()));
    }
    const auto write = [&folder](const std::string& name, std::string_view text) {
      return WriteFileAtomically(StrCat(folder, "/", name), {text});
    };
    for (size_t i = 0; i < memory_.size(); ++i) {
      if (!memory_[i].start.empty()) {
        RENGA_RETURN_IF_ERROR(write(StrCat("buffer-", i, ".bin"), memory_[i].start));
      }
    }
    for (size_t i = 0; i < node_.expected.size(); ++i) {
      const HostTensor& tensor = node_.expected[i];
      const DType plain = tensor.dtype == DType::kI32 ? DType::kI32 : DType::kF32;
      RENGA_RETURN_IF_ERROR(write(StrCat("expected-", i, ".bin"), BytesOfTensor(tensor, plain)));
    }
    RENGA_ASSIGN_OR_RETURN(const std::string op_case, ReproCase(node_, options_.found));
    std::filesystem::remove(StrCat(folder, "/repro.ir"), error);  // of another node
    if (!op_case.empty()) RENGA_RETURN_IF_ERROR(write("repro.ir", op_case));
    RENGA_RETURN_IF_ERROR(write("README.txt", Readme()));
    return write("repro.cu", Program());
  }

 private:
  struct Pointer {
    size_t at = 0;      // byte of the block
    size_t memory = 0;  // index
    uint64_t offset = 0;
  };
  struct Launched {
    std::string kernel;
    plan::LaunchShape shape;
    std::vector<uint8_t> block;  // arguments, without addresses
    std::vector<Pointer> pointers;
  };

  absl::Status FindStep() {
    for (const plan::Step& step : plan_.steps) {
      if (step.name == options_.node) step_ = &step;
    }
    if (step_ != nullptr) return absl::OkStatus();
    return absl::NotFoundError(StrCat("node ", options_.node,
                                      ": expected a step of the plan; `renga dump --stage plan` "
                                      "lists them"));
  }

  int64_t Tokens() const {
    const int32_t tokens = plan::FindSymbol(plan_, "T");
    return tokens < 0 ? 0 : sizes_[static_cast<size_t>(tokens)];
  }

  // The step's node, and what its operands are.
  absl::StatusOr<const Node*> FindNode() {
    for (const Node& node : graph_.nodes) {
      if (NodeName(graph_, node) != step_->name) continue;
      if (node.operands.size() != step_->inputs.size() ||
          node.results.size() != step_->outputs.size()) {
        break;
      }
      for (size_t i = 0; i < node.operands.size(); ++i) {
        if (node.operands[i] != kNoValue)
          values_[step_->inputs[i]] = graph_.value(node.operands[i]).name;
      }
      return &node;
    }
    return absl::InvalidArgumentError(StrCat(
        "step ", step_->name, ": expected a node of the graph that reads and gives as much"));
  }

  // The whole plan up to here on the interpreter; then the node, cut out.
  absl::Status Interpret(const Node& of) {
    const auto shared = std::shared_ptr<const plan::Plan>(std::shared_ptr<void>(), &plan_);
    RENGA_ASSIGN_OR_RETURN(node_.weights,
                           PlanWeights::Open(shared, options_.plan_path, options_.threads));
    TraceGraphOptions trace_options;
    trace_options.ids = options_.ids;
    trace_options.threads = options_.threads;
    RENGA_ASSIGN_OR_RETURN(const Trace trace,
                           TraceGraph(graph_, node_.weights->bytes(), trace_options));
    absl::flat_hash_map<ValueId, const TracedValue*> values;
    for (const Node& node : graph_.nodes) {
      for (const ValueId id : node.results) {
        const TracedValue* const value = trace.Find(graph_.value(id).name);
        if (value != nullptr) values.emplace(id, value);
      }
    }
    std::map<std::string, ValueId, std::less<>> reads;  // values by name
    for (const ValueId id : of.operands) {
      if (id != kNoValue && graph_.value(id).kind != ValueKind::kWeight) {
        reads[graph_.value(id).name] = id;
      }
    }
    for (const ValueId id : graph_.params) reads.emplace(graph_.value(id).name, id);
    const Recorded recorded(graph_, trace.run, std::move(values));
    RENGA_ASSIGN_OR_RETURN(node_.own,
                           CutOut(
                               graph_, of.results, [&recorded](ValueId id) { return recorded(id); },
                               recorded.symbols()));
    node_.part = node_.own;
    if (!options_.good_ir.empty()) {
      RENGA_RETURN_IF_ERROR(FindGoodPart(of, reads, recorded));
    }
    node_.name = step_->name;
    node_.op = std::string(of.op->name);
    node_.device = plan_.target;
    RENGA_ASSIGN_OR_RETURN(node_.expected,
                           Evaluate(node_.part, node_.weights->bytes(), options_.threads));
    node_.expected.resize(of.results.size());
    return absl::OkStatus();
  }

  // What the node stands for in the good graph, where that has what it reads and gives.
  absl::Status FindGoodPart(const Node& of,
                            const std::map<std::string, ValueId, std::less<>>& reads,
                            const Recorded& recorded) {
    RENGA_ASSIGN_OR_RETURN(Graph good, Parse(options_.good_ir, "the good graph"));
    RemovePacking(good);
    std::vector<ValueId> results;
    for (const ValueId id : of.results) {
      const ValueId same = good.FindValue(graph_.value(id).name, /*weight=*/false);
      if (same == kNoValue || !(good.value(same).type == graph_.value(id).type)) {
        return absl::OkStatus();
      }
      results.push_back(same);
    }
    const absl::StatusOr<NodeCase> part = CutOut(
        good, results,
        [&](ValueId id) -> absl::StatusOr<std::optional<HostTensor>> {
          const auto found = reads.find(good.value(id).name);
          if (found == reads.end()) return std::nullopt;
          return recorded(found->second);
        },
        recorded.symbols());
    if (part.ok()) node_.part = *part;
    return absl::OkStatus();
  }

  void BindSizes() {
    const SymbolValues run = RunSymbols(graph_, options_.ids);
    for (size_t i = 0; i < plan_.symbols.size(); ++i) {
      const plan::Symbol& symbol = plan_.symbols[i];
      const auto own = node_.own.symbols.find(symbol.name);
      const auto of_run = run.find(symbol.name);
      int64_t size = own != node_.own.symbols.end() ? own->second
                     : of_run != run.end()          ? of_run->second
                                                    : symbol.max;
      if (given_ != nullptr) size = given_->sizes[i];
      // As the executor has them: the whole page table, all cells.
      if (symbol.name == "P" || SplitWindow(symbol.name).base == "C") size = symbol.max;
      sizes_.push_back(std::min(size, symbol.max));
    }
  }

  // Index into memory_ of what owns the buffer's bytes.
  size_t Remember(int32_t buffer) {
    const plan::Buffer& of = plan_.buffers[static_cast<size_t>(buffer)];
    const int32_t owner = of.view_of >= 0 ? of.view_of : buffer;
    for (size_t i = 0; i < memory_.size(); ++i) {
      if (memory_[i].buffer == owner) return i;
    }
    memory_.push_back({.buffer = owner});
    return memory_.size() - 1;
  }

  absl::Status AddLaunch(const plan::Launch& launch) {
    for (const plan::Arg& arg : launch.args) {
      if (arg.kind != plan::ArgKind::kTensorMap) continue;
      return absl::UnimplementedError(
          StrCat("step ", step_->name, ": for ", Tokens(), " tokens its kernel takes a ",
                 "tensor map, which only the driver can make; take up to 8 tokens, or a plan for ",
                 "sm_80"));
    }
    std::vector<uint64_t> addresses(plan_.buffers.size());
    for (size_t b = 0; b < addresses.size(); ++b) {
      addresses[b] = kMark << kMarkShift | static_cast<uint64_t>(b) << kBufferShift;
    }
    Launched launched;
    launched.kernel = plan_.gpu.kernels[static_cast<size_t>(launch.kernel)].name;
    RENGA_ASSIGN_OR_RETURN(launched.shape, plan::ShapeOf(plan_, launch, sizes_));
    RENGA_ASSIGN_OR_RETURN(launched.block, plan::PackArguments(launch.args, addresses, sizes_));
    for (size_t at = 0; at + sizeof(uint64_t) <= launched.block.size(); at += sizeof(uint64_t)) {
      uint64_t word = 0;
      std::memcpy(&word, launched.block.data() + at, sizeof(word));
      if (word >> kMarkShift != kMark) continue;
      const int32_t buffer =
          static_cast<int32_t>(word >> kBufferShift & ((1 << (kMarkShift - kBufferShift)) - 1));
      launched.pointers.push_back(
          {at, Remember(buffer), word & ((uint64_t{1} << kBufferShift) - 1)});
      std::memset(launched.block.data() + at, 0, sizeof(word));
    }
    kernels_.insert(launch.kernel);
    launches_.push_back(std::move(launched));
    return absl::OkStatus();
  }

  // The tensor that a buffer, or a view of it, holds before the step; null for what it gives.
  const HostTensor* Given(int32_t owner) const {
    for (const auto& [buffer, name] : values_) {
      const plan::Buffer& of = plan_.buffers[static_cast<size_t>(buffer)];
      if (buffer != owner && of.view_of != owner) continue;
      const Graph& graph = node_.own.graph;
      for (size_t i = 0; i < graph.params.size(); ++i) {
        if (graph.value(graph.params[i]).name == name) return &node_.own.params[i];
      }
      for (size_t i = 0; i < graph.caches.size(); ++i) {
        if (graph.value(graph.caches[i]).name == name) return &node_.own.caches[i];
      }
    }
    return nullptr;
  }

  // Tables as wide as a GPU has them, nothing behind the last page.
  std::string WidePages(const HostTensor& pages) const {
    const size_t width = static_cast<size_t>(plan::SymbolMax(plan_, "P", 1));
    const size_t has = static_cast<size_t>(pages.shape.back());
    HostTensor wide = pages;
    wide.i.clear();
    for (size_t row = 0; row * has < pages.i.size(); ++row) {
      const auto from = pages.i.begin() + static_cast<int64_t>(row * has);
      wide.i.insert(wide.i.end(), from, from + static_cast<int64_t>(std::min(has, width)));
      wide.i.resize((row + 1) * width, -1);
    }
    return BytesOfTensor(wide, DType::kI32);
  }

  absl::Status FillMemory() {
    WeightOptions options;
    options.plan_path = options_.plan_path;
    options.threads = options_.threads;
    RENGA_ASSIGN_OR_RETURN(const WeightStore store, WeightStore::Open(plan_, options));
    for (Memory& memory : memory_) {
      const plan::Buffer& buffer = plan_.buffers[static_cast<size_t>(memory.buffer)];
      memory.bytes = buffer.bytes;
      memory.zero = buffer.space == plan::Space::kPersistent || buffer.space == plan::Space::kCache;
      if (buffer.space == plan::Space::kWeight) {
        const plan::Weight& weight = plan_.weights[static_cast<size_t>(buffer.index)];
        memory.bytes = plan::StoredBytes(weight);
        memory.start.assign(reinterpret_cast<const char*>(store.data(buffer.index)), memory.bytes);
        continue;
      }
      if (buffer.space == plan::Space::kCache) {
        const plan::Cache& cache = plan_.caches[static_cast<size_t>(buffer.index)];
        memory.bytes =
            static_cast<uint64_t>(plan::CacheCells(plan_, cache.group)) * cache.cell_bytes;
      }
      const HostTensor* const tensor = Given(memory.buffer);
      if (tensor == nullptr) continue;
      if (buffer.space == plan::Space::kCache) {
        RENGA_ASSIGN_OR_RETURN(
            memory.start,
            CellBytes(plan_, plan_.caches[static_cast<size_t>(buffer.index)], *tensor));
        continue;
      }
      memory.start = SplitWindow(buffer.name).base == "pages"
                         ? WidePages(*tensor)
                         : BytesOfTensor(*tensor, buffer.type.dtype);
      memory.bytes = std::max<uint64_t>(memory.bytes, memory.start.size());
    }
    return absl::OkStatus();
  }

  std::string Architecture() const {
    return plan_.gpu.targets.empty() ? "sm_80" : plan_.gpu.targets.front().name;
  }
  std::string NvccLine() const {
    return StrCat("nvcc -O2 -std=c++20 -arch=", Architecture(), " repro.cu -o repro && ./repro");
  }
  static std::string HostLine() { return "g++ -O1 -std=c++20 -x c++ repro.cu -o repro && ./repro"; }

  std::string Readme() const {
    return StrCat(
        node_.op, " ", node_.name, " for ", plan_.target, "\n", options_.found,
        "\n\nIn this folder, on a machine with a GPU of that kind:\n  ", NvccLine(),
        "\nor the same kernels on any host, thread by thread:\n  ", HostLine(),
        "\nExit code 1: the kernels give something else than expected-*.bin, which the ",
        "reference interpreter made of the same inputs. 0: they do not. 2: it cannot be ",
        "run so.\n",
        options_.again.empty()
            ? ""
            : StrCat("\nBy Renga, on the GPU, with nothing before it:\n  ", options_.again, "\n"));
  }

  std::string Program() const {
    // The primitives' two meanings, each with what it includes; all else is common to both.
    StandaloneText host_text, text;
    const std::string formulas = text.Own("tools/repro/standalone/formulas.h");
    const std::string host = host_text.Host();
    const std::string gpu = text.Own("codegen/kernels/primitives.cuh");
    std::string bodies;
    int number = 0;
    std::map<std::string, std::string> names;  // of kernels, in this file
    std::string includes;
    for (const int32_t kernel : kernels_) {
      const plan::GpuKernel& of = plan_.gpu.kernels[static_cast<size_t>(kernel)];
      const std::string space = StrCat("source_", number++);
      StrAppend(&bodies, "namespace ", space, " {\n", text.Body(of.source, &includes),
                "}  // namespace ", space, "\n\n");
      names[of.name] = StrCat(space, "::", of.name);
    }
    std::string program =
        StrCat("// The step ", node_.name, " (", node_.op, ") of a plan for ", plan_.target,
               ", alone and without Renga.\n//   ", NvccLine(), "\n//   ", HostLine(),
               "\n// Exit code 1: the kernels do not give what the reference interpreter gives. 0: "
               "they do.\n");
    StrAppend(&program, formulas, "\n#ifndef __CUDACC__\n#define RENGA_EMULATOR\n", host,
              "\n#else\n", gpu, "#endif\n\n", includes, "\n", bodies, "#ifndef __CUDACC__\n",
              text.Own("tools/repro/standalone/host_machine.h"), "#endif\n",
              text.Own("tools/repro/standalone/device.h"), "\n", MainText(names));
    return program;
  }

  std::string MainText(const std::map<std::string, std::string>& names) const {
    std::string text =
        "int main(int argc, char** argv) {\n"
        "  const std::string folder = argc > 1 ? argv[1] : \".\";\n";
    for (size_t i = 0; i < memory_.size(); ++i) {
      const Memory& memory = memory_[i];
      const plan::Buffer& buffer = plan_.buffers[static_cast<size_t>(memory.buffer)];
      StrAppend(&text, "  // ", CommentText(buffer.name), "\n  char* const m", i,
                " = repro::Allocate(", memory.bytes, ", ", memory.zero ? "0" : "0xff", ");\n");
      if (!memory.start.empty()) {
        StrAppend(&text, "  repro::Fill(m", i, ", folder + \"/buffer-", i, ".bin\", ",
                  memory.start.size(), ");\n");
      }
    }
    for (size_t l = 0; l < launches_.size(); ++l) {
      const Launched& launch = launches_[l];
      StrAppend(&text, "  alignas(64) unsigned char block", l, "[] = {", StrJoin(launch.block, ","),
                "};\n");
      for (const Pointer& pointer : launch.pointers) {
        StrAppend(&text, "  repro::Put(block", l, " + ", pointer.at, ", m", pointer.memory, " + ",
                  pointer.offset, ");\n");
      }
      const auto& grid = launch.shape.grid;
      StrAppend(&text, "  REPRO_LAUNCH(", names.at(launch.kernel), ", ", grid[0], ", ", grid[1],
                ", ", grid[2], ", ", launch.shape.threads, ", ", launch.shape.dynamic_shared,
                ", block", l, ");\n");
    }
    text += "  bool right = true;\n";
    for (size_t i = 0; i < node_.expected.size(); ++i) {
      const HostTensor& expected = node_.expected[i];
      size_t memory = 0;
      const int32_t output = step_->outputs[i];
      const plan::Buffer& of = plan_.buffers[static_cast<size_t>(output)];
      const int32_t owner = of.view_of >= 0 ? of.view_of : output;
      while (memory_[memory].buffer != owner) ++memory;
      // Of a cache of blocks, whose steps lie behind all their numbers.
      const uint64_t scales =
          of.space == plan::Space::kCache
              ? plan::ScalesOffset(plan_, plan_.caches[static_cast<size_t>(of.index)])
              : 0;
      const std::string plain = expected.dtype == DType::kI32 ? "i32" : "f32";
      const std::string shape = StrCat("{", StrJoin(expected.shape, ", "), "}");
      StrAppend(&text, "  right &= repro::Compare(\"", CommentText(of.name),
                "\",\n      repro::Load(", "folder + \"/expected-", i, ".bin\", \"", plain, "\", ",
                shape, "),\n      repro::ReadBack(m", memory, ", \"", Name(of.type.dtype), "\", ",
                shape, ", ", scales, "), ",
                absl::StrFormat("%g", ToleranceOf(plan_, of.type.dtype)), ");\n");
    }
    return text + "  return right ? 0 : 1;\n}\n";
  }

  static std::string CommentText(std::string text) {
    for (char& c : text) {
      if (static_cast<unsigned char>(c) < ' ' || c == '\\' || c == '"') c = ' ';
    }
    return text;
  }

  const plan::Plan& plan_;
  const GivenValues* const given_;
  const CudaReproOptions& options_;
  const plan::Step* step_ = nullptr;
  const plan::Variant* variant_ = nullptr;
  Graph graph_;  // without packing
  CapturedNode node_;
  std::map<int32_t, std::string> values_;  // names of what the step reads, by buffer
  std::vector<int64_t> sizes_;             // by symbol
  std::vector<Memory> memory_;
  std::vector<Launched> launches_;
  std::set<int32_t> kernels_;
};

absl::Status Write(const std::string& folder, const plan::Plan& plan, const GivenValues* given,
                   const CudaReproOptions& options) {
  if (plan.gpu.targets.empty()) {
    return absl::InvalidArgumentError(
        StrCat("expected a plan for GPUs, got one for ", plan.target));
  }
  CudaRepro repro(plan, given, options);
  RENGA_RETURN_IF_ERROR(repro.Prepare());
  return repro.Write(folder);
}

}  // namespace

absl::Status WriteCudaRepro(const std::string& folder, const plan::Plan& plan,
                            const CudaReproOptions& options) {
  return Write(folder, plan, nullptr, options);
}

absl::Status WriteCudaRepro(const std::string& folder, const plan::Plan& plan,
                            const GivenValues& given, const CudaReproOptions& options) {
  return Write(folder, plan, &given, options);
}

}  // namespace renga
