// The loops that repro programs are made of give what tests/ops expects of the operators, whose
// numbers come from a third implementation.
#include "tools/repro/standalone/formulas.h"

#include "gtest/gtest.h"
#include "ir/core/op_def.h"
#include "tests/ir/golden_file.h"
#include "tests/ir/op_case.h"

namespace renga {
namespace {

using Formula = std::vector<repro::Tensor> (*)(const repro::Operands&, const repro::Attrs&);

const std::map<std::string, Formula, std::less<>>& Formulas() {
  static const auto& formulas =
      *new std::map<std::string, Formula, std::less<>>{{"add", repro::add},
                                                       {"arg_max", repro::arg_max},
                                                       {"attn_scores", repro::attn_scores},
                                                       {"attn_values", repro::attn_values},
                                                       {"embed", repro::embed},
                                                       {"expert_linear", repro::expert_linear},
                                                       {"expert_sum", repro::expert_sum},
                                                       {"gather_rows", repro::gather_rows},
                                                       {"glu", repro::glu},
                                                       {"kv_append", repro::kv_append},
                                                       {"linear", repro::linear},
                                                       {"masked_softmax", repro::masked_softmax},
                                                       {"merge_heads", repro::merge_heads},
                                                       {"moe_route", repro::moe_route},
                                                       {"rms_norm", repro::rms_norm},
                                                       {"rope", repro::rope},
                                                       {"slice", repro::slice},
                                                       {"split_heads", repro::split_heads}};
  return formulas;
}

repro::Tensor TensorOf(const Value& value, const OpCase& op_case) {
  std::vector<int64_t> shape;
  for (const Dim& dim : value.type.shape) {
    shape.push_back(dim.is_symbol() ? op_case.symbols.at(dim.symbol) : dim.value);
  }
  repro::Tensor tensor = repro::Make(std::string(Name(value.type.dtype)), shape);
  const auto given = op_case.given.find(RefText(value));
  if (given == op_case.given.end()) return tensor;
  for (size_t k = 0; k < given->second.values.size(); ++k) {
    if (tensor.type == "i32") {
      tensor.i[k] = static_cast<int32_t>(given->second.values[k]);
    } else {
      tensor.f[k] = static_cast<float>(given->second.values[k]);
    }
  }
  // The last size is whole blocks.
  repro::RoundRow(tensor.type, tensor.f.data(), static_cast<int64_t>(tensor.f.size()));
  return tensor;
}

repro::Attrs AttrsOf(const Node& node, const OpCase& op_case) {
  repro::Attrs attrs;
  for (const auto& [name, value] : node.attrs) {
    repro::Attr& attr = attrs[name];
    if (const auto* whole = std::get_if<int64_t>(&value)) attr.number = static_cast<double>(*whole);
    if (const auto* real = std::get_if<double>(&value)) attr.number = *real;
    if (const auto* truth = std::get_if<bool>(&value)) attr.number = *truth ? 1 : 0;
    if (const auto* word = std::get_if<std::string>(&value)) {
      const auto size = op_case.symbols.find(*word);
      attr.text = *word;
      if (size != op_case.symbols.end()) attr.number = static_cast<double>(size->second);
    }
  }
  return attrs;
}

void Check(const OpCase& op_case) {
  const auto graph = Parse(op_case.text, "case.ir");
  ASSERT_TRUE(graph.ok()) << graph.status();
  std::vector<repro::Tensor> values(graph->values.size());
  for (const auto* ids : {&graph->params, &graph->caches, &graph->weights}) {
    for (const ValueId id : *ids) {
      values[static_cast<size_t>(id)] = TensorOf(graph->value(id), op_case);
    }
  }
  for (const Node& node : graph->nodes) {
    repro::Operands operands;
    for (const ValueId id : node.operands) {
      operands.push_back(id == kNoValue ? nullptr : &values[static_cast<size_t>(id)]);
    }
    const auto results =
        Formulas().at(std::string(node.op->name))(operands, AttrsOf(node, op_case));
    ASSERT_EQ(results.size(), node.results.size());
    for (size_t i = 0; i < results.size(); ++i) {
      values[static_cast<size_t>(node.results[i])] = results[i];
    }
  }
  for (const ValueId id : graph->returns) {
    const repro::Tensor& got = values[static_cast<size_t>(id)];
    HostTensor tensor;
    tensor.dtype = graph->value(id).type.dtype;
    tensor.shape = got.shape;
    tensor.f = got.f;
    tensor.i = got.i;
    Compare(RefText(graph->value(id)), op_case.expect.at(RefText(graph->value(id))), tensor);
  }
}

TEST(FormulasTest, GiveWhatTheCasesOfOperatorsExpect) {
  int checked = 0;
  for (const OpDef* op : AllOps()) {
    if (op->fused()) continue;
    ASSERT_TRUE(Formulas().contains(op->name)) << "no formula for " << op->name;
    const std::string path = StrCat(RENGA_SOURCE_DIR, "/tests/ops/", op->name, ".ir");
    for (const std::string& text : SplitCases(ReadTestFile(path))) {
      const OpCase op_case = ReadCase(text);
      if (!op_case.error.empty()) continue;
      SCOPED_TRACE(StrCat(op->name, ": ", op_case.title));
      Check(op_case);
      ++checked;
    }
  }
  EXPECT_GT(checked, 50);
}

}  // namespace
}  // namespace renga
