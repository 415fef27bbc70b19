#include "ir/trace/llama_names.h"

#include <algorithm>
#include <charconv>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "ir/base/strings.h"

namespace renga {
namespace {

using Order = LogOrder;
using Derivation = LogDerivation;

// What a role of the log is called here. Names from llama.cpp's src/llama-graph.cpp and
// src/models; ggml appends " (view)", " (reshaped)", " (permuted)" and " (cont)".
struct NameRow {
  std::string_view role;    // "#" stands for the layer
  std::string_view op;      // empty: any
  std::string_view values;  // the first one that was traced
  Order order = Order::kTokens;
  Derivation derivation = Derivation::kSame;
  std::string_view other = {};
};

constexpr NameRow kNames[] = {
    {"embd", "", "embed"},
    {"inp_embd", "", "embed"},
    {"attn_norm-#", "", "#.attn_norm"},

    {"Qcur-#", "MUL_MAT", "#.q_proj #.q_heads"},
    {"Qcur-#", "ADD", "#.q_proj #.q_heads"},
    {"Qcur-#", "VIEW", "#.q_proj #.q_heads"},
    {"Qcur-#", "RESHAPE", "#.q_heads #.q_proj"},
    {"Qcur-#", "ROPE", "#.q"},
    {"Qcur-# (view)", "VIEW", "#.q"},
    {"Qcur-# (permuted)", "PERMUTE", "#.q", Order::kDimTokenHead},
    {"Qcur-# (view) (permuted)", "PERMUTE", "#.q", Order::kDimTokenHead},

    {"Kcur-#", "MUL_MAT", "#.k_proj #.k_heads"},
    {"Kcur-#", "ADD", "#.k_proj #.k_heads"},
    {"Kcur-#", "VIEW", "#.k_proj #.k_heads"},
    {"Kcur-#", "RESHAPE", "#.k_heads #.k_proj"},
    {"Kcur-#", "ROPE", "#.k"},
    {"Kcur-# (view)", "VIEW", "#.k"},
    {"Kcur-# (reshaped)", "RESHAPE", "#.k"},

    {"Vcur-#", "MUL_MAT", "#.v_proj #.v"},
    {"Vcur-#", "ADD", "#.v_proj #.v"},
    {"Vcur-#", "VIEW", "#.v_proj #.v"},
    {"Vcur-#", "RESHAPE", "#.v #.v_proj"},
    {"Vcur-# (view)", "VIEW", "#.v #.v_proj"},
    {"Vcur-# (reshaped)", "RESHAPE", "#.v #.v_proj"},
    {"Vcur-# (reshaped) (reshaped)", "RESHAPE", "#.v #.v_proj"},

    {"cache_k_l# (view)", "SET_ROWS", "#.k_cells #.k_cache", Order::kCells},
    {"cache_k_l# (view)", "VIEW", "#.k_cells #.k_cache", Order::kCells},
    {"cache_k_l# (view) (permuted)", "PERMUTE", "#.k_cells #.k_cache", Order::kDimCellHead},
    {"cache_v_l# (reshaped)", "RESHAPE", "#.v_cells #.v_cache", Order::kCellChannel,
     Derivation::kZeros},
    {"cache_v_l# (reshaped) (view)", "SET_ROWS", "#.v_cells #.v_cache", Order::kCellChannel},
    {"cache_v_l# (view)", "SET_ROWS", "#.v_cells #.v_cache", Order::kCells},
    // Which of the two it is, the log's order of operations tells: see OrderOfCache.
    {"cache_v_l# (view)", "VIEW", "#.v_cells #.v_cache", Order::kCellHeadDim},
    {"cache_v_l# (view) (permuted)", "PERMUTE", "#.v_cells #.v_cache", Order::kCellDimHead},

    {"kq-#", "MUL_MAT", "#.scores", Order::kKeyTokenHead, Derivation::kUnscaled},
    {"kq-#", "MUL_MAT", "#.q", Order::kKeyTokenHead, Derivation::kScores, "#.k_cells #.k_cache"},
    {"kq_soft_max-#", "SOFT_MAX", "#.probs", Order::kKeyTokenHead},
    {"kq_soft_max_ext-#", "SOFT_MAX", "#.probs", Order::kKeyTokenHead},
    {"kq_soft_max-#", "SOFT_MAX", "#.q", Order::kKeyTokenHead, Derivation::kProbs,
     "#.k_cells #.k_cache"},
    {"kq_soft_max_ext-#", "SOFT_MAX", "#.q", Order::kKeyTokenHead, Derivation::kProbs,
     "#.k_cells #.k_cache"},
    {"kqv-#", "MUL_MAT", "#.mix #.attn", Order::kDimTokenHead},
    {"kqv-# (permuted)", "PERMUTE", "#.mix #.attn"},
    {"__fattn__-#", "FLASH_ATTN_EXT", "#.mix #.attn"},
    {"kqv_merged-#", "PERMUTE", "#.mix #.attn"},
    {"kqv_merged_cont-#", "CONT", "#.attn #.mix"},
    {"kqv_out-#", "CONT", "#.attn #.mix"},
    {"kqv_out-#", "RESHAPE", "#.attn #.mix"},
    {"kqv_out-#", "MUL_MAT", "#.attn_out"},
    {"attn_out-#", "", "#.attn_out"},

    {"ffn_inp-#", "ADD", "#.attn_res"},
    {"ffn_norm-#", "", "#.ffn_norm"},
    {"ffn_gate-#", "", "#.gate"},
    {"ffn_up-#", "", "#.up"},
    {"ffn_silu-#", "", "#.gate", Order::kTokens, Derivation::kSilu},
    {"ffn_swiglu-#", "", "#.act"},
    {"ffn_gate_par-#", "", "#.act"},
    {"ffn_par-#", "", "#.act"},
    {"ffn_out-#", "", "#.ffn_out"},
    {"ffn_moe_out-#", "", "#.ffn_out"},
    {"l_out-#", "", "#.out"},

    {"result_norm", "", "output_norm"},
    {"result_output", "", "logits logits_all", Order::kVocabulary},
};

// What the graph says about names: which value a weight leads to, and what reads a value.
class GraphIndex {
 public:
  explicit GraphIndex(const Graph& graph) {
    for (const Node& node : graph.nodes) {
      const std::string& result = graph.value(node.results[0]).name;
      producer_.emplace(result, &node);
      for (const ValueId id : node.operands) {
        if (id == kNoValue) continue;
        const Value& value = graph.value(id);
        if (value.kind == ValueKind::kWeight) {
          if (node.op->fused()) {
            AddFused(graph, node, value.name);
            continue;
          }
          // A weight that stands in two places (tied embeddings) names neither.
          auto [at, added] = of_weight_.emplace(value.name, result);
          if (!added) at->second.clear();
        } else if (const auto eps = node.attrs.find("eps"); eps != node.attrs.end()) {
          if (const double* number = std::get_if<double>(&eps->second)) {
            eps_.emplace(value.name, *number);
            one_eps_ = one_eps_ == 0 || one_eps_ == *number ? *number : -1;
          }
        } else if (const auto scale = node.attrs.find("scale"); scale != node.attrs.end()) {
          // Derived probabilities know no window.
          const auto window = node.attrs.find("window");
          if (window != node.attrs.end() && window->second != AttrValue(int64_t{0})) continue;
          if (const double* number = std::get_if<double>(&scale->second)) {
            scale_.emplace(value.name, *number);
          }
        }
      }
    }
  }

