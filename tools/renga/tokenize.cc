// renga tokenize MODEL: text to ids and back. Needs the vocabulary only, so nothing is compiled.
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_format.h"
#include "ir/base/status.h"
#include "runtime/text/tokenizer.h"
#include "tools/renga/command.h"
#include "tools/renga/model_flags.h"
#include "tools/renga/output.h"
#include "tools/renga/prompt_flags.h"
#include "tools/renga/text.h"
#include "tools/renga/token_ids.h"

namespace renga {
namespace {

struct Flags {
  std::string model;
  PromptFlags prompt;
  std::optional<std::string> decode;
  bool special = false, no_special = false;  // neither: as --special
  bool bos = false, no_bos = false;          // neither: as the model says
  bool json = false;
};

absl::StatusOr<std::vector<int32_t>> Encode(const Flags& flags, const Tokenizer& tokenizer) {
  RENGA_ASSIGN_OR_RETURN(const std::optional<std::string> text, ReadPrompt(flags.prompt));
  if (!text) return absl::InvalidArgumentError("nothing to tokenize: give -p, -f or --decode");
  EncodeOptions options;
  options.parse_special = !flags.no_special;
  if (!flags.bos && !flags.no_bos) return tokenizer.Encode(*text, options);
  options.add_special = false;
  RENGA_ASSIGN_OR_RETURN(std::vector<int32_t> ids, tokenizer.Encode(*text, options));
  if (flags.bos) {
    if (tokenizer.bos() < 0) {
      return absl::InvalidArgumentError(StrCat("--bos: ", flags.model, " has no BOS token"));
    }
    ids.insert(ids.begin(), tokenizer.bos());
  }
  return ids;
}

absl::Status Decode(const Flags& flags, const Tokenizer& tokenizer, const std::vector<int32_t>& ids,
                    Json json) {
  DecodeOptions options;
  options.show_special = !flags.no_special;
  absl::Span<const int32_t> shown = ids;
  // A BOS that is not shown is no first token: the space behind it goes as well.
  if (flags.no_special && !shown.empty() && shown[0] == tokenizer.bos()) shown.remove_prefix(1);
  RENGA_ASSIGN_OR_RETURN(const std::string text, tokenizer.Decode(shown, options));
  if (flags.json) {
    json["text"] = text;
    return WriteStdout(JsonText(json));
  }
  // The bytes and nothing else, but a person's prompt should not stick to them.
  return WriteStdout(isatty(STDOUT_FILENO) != 0 ? text + "\n" : text);
}

absl::Status Run(const Flags& flags) {
  if (flags.decode && (flags.prompt.text || flags.prompt.file)) {
    return absl::InvalidArgumentError("--decode excludes -p and -f");
  }
  RENGA_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, OpenTokenizer(flags.model));
  std::vector<int32_t> ids;
  if (flags.decode) {
    RENGA_ASSIGN_OR_RETURN(ids, ParseIds(*flags.decode, "--decode"));
    RENGA_RETURN_IF_ERROR(CheckIds(ids, tokenizer->size(), "--decode"));
  } else {
    RENGA_ASSIGN_OR_RETURN(ids, Encode(flags, *tokenizer));
  }
  Json json = {{"ids", ids}, {"pieces", Json::array()}};
  std::string lines;
  for (const int32_t id : ids) {
    const std::string piece = tokenizer->TokenPiece(id, /*show_special=*/true);
    if (flags.json) {
      json["pieces"].push_back(piece);
    } else {
      StrAppend(&lines, absl::StrFormat("%6d  %s\n", id, Quoted(piece)));
    }
  }
  if (flags.decode) return Decode(flags, *tokenizer, ids, std::move(json));
  return WriteStdout(flags.json ? JsonText(json) : lines);
}

RunFn Add(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  AddModelArgument(app, &flags->model);
  AddPromptFlags(app, &flags->prompt);
  app.add_option("--decode", flags->decode, "ids, separated by commas, to turn into text");
  CLI::Option* special =
      app.add_flag("--special", flags->special,
                   "special tokens in the text are recognised, and shown when decoding (default)");
  app.add_flag("--no-special", flags->no_special, "they are plain text, and not shown")
      ->excludes(special);
  CLI::Option* bos =
      app.add_flag("--bos", flags->bos, "put BOS in front (default: where the model asks for it)");
  app.add_flag("--no-bos", flags->no_bos, "never put BOS in front")->excludes(bos);
  app.add_flag("--json", flags->json, "one JSON object: ids, pieces; with --decode also text");
  return [flags] { return Run(*flags); };
}

}  // namespace

const Command kTokenizeCommand = {
    .name = "tokenize",
    .summary = "text to token ids and pieces, and back",
    .examples =
        "  renga tokenize model.gguf -p \"Hello world\"      # one `id piece` a line\n"
        "  renga tokenize model.gguf --decode 1,403,407    # the text of these ids",
    .add = Add,
};

}  // namespace renga
