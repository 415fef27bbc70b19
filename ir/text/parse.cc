// A recursive descent parser without recursion: the grammar (docs/ir.md) nests nothing.
#include "ir/text/parse.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "ir/base/nearest.h"
#include "ir/base/packing.h"
#include "ir/base/status.h"
#include "ir/core/verify.h"
#include "ir/text/lexer.h"

namespace renga {
namespace {

// 300 times the text of a large model. Keeps ids far below the limits of ValueId.
constexpr size_t kMaxText = size_t{64} << 20;
constexpr int kMaxSizes = 4;

// "attn_scores, attn_values": the operators whose names are nearest to `name`.
std::string NearestOps(std::string_view name) {
  std::vector<std::string_view> ops;
  for (const OpDef* op : AllOps()) ops.push_back(op->name);
  return StrJoin(NearestNames(name, ops), ", ");
}

class Parser {
 public:
  Parser(std::string_view text, std::string_view file) : lexer_(text, file) { Advance(); }

  absl::StatusOr<Graph> Run() {
    RENGA_RETURN_IF_ERROR(Header());
    while (true) {
      if (IsWord("dim")) {
        RENGA_RETURN_IF_ERROR(Symbol());
      } else if (IsWord("weight")) {
        RENGA_RETURN_IF_ERROR(Global());
      } else if (IsWord("cache")) {
        RENGA_RETURN_IF_ERROR(Cache());
      } else if (IsWord("graph")) {
        break;
      } else {
        return Expected("dim, weight, cache or graph");
      }
    }
    RENGA_RETURN_IF_ERROR(Body());
    return std::move(graph_);
  }

 private:
  void Advance() { token_ = lexer_.Next(); }

  bool Is(TokenKind kind, std::string_view text) const {
    return token_.kind == kind && token_.text == text;
  }
  bool IsWord(std::string_view text) const { return Is(TokenKind::kWord, text); }

  bool Skip(std::string_view punct) {
    if (!Is(TokenKind::kPunct, punct)) return false;
    Advance();
    return true;
  }

  absl::Status Expected(std::string_view what) const {
    return lexer_.Error(token_.text, StrCat("expected ", what, ", got ", Describe(token_)));
  }

  // An error found after the parser moved on, shown at `at`.
  absl::Status Error(std::string_view at, std::string_view message) const {
    return lexer_.Error(at, message);
  }

  absl::Status ExpectPunct(std::string_view punct) {
    if (Skip(punct)) return absl::OkStatus();
    return Expected(StrCat("'", punct, "'"));
  }

  absl::Status ExpectWord(std::string_view word) {
    if (!IsWord(word)) return Expected(StrCat("'", word, "'"));
    Advance();
    return absl::OkStatus();
  }

  absl::Status ExpectLineEnd() {
    if (token_.kind == TokenKind::kEnd) return absl::OkStatus();
    if (token_.kind != TokenKind::kNewline) return Expected("the end of the line");
    Advance();
    return absl::OkStatus();
  }

  absl::StatusOr<Token> Take(TokenKind kind, std::string_view what) {
    if (token_.kind != kind) return Expected(what);
    Token taken = std::move(token_);
    Advance();
    return taken;
  }

  absl::StatusOr<int64_t> Int(std::string_view what) {
    RENGA_ASSIGN_OR_RETURN(const Token token, Take(TokenKind::kInt, what));
    return IntOf(token);
  }

  absl::StatusOr<int64_t> IntOf(const Token& token) const {
    int64_t value = 0;
    const char* end = token.text.data() + token.text.size();
    const auto result = std::from_chars(token.text.data(), end, value);
    if (result.ec == std::errc() && result.ptr == end) return value;
    return Error(token.text, StrCat("expected an integer of 64 bits, got ", Describe(token)));
  }

