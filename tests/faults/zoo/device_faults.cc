#include "tests/faults/zoo/device_faults.h"

#include <algorithm>
#include <bit>
#include <filesystem>
#include <utility>

#include "frontend/gguf/gguf.h"
#include "frontend/models/model.h"
#include "ir/base/status.h"
#include "tests/support/test_data.h"

namespace renga::faults {

bool ZooModel::HasProductOf(std::initializer_list<DType> types) const {
  return std::any_of(graph.nodes.begin(), graph.nodes.end(), [&](const Node& node) {
    return node.op->name == "linear" &&
           std::find(types.begin(), types.end(), graph.value(node.operands[1]).type.dtype) !=
               types.end();
  });
}

bool ZooModel::HasExperts() const {
  return std::any_of(graph.nodes.begin(), graph.nodes.end(),
                     [](const Node& node) { return node.op->name == "expert_linear"; });
}

absl::StatusOr<ZooModel> OpenZooModel(const std::string& path) {
  RENGA_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(path));
  RENGA_ASSIGN_OR_RETURN(const GraphOptions options, GraphOptionsOf(file, CompileOptionsOf({})));
  RENGA_ASSIGN_OR_RETURN(Model built, BuildModel(file, options));
  ZooModel model;
  model.name = std::filesystem::path(path).stem();
  model.path = path;
  model.graph = std::move(built.graph);
  model.layers = static_cast<int>(built.info.layers);
  const Graph& graph = model.graph;
  const auto shape = [&graph](std::string_view name) {
    return graph.value(graph.FindValue(name, false)).type.shape;
  };
  model.width = shape("embed")[1].value;
  model.heads = shape("0.q")[1].value;
  model.kv_heads = shape("0.k")[1].value;
  model.vocab = shape("logits")[1].value;
  model.tied = graph.FindValue("output.weight", true) == kNoValue;
  for (const ValueId id : graph.weights) {
    if (graph.value(id).name.ends_with(".bias")) model.biases.push_back(graph.value(id).name);
  }
  return model;
}

