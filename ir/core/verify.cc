#include "ir/core/verify.h"

#include <algorithm>
#include <limits>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "ir/base/packing.h"
#include "ir/base/status.h"
#include "ir/core/decompose.h"
#include "ir/text/print.h"

namespace renga {
namespace {

constexpr int kMaxRank = 4;
constexpr size_t kMaxNodeText = 400;  // bytes of a node shown in an error
constexpr size_t kMaxName = 100;      // bytes of a name shown in an error

bool IsIdentifier(std::string_view text) {
  if (text.empty() || absl::ascii_isdigit(text[0])) return false;
  for (char c : text) {
    if (!absl::ascii_isalnum(c) && c != '_') return false;
  }
  return true;
}

std::string_view KindName(ValueKind kind) {
  static constexpr std::string_view kNames[] = {"parameter", "weight", "cache", "result"};
  return kNames[static_cast<int>(kind)];
}

std::string Clip(std::string text, size_t bytes) {
  if (text.size() > bytes) text = text.substr(0, bytes) + " ...";
  return text;
}

// A name for an error: it may come from a hostile file and be megabytes long.
std::string ShortRef(const Value& value) { return Clip(RefText(value), kMaxName); }

// One walk over the graph in execution order.
class Verifier {
 public:
  explicit Verifier(const Graph& graph)
      : graph_(graph),
        defined_(graph.values.size(), false),
        overwritten_by_(graph.values.size(), -1),
        cache_of_(graph.values.size(), kNoValue),
        newest_(graph.values.size(), kNoValue) {}

  absl::Status Run() {
    RENGA_RETURN_IF_ERROR(CheckSymbols());
    RENGA_RETURN_IF_ERROR(DefineAll(graph_.params, ValueKind::kParam));
    RENGA_RETURN_IF_ERROR(DefineAll(graph_.weights, ValueKind::kWeight));
    RENGA_RETURN_IF_ERROR(DefineAll(graph_.caches, ValueKind::kCache));
    for (ValueId id : graph_.caches) cache_of_[id] = newest_[id] = id;
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      const Node& node = graph_.nodes[n];
      if (absl::Status status = CheckNode(node, static_cast<int>(n)); !status.ok()) {
        return absl::Status(
            status.code(),
            StrCat("node ", Clip(absl::CHexEscape(ToAbsl(NodeName(graph_, node))), kMaxName), ": ",
                   status.message(), "\n  ", NodeText(node)));
      }
    }
    RENGA_RETURN_IF_ERROR(CheckReturns());
    return CheckCaches();
  }

 private:
  bool IsValid(ValueId id) const {
    return id >= 0 && static_cast<size_t>(id) < graph_.values.size();
  }

  std::string NodeText(const Node& node) const {
    return Clip(PrintNode(graph_, node), kMaxNodeText);
  }

  absl::Status CheckSymbols() const {
    if (graph_.symbols.size() > kMaxSymbols) {
      return absl::InvalidArgumentError(
          StrCat("dim: expected at most ", kMaxSymbols, " of them, got ", graph_.symbols.size()));
    }
    absl::flat_hash_set<std::string_view> names;
    for (const SymbolDef& symbol : graph_.symbols) {
      RENGA_RETURN_IF_ERROR(CheckSymbol(symbol));
      if (!names.insert(symbol.name).second) {
        return absl::InvalidArgumentError(
            StrCat("dim ", symbol.name, ": expected a new name, got one declared before"));
      }
    }
    return absl::OkStatus();
  }

  // Makes `id` usable from here on.
  absl::Status Define(ValueId id, ValueKind kind) {
    if (!IsValid(id)) {
      return absl::InvalidArgumentError(
          StrCat("expected a ", KindName(kind), ", got the undefined id ", id));
    }
    const Value& value = graph_.value(id);
    if (value.kind != kind) {
      return absl::InvalidArgumentError(StrCat(ShortRef(value), ": expected a ", KindName(kind),
                                               ", got a ", KindName(value.kind)));
    }
    if (value.name.empty()) {
      return absl::InvalidArgumentError(
          StrCat(KindName(kind), ": expected a name, got an empty one"));
    }
    if (defined_[id]) {
      return absl::InvalidArgumentError(
          StrCat(ShortRef(value), ": expected one definition, got a second"));
    }
    auto& names = kind == ValueKind::kWeight ? weight_names_ : value_names_;
    if (!names.insert(value.name).second) {
      return absl::InvalidArgumentError(
          StrCat(ShortRef(value), ": expected a new name, got one used before"));
    }
    RENGA_RETURN_IF_ERROR(Annotate(CheckType(graph_, value.type), ShortRef(value)));
    RENGA_RETURN_IF_ERROR(Annotate(CheckPacking(value), ShortRef(value)));
    defined_[id] = true;
    return absl::OkStatus();
  }

