// Keys and values that outlive the process.
#include <utility>

#include "ir/base/status.h"
#include "runtime/exec/engine.h"
#include "runtime/memory/saved_prefix.h"

namespace renga {
namespace {

// Gives its pages back at the end; what was published of them stays known.
class Borrowed {
 public:
  Borrowed(KvPages& pages, int sequence) : pages_(pages), sequence_(sequence) {}
  ~Borrowed() { pages_.Free(sequence_); }
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;
  int sequence() const { return sequence_; }

 private:
  KvPages& pages_;
  int sequence_;
};

}  // namespace

absl::Span<const int32_t> Engine::HeldPages(int sequence, int group) const {
  return pages_.pages(sequence, group)
      .subspan(static_cast<size_t>(pages_.first_page(sequence, group)));
}

absl::Status Engine::WritePages(int sequence, int group, std::string_view bytes) {
  const absl::Span<const int32_t> held = HeldPages(sequence, group);
  if (held.empty() ? !bytes.empty() : bytes.size() % held.size() != 0) {
    return absl::InvalidArgumentError(
        StrCat("expected ", held.size(), " pages, got ", bytes.size(), " bytes"));
  }
  const size_t each = held.empty() ? 0 : bytes.size() / held.size();
  for (const int32_t page : held) {
    RENGA_RETURN_IF_ERROR(runner_->WritePage(group, page, bytes.substr(0, each)));
    bytes.remove_prefix(each);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> Engine::SavePrefix(absl::Span<const int32_t> tokens) {
  RENGA_RETURN_IF_ERROR(failed_);
  RENGA_ASSIGN_OR_RETURN(const int sequence, pages_.NewSequence());
  const Borrowed borrowed(pages_, sequence);
  // One more token, for the last of those that are asked for is never found.
  std::vector<int32_t> longer(tokens.begin(), tokens.end());
  longer.push_back(0);
  SavedPrefix prefix;
  prefix.identity = IdentityOf(runner_->plan());
  prefix.page_tokens = pages_.page_tokens();
  RENGA_ASSIGN_OR_RETURN(const int64_t known, pages_.Reuse(sequence, longer));
  prefix.tokens.assign(tokens.begin(), tokens.begin() + known);
  for (const int32_t page : pages_.pages(sequence)) {
    RENGA_RETURN_IF_ERROR(runner_->ReadPage(0, page, &prefix.pages));
  }
  if (known > 0) prefix.page_bytes = prefix.pages.size() / pages_.pages(sequence).size();
  for (int group = 1; group < pages_.groups() && known > 0; ++group) {
    std::string& of = prefix.windows.emplace_back();
    for (const int32_t page : HeldPages(sequence, group)) {
      RENGA_RETURN_IF_ERROR(runner_->ReadPage(group, page, &of));
    }
  }
  return Encode(prefix);
}

absl::StatusOr<std::vector<int32_t>> Engine::RestorePrefix(std::string_view bytes) {
  RENGA_RETURN_IF_ERROR(failed_);
  RENGA_ASSIGN_OR_RETURN(SavedPrefix prefix, DecodeSavedPrefix(bytes));
  if (prefix.identity != IdentityOf(runner_->plan()) ||
      prefix.page_tokens != pages_.page_tokens()) {
    return absl::InvalidArgumentError(
        "of another model, or compiled otherwise (device, cache types, passes)");
  }
  if (prefix.tokens.empty()) return prefix.tokens;
  RENGA_ASSIGN_OR_RETURN(const int sequence, pages_.NewSequence());
  const Borrowed borrowed(pages_, sequence);
  RENGA_RETURN_IF_ERROR(pages_.Extend(sequence, static_cast<int64_t>(prefix.tokens.size())));
  RENGA_RETURN_IF_ERROR(WritePages(sequence, 0, prefix.pages));
  if (prefix.windows.size() + 1 != static_cast<size_t>(pages_.groups())) {
    return absl::InvalidArgumentError(StrCat("expected pages of ", pages_.groups() - 1,
                                             " windows, got those of ", prefix.windows.size()));
  }
  for (int group = 1; group < pages_.groups(); ++group) {
    RENGA_RETURN_IF_ERROR(WritePages(sequence, group, prefix.windows[group - 1]));
  }
  RENGA_RETURN_IF_ERROR(pages_.Publish(sequence, prefix.tokens));
  return std::move(prefix.tokens);
}

}  // namespace renga