std::vector<std::string> ZooModelPaths() {
  std::vector<std::string> paths = {TestData("stories260K.gguf")};
  for (const auto& entry : std::filesystem::directory_iterator(TestData("tiny"))) {
    if (entry.path().extension() == ".gguf") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

namespace {

using Wrong = std::map<std::string, std::string>;

// ---- in which models ----

std::string Always(const ZooModel&) { return ""; }
std::string OneKvHead(const ZooModel& model) {
  return model.kv_heads == 1 ? "one head of K and V" : "";
}
std::string NoBiases(const ZooModel& model) { return model.biases.empty() ? "no biases" : ""; }
std::string NoGroups(const ZooModel& model) {
  return model.kv_heads == 1 || model.heads == model.kv_heads ? "heads are not grouped" : "";
}
std::string PowerOfTwo(const ZooModel& model) {
  return std::has_single_bit(static_cast<uint64_t>(model.width)) ? "width a power of two" : "";
}
std::string NoMinima(const ZooModel& model) {
  return model.HasProductOf({DType::kQ4_1, DType::kQ5_1, DType::kQ2_K, DType::kQ4_K, DType::kQ5_K})
             ? ""
             : "no blocks with minima";
}
std::string NoSixBitScales(const ZooModel& model) {
  return model.HasProductOf({DType::kQ4_K, DType::kQ5_K}) ? "" : "no 6-bit scales";
}
std::string OneLayer(const ZooModel& model) { return model.layers == 1 ? "one layer" : ""; }

// ---- what is wrong ----

// Results of all nodes of an operator, those that end so, all with a text.
std::function<Wrong(const ZooModel&, const Graph&)> Results(std::string op,
                                                            std::vector<std::string> suffixes,
                                                            std::string says) {
  return [=](const ZooModel&, const Graph& graph) {
    Wrong wrong;
    for (const std::string& name : ResultsOf(graph, op, suffixes)) wrong[name] = says;
    return wrong;
  };
}

// The same of matrices, whose operand 1 is the weight: "@W" in the text is its name, "$R", "$C",
// "$O" and "$S" are its rows, columns, and what a row's length is taken for.
std::function<Wrong(const ZooModel&, const Graph&)> Products(std::vector<std::string> suffixes,
                                                             std::string says,
                                                             std::vector<DType> types = {}) {
  return [=](const ZooModel&, const Graph& graph) {
    Wrong wrong;
    for (const Node& node : graph.nodes) {
      if (node.op->name != "linear" && node.op->name != "expert_linear") continue;
      const std::string& name = graph.value(node.results[0]).name;
      const Value& weight = graph.value(node.operands[1]);
      const auto ends = [&name](const std::string& suffix) { return name.ends_with(suffix); };
      if (std::none_of(suffixes.begin(), suffixes.end(), ends)) continue;
      if (!types.empty()) {
        if (node.op->name != "linear") continue;
        if (std::find(types.begin(), types.end(), weight.type.dtype) == types.end()) continue;
      }
      const int rank = weight.type.rank();
      const int64_t rows = weight.type.shape[rank - 2].value;
      const int64_t columns = weight.type.shape[rank - 1].value;
      std::string text = says;
      for (const auto& [key, value] :
           std::map<std::string, std::string>{{"@W", StrCat("@", weight.name)},
                                              {"$R", StrCat(rows)},
                                              {"$C", StrCat(columns)},
                                              {"$O", StrCat(OtherWidth(rows, columns))},
                                              {"$S", StrCat(ShorterWidth(rows, columns))}}) {
        for (size_t at = 0; (at = text.find(key)) != std::string::npos;) {
          text.replace(at, key.size(), value);
        }
      }
      wrong[name] = text;
    }
    return wrong;
  };
}

std::string PairsOf(const Node& node) {
  const bool neox = std::get<std::string>(node.attrs.find("pairing")->second) == "neox";
  const int64_t half = std::get<int64_t>(node.attrs.find("dims")->second) / 2;
  const std::string near = "(2i, 2i+1)", far = StrCat("(i, i+", half, ")");
  return StrCat("rotates the pairs ", neox ? near : far, ", the model's are ", neox ? far : near);
}

Wrong Pairs(const ZooModel&, const Graph& graph) {
  Wrong wrong;
  for (const Node& node : graph.nodes) {
    if (node.op->name == "rope") wrong[graph.value(node.results[0]).name] = PairsOf(node);
    if (node.op->name != "qkv_rope") continue;
    for (const size_t result : {0, 1})
      wrong[graph.value(node.results[result]).name] = PairsOf(node);
  }
  return wrong;
}

// Of qkv_rope each result has a bias of its own.
Wrong Biases(const ZooModel&, const Graph& graph) {
  Wrong wrong;
  for (const Node& node : graph.nodes) {
    std::vector<std::string> biases;
    for (const ValueId id : node.operands) {
      if (id == kNoValue) continue;
      const Value& value = graph.value(id);
      if (value.kind == ValueKind::kWeight && value.name.ends_with(".bias")) {
        biases.push_back(StrCat("@", value.name));
      }
    }
    if (biases.empty()) continue;
    if (node.op->name == "qkv_rope") {
      for (size_t i = 0; i < biases.size(); ++i) {
        wrong[graph.value(node.results[i]).name] = StrCat("as if ", biases[i], " were zeros");
      }
    } else {
      wrong[graph.value(node.results[0]).name] =
          StrCat("as if ", StrJoin(biases, " and "),
                 biases.size() == 1 ? " were zeros" : " were all zeros");
    }
  }
  return wrong;
}

// Both of a value that has two of them.
Wrong Join(Wrong wrong, const Wrong& other) {
  for (const auto& [name, text] : other) {
    std::string& known = wrong[name];
    known = known.empty() ? text : StrCat(known, ", and ", text);
  }
  return wrong;
}

// ---- plans ----

plan::Step* FindStep(plan::Plan* plan, std::string_view name) {
  for (plan::Step& step : plan->steps) {
    if (step.name == name) return &step;
  }
  return nullptr;
}

plan::Buffer* FindBuffer(plan::Plan* plan, std::string_view name) {
  for (plan::Buffer& buffer : plan->buffers) {
    if (buffer.space == plan::Space::kArena && buffer.name == name) return &buffer;
  }
  return nullptr;
}

// What the last layer's residual adds, and the sum.
std::string LastLayer(const ZooModel& model, std::string_view name) {
  return StrCat(model.layers - 1, ".", name);
}

// The memory plan gives what the last layer's attention adds the place of what it is added to.
void OverItsOperand(const ZooModel& model, plan::Plan* plan) {
  const std::string residual = model.layers == 1 ? "embed" : StrCat(model.layers - 2, ".out");
  const plan::Buffer* const place = FindBuffer(plan, residual);
  plan::Buffer* const buffer = FindBuffer(plan, LastLayer(model, "attn_out"));
  if (place != nullptr && buffer != nullptr) buffer->offset = place->offset;
}

void SetAttr(plan::Plan* plan, std::string_view name, const plan::AttrValue& value) {
  for (plan::Step& step : plan->steps) {
    for (plan::Attr& attr : step.attrs) {
      if (attr.name == name) attr.value = value;
    }
  }
}

// The last layer's product with the first one's matrix.
void OtherLayersWeight(const ZooModel& model, plan::Plan* plan) {
  plan::Step* const step = FindStep(plan, LastLayer(model, "attn_out"));
  for (size_t i = 0; step != nullptr && i < plan->buffers.size(); ++i) {
    if (plan->buffers[i].name == "blk.0.attn_output.weight") {
      step->inputs[1] = static_cast<int32_t>(i);
    }
  }
}

Faults Kernels(std::vector<const cpu::KernelDef*> kernels) {
  Faults faults;
  faults.kernels = std::move(kernels);
  return faults;
}

std::function<Faults(const ZooModel&)> ByKernels(std::vector<const cpu::KernelDef*> kernels,
                                                 bool zero_biases = false) {
  return [=](const ZooModel& model) {
    Faults faults = Kernels(kernels);
    if (zero_biases) faults.zeros = model.biases;
    return faults;
  };
}

std::function<Faults(const ZooModel&)> ByPlan(
    std::function<void(const ZooModel&, plan::Plan*)> change) {
  return [=](const ZooModel& model) {
    Faults faults;
    faults.change = [change, &model](plan::Plan* plan) { change(model, plan); };
    return faults;
  };
}

std::vector<DeviceFault> All() {
  const std::string stride = "with a stride of", length = "cells a head, the current length";
  const std::string zero = "as if every position were 0", unwritten = "nothing was written";
  const std::string second = "head 1: nothing was written";
  const auto transposed = Products({".attn_out"}, "reads @W transposed, as if it lay [$C,$R]");
  const auto cut = Products({".ffn_out", ".down"}, "sums only the first $S of $C columns of @W");
  const std::vector<const cpu::KernelDef*> stride_kernels = {&kAttentionStride,
                                                             &kAttentionDirectStride};
  return {
      {"f01_one_value_of_q", false, Always, ByKernels({&kScoresOneValue}),
       Results("attn_scores", {""}, "")},
      {"f02_pairs_of_rope", false, Always, ByKernels({&kRopeOtherPairs}), Pairs},
      {"f02_pairs_of_rope_fused", true, Always, ByKernels({&kQkvRopeOtherPairs}), Pairs},
      {"f03_zero_biases", false, NoBiases, ByKernels({}, true), Biases},
      {"f03_zero_biases_fused", true, NoBiases, ByKernels({}, true), Biases},
      {"f06_transposed", false, Always, ByKernels({&kLinearTransposed}), transposed},
      {"f06_leading_dimension", false, Always,
       ByKernels({&kLinearOtherRows, &kExpertLinearOtherRows}),
       Products({".ffn_out", ".down"}, "reads @W with rows $O apart, they are $C")},
      {"f07_too_few_columns", false, Always, ByKernels({&kLinearCut, &kExpertLinearCut}), cut},
      {"f10_stride_of_the_length", false, OneKvHead, ByKernels({&kScoresStride}),
       Results("attn_scores", {""}, length)},
      {"f10_stride_of_the_length_fused", true, OneKvHead, ByKernels(stride_kernels),
       Results("attention", {""}, stride)},
      {"f11_not_written_in_decode", false, Always, ByKernels({&kAppendNotInDecode}),
       Results("kv_append", {""}, unwritten)},
      {"f11_not_written_in_decode_fused", true, Always, ByKernels({&kQkvRopeNotInDecode}),
       Results("qkv_rope", {"_cells"}, unwritten)},
      {"f12_second_head_not_written", false, OneKvHead, ByKernels({&kAppendFirstHead}),
       Results("kv_append", {""}, unwritten)},
      {"f12_second_head_not_written_fused", true, OneKvHead, ByKernels({&kQkvRopeFirstHead}),
       Results("qkv_rope", {"_cells"}, unwritten)},
      {"f13_position_ignored", false, Always, ByKernels({&kRopeWithoutPosition}),
       Results("rope", {""}, zero)},
      {"f13_position_ignored_fused", true, Always, ByKernels({&kQkvRopeWithoutPosition}),
       Results("qkv_rope", {".q", ".k_cells"}, zero)},
      {"f14_over_an_operand_in_use", false, Always, ByPlan(OverItsOperand),
       [](const ZooModel& model, const Graph&) {
         return Wrong{{LastLayer(model, "attn_res"), ""}};
       }},
      {"f16_norm_by_halving", false, PowerOfTwo, ByKernels({&kRmsNormHalving}),
       Results("rms_norm", {""}, "")},
      {"f16_softmax_by_halving", false, Always, ByKernels({&kSoftmaxHalving}),
       Results("masked_softmax", {""}, "")},
      {"f19_minima_added", false, NoMinima, ByKernels({&kLinearMinimaAdded}),
       Products({""}, "as if the minima of @W's blocks of",
                {DType::kQ4_1, DType::kQ5_1, DType::kQ2_K, DType::kQ4_K, DType::kQ5_K})},
      {"f19_scales_cut", false, NoSixBitScales, ByKernels({&kLinearScalesCut}),
       Products({""}, "as if the upper two bits of the scales and minima of groups 4..7 of @W",
                {DType::kQ4_K, DType::kQ5_K})},
      // Others of their kinds.
      {"heads_not_grouped", false, NoGroups, ByKernels({&kScoresHeads}),
       Results("attn_scores", {""}, "query head h looks at key head h % ")},
      {"page_tables_ignored", false, Always, ByKernels({&kScoresPages}),
       Results("attn_scores", {""}, "as if every sequence had the pages 0, 1, 2")},
      {"mask_left_out", false, Always,
       ByPlan([](const ZooModel&, plan::Plan* plan) { SetAttr(plan, "causal", false); }),
       Results("masked_softmax", {""}, "as if causal were false, not true")},
      {"another_activation", false, Always, ByPlan([](const ZooModel&, plan::Plan* plan) {
         SetAttr(plan, "activation", std::string("gelu_tanh"));
       }),
       Results("glu", {""}, "as if activation were gelu_tanh, not silu")},
      {"weight_of_another_layer", false, OneLayer, ByPlan(OtherLayersWeight),
       [](const ZooModel& model, const Graph&) {
         return Wrong{{LastLayer(model, "attn_out"), "were @blk.0.attn_output.weight"}};
       }},
      // What can be explained is, whatever else is wrong with its like.
      {"zero_biases_among_others", false, NoBiases, ByKernels({&kLinearUnexplained}, true),
       [](const ZooModel& model, const Graph& graph) {
         Wrong wrong = Biases(model, graph);
         for (const std::string& name : ResultsOf(graph, "linear", {".attn_out", ".ffn_out"})) {
           wrong[name] = "";
         }
         return wrong;
       },
       true},
      // Several at once, all of them in one run.
      {"both_2_and_3", false, NoBiases, ByKernels({&kRopeOtherPairs}, true),
       [](const ZooModel& model, const Graph& graph) {
         return Join(Pairs(model, graph), Biases(model, graph));
       },
       true},
      {"both_2_and_3_fused", true, NoBiases, ByKernels({&kQkvRopeOtherPairs}, true),
       [](const ZooModel& model, const Graph& graph) {
         return Join(Pairs(model, graph), Biases(model, graph));
       },
       true},
      {"all_of_2_3_and_6", false, NoBiases, ByKernels({&kRopeOtherPairs, &kLinearTransposed}, true),
       [transposed](const ZooModel& model, const Graph& graph) {
         return Join(Join(Pairs(model, graph), transposed(model, graph)), Biases(model, graph));
       },
       true},
      {"both_6_and_7", false, Always, ByKernels({&kLinearTransposedOrCut, &kExpertLinearCut}),
       [transposed, cut](const ZooModel& model, const Graph& graph) {
         return Join(transposed(model, graph), cut(model, graph));
       },
       true},
  };
}

}  // namespace

absl::Span<const DeviceFault> DeviceFaults() {
  static const auto& all = *new std::vector<DeviceFault>(All());
  return all;
}

std::vector<std::string> Differences(const std::map<std::string, std::string>& wrong,
                                     const Verdict& verdict) {
  std::vector<std::string> differences;
  if (wrong.empty()) differences.push_back("nothing is expected to be wrong");
  std::map<std::string, std::string> said = Named(verdict);
  for (const auto& [name, says] : wrong) {
    const auto found = said.find(name);
    if (found == said.end()) {
      differences.push_back(StrCat(name, " is not named"));
      continue;
    }
    if (found->second.find(says) == std::string::npos) {
      differences.push_back(StrCat(name, ": expected '", says, "', got '", found->second, "'"));
    }
    said.erase(found);
  }
  for (const auto& [name, text] : said) {
    differences.push_back(StrCat(name, " is blamed: '", text, "'"));
  }
  return differences;
}

}  // namespace renga::faults