  absl::Status CheckPacking(const Value& value) const {
    if (!value.packed() && value.layout.empty()) return absl::OkStatus();
    if (value.kind != ValueKind::kWeight || !IsValid(value.source) || !defined_[value.source] ||
        graph_.value(value.source).kind != ValueKind::kWeight) {
      return absl::InvalidArgumentError(StrCat("pack: expected a weight declared before, got ",
                                               IsValid(value.source)
                                                   ? ShortRef(graph_.value(value.source))
                                                   : StrCat("id ", value.source)));
    }
    return renga::CheckPacking(graph_.value(value.source), value.type, value.layout);
  }

  absl::Status DefineAll(const std::vector<ValueId>& ids, ValueKind kind) {
    for (ValueId id : ids) RENGA_RETURN_IF_ERROR(Define(id, kind));
    return absl::OkStatus();
  }

  // `user` says who uses it: "operand x" or "return".
  absl::Status CheckUse(ValueId id, std::string_view user) const {
    if (!IsValid(id) || !defined_[id]) {
      return absl::InvalidArgumentError(
          StrCat(user, ": expected a value defined before, got ",
                 IsValid(id) ? ShortRef(graph_.value(id)) : StrCat("id ", id)));
    }
    if (overwritten_by_[id] >= 0) {
      const Node& writer = graph_.nodes[overwritten_by_[id]];
      return absl::InvalidArgumentError(StrCat(user, ": expected a value that still exists, got ",
                                               ShortRef(graph_.value(id)), ", overwritten by ",
                                               NodeText(writer)));
    }
    return absl::OkStatus();
  }

  absl::Status CheckNode(const Node& node, int index) {
    if (node.op == nullptr) {
      return absl::InvalidArgumentError("expected an operator, got none");
    }
    const OpDef& op = *node.op;
    RENGA_RETURN_IF_ERROR(CheckMeaning(op));
    for (size_t i = 0; i < node.operands.size(); ++i) {
      if (node.operands[i] == kNoValue) continue;  // InferTypes knows whether it may be absent
      const std::string_view name = i < op.operands.size() ? op.operands[i].name : "?";
      RENGA_RETURN_IF_ERROR(CheckUse(node.operands[i], StrCat("operand ", name)));
    }
    if (node.results.size() != static_cast<size_t>(op.results) || node.results.empty()) {
      return absl::InvalidArgumentError(
          StrCat(op.name, ": expected ", op.results, " results, got ", node.results.size()));
    }
    for (const std::string& source : node.provenance) {
      if (source.empty()) {
        return absl::InvalidArgumentError("provenance: expected names, got an empty one");
      }
    }
    RENGA_RETURN_IF_ERROR(DefineAll(node.results, ValueKind::kResult));
    RENGA_ASSIGN_OR_RETURN(const std::vector<TensorType> inferred,
                           InferTypes(graph_, op, node.operands, node.attrs));
    for (size_t i = 0; i < inferred.size(); ++i) {
      const Value& result = graph_.value(node.results[i]);
      if (result.type == inferred[i]) continue;
      return absl::InvalidArgumentError(StrCat(ShortRef(result), ": expected ",
                                               absl::CHexEscape(ToString(inferred[i])), " as ",
                                               op.name, " infers, got ", ToString(result.type)));
    }
    if (op.fused()) RENGA_RETURN_IF_ERROR(CheckParts(node));
    return CheckAliases(node, index);
  }

  // The values that a fused node has inside must be as legal as those that show.
  absl::Status CheckParts(const Node& node) const {
    RENGA_ASSIGN_OR_RETURN(const Decomposition parts,
                           Decompose(graph_, *node.op, node.operands, node.attrs));
    for (const Node& part : parts.graph.nodes) {
      const Value& value = parts.graph.value(part.results[0]);
      RENGA_RETURN_IF_ERROR(
          Annotate(CheckType(graph_, value.type), StrCat(value.name, " of ", node.op->name)));
    }
    return absl::OkStatus();
  }

  absl::Status CheckAliases(const Node& node, int index) {
    for (const Alias& alias : node.op->aliases) {
      const ValueId old_id = node.operands[alias.operand];
      if (old_id == kNoValue) continue;
      const Value& old_value = graph_.value(old_id);
      const std::string_view operand = node.op->operands[alias.operand].name;
      if (old_value.kind == ValueKind::kWeight || old_value.kind == ValueKind::kParam) {
        return absl::InvalidArgumentError(
            StrCat("operand ", operand, ": expected a cache or a result to overwrite, got ",
                   KindName(old_value.kind), " ", ShortRef(old_value)));
      }
      if (std::count(node.operands.begin(), node.operands.end(), old_id) > 1) {
        return absl::InvalidArgumentError(
            StrCat("operand ", operand, ": expected a value that no other operand reads, got ",
                   ShortRef(old_value), " twice"));
      }
      overwritten_by_[old_id] = index;
      const ValueId result = node.results[alias.result];
      cache_of_[result] = cache_of_[old_id];
      if (cache_of_[result] != kNoValue) newest_[cache_of_[result]] = result;
    }
    return absl::OkStatus();
  }

  absl::Status CheckReturns() const {
    for (ValueId id : graph_.returns) RENGA_RETURN_IF_ERROR(CheckUse(id, "return"));
    return absl::OkStatus();
  }