  absl::StatusOr<double> FloatOf(const Token& token) const {
    double value = 0;
    const char* end = token.text.data() + token.text.size();
    const auto result = std::from_chars(token.text.data(), end, value);
    if (result.ec == std::errc() && result.ptr == end) return value;
    return Error(token.text,
                 StrCat("expected a number that a double can hold, got ", Describe(token)));
  }

  // ir 1
  absl::Status Header() {
    RENGA_RETURN_IF_ERROR(ExpectWord("ir"));
    const std::string_view at = token_.text;
    RENGA_ASSIGN_OR_RETURN(const int64_t version, Int("a version"));
    if (version != 1) {
      return Error(at, StrCat("expected version 1 of the text form, got ", version));
    }
    return ExpectLineEnd();
  }

  // dim T = 1..512
  absl::Status Symbol() {
    Advance();
    RENGA_ASSIGN_OR_RETURN(const Token name, Take(TokenKind::kWord, "the name of a size"));
    SymbolDef symbol;
    symbol.name = name.text;
    RENGA_RETURN_IF_ERROR(ExpectPunct("="));
    RENGA_ASSIGN_OR_RETURN(symbol.min, Int("the smallest size"));
    RENGA_RETURN_IF_ERROR(ExpectPunct(".."));
    RENGA_ASSIGN_OR_RETURN(symbol.max, Int("the largest size"));
    if (absl::Status status = CheckSymbol(symbol); !status.ok()) {
      return Error(name.text, ToStd(status.message()));
    }
    if (graph_.FindSymbol(symbol.name) != nullptr) {
      return Error(name.text, StrCat("expected a new name, got ", Describe(name)));
    }
    if (graph_.symbols.size() == kMaxSymbols) {
      return Error(name.text, StrCat("expected at most ", kMaxSymbols, " dims, got another"));
    }
    graph_.symbols.push_back(std::move(symbol));
    return ExpectLineEnd();
  }

  // f32[T,64]
  absl::StatusOr<TensorType> Type() {
    if (token_.kind != TokenKind::kWord) return Expected("a type like f32[T,64]");
    const std::string_view at = token_.text;
    const std::optional<DType> dtype = DTypeFromName(token_.text);
    if (!dtype.has_value()) return Expected("an element type like f32, i32 or q4_k");
    Advance();
    TensorType type;
    type.dtype = *dtype;
    RENGA_RETURN_IF_ERROR(ExpectPunct("["));
    do {
      if (type.rank() == kMaxSizes) return Expected(StrCat("at most ", kMaxSizes, " sizes"));
      if (token_.kind == TokenKind::kWord) {
        type.shape.push_back(Dim::Symbol(token_.text.substr(0, 64)));
        if (graph_.FindSymbol(token_.text) == nullptr)
          return Expected("a number or a declared dim");
        Advance();
      } else {
        RENGA_ASSIGN_OR_RETURN(const int64_t size, Int("a size"));
        type.shape.push_back(Dim(size));
      }
    } while (Skip(","));
    RENGA_RETURN_IF_ERROR(ExpectPunct("]"));
    if (absl::Status status = CheckType(graph_, type); !status.ok()) {
      return Error(at, ToStd(status.message()));
    }
    return type;
  }

  // %x: f32[T,64]; the value is defined from here on.
  absl::StatusOr<ValueId> Declaration(TokenKind token_kind, ValueKind kind) {
    RENGA_ASSIGN_OR_RETURN(
        Token name,
        Take(token_kind, token_kind == TokenKind::kValue ? "a value like %x" : "a weight like @x"));
    RENGA_RETURN_IF_ERROR(ExpectPunct(":"));
    RENGA_ASSIGN_OR_RETURN(TensorType type, Type());
    if (name.name.empty()) return Error(name.text, "expected a name, got an empty one");
    auto& ids = kind == ValueKind::kWeight ? weights_ : values_;
    const ValueId id = static_cast<ValueId>(graph_.values.size());
    if (!ids.emplace(name.name, id).second) {
      return Error(name.text, StrCat("expected a new name, got ", Describe(name)));
    }
    return graph_.AddValue(std::move(name.name), std::move(type), kind);
  }

