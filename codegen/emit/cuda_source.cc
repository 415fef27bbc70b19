#include "codegen/emit/cuda_source.h"

#include <algorithm>
#include <cctype>

#include "ir/base/digest.h"
#include "ir/base/mma_layout.h"
#include "ir/base/status.h"
#include "ir/core/op_def.h"

namespace renga::codegen {
namespace {

constexpr size_t kDigestDigits = 8;

// "Q5_0", as the kernels' headers write the types.
std::string UpperName(DType type) {
  std::string name(Name(type));
  for (char& c : name) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

std::string SourceText(const CudaKernel& kernel, std::string_view ir, std::string_view range,
                       std::string_view name) {
  std::string text = StrCat("// ", ir, "\n");
  if (!range.empty()) StrAppend(&text, "// ", range, "\n");
  StrAppend(&text, "#include \"codegen/kernels/", kernel.header,
            ".cuh\"\nusing namespace renga::kernels;\n");
  if (!kernel.config.empty()) {
    text += "struct Config {\n";
    for (const std::string& line : kernel.config) StrAppend(&text, "  ", line, "\n");
    text += "};\n";
  }
  return StrCat(text, "extern \"C\" __global__ void __launch_bounds__(", kernel.threads, ", ",
                kernel.blocks_per_sm, ") ", name, "(const ",
                kernel.has_tensor_map ? "__grid_constant__ " : "", kernel.args, " args) {\n  ",
                kernel.call, "(args);\n}\n");
}

}  // namespace

plan::GpuKernel MakeGpuKernel(const CudaKernel& kernel, std::string_view ir,
                              std::string_view range) {
  if (!kernel.ir.empty()) {
    ir = kernel.ir;
    range = "";  // one for whoever needs that part
  }
  const std::string stem = kernel.detail.empty() ? kernel.header : kernel.detail;
  const Digest digest = DigestOf(SourceText(kernel, ir, range, stem));
  const std::string name = StrCat(stem, "_", digest.ToHex().substr(0, kDigestDigits));
  return {.name = name,
          .ir = std::string(ir),
          .source = SourceText(kernel, ir, range, name),
          .threads = kernel.threads,
          .images = {}};
}

std::string WithOneBlockPerSm(std::string_view source) {
  constexpr std::string_view kBounds = "__launch_bounds__(";
  const size_t at = source.find(kBounds), end = source.find(')', at);
  const size_t comma = source.find(", ", at);
  if (at == source.npos || end == source.npos || comma >= end) return "";
  if (source.substr(comma + 2, end - comma - 2) == "1") return "";
  return StrCat(source.substr(0, comma), ", 1", source.substr(end));
}

std::string OperatorText(const Graph& graph, const Node& node) {
  std::vector<std::string> results, operands, attrs;
  for (const ValueId id : node.results) results.push_back(ToString(graph.value(id).type));
  for (size_t i = 0; i < node.operands.size(); ++i) {
    if (node.operands[i] == kNoValue) continue;
    const OperandDef& def = node.op->operands[i];
    operands.push_back(StrCat(def.optional ? StrCat(def.name, "=") : "",
                              ToString(graph.value(node.operands[i]).type)));
  }
  for (const auto& [name, value] : node.attrs) {
    attrs.push_back(StrCat(name, "=", ToString(value)));
  }
  return StrCat(StrJoin(results, ", "), " = ", node.op->name, "(", StrJoin(operands, ", "), ")",
                attrs.empty() ? "" : StrCat(" {", StrJoin(attrs, ", "), "}"));
}

std::string DoubleText(double value) { return ToString(AttrValue(value)); }

std::string FloatText(double value) { return StrCat(DoubleText(value), "f"); }

std::string PackedText(DType type, int64_t rows, int64_t k, bool exactly) {
  constexpr DType kHaveMiddle[] = {DType::kQ4_K, DType::kQ5_K};  // weights_super.cuh
  const bool from_middle =
      exactly && std::count(std::begin(kHaveMiddle), std::end(kHaveMiddle), type) > 0;
  return StrCat("Packed<", UpperName(type), from_middle ? "_FromMiddle" : "", ", ", rows, ", ", k,
                ">");
}

std::string ShapeName(DType type, int64_t rows, int64_t k) {
  return StrCat(Name(type), "_", rows, "x", k);
}

std::string FileText(DType type) { return StrCat("File", UpperName(type)); }

std::string PackTypeText(DType type) { return StrCat("Pack", UpperName(type)); }

std::string ProductTypeNames() {
  std::vector<std::string_view> names;
  for (const DTypeInfo& info : AllDTypes()) {
    if (HasMmaLayout(info.type)) names.push_back(info.name);
  }
  return StrJoin(names, " ");
}

}  // namespace renga::codegen
