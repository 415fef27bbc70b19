#include "frontend/models/tokenizer_data.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ir/base/status.h"
#include "ir/base/strings.h"
#include "ir/base/token_index.h"

namespace renga {
namespace {

using std::string_view;

constexpr uint64_t kNoId = 0xFFFFFFFF;  // converters write -1 for "none" into an unsigned field

// Pre-tokenizers whose models expect a BOS unless the file says otherwise.
constexpr string_view kAddBosNames[] = {
    "chameleon", "falcon-h1", "falcon3",  "jina-v5-nano", "lfm2",   "llama-bpe",
    "llama-v3",  "llama3",    "midm-2.0", "pixtral",      "tekken",
};

// In order of preference; any of them ends a generation.
constexpr string_view kEotTexts[] = {
    "<|eot_id|>",         "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>",
    "<|end_of_text|>",    "<EOT>",      "_<EOT>",  "[EOT]",         "<｜end▁of▁sentence｜>",
    "<end_of_utterance>",
};

// Tokens that end a generation whatever their type in the file; all are control tokens.
constexpr string_view kEndTexts[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
    // Fill-in-the-middle: padding, repository name, file separator.
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "[PAD]",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
    "<|file_sep|>",
};

// Fill-in-the-middle prefix, suffix and middle: control tokens that end nothing.
constexpr string_view kControlTexts[] = {
    "<|fim_prefix|>", "<fim-prefix>",    "<fim_prefix>",    "<｜fim▁begin｜>", "<PRE>",
    "▁<PRE>",         "<|code_prefix|>", "<|prefix|>",      "<|fim_suffix|>",  "<fim-suffix>",
    "<fim_suffix>",   "<｜fim▁hole｜>",  "<SUF>",           "▁<SUF>",          "<|code_suffix|>",
    "<|suffix|>",     "<|fim_middle|>",  "<fim-middle>",    "<fim_middle>",    "<｜fim▁end｜>",
    "<MID>",          "▁<MID>",          "<|code_middle|>", "<|middle|>",
};

// gpt-oss: the frame of its messages, always shown.
constexpr string_view kUserDefinedTexts[] = {"<|channel|>", "<|message|>", "<|start|>",
                                             "<|constrain|>"};

class Reader {
 public:
  explicit Reader(const GgufFile& file) : file_(file) {}

  absl::StatusOr<TokenizerData> Read() {
    RENGA_RETURN_IF_ERROR(ReadKind());
    RENGA_RETURN_IF_ERROR(ReadTokens());
    if (data_.model == "gpt2") RENGA_RETURN_IF_ERROR(ReadMerges());
    RENGA_RETURN_IF_ERROR(ReadIds());
    RENGA_RETURN_IF_ERROR(ReadFlags());
    RENGA_RETURN_IF_ERROR(FindEnds());
    RENGA_ASSIGN_OR_RETURN(const string_view chat_template,
                           file_.GetStringOr("tokenizer.chat_template", ""));
    data_.chat_template = std::string(chat_template);
    return std::move(data_);
  }

 private:
  absl::Status Invalid(string_view key, const std::string& what) const {
    return absl::InvalidArgumentError(StrCat(file_.path(), ": ", key, ": ", what));
  }

  absl::Status ReadKind() {
    RENGA_ASSIGN_OR_RETURN(const string_view model,
                           file_.GetStringOr("tokenizer.ggml.model", "no_vocab"));
    if (model == "no_vocab" || model == "none" || file_.Find("tokenizer.ggml.tokens") == nullptr) {
      return absl::NotFoundError(
          StrCat(file_.path(),
                 ": the file has no vocabulary (tokenizer.ggml.model and tokenizer.ggml.tokens); "
                 "give token ids instead of text, or convert the model with its tokenizer"));
    }
    if (model != "llama" && model != "gpt2") {
      return absl::UnimplementedError(
          StrCat(file_.path(),
                 ": tokenizer.ggml.model: expected \"llama\" (SentencePiece) or "
                 "\"gpt2\" (byte-level BPE), got \"",
                 model, "\""));
    }
    data_.model = std::string(model);
    RENGA_ASSIGN_OR_RETURN(const string_view pre, file_.GetStringOr("tokenizer.ggml.pre", ""));
    data_.pre = std::string(pre);
    return absl::OkStatus();
  }

