#include "tools/renga/prompt_cache.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "ir/base/mapped_file.h"
#include "ir/base/output_file.h"
#include "ir/base/status.h"
#include "runtime/exec/engine.h"
#include "tools/renga/text.h"

namespace renga {
namespace {

// The tokens of the file; none where there is no file yet.
absl::StatusOr<std::vector<int32_t>> Restore(const std::string& path, Engine& engine) {
  const absl::StatusOr<MappedFile> file = MappedFile::Open(path);
  if (absl::IsNotFound(file.status())) return std::vector<int32_t>();
  RENGA_RETURN_IF_ERROR(file.status());
  const absl::Span<const uint8_t> bytes = file->bytes();
  absl::StatusOr<std::vector<int32_t>> tokens =
      engine.RestorePrefix({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  if (tokens.ok()) return tokens;
  return absl::Status(tokens.status().code(),
                      StrCat("--prompt-cache ", path, ": ", ToStd(tokens.status().message()),
                             "; name another file, or delete this one"));
}

}  // namespace

absl::StatusOr<GenerateResult> GenerateWithCache(
    const std::string& path, std::unique_ptr<StepRunner> runner, const Tokenizer& tokenizer,
    const std::vector<int32_t>& prompt, const GenerateOptions& options, std::string* note) {
  RENGA_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine,
                         Engine::Create(std::move(runner), tokenizer,
                                        {.max_running = 1, .timeline = options.timeline}));
  std::vector<int32_t> had;
  if (!path.empty()) {
    RENGA_ASSIGN_OR_RETURN(had, Restore(path, *engine));
  }
  RENGA_ASSIGN_OR_RETURN(const RequestId id, engine->Add(prompt, options));
  for (bool more = true; more && !engine->finished(id);) {
    RENGA_ASSIGN_OR_RETURN(more, engine->Step());
  }
  RENGA_ASSIGN_OR_RETURN(GenerateResult result, engine->Take(id));
  if (path.empty()) return result;
  const int64_t reused = result.timings.reused_tokens;
  *note = StrCat("prompt cache ", EscapeForTerminal(path), ": ", reused, " of ", prompt.size(),
                 " tokens were in it");
  const bool begins =
      had.size() <= prompt.size() && std::equal(had.begin(), had.end(), prompt.begin());
  if (!begins) {
    *note += "; it is of another prompt and stays so";
    return result;
  }
  RENGA_ASSIGN_OR_RETURN(const std::string bytes, engine->SavePrefix(prompt));
  const int64_t page = engine->pages().page_tokens();
  const size_t whole = prompt.size() / static_cast<size_t>(page) * static_cast<size_t>(page);
  if (whole == had.size()) {
    if (whole == 0) StrAppend(note, ", which has whole pages of ", page);
    return result;
  }
  RENGA_RETURN_IF_ERROR(
      Annotate(WriteFileAtomically(path, {std::string_view(bytes)}), "--prompt-cache"));
  StrAppend(note, "; wrote ", BytesText(bytes.size()));
  return result;
}

}  // namespace renga
