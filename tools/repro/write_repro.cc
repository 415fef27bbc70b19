#include "tools/repro/write_repro.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "ir/base/output_file.h"
#include "ir/base/status.h"
#include "ir/core/decompose.h"
#include "ir/reference/dequant.h"
#include "ir/text/print.h"
#include "tools/repro/standalone_text.h"

namespace renga {
namespace {

constexpr int64_t kMaxWeightNumbers = int64_t{1} << 28;
constexpr int64_t kMaxCaseNumbers = 1000000;
constexpr std::string_view kBuild = "g++ -O1 -std=c++17 repro.cc -o repro && ./repro";

std::string FormulasText() { return StandaloneText().Own("tools/repro/standalone/formulas.h"); }

std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c < ' ' ? ' ' : c;
  }
  return quoted + "\"";
}

// For a comment: a name from a file must stay on its line.
std::string OnOneLine(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ' || c == '\\') c = ' ';
  }
  return text;
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  return StrCat("{", StrJoin(shape, ", "), "}");
}

std::string_view BytesOf(const HostTensor& tensor) {
  const bool ints = tensor.dtype == DType::kI32;
  return {ints ? reinterpret_cast<const char*>(tensor.i.data())
               : reinterpret_cast<const char*>(tensor.f.data()),
          static_cast<size_t>(tensor.elements()) * 4};
}

// Dequantised, as the interpreter's own decoders have it.
absl::StatusOr<HostTensor> WeightOf(const Value& value, const WeightBytes& weights) {
  HostTensor tensor;
  tensor.dtype = value.type.dtype;
  int64_t numbers = 1;
  for (const Dim& dim : value.type.shape) {
    tensor.shape.push_back(dim.value);
    if (dim.is_symbol() || dim.value < 1 || numbers > kMaxWeightNumbers / dim.value) {
      return absl::ResourceExhaustedError(StrCat(RefText(value), ": expected at most ",
                                                 kMaxWeightNumbers, " numbers, got ",
                                                 ToString(value.type)));
    }
    numbers *= dim.value;
  }
  RENGA_ASSIGN_OR_RETURN(const absl::Span<const uint8_t> bytes, weights(value.name));
  tensor.f.resize(static_cast<size_t>(numbers));
  RENGA_RETURN_IF_ERROR(
      Annotate(DequantRow(value.type.dtype, bytes, absl::MakeSpan(tensor.f)), RefText(value)));
  return tensor;
}

// Every tensor that a program reads, under the name of its file.
using Files = std::map<std::string, HostTensor>;

// Writes the calls of formulas.h for the nodes of a part.
class Program {
 public:
  Program(const NodeCase& part, std::string prefix, std::map<std::string, std::string>* loads)
      : part_(part), prefix_(std::move(prefix)), loads_(*loads) {}

  // Statements; afterwards Result has the variable of each return.
  absl::Status Write(std::string* text) {
    const Graph& graph = part_.graph;
    std::vector<std::string> names(graph.values.size());
    for (const auto* ids : {&graph.params, &graph.caches, &graph.weights}) {
      for (const ValueId id : *ids) names[static_cast<size_t>(id)] = Loaded(graph.value(id));
    }
    for (const Node& node : graph.nodes) {
      RENGA_RETURN_IF_ERROR(WriteNode(graph, node, &names, text));
    }
    for (const ValueId id : graph.returns) results_.push_back(names[static_cast<size_t>(id)]);
    return absl::OkStatus();
  }

  const std::string& Result(size_t i) const { return results_[i]; }

 private:
  // The variable that holds what both parts read.
  std::string Loaded(const Value& value) {
    const auto [found, added] = loads_.try_emplace(RefText(value), StrCat("v", loads_.size()));
    return found->second;
  }

  absl::Status WriteNode(const Graph& graph, const Node& node, std::vector<std::string>* names,
                         std::string* text) {
    if (node.op->fused()) return WriteParts(graph, node, names, text);
    const std::string call = StrCat(prefix_, calls_++);
    std::vector<std::string> operands, attrs;
    for (const ValueId id : node.operands) {
      operands.push_back(id == kNoValue ? "nullptr"
                                        : StrCat("&", (*names)[static_cast<size_t>(id)]));
    }
    for (const auto& [name, value] : node.attrs) attrs.push_back(AttrText(name, value));
    StrAppend(text, "  // ", OnOneLine(PrintNode(graph, node)), "\n  const std::vector<Tensor> ",
              call, " = ", node.op->name, "({", StrJoin(operands, ", "), "},\n      {",
              StrJoin(attrs, ", "), "});\n");
    for (size_t i = 0; i < node.results.size(); ++i) {
      (*names)[static_cast<size_t>(node.results[i])] = StrCat(call, "[", i, "]");
    }
    return absl::OkStatus();
  }