  // The value that the only node reading this weight computes; empty where there is none.
  std::string OfWeight(const std::string& weight) const {
    const auto found = of_weight_.find(weight);
    return found == of_weight_.end() ? std::string() : found->second;
  }
  // What such a node adds to the weight's product; empty where it is no fused node, or one that
  // keeps the product to itself.
  struct Added {
    std::string sum, residual;
  };
  Added AddedTo(const std::string& weight) const {
    const auto found = added_.find(weight);
    return found == added_.end() ? Added() : found->second;
  }
  // Attribute of the first node that reads the value; else, where only some of its rows are read
  // on, what all norms have in common. 0 where there is none.
  double Eps(const std::string& value) const {
    const double eps = Find(eps_, value);
    return eps > 0 ? eps : std::max(one_eps_, 0.0);
  }
  // The same of the first node that reads the value; 0 where there is none.
  double ScaleOfReader(const std::string& value) const { return Find(scale_, value); }
  // Attribute of the node that computes it.
  double Scale(const std::string& value) const {
    const auto found = producer_.find(value);
    if (found == producer_.end()) return 0;
    const auto scale = found->second->attrs.find("scale");
    if (scale == found->second->attrs.end()) return 0;
    const double* number = std::get_if<double>(&scale->second);
    return number == nullptr ? 0 : *number;
  }

