// dump --stage gguf, tokens: the file as it stands, before any of it means something.
#include <algorithm>
#include <iterator>

#include "absl/strings/str_format.h"
#include "frontend/gguf/gguf.h"
#include "frontend/gguf/metadata_text.h"
#include "frontend/models/tokenizer_data.h"
#include "ir/base/status.h"
#include "runtime/plan/serialize.h"
#include "tools/renga/dump_input.h"
#include "tools/renga/text.h"

namespace renga {
namespace {

constexpr uint64_t kShownElements = 8;
constexpr uint64_t kShownBytes = 96;

Json ValueJson(const MetaValue& value) {
  if (value.is_array()) {
    Json json = Json::array();
    const absl::StatusOr<std::vector<MetaValue>> items = value.AsItems(value.size());
    if (!items.ok()) return json;  // the file changed while it was read
    for (const MetaValue& item : *items) json.push_back(ValueJson(item));
    return json;
  }
  switch (value.type()) {
    case MetaType::kString:
      return std::string(value.AsString().value_or(std::string_view()));
    case MetaType::kBool:
      return value.AsBool().value_or(false);
    case MetaType::kF32:
    case MetaType::kF64:
      return value.AsFloat().value_or(0);
    case MetaType::kI8:
    case MetaType::kI16:
    case MetaType::kI32:
    case MetaType::kI64:
      return value.AsInt().value_or(0);
    default:
      return value.AsUint().value_or(0);
  }
}

Json ShapeJson(const GgufTensor& tensor) {
  return std::vector<int64_t>(tensor.shape().begin(), tensor.shape().end());
}

std::string GgufJson(const GgufFile& file) {
  Json metadata = Json::object(), tensors = Json::array(), parts = Json::array();
  for (const MetaEntry& entry : file.metadata().entries()) {
    metadata[std::string(entry.key)] = ValueJson(entry.value);
  }
  for (const GgufTensor& tensor : file.tensors()) {
    tensors.push_back({{"name", std::string(tensor.name)},
                       {"type", std::string(Name(tensor.type))},
                       {"shape", ShapeJson(tensor)},
                       {"part", tensor.part},
                       {"offset", tensor.offset},
                       {"bytes", tensor.bytes}});
  }
  for (const GgufPart& part : file.parts()) {
    parts.push_back({{"path", part.file.path()}, {"bytes", part.file.size()}});
  }
  return JsonText({{"version", file.version()},
                   {"alignment", file.alignment()},
                   {"bytes", file.total_bytes()},
                   {"parts", std::move(parts)},
                   {"metadata", std::move(metadata)},
                   {"tensors", std::move(tensors)}});
}

std::string GgufText(const GgufFile& file) {
  std::string text =
      StrCat("gguf version ", file.version(), "  alignment ", file.alignment(), "  ",
             file.metadata().entries().size(), " keys  ", file.tensors().size(), " tensors  ",
             WithCommas(static_cast<int64_t>(file.total_bytes())), " bytes\n");
  if (file.parts().size() > 1) {
    for (const GgufPart& part : file.parts()) StrAppend(&text, "part ", part.file.path(), "\n");
  }
  size_t key_width = 0, name_width = 0;
  for (const MetaEntry& entry : file.metadata().entries()) {
    key_width = std::max(key_width, std::min<size_t>(entry.key.size(), 48));
  }
  for (const MetaEntry& entry : file.metadata().entries()) {
    StrAppend(&text, absl::StrFormat("%-*s  %-20s  %s\n", static_cast<int>(key_width),
                                     EscapeForTerminal(entry.key), entry.value.TypeText(),
                                     MetaText(entry.value, kShownElements, kShownBytes)));
  }
  for (const GgufTensor& tensor : file.tensors()) {
    name_width = std::max(name_width, std::min<size_t>(tensor.name.size(), 64));
  }
  for (const GgufTensor& tensor : file.tensors()) {
    const std::string type = StrCat(Name(tensor.type), "[", StrJoin(tensor.shape(), ","), "]");
    StrAppend(&text,
              absl::StrFormat("%-*s  %-20s  %12d bytes  at %d%s\n", static_cast<int>(name_width),
                              EscapeForTerminal(tensor.name), type, tensor.bytes, tensor.offset,
                              file.parts().size() > 1 ? StrCat(" of part ", tensor.part + 1) : ""));
  }
  return text;
}

std::string_view TypeText(TokenType type) {
  constexpr std::string_view kNames[] = {"undefined",    "normal", "unknown", "control",
                                         "user-defined", "unused", "byte"};
  const size_t index = static_cast<size_t>(type);
  return index < std::size(kNames) ? kNames[index] : "?";
}

std::string TokensText(const TokenizerData& data) {
  std::string text = StrCat("tokenizer ", data.model, "  pre ", Quoted(data.pre), "  ", data.size(),
                            " tokens  ", data.merges.size(), " merges\n");
  const auto special = [&](std::string_view name, int32_t id) {
    if (id >= 0) StrAppend(&text, name, " ", id, "  ");
  };
  special("bos", data.bos);
  special("eos", data.eos);
  special("eot", data.eot);
  special("eom", data.eom);
  special("unk", data.unk);
  special("pad", data.pad);
  StrAppend(&text, "add_bos ", data.add_bos ? "yes" : "no", "  add_eos ",
            data.add_eos ? "yes" : "no",
            "  ends generation: ", StrJoin(data.end_of_generation, " "), "\n");
  for (int32_t id = 0; id < data.size(); ++id) {
    StrAppend(&text, absl::StrFormat("%6d  %-12s  ", id, ToAbsl(TypeText(data.types[id]))));
    if (!data.scores.empty()) StrAppend(&text, absl::StrFormat("%10g  ", data.scores[id]));
    StrAppend(&text, Quoted(data.token(id)), "\n");
  }
  return text;
}

std::string TokensJson(const TokenizerData& data) {
  Json tokens = Json::array();
  for (int32_t id = 0; id < data.size(); ++id) {
    Json token = {{"id", id},
                  {"text", std::string(data.token(id))},
                  {"type", std::string(TypeText(data.types[id]))}};
    if (!data.scores.empty()) token["score"] = data.scores[id];
    tokens.push_back(std::move(token));
  }
  const auto id_or_null = [](int32_t id) { return id < 0 ? Json(nullptr) : Json(id); };
  return JsonText({{"model", data.model},
                   {"pre", data.pre},
                   {"bos", id_or_null(data.bos)},
                   {"eos", id_or_null(data.eos)},
                   {"eot", id_or_null(data.eot)},
                   {"eom", id_or_null(data.eom)},
                   {"unk", id_or_null(data.unk)},
                   {"pad", id_or_null(data.pad)},
                   {"add_bos", data.add_bos},
                   {"add_eos", data.add_eos},
                   {"end_of_generation", data.end_of_generation},
                   {"merges", data.merges.size()},
                   {"tokens", std::move(tokens)}});
}

}  // namespace

absl::StatusOr<std::string> DumpGguf(const DumpFlags& flags, FileKind kind) {
  if (kind != FileKind::kGguf) {
    return absl::InvalidArgumentError(StrCat("--stage gguf: ", flags.model.model, " is ",
                                             kind == FileKind::kPlan ? "a plan" : "a graph's text",
                                             "; name a GGUF"));
  }
  RENGA_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(flags.model.model));
  return flags.json ? GgufJson(file) : GgufText(file);
}

absl::StatusOr<std::string> DumpTokens(const DumpFlags& flags, FileKind kind) {
  if (kind == FileKind::kIr) {
    return absl::InvalidArgumentError(
        StrCat("--stage tokens: ", flags.model.model, " is a graph's text; name a GGUF or a plan"));
  }
  if (kind == FileKind::kPlan) {
    RENGA_ASSIGN_OR_RETURN(const plan::Plan plan, plan::LoadPlan(flags.model.model));
    return flags.json ? TokensJson(plan.tokenizer) : TokensText(plan.tokenizer);
  }
  RENGA_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(flags.model.model));
  RENGA_ASSIGN_OR_RETURN(const TokenizerData data, ReadTokenizer(file));
  return flags.json ? TokensJson(data) : TokensText(data);
}

}  // namespace renga