  absl::Status ReadTokens() {
    RENGA_ASSIGN_OR_RETURN(tokens_, file_.GetStringArray("tokenizer.ggml.tokens"));
    if (tokens_.empty()) return Invalid("tokenizer.ggml.tokens", "the list is empty");
    uint64_t bytes = 0;
    for (string_view token : tokens_) bytes += token.size();
    if (bytes > std::numeric_limits<uint32_t>::max() ||
        tokens_.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
      return Invalid("tokenizer.ggml.tokens",
                     StrCat(tokens_.size(), " tokens of ", bytes, " bytes are too many"));
    }
    data_.text.reserve(bytes);
    data_.offsets.reserve(tokens_.size() + 1);
    for (string_view token : tokens_) {
      data_.offsets.push_back(static_cast<uint32_t>(data_.text.size()));
      data_.text.append(token);
    }
    data_.offsets.push_back(static_cast<uint32_t>(data_.text.size()));
    index_ = TokenIndex(data_.text, data_.offsets);

    data_.types.assign(tokens_.size(), TokenType::kNormal);
    if (file_.Find("tokenizer.ggml.token_type") != nullptr) {
      RENGA_ASSIGN_OR_RETURN(const std::vector<int64_t> types,
                             file_.GetIntArray("tokenizer.ggml.token_type"));
      RENGA_RETURN_IF_ERROR(CheckSize("tokenizer.ggml.token_type", types.size()));
      for (size_t id = 0; id < types.size(); ++id) {
        if (types[id] < 0 || types[id] > static_cast<int64_t>(TokenType::kByte)) {
          return Invalid("tokenizer.ggml.token_type",
                         StrCat("token ", id, ": expected 0 to 6, got ", types[id]));
        }
        data_.types[id] = static_cast<TokenType>(types[id]);
      }
    }
    if (data_.model == "llama") {
      RENGA_ASSIGN_OR_RETURN(data_.scores, file_.GetFloatArray("tokenizer.ggml.scores"));
      RENGA_RETURN_IF_ERROR(CheckSize("tokenizer.ggml.scores", data_.scores.size()));
    }
    return absl::OkStatus();
  }

  absl::Status CheckSize(string_view key, size_t size) const {
    if (size == tokens_.size()) return absl::OkStatus();
    return Invalid(key, StrCat("expected ", tokens_.size(), " elements, one a token, got ", size));
  }

  absl::Status ReadMerges() {
    constexpr string_view kKey = "tokenizer.ggml.merges";
    RENGA_ASSIGN_OR_RETURN(const std::vector<string_view> lines, file_.GetStringArray(kKey));
    data_.merges.reserve(lines.size());
    for (size_t i = 0; i < lines.size(); ++i) {
      const string_view line = lines[i];
      // The left part may itself begin with a space.
      const size_t space = line.find(' ', 1);
      if (space == string_view::npos) {
        return Invalid(kKey, StrCat("merge ", i, ": expected two parts, got \"", line, "\""));
      }
      const int32_t left = Find(line.substr(0, space));
      const int32_t right = Find(line.substr(space + 1));
      if (left < 0 || right < 0) {
        return Invalid(kKey, StrCat("merge ", i, ": \"",
                                    left < 0 ? line.substr(0, space) : line.substr(space + 1),
                                    "\" is not a token"));
      }
      data_.merges.emplace_back(left, right);
    }
    return absl::OkStatus();
  }

  // -1: no token has this text. Of several the last counts, as in llama.cpp.
  int32_t Find(string_view text) const { return index_.Find(text); }

  absl::Status ReadId(string_view name, int32_t otherwise, int32_t* id) {
    const std::string key = StrCat("tokenizer.ggml.", name, "_token_id");
    *id = otherwise < data_.size() ? otherwise : -1;
    const MetaValue* value = file_.Find(key);
    if (value == nullptr) return absl::OkStatus();
    if (const absl::StatusOr<int64_t> number = value->AsInt(); number.ok() && *number == -1) {
      *id = -1;
      return absl::OkStatus();
    }
    RENGA_ASSIGN_OR_RETURN(const uint64_t number, file_.GetUint(key));
    if (number == kNoId) {
      *id = -1;
    } else if (number >= tokens_.size()) {
      return Invalid(key, StrCat("expected an id below ", tokens_.size(), ", got ", number));
    } else {
      *id = static_cast<int32_t>(number);
    }
    return absl::OkStatus();
  }

