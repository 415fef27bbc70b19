// Guesses about a node's attributes and about what it reads but its weights.
#include <algorithm>
#include <optional>
#include <utility>

#include "ir/base/strings.h"
#include "ir/base/windows.h"
#include "ir/trace/guess.h"

namespace renga {
namespace {

const std::string* NameAttr(const Node& node, std::string_view name) {
  const auto found = node.attrs.find(name);
  return found == node.attrs.end() ? nullptr : std::get_if<std::string>(&found->second);
}

int64_t IntAttr(const Node& node, std::string_view name) {
  const auto found = node.attrs.find(name);
  if (found == node.attrs.end()) return 0;
  const auto* number = std::get_if<int64_t>(&found->second);
  return number == nullptr ? 0 : *number;
}

Guess AttrGuess(std::string name, AttrValue value, std::string kind, std::string text) {
  return {.key = StrCat("attr ", name, " ", ToString(value)),
          .kind = std::move(kind),
          .text = std::move(text),
          .apply = [name = std::move(name), value = std::move(value)](Alternative* other) {
            other->at().attrs.insert_or_assign(name, value);
            return true;
          }};
}

void AddPairing(const Node& node, Guesses* guesses) {
  const std::string* is = NameAttr(node, "pairing");
  if (is == nullptr || (*is != "neox" && *is != "norm")) return;
  const std::string halves = StrCat("(i, i+", IntAttr(node, "dims") / 2, ")"), pairs = "(2i, 2i+1)";
  const bool half = *is == "neox";
  guesses->push_back(AttrGuess("pairing", std::string(half ? "norm" : "neox"), "pairs",
                               StrCat("rotates the pairs ", half ? pairs : halves,
                                      ", the model's are ", half ? halves : pairs)));
  guesses->back().leads = true;
}

// What an attribute is by mistake in other engines.
struct Usual {
  std::string_view attr;
  std::vector<AttrValue> values;
};

const std::vector<Usual>& UsualValues() {
  static const auto& usual = *new std::vector<Usual>{
      {"scale", {1.0}},
      {"eps", {1e-5, 1e-6, 1e-12, 0.0}},
      {"head_eps", {1e-5, 1e-6, 0.0}},
      {"base", {10000.0, 500000.0, 1e6}},
      {"factor", {1.0}},
      {"magnitude", {1.0}},
      {"scaling", {std::string("none")}},
      {"causal", {false, true}},
      {"window", {int64_t{0}}},
      {"activation", {std::string("silu"), std::string("gelu_tanh"), std::string("gelu")}},
      {"start", {int64_t{0}}},
  };
  return usual;
}

void AddAttrs(const Node& node, Guesses* guesses) {
  const auto add = [&](std::string_view name, const AttrValue& value) {
    const auto found = node.attrs.find(name);
    if (found == node.attrs.end() || found->second == value ||
        found->second.index() != value.index()) {
      return;
    }
    guesses->push_back(AttrGuess(
        std::string(name), value, "attribute",
        StrCat("as if ", name, " were ", ToString(value), ", not ", ToString(found->second))));
  };
  for (const Usual& usual : UsualValues()) {
    for (const AttrValue& value : usual.values) add(usual.attr, value);
  }
  if (const int64_t dims = IntAttr(node, "dims"); dims > 2) add("dims", dims / 2);
}

// `change` of a parameter that the node reads.
void AddParam(const GuessNode& node, std::string_view name, std::string_view key,
              std::string_view kind, std::string_view text,
              const std::function<void(HostTensor*)>& change, Guesses* guesses) {
  ValueId param = kNoValue;
  for (const ValueId operand : node.node().operands) {
    if (operand == kNoValue) continue;
    const Value& of = node.graph().value(operand);
    if (of.kind == ValueKind::kParam && SplitWindow(of.name).base == name) param = operand;
  }
  if (param == kNoValue) return;
  guesses->push_back({.key = std::string(key),
                      .kind = std::string(kind),
                      .text = std::string(text),
                      .apply = [param, change](Alternative* other) {
                        other->operands[param] = change;
                        return true;
                      }});
}

void AddPositions(const GuessNode& node, Guesses* guesses) {
  const auto each = [](int32_t (*change)(int32_t)) {
    return [change](HostTensor* tensor) {
      for (int32_t& at : tensor->i) at = change(at);
    };
  };
  AddParam(node, "positions", "position 0", "position", "as if every position were 0",
           each([](int32_t) { return 0; }), guesses);
  AddParam(node, "positions", "position +1", "position", "as if each position were one more",
           each([](int32_t at) { return at + 1; }), guesses);
  AddParam(node, "positions", "position -1", "position", "as if each position were one less",
           each([](int32_t at) { return std::max(0, at - 1); }), guesses);
  AddParam(
      node, "positions", "position in step", "position",
      "as if each position were counted from the start of the step, not of the sequence",
      [](HostTensor* tensor) {
        for (size_t i = 0; i < tensor->i.size(); ++i) tensor->i[i] = static_cast<int32_t>(i);
      },
      guesses);
}

void AddPaging(const GuessNode& node, Guesses* guesses) {
  AddParam(
      node, "sequences", "first sequence", "paging", "as if every token were of the first sequence",
      [](HostTensor* tensor) { std::fill(tensor->i.begin(), tensor->i.end(), 0); }, guesses);
  AddParam(
      node, "pages", "pages in order", "paging",
      "as if every sequence had the pages 0, 1, 2, ..., whatever its page table says",
      [](HostTensor* tensor) {
        const size_t width = static_cast<size_t>(tensor->shape.back());
        for (size_t i = 0; i < tensor->i.size(); ++i)
          tensor->i[i] = static_cast<int32_t>(i % width);
      },
      guesses);
}

// Activations that the node reads besides others.
void AddOperands(const GuessNode& node, Guesses* guesses) {
  std::vector<ValueId> values;
  for (const ValueId operand : node.node().operands) {
    if (operand == kNoValue || node.graph().value(operand).kind != ValueKind::kResult) continue;
    if (SplitWindow(node.graph().value(operand).type.shape[0].symbol).base == "C") continue;
    if (node.graph().value(operand).type.dtype != DType::kI32) values.push_back(operand);
  }
  if (values.size() < 2) return;
  for (size_t i = 0; i < values.size(); ++i) {
    guesses->push_back(
        {.key = StrCat("no operand ", i),
         .kind = "operand",
         .text = StrCat("as if %", node.graph().value(values[i]).name, " were zeros"),
         .apply = [value = values[i]](Alternative* other) {
           other->operands[value] = [](HostTensor* tensor) {
             std::fill(tensor->f.begin(), tensor->f.end(), 0.0f);
           };
           return true;
         }});
  }
}

// A cache after this step's writes, and before them.
struct CacheOperand {
  ValueId value, before;
  std::string name;
};

std::vector<CacheOperand> CachesOf(const GuessNode& node) {
  const std::vector<int> producer = ComputeUses(node.graph()).producer;
  std::vector<CacheOperand> caches;
  for (const ValueId operand : node.node().operands) {
    if (operand == kNoValue || producer[operand] < 0) continue;
    const Node& writer = node.graph().nodes[producer[operand]];
    for (const Alias& alias : writer.op->aliases) {
      if (writer.results[alias.result] != operand) continue;
      const ValueId before = writer.operands[alias.operand];
      if (node.graph().value(before).kind != ValueKind::kCache) continue;
      caches.push_back({operand, before, node.graph().value(before).name});
    }
  }
  return caches;
}

// The cache as one that lies [heads, stride, dim] would be read.
void ByHead(HostTensor* cache, int64_t stride) {
  const int64_t heads = cache->shape[1], dim = cache->shape[2];
  const std::vector<float> lies = cache->f;
  const int64_t size = static_cast<int64_t>(lies.size());
  for (int64_t at = 0; at < size; ++at) {
    const int64_t d = at % dim, head = at / dim % heads, cell = at / dim / heads;
    const int64_t from = (head * stride + cell) * dim + d;
    cache->f[static_cast<size_t>(at)] = from < size ? lies[static_cast<size_t>(from)] : 0;
  }
}

void AddCaches(const GuessNode& node, Guesses* guesses) {
  const std::vector<CacheOperand> caches = CachesOf(node);
  using Change = std::function<bool(const CacheOperand&, HostTensor*)>;
  const auto add = [&](std::string key, std::string kind, std::string text,
                       const std::vector<CacheOperand>& of, const Change& change) {
    guesses->push_back({.key = std::move(key),
                        .kind = std::move(kind),
                        .text = std::move(text),
                        .apply = [of, change](Alternative* other) {
                          for (const CacheOperand& cache : of) {
                            other->operands[cache.value] = [cache, change](HostTensor* tensor) {
                              change(cache, tensor);
                            };
                          }
                          return !of.empty();
                        }});
  };
  const Recorded& recorded = node.inputs.recorded;
  const Change stale = [&recorded](const CacheOperand& cache, HostTensor* tensor) {
    const auto before = recorded(cache.before);
    if (!before.ok() || !before->has_value() || (*before)->f.size() != tensor->f.size()) {
      return false;
    }
    tensor->f = (*before)->f;
    return true;
  };
  std::vector<std::vector<CacheOperand>> sets;
  if (caches.size() > 1) sets.push_back(caches);
  for (const CacheOperand& cache : caches) sets.push_back({cache});
  for (size_t i = 0; i < sets.size(); ++i) {
    std::vector<std::string> names;
    for (const CacheOperand& cache : sets[i]) names.push_back(StrCat("%", cache.name));
    const std::string all = StrJoin(names, " and ");
    add(StrCat("stale ", i), "stale cache",
        StrCat("as if ", all, " held nothing yet of this step's tokens"), sets[i], stale);
    const std::string cells = node.graph().value(sets[i][0].value).type.shape[0].symbol;
    for (const std::string& symbol : {std::string("L"), cells}) {
      const auto found = recorded.symbols().find(symbol);
      if (found == recorded.symbols().end()) continue;
      add(StrCat("by head ", symbol, i), "stride",
          StrCat("reads ", all, " with a stride of ", found->second,
                 symbol == "L" ? " cells a head, the current length"
                               : " cells a head, as if each "
                                 "head's cells were together"),
          sets[i], [stride = found->second](const CacheOperand&, HostTensor* tensor) {
            ByHead(tensor, stride);
            return true;
          });
    }
  }
}

// Queries that look at other heads' keys: head h at h % K instead of h / (H / K).
void AddHeadGroups(const GuessNode& node, Guesses* guesses) {
  const std::vector<CacheOperand> caches = CachesOf(node);
  if (caches.empty() || node.node().operands.empty()) return;
  const ValueId q = node.node().operands[0];
  const std::vector<Dim>& shape = node.graph().value(q).type.shape;
  const std::vector<Dim>& cells = node.graph().value(caches[0].value).type.shape;
  if (shape.size() != 3 || cells.size() != 3) return;
  const int64_t heads = shape[1].value, kv_heads = cells[1].value;
  if (kv_heads < 2 || heads == kv_heads || heads % kv_heads != 0) return;
  const int64_t group = heads / kv_heads;
  const auto reorder = [heads, kv_heads, group](HostTensor* tensor, bool back) {
    const std::vector<float> old = tensor->f;
    const int64_t inner = tensor->elements() / tensor->shape[0] / heads;
    for (int64_t t = 0; t < tensor->shape[0]; ++t) {
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t other = h % kv_heads * group + h / kv_heads;
        const int64_t to = back ? h : other, from = back ? other : h;
        std::copy_n(old.begin() + (t * heads + from) * inner, inner,
                    tensor->f.begin() + (t * heads + to) * inner);
      }
    }
  };
  guesses->push_back({.key = "head groups",
                      .kind = "heads",
                      .text = StrCat("query head h looks at key head h % ", kv_heads,
                                     ", the model's is h / ", group),
                      .apply = [q, reorder](Alternative* other) {
                        other->operands[q] = [reorder](HostTensor* t) { reorder(t, false); };
                        other->result = [reorder](HostTensor* t) { reorder(t, true); };
                        return true;
                      }});
}

}  // namespace

void AddInputGuesses(const GuessNode& node, Guesses* guesses) {
  AddPairing(node.node(), guesses);
  AddPositions(node, guesses);
  AddAttrs(node.node(), guesses);
  AddOperands(node, guesses);
  AddPaging(node, guesses);
  AddCaches(node, guesses);
  AddHeadGroups(node, guesses);
}

}  // namespace renga