  // A fused node by what it stands for.
  absl::Status WriteParts(const Graph& graph, const Node& node, std::vector<std::string>* names,
                          std::string* text) {
    RENGA_ASSIGN_OR_RETURN(const Decomposition parts,
                           Decompose(graph, *node.op, node.operands, node.attrs));
    StrAppend(text, "  // ", OnOneLine(PrintNode(graph, node)), "\n  // which is:\n");
    std::vector<std::string> inner(parts.graph.values.size());
    for (size_t i = 0; i < parts.operands.size(); ++i) {
      if (parts.operands[i] == kNoValue) continue;
      inner[static_cast<size_t>(parts.operands[i])] =
          (*names)[static_cast<size_t>(node.operands[i])];
    }
    for (const Node& part : parts.graph.nodes) {
      RENGA_RETURN_IF_ERROR(WriteNode(parts.graph, part, &inner, text));
    }
    for (size_t i = 0; i < node.results.size(); ++i) {
      (*names)[static_cast<size_t>(node.results[i])] =
          inner[static_cast<size_t>(parts.graph.returns[i])];
    }
    return absl::OkStatus();
  }

  std::string AttrText(const std::string& name, const AttrValue& value) const {
    std::string number = "0", text;
    if (const auto* integer = std::get_if<int64_t>(&value)) number = StrCat(*integer);
    if (const auto* real = std::get_if<double>(&value)) number = absl::StrFormat("%.17g", *real);
    if (const auto* truth = std::get_if<bool>(&value)) number = *truth ? "1" : "0";
    if (const auto* word = std::get_if<std::string>(&value)) {
      const auto size = part_.symbols.find(*word);
      if (size == part_.symbols.end()) {
        text = *word;
      } else {
        number = StrCat(size->second);
      }
    }
    return StrCat("{", Quoted(name), ", {", number, ", ", Quoted(text), "}}");
  }

  const NodeCase& part_;
  const std::string prefix_;
  std::map<std::string, std::string>& loads_;  // variable by reference with its sigil
  int calls_ = 0;
  std::vector<std::string> results_;
};

// What the parts read, by reference with its sigil.
absl::Status CollectInputs(const NodeCase& part, const WeightBytes& weights,
                           std::map<std::string, HostTensor>* inputs) {
  const Graph& graph = part.graph;
  for (size_t i = 0; i < graph.params.size(); ++i) {
    inputs->emplace(RefText(graph.value(graph.params[i])), part.params[i]);
  }
  for (size_t i = 0; i < graph.caches.size(); ++i) {
    inputs->emplace(RefText(graph.value(graph.caches[i])), part.caches[i]);
  }
  for (const ValueId id : graph.weights) {
    const std::string name = RefText(graph.value(id));
    if (inputs->contains(name)) continue;
    RENGA_ASSIGN_OR_RETURN((*inputs)[name], WeightOf(graph.value(id), weights));
  }
  return absl::OkStatus();
}

// A file's name for the i-th tensor of a kind: "in-3.bin".
std::string FileOf(std::string_view kind, size_t i) { return StrCat(kind, "-", i, ".bin"); }

// The type as formulas.h rounds to it; weights of blocks have been decoded to f32.
std::string TypeText(const std::string& name, DType type) {
  const bool weight = name.starts_with('@');
  return Quoted(weight && type != DType::kI32 ? std::string_view("f32") : Name(type));
}

struct Written {
  std::string program;
  Files files;
};