  // @w: q5_0[896,896], or a packed weight.
  absl::Status Global() {
    Advance();
    const std::string_view at = token_.text;
    RENGA_ASSIGN_OR_RETURN(const ValueId id, Declaration(TokenKind::kGlobal, ValueKind::kWeight));
    if (Skip("=")) RENGA_RETURN_IF_ERROR(Packing(at, id));
    return ExpectLineEnd();
  }

  // pack(@w) {layout=rows8}, of the weight `id`, whose name stands at `at`.
  absl::Status Packing(std::string_view at, ValueId id) {
    RENGA_RETURN_IF_ERROR(ExpectWord("pack"));
    RENGA_RETURN_IF_ERROR(ExpectPunct("("));
    const std::string_view source_at = token_.text;
    if (token_.kind != TokenKind::kGlobal) return Expected("a weight to pack (@x)");
    RENGA_ASSIGN_OR_RETURN(const ValueId source, Operand("a weight to pack"));
    if (source == id) return Error(source_at, "expected another weight to pack, got itself");
    RENGA_RETURN_IF_ERROR(ExpectPunct(")"));
    RENGA_RETURN_IF_ERROR(ExpectPunct("{"));
    RENGA_RETURN_IF_ERROR(ExpectWord("layout"));
    RENGA_RETURN_IF_ERROR(ExpectPunct("="));
    if (token_.kind != TokenKind::kWord || FindLayout(token_.text) == nullptr) {
      return Expected(StrCat("a layout (", LayoutNames(), ")"));
    }
    Value& value = graph_.values[id];
    value.layout = token_.text;
    value.source = source;
    Advance();
    RENGA_RETURN_IF_ERROR(ExpectPunct("}"));
    const absl::Status packing = CheckPacking(graph_.value(source), value.type, value.layout);
    if (!packing.ok()) return Error(at, ToStd(packing.message()));
    return absl::OkStatus();
  }

  absl::Status Cache() {
    Advance();
    RENGA_RETURN_IF_ERROR(Declaration(TokenKind::kValue, ValueKind::kCache).status());
    return ExpectLineEnd();
  }

  // graph @step(%tokens: i32[T]) { ... }
  absl::Status Body() {
    Advance();
    RENGA_ASSIGN_OR_RETURN(const Token name, Take(TokenKind::kGlobal, "the graph's name (@step)"));
    if (name.name.empty()) return Error(name.text, "expected a name, got an empty one");
    graph_.name = name.name;
    RENGA_RETURN_IF_ERROR(ExpectPunct("("));
    if (!Skip(")")) {
      do {
        RENGA_RETURN_IF_ERROR(Declaration(TokenKind::kValue, ValueKind::kParam).status());
      } while (Skip(","));
      RENGA_RETURN_IF_ERROR(ExpectPunct(")"));
    }
    RENGA_RETURN_IF_ERROR(ExpectPunct("{"));
    RENGA_RETURN_IF_ERROR(ExpectLineEnd());
    while (token_.kind == TokenKind::kValue) RENGA_RETURN_IF_ERROR(OneNode());
    if (!IsWord("return")) return Expected("a node (%x: f32[T] = op(...)) or return");
    Advance();
    if (token_.kind != TokenKind::kNewline) {
      do {
        RENGA_ASSIGN_OR_RETURN(const ValueId id, Operand("a value to return"));
        graph_.returns.push_back(id);
      } while (Skip(","));
    }
    RENGA_RETURN_IF_ERROR(ExpectLineEnd());
    RENGA_RETURN_IF_ERROR(ExpectPunct("}"));
    if (token_.kind == TokenKind::kNewline) Advance();
    if (token_.kind != TokenKind::kEnd) return Expected("the end of the text");
    return absl::OkStatus();
  }