 private:
  // A fused node's result is not what the weight leads to. Where it only adds a residual, that can
  // be taken away again.
  void AddFused(const Graph& graph, const Node& node, const std::string& weight) {
    for (size_t i = 0; i < node.op->operands.size(); ++i) {
      if (node.op->operands[i].name != "residual") continue;
      added_.emplace(weight,
                     Added{graph.value(node.results[0]).name, graph.value(node.operands[i]).name});
    }
  }

  using Numbers = absl::flat_hash_map<std::string, double>;
  static double Find(const Numbers& numbers, const std::string& value) {
    const auto found = numbers.find(value);
    return found == numbers.end() ? 0 : found->second;
  }

  absl::flat_hash_map<std::string, const Node*> producer_;
  absl::flat_hash_map<std::string, std::string> of_weight_;
  absl::flat_hash_map<std::string, Added> added_;
  Numbers eps_, scale_;
  double one_eps_ = 0;  // -1: there are several
};

class LineUp {
 public:
  LineUp(const Trace& trace, const Graph& graph, const LlamaLog& log, int begin, int end)
      : graph_(graph), log_(log), begin_(begin), end_(end) {
    for (const TracedValue& value : trace.values) traced_.emplace(value.name, &value);
    for (int i = begin; i < end; ++i) {
      const LogTensor& tensor = log.tensors[i];
      const bool bias = tensor.op == "ADD" && tensor.inputs.size() == 2 &&
                        tensor.inputs[0].name == tensor.name &&
                        tensor.inputs[1].name.ends_with(".bias");
      if (bias) biased_.emplace(tensor.name, i);
      if (tensor.op == "SET_ROWS" && tensor.name.ends_with(" (reshaped) (view)")) {
        transposed_.emplace(RoleOf(tensor.name).layer, i);
      }
    }
  }

  std::vector<LogMatch> Run() {
    std::vector<LogMatch> matches;
    for (int i = begin_; i < end_; ++i) {
      LogMatch match = Match(log_.tensors[i]);
      if (match.value.empty()) {
        latest_.erase(log_.tensors[i].name);  // its readers must not see an older one
        continue;
      }
      match.tensor = i;
      latest_[log_.tensors[i].name] = match;
      matches.push_back(std::move(match));
    }
    return matches;
  }

 private:
  LogMatch Match(const LogTensor& tensor) const {
    LogMatch match = ByName(tensor);
    if (match.value.empty()) match = ByWeight(tensor);
    if (match.value.empty()) match = ByInput(tensor);
    const bool before_bias = tensor.op == "MUL_MAT" && biased_.contains(tensor.name);
    if (before_bias && match.derivation == Derivation::kSame) {
      match.derivation = Derivation::kUpToBias;
    }
    return match;
  }

  LogMatch ByName(const LogTensor& tensor) const {
    const LogRole role = RoleOf(tensor.name);
    for (const NameRow& row : kNames) {
      if (row.role != role.role || (!row.op.empty() && row.op != tensor.op)) continue;
      LogMatch match;
      match.value = FirstTraced(row.values, role.layer);
      if (match.value.empty()) continue;
      match.order = OrderOfCache(row.order, role);
      match.derivation = row.derivation;
      if (!row.other.empty()) {
        match.other = FirstTraced(row.other, role.layer);
        if (match.other.empty()) continue;
      }
      if (row.derivation == Derivation::kUnscaled) match.factor = graph_.Scale(match.value);
      if (row.derivation == Derivation::kProbs) match.factor = graph_.ScaleOfReader(match.value);
      const bool scaled =
          row.derivation == Derivation::kUnscaled || row.derivation == Derivation::kProbs;
      if (scaled && match.factor == 0) continue;
      return match;
    }
    return {};
  }