  absl::Status CheckCaches() const {
    const absl::flat_hash_set<ValueId> returned(graph_.returns.begin(), graph_.returns.end());
    for (ValueId cache : graph_.caches) {
      const ValueId newest = newest_[cache];
      if (newest == cache || returned.contains(newest)) continue;
      return absl::InvalidArgumentError(StrCat(
          "cache ", ShortRef(graph_.value(cache)), ": expected its newest form ",
          ShortRef(graph_.value(newest)), " among the returned values, got a return without it\n  ",
          NodeText(graph_.nodes[overwritten_by_[cache]])));
    }
    return absl::OkStatus();
  }

  const Graph& graph_;
  absl::flat_hash_set<std::string_view> value_names_;
  absl::flat_hash_set<std::string_view> weight_names_;
  // By value:
  std::vector<bool> defined_;
  std::vector<int> overwritten_by_;  // node that reused its storage, or -1
  std::vector<ValueId> cache_of_;    // cache whose storage it has, or none
  std::vector<ValueId> newest_;      // of a cache: the value that has its storage now
};

}  // namespace

absl::Status CheckSymbol(const SymbolDef& symbol) {
  if (!IsIdentifier(symbol.name)) {
    return absl::InvalidArgumentError(
        StrCat("dim: expected an identifier, got \"", absl::CHexEscape(symbol.name), "\""));
  }
  if (symbol.min < 1 || symbol.min > symbol.max) {
    return absl::InvalidArgumentError(StrCat("dim ", symbol.name,
                                             ": expected bounds with 1 <= min <= max, got ",
                                             symbol.min, "..", symbol.max));
  }
  return absl::OkStatus();
}

absl::Status CheckPacking(const Value& source, const TensorType& type, std::string_view name) {
  if (source.packed()) {
    return absl::InvalidArgumentError(StrCat("pack: expected a weight in the file's layout, got ",
                                             ShortRef(source), " in ",
                                             Clip(absl::CHexEscape(source.layout), kMaxName)));
  }
  if (source.type != type) {
    return absl::InvalidArgumentError(StrCat("pack: expected ", ToString(source.type), " as ",
                                             ShortRef(source), ", got ", ToString(type)));
  }
  const Layout* layout = FindLayout(name);
  if (layout == nullptr) {
    return absl::InvalidArgumentError(StrCat("layout: expected one of ", LayoutNames(), ", got ",
                                             Clip(absl::CHexEscape(ToAbsl(name)), kMaxName)));
  }
  if (type.rank() < 2) {
    return absl::InvalidArgumentError(
        StrCat("layout ", name, ": expected rows to pack, got ", ToString(type)));
  }
  const Dim& rows = type.shape[type.rank() - 2];
  const Dim& columns = type.shape[type.rank() - 1];
  if (rows.is_symbol() || columns.is_symbol()) {
    return absl::InvalidArgumentError(
        StrCat("layout ", name, ": expected constant sizes, got ", ToString(type)));
  }
  return PackedBytes(*layout, type.dtype, rows.value, columns.value).status();
}

absl::Status CheckType(const Graph& graph, const TensorType& type) {
  if (type.rank() < 1 || type.rank() > kMaxRank) {
    return absl::InvalidArgumentError(StrCat("expected rank 1..", kMaxRank, ", got ", type.rank()));
  }
  const auto text = [&] { return absl::CHexEscape(ToString(type)); };
  std::vector<int64_t> largest;
  for (const Dim& dim : type.shape) {
    if (dim.is_symbol()) {
      const SymbolDef* symbol = graph.FindSymbol(dim.symbol);
      if (symbol == nullptr) {
        return absl::InvalidArgumentError(
            StrCat("expected declared sizes, got ", absl::CHexEscape(dim.symbol), " in ", text()));
      }
      largest.push_back(symbol->max);
    } else if (dim.value < 1) {
      return absl::InvalidArgumentError(
          StrCat("expected positive sizes, got ", dim.value, " in ", text()));
    } else {
      largest.push_back(dim.value);
    }
  }
  const DTypeInfo& info = Info(type.dtype);
  if (info.block_elements > 1 &&
      (type.shape.back().is_symbol() || type.shape.back().value % info.block_elements != 0)) {
    return absl::InvalidArgumentError(StrCat("expected rows of whole blocks of ",
                                             info.block_elements, " elements, got ", text()));
  }
  // The number of elements must fit as well: operators multiply sizes.
  int64_t elements = 1;
  bool fits = true;
  for (int64_t size : largest) {
    fits = fits && elements <= std::numeric_limits<int64_t>::max() / size;
    if (fits) elements *= size;
  }
  if (!fits || !RowBytesChecked(type.dtype, elements).has_value()) {
    return absl::InvalidArgumentError(
        StrCat("expected fewer than 2^63 bytes at the largest sizes, got ", text()));
  }
  return absl::OkStatus();
}

absl::Status Verify(const Graph& graph) {
  if (graph.name.empty()) {
    return absl::InvalidArgumentError("graph: expected a name, got an empty one");
  }
  return Verifier(graph).Run();
}

}  // namespace renga