  absl::StatusOr<ValueId> Operand(std::string_view what) {
    if (token_.kind != TokenKind::kValue && token_.kind != TokenKind::kGlobal) {
      return Expected(StrCat(what, " (%x or @x)"));
    }
    const bool weight = token_.kind == TokenKind::kGlobal;
    const auto& ids = weight ? weights_ : values_;
    const auto found = ids.find(token_.name);
    if (found == ids.end()) {
      return Expected(weight ? "a weight declared above" : "a value defined above");
    }
    Advance();
    return found->second;
  }

  // %y: f32[T,896] = linear(%x, @w, bias=@b) {scale=2.0} from(%a, %b)
  absl::Status OneNode() {
    Node node;
    struct Result {
      Token name;
      std::string_view type_at;
      TensorType type;
    };
    std::vector<Result> results;
    do {
      Result result;
      RENGA_ASSIGN_OR_RETURN(result.name, Take(TokenKind::kValue, "a result like %x"));
      if (result.name.name.empty()) {
        return Error(result.name.text, "expected a name, got an empty one");
      }
      RENGA_RETURN_IF_ERROR(ExpectPunct(":"));
      result.type_at = token_.text;
      RENGA_ASSIGN_OR_RETURN(result.type, Type());
      results.push_back(std::move(result));
    } while (Skip(","));
    RENGA_RETURN_IF_ERROR(ExpectPunct("="));

    if (token_.kind != TokenKind::kWord) return Expected("an operator");
    const std::string_view op_at = token_.text;
    node.op = FindOp(token_.text);
    if (node.op == nullptr) {
      return Expected(StrCat("an operator (nearest: ", NearestOps(token_.text), ")"));
    }
    Advance();
    if (results.size() != static_cast<size_t>(node.op->results)) {
      return Error(op_at, StrCat("expected ", node.op->results, " results of ", node.op->name,
                                 ", got ", results.size()));
    }
    RENGA_RETURN_IF_ERROR(Operands(&node));
    RENGA_RETURN_IF_ERROR(Attrs(&node));
    RENGA_RETURN_IF_ERROR(Provenance(&node));

    const absl::StatusOr<std::vector<TensorType>> inferred =
        InferTypes(graph_, *node.op, node.operands, node.attrs);
    if (!inferred.ok()) return Error(op_at, ToStd(inferred.status().message()));
    for (size_t i = 0; i < results.size(); ++i) {
      Result& result = results[i];
      if (result.type != (*inferred)[i]) {
        return Error(result.type_at, StrCat("expected ", ToString((*inferred)[i]), " as ",
                                            node.op->name, " infers, got ", ToString(result.type)));
      }
      // Defined only now: a node cannot use its own results.
      if (!values_.emplace(result.name.name, static_cast<ValueId>(graph_.values.size())).second) {
        return Error(result.name.text, StrCat("expected a new name, got ", Describe(result.name)));
      }
      node.results.push_back(
          graph_.AddValue(std::move(result.name.name), std::move(result.type), ValueKind::kResult));
    }
    graph_.nodes.push_back(std::move(node));
    return ExpectLineEnd();
  }