  absl::Status ReadIds() {
    // SentencePiece vocabularies begin with <unk> <s> </s>. Byte-level ones have no such custom: a
    // file that names no BOS has none.
    const bool spm = data_.model == "llama";
    RENGA_RETURN_IF_ERROR(ReadId("bos", spm ? 1 : -1, &data_.bos));
    RENGA_RETURN_IF_ERROR(ReadId("eos", spm ? 2 : -1, &data_.eos));
    RENGA_RETURN_IF_ERROR(ReadId("unknown", spm ? 0 : -1, &data_.unk));
    RENGA_RETURN_IF_ERROR(ReadId("padding", -1, &data_.pad));
    RENGA_RETURN_IF_ERROR(ReadId("eot", -1, &data_.eot));
    RENGA_RETURN_IF_ERROR(ReadId("eom", -1, &data_.eom));
    for (string_view name : {"fim_pad", "fim_rep", "fim_sep"}) {
      int32_t id = -1;
      RENGA_RETURN_IF_ERROR(ReadId(name, -1, &id));
      if (id >= 0) data_.end_of_generation.push_back(id);
    }
    for (string_view text : kEotTexts) {
      if (data_.eot < 0) data_.eot = Find(text);
    }
    if (data_.eom < 0) data_.eom = Find("<|eom_id|>");
    return absl::OkStatus();
  }

  absl::Status ReadFlags() {
    const bool spm = data_.model == "llama";
    const bool add_bos = spm || std::find(std::begin(kAddBosNames), std::end(kAddBosNames),
                                          data_.pre) != std::end(kAddBosNames);
    RENGA_ASSIGN_OR_RETURN(data_.add_bos, file_.GetBoolOr("tokenizer.ggml.add_bos_token", add_bos));
    RENGA_ASSIGN_OR_RETURN(data_.add_eos, file_.GetBoolOr("tokenizer.ggml.add_eos_token", false));
    RENGA_ASSIGN_OR_RETURN(data_.add_space_prefix,
                           file_.GetBoolOr("tokenizer.ggml.add_space_prefix", spm));
    return absl::OkStatus();
  }

  // What ends a generation, and the types that llama.cpp corrects: many files have wrong ones.
  absl::Status FindEnds() {
    std::vector<int32_t>& ends = data_.end_of_generation;
    const auto set_type = [this](string_view text, TokenType type) {
      const int32_t id = Find(text);
      if (id >= 0) data_.types[id] = type;
      return id;
    };
    for (string_view text : kControlTexts) set_type(text, TokenType::kControl);
    for (string_view text : kEndTexts) {
      const int32_t id = set_type(text, TokenType::kControl);
      if (id >= 0) ends.push_back(id);
    }
    for (string_view text : kUserDefinedTexts) set_type(text, TokenType::kUserDefined);
    for (int32_t id : {data_.eos, data_.eot, data_.eom}) {
      if (id >= 0) ends.push_back(id);
    }
    const auto is_no_end = [&](string_view text, TokenType type) {
      const int32_t id = set_type(text, type);
      ends.erase(std::remove(ends.begin(), ends.end(), id), ends.end());
    };
    const auto has = [this](string_view text) { return Find(text) >= 0; };
    // Harmony's <|end|> ends a message, not the answer.
    if ((has("<|return|>") && has("<|call|>")) || (has("<|calls|>") && has("<|flush|>"))) {
      is_no_end("<|end|>", TokenType::kUserDefined);
    }
    if (has("<|tool_response>") || has("<|plamo:eos|>")) is_no_end("</s>", TokenType::kNormal);
    std::sort(ends.begin(), ends.end());
    ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
    return absl::OkStatus();
  }

  const GgufFile& file_;
  TokenizerData data_;
  std::vector<string_view> tokens_;
  TokenIndex index_;  // of data_
};

}  // namespace

absl::StatusOr<TokenizerData> ReadTokenizer(const GgufFile& file) { return Reader(file).Read(); }

}  // namespace renga