absl::StatusOr<Written> WriteProgram(const CapturedNode& node, const std::string& found) {
  std::map<std::string, HostTensor> inputs;
  const WeightBytes weights = node.weights->bytes();
  RENGA_RETURN_IF_ERROR(CollectInputs(node.part, weights, &inputs));
  RENGA_RETURN_IF_ERROR(CollectInputs(node.own, weights, &inputs));
  std::map<std::string, std::string> loads;
  Program should(node.part, "n", &loads), own(node.own, "own", &loads);
  std::string computed, as_written;
  RENGA_RETURN_IF_ERROR(should.Write(&computed));
  RENGA_RETURN_IF_ERROR(own.Write(&as_written));

  Written written;
  std::string& text = written.program;
  StrAppend(
      &text, "// ", OnOneLine(node.op), " ", OnOneLine(node.name), " on ", node.device,
      ", alone and without Renga.\n// ", OnOneLine(found), "\n//   ", kBuild,
      "\n// Exit code 1: what the device gave (got-*.bin) is not what the formulas give. 0: it ",
      "is.\n", FormulasText(), "\nusing namespace repro;\n\nint main(int argc, char** argv) {\n",
      "  const std::string folder = argc > 1 ? argv[1] : \".\";\n");
  size_t number = 0;
  std::map<int, std::pair<std::string, std::string>> ordered;  // by number of the variable
  for (const auto& [name, variable] : loads) {
    ordered[std::stoi(variable.substr(1))] = {name, variable};
  }
  for (const auto& [at, load] : ordered) {
    const auto& [name, variable] = load;
    HostTensor& tensor = inputs.at(name);
    const std::string file = FileOf(name.starts_with('@') ? "weight" : "in", number++);
    StrAppend(&text, "  // ", OnOneLine(name), "\n  const Tensor ", variable,
              " = Load(folder + \"/", file, "\", ", TypeText(name, tensor.dtype), ", ",
              ShapeText(tensor.shape), ");\n");
    written.files.emplace(file, std::move(tensor));
  }
  StrAppend(&text, "\n  // What it should compute.\n", computed,
            "\n  // What the plan's graph says, which is the kernel's task.\n", as_written,
            "\n  bool formulas = true, graph = true, device = true;\n");
  for (size_t i = 0; i < node.got.size(); ++i) {
    const std::string name =
        Quoted(RefText(node.own.graph.value(node.own.graph.returns[i])).substr(0, 200));
    const std::string shape = ShapeText(node.got[i].shape);
    const std::string tolerance = absl::StrFormat("%.6g", node.tolerances[i]);
    const std::string type = Quoted(Name(node.got[i].dtype));
    const auto load = [&](std::string_view kind) {
      return StrCat("Load(folder + \"/", FileOf(kind, i), "\", ", type, ", ", shape, ")");
    };
    StrAppend(&text, "  formulas &= Compare(std::string(\"formulas and interpreter, \") + ", name,
              ",\n                      ", load("expected"), ", ", should.Result(i), ", ",
              tolerance, ");\n  graph &= Compare(std::string(\"the plan's graph, \") + ", name,
              ", ", should.Result(i), ", ", own.Result(i), ", ", tolerance,
              ");\n  device &= Compare(std::string(\"the device, \") + ", name, ", ",
              should.Result(i), ",\n                    ", load("got"), ", ", tolerance, ");\n");
    written.files.emplace(FileOf("expected", i), node.expected[i]);
    written.files.emplace(FileOf("got", i), node.got[i]);
  }
  StrAppend(
      &text, "  if (!formulas) return 2;  // this program is wrong\n",
      "  if (!graph) std::printf(\"a pass is at fault: the plan's graph asks for something ",
      "else\\n\");\n  if (graph && !device) std::printf(\"the kernel is at fault: the plan's ",
      "graph is right\\n\");\n  return device ? 0 : 1;\n}\n");
  return written;
}

// "// INPUT %x: 1 2 3", in lines of at most a hundred characters.
std::string Directive(const std::string& head, const HostTensor& tensor, const std::string& tail) {
  std::string text, line = StrCat("// ", head, ":");
  const auto add = [&](const std::string& word) {
    if (line.size() + word.size() + 1 > 100) {
      StrAppend(&text, line, "\n");
      line = "//  ";
    }
    StrAppend(&line, " ", word);
  };
  for (const int32_t number : tensor.i) add(StrCat(number));
  for (const float number : tensor.f) add(absl::StrFormat("%.9g", number));
  if (!tail.empty()) add(tail);
  return text + line + "\n";
}

}  // namespace