  // (%x, @w, bias=@b): the required ones in the operator's order, then the optional ones by name.
  absl::Status Operands(Node* node) {
    const std::vector<OperandDef>& defs = node->op->operands;
    node->operands.assign(defs.size(), kNoValue);
    RENGA_RETURN_IF_ERROR(ExpectPunct("("));
    bool first = true;
    for (size_t i = 0; i < defs.size(); ++i) {
      if (defs[i].optional) continue;
      const std::string what = StrCat("operand ", defs[i].name, " of ", node->op->name);
      if (!first && !Skip(",")) return Expected(StrCat("',' and ", what));
      first = false;
      RENGA_ASSIGN_OR_RETURN(node->operands[i], Operand(what));
    }
    while (!Skip(")")) {
      if (!first && !Skip(",")) return Expected("',' or ')'");
      first = false;
      size_t i = 0;
      while (i < defs.size() && !(defs[i].optional && IsWord(defs[i].name))) ++i;
      if (i == defs.size()) {
        std::string names;
        for (const OperandDef& def : defs) {
          if (def.optional) StrAppend(&names, names.empty() ? "" : ", ", def.name, "=");
        }
        return Expected(names.empty()
                            ? StrCat("no more operands of ", node->op->name)
                            : StrCat("an optional operand of ", node->op->name, " (", names, ")"));
      }
      if (node->operands[i] != kNoValue) {
        return Expected(StrCat("operand ", defs[i].name, " once"));
      }
      Advance();
      RENGA_RETURN_IF_ERROR(ExpectPunct("="));
      RENGA_ASSIGN_OR_RETURN(node->operands[i], Operand(StrCat("operand ", defs[i].name)));
    }
    return absl::OkStatus();
  }

  // {eps=1e-06, pairing=neox}
  absl::Status Attrs(Node* node) {
    if (!Skip("{")) return absl::OkStatus();
    do {
      RENGA_ASSIGN_OR_RETURN(const Token name, Take(TokenKind::kWord, "the name of an attribute"));
      RENGA_RETURN_IF_ERROR(ExpectPunct("="));
      RENGA_ASSIGN_OR_RETURN(AttrValue value, AttributeValue());
      if (!node->attrs.emplace(std::string(name.text), std::move(value)).second) {
        return Error(name.text, StrCat("expected attribute ", name.text, " once, got it again"));
      }
    } while (Skip(","));
    return ExpectPunct("}");
  }

  absl::StatusOr<AttrValue> AttributeValue() {
    const Token token = token_;
    AttrValue value;
    if (token.kind == TokenKind::kInt) {
      RENGA_ASSIGN_OR_RETURN(value, IntOf(token));
    } else if (token.kind == TokenKind::kFloat || IsWord("inf") || IsWord("-inf") ||
               IsWord("nan")) {
      RENGA_ASSIGN_OR_RETURN(value, FloatOf(token));
    } else if (token.kind == TokenKind::kString) {
      value = token.name;
    } else if (IsWord("true") || IsWord("false")) {
      value = token.text == "true";
    } else if (token.kind == TokenKind::kWord && token.text[0] != '-') {
      value = std::string(token.text);
    } else {
      return Expected("an attribute value (12, 1e-06, true, name or \"text\")");
    }
    Advance();
    return value;
  }

  // from(%a, %b)
  absl::Status Provenance(Node* node) {
    if (!IsWord("from")) return absl::OkStatus();
    Advance();
    RENGA_RETURN_IF_ERROR(ExpectPunct("("));
    do {
      RENGA_ASSIGN_OR_RETURN(Token source,
                             Take(TokenKind::kValue, "the name of a source node (%x)"));
      if (source.name.empty()) return Error(source.text, "expected a name, got an empty one");
      node->provenance.push_back(std::move(source.name));
    } while (Skip(","));
    return ExpectPunct(")");
  }

  Lexer lexer_;
  Token token_;  // the one not yet consumed
  Graph graph_;
  absl::flat_hash_map<std::string, ValueId> values_;
  absl::flat_hash_map<std::string, ValueId> weights_;
};

}  // namespace

absl::StatusOr<Graph> Parse(std::string_view text, std::string_view file) {
  if (text.size() > kMaxText) {
    return absl::InvalidArgumentError(
        StrCat(file, ": expected at most ", kMaxText, " bytes of text, got ", text.size()));
  }
  RENGA_ASSIGN_OR_RETURN(Graph graph, Parser(text, file).Run());
  RENGA_RETURN_IF_ERROR(Annotate(Verify(graph), file));
  return graph;
}

}  // namespace renga