  // A weight is the same in both: what it is multiplied into is the value of our node that reads
  // it, whatever the log calls it.
  LogMatch ByWeight(const LogTensor& tensor) const {
    LogMatch match;
    for (const LogInput& input : tensor.inputs) {
      const bool weight = input.name.ends_with(".weight") || input.name.ends_with(".bias");
      const std::string value = weight ? graph_.OfWeight(input.name) : std::string();
      if (!value.empty() && traced_.contains(value)) match.value = value;
      const GraphIndex::Added added = weight ? graph_.AddedTo(input.name) : GraphIndex::Added();
      if (!traced_.contains(added.sum) || !traced_.contains(added.residual)) continue;
      match.value = added.sum;
      match.other = added.residual;
      match.derivation = Derivation::kAdded;
    }
    return match;
  }

  LogMatch ByInput(const LogTensor& tensor) const {
    if (tensor.inputs.empty()) return {};
    const auto found = latest_.find(tensor.inputs[0].name);
    if (found == latest_.end()) return {};
    LogMatch match = found->second;
    const bool plain = match.order == Order::kTokens && match.derivation == Derivation::kSame;
    if (tensor.op == "RMS_NORM" && plain) {
      match.derivation = Derivation::kNormed;
      match.factor = graph_.Eps(match.value);
      if (match.factor > 0) return match;
    }
    // The last layer goes on with the rows whose logits are asked for.
    const bool rows = tensor.op == "GET_ROWS" && tensor.inputs.size() == 2 &&
                      tensor.inputs[1].name.find("out_ids") != std::string::npos;
    const bool same = tensor.op == "RESHAPE" || tensor.op == "CONT" || tensor.op == "VIEW";
    if (plain && (rows || (same && SameCount(tensor)))) return match;
    return {};
  }

  static bool SameCount(const LogTensor& tensor) {
    const auto& ne = tensor.inputs[0].ne;
    return ne[0] * ne[1] * ne[2] * ne[3] == tensor.elements();
  }

  Order OrderOfCache(Order order, const LogRole& role) const {
    if (transposed_.contains(role.layer)) return order;
    if (order == Order::kCellHeadDim) return Order::kCells;
    if (order == Order::kCellDimHead) return Order::kDimCellHead;
    return order;
  }

  std::string FirstTraced(std::string_view names, int layer) const {
    for (const absl::string_view piece : absl::StrSplit(ToAbsl(names), ' ')) {
      std::string name = absl::StrReplaceAll(piece, {{"#", StrCat(layer)}});
      if (traced_.contains(name)) return name;
    }
    return {};
  }

  const GraphIndex graph_;
  const LlamaLog& log_;
  const int begin_, end_;
  absl::flat_hash_map<std::string, const TracedValue*> traced_;
  absl::flat_hash_map<std::string, int> biased_;       // a later tensor of that name adds a bias
  absl::flat_hash_map<int, int> transposed_;           // layers whose V cache is
  absl::flat_hash_map<std::string, LogMatch> latest_;  // by the log's name
};

}  // namespace

std::string_view ToString(LogDerivation derivation) {
  constexpr std::string_view kTexts[] = {"",
                                         "before its scale",
                                         "before its weight",
                                         "silu of it",
                                         "up to its bias",
                                         "from q and the cache",
                                         "from q and the cache",
                                         "zeros before the run",
                                         "less what is added to it"};
  return kTexts[static_cast<int>(derivation)];
}

LogRole RoleOf(std::string_view name) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  for (size_t i = 0; i + 1 < name.size(); ++i) {
    const bool dash = name[i] == '-';
    const bool cache = name[i] == 'l' && i > 0 && name[i - 1] == '_';
    if ((!dash && !cache) || !is_digit(name[i + 1])) continue;
    const size_t end = std::find_if_not(name.begin() + i + 1, name.end(), is_digit) - name.begin();
    if (end != name.size() && name[end] != ' ') continue;
    int layer = -1;
    if (std::from_chars(name.data() + i + 1, name.data() + end, layer).ec != std::errc()) break;
    return {StrCat(name.substr(0, i + 1), "#", name.substr(end)), layer};
  }
  return {std::string(name), -1};
}

std::vector<LogMatch> LineUpLog(const Trace& trace, const Graph& graph, const LlamaLog& log,
                                int begin, int end) {
  return LineUp(trace, graph, log, begin, end).Run();
}

}  // namespace renga