absl::StatusOr<std::string> ReproProgram(const CapturedNode& node, const std::string& found) {
  RENGA_ASSIGN_OR_RETURN(Written written, WriteProgram(node, found));
  return std::move(written.program);
}

absl::StatusOr<std::string> ReproCase(const CapturedNode& node, const std::string& found) {
  std::map<std::string, HostTensor> inputs;
  RENGA_RETURN_IF_ERROR(CollectInputs(node.own, node.weights->bytes(), &inputs));
  int64_t numbers = 0;
  for (const auto& [name, tensor] : inputs) numbers += tensor.elements();
  for (const HostTensor& tensor : node.expected) numbers += tensor.elements();
  if (numbers > kMaxCaseNumbers) return std::string();
  Graph graph = node.own.graph;
  for (const ValueId id : graph.weights) {
    // The format has no blocks: the decoded numbers.
    DType& type = graph.values[static_cast<size_t>(id)].type.dtype;
    if (Info(type).block_elements > 1) type = DType::kF32;
  }
  std::vector<std::string> sizes;
  for (const auto& [name, size] : node.own.symbols) sizes.push_back(StrCat(name, "=", size));
  std::string text = StrCat("// Tests that ", OnOneLine(node.name),
                            " is what it should be: ", OnOneLine(found), "\n");
  if (!sizes.empty()) StrAppend(&text, "// SYMBOL ", StrJoin(sizes, " "), "\n");
  const auto give = [&](std::string_view kind, const std::vector<ValueId>& ids) {
    for (const ValueId id : ids) {
      const std::string name = RefText(graph.value(id));
      text += Directive(StrCat(kind, " ", name), inputs.at(name), "");
    }
  };
  give("INPUT", graph.params);
  give("CACHE", graph.caches);
  give("WEIGHT", graph.weights);
  for (size_t i = 0; i < node.expected.size(); ++i) {
    // Of an interpreter: f32 and sums in another order.
    const bool ints = node.expected[i].dtype == DType::kI32;
    text += Directive(StrCat("EXPECT ", RefText(graph.value(graph.returns[i]))), node.expected[i],
                      ints ? "" : "(tolerance 1e-4)");
  }
  return text + Print(graph);
}

absl::Status WriteRepro(const std::string& folder, const CapturedNode& node,
                        const std::string& found) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    return absl::InvalidArgumentError(
        StrCat(folder, ": cannot create the folder: ", error.message()));
  }
  RENGA_ASSIGN_OR_RETURN(const Written written, WriteProgram(node, found));
  const auto write = [&folder](const std::string& name, std::string_view text) {
    return WriteFileAtomically(StrCat(folder, "/", name), {text});
  };
  for (const auto& [name, tensor] : written.files) {
    RENGA_RETURN_IF_ERROR(write(name, BytesOf(tensor)));
  }
  RENGA_ASSIGN_OR_RETURN(const std::string op_case, ReproCase(node, found));
  std::filesystem::remove(StrCat(folder, "/repro.ir"), error);  // of another node
  if (!op_case.empty()) RENGA_RETURN_IF_ERROR(write("repro.ir", op_case));
  std::string text = StrCat(node.op, " ", node.name, " on ", node.device, "\n", found, "\n\n");
  for (size_t i = 0; i < node.errors.size(); ++i) {
    StrAppend(&text, RefText(node.own.graph.value(node.own.graph.returns[i])),
              absl::StrFormat(": relative error %.3g, allowed %.3g\n", node.errors[i],
                              node.tolerances[i]));
  }
  StrAppend(&text, !node.wrong()
                       ? "The device gave what it should: the fault is in what the node reads.\n"
                   : node.graph_is_right()
                       ? "The plan's graph asks for the right thing, so the kernel is at fault.\n"
                       : "The plan's graph asks for something else: a pass is at fault.\n");
  StrAppend(
      &text, "\nIn this folder: ", kBuild, "\n",
      "Exit code 1 while the device's numbers (got-*.bin) are wrong, 0 when they are right.\n",
      op_case.empty() ? "No repro.ir: it would be more than a million numbers of text.\n"
                      : "repro.ir is the node as a case of tests/ops, with what it should give.\n");
  RENGA_RETURN_IF_ERROR(write("README.txt", text));
  return write("repro.cc", written.program);
}

}  // namespace renga
