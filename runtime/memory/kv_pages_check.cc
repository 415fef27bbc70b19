#include <algorithm>

#include "ir/base/status.h"
#include "runtime/memory/kv_pages.h"

namespace renga {
namespace {

absl::Status Wrong(size_t sequence, std::string_view what) {
  return absl::InternalError(StrCat("kv pages: sequence ", sequence, ": ", what));
}

}  // namespace

// `holders` by page of the group.
absl::Status KvPages::CheckTable(size_t id, int group, std::vector<int32_t>* holders) const {
  const Sequence& sequence = sequences_[id];
  const Table& table = sequence.tables[group];
  if (static_cast<int64_t>(table.pages.size()) != PagesFor(sequence.position)) {
    return Wrong(id, StrCat("expected ", PagesFor(sequence.position), " pages for ",
                            sequence.position, " tokens, got ", table.pages.size()));
  }
  const int64_t first_seen = FirstSeen(group, sequence.position) / page_tokens_;
  if (table.first < 0 || table.first > first_seen) {
    return Wrong(
        id, StrCat("holds the pages from ", table.first, " on, the next token sees ", first_seen));
  }
  std::vector<int32_t> held;
  for (size_t i = 0; i < table.pages.size(); ++i) {
    const int32_t page = table.pages[i];
    if (static_cast<int64_t>(i) < table.first) {
      if (page != kNoPage) return Wrong(id, StrCat("has page ", page, " behind its window"));
      continue;
    }
    const int64_t used = static_cast<int64_t>(holders->size());
    if (page < 0 || page >= used) {
      return Wrong(id, StrCat("expected a page 0..", used - 1, ", got ", page));
    }
    held.push_back(page);
    ++(*holders)[static_cast<size_t>(page)];
  }
  if (group > 0 && static_cast<int64_t>(held.size()) > groups_[group].most_pages) {
    return Wrong(
        id, StrCat("holds ", held.size(), " pages, a window needs ", groups_[group].most_pages));
  }
  std::sort(held.begin(), held.end());
  const auto twice = std::adjacent_find(held.begin(), held.end());
  return twice == held.end() ? absl::OkStatus() : Wrong(id, StrCat("has page ", *twice, " twice"));
}

absl::Status KvPages::CheckSequence(size_t id, std::vector<std::vector<int32_t>>* holders) const {
  const Sequence& sequence = sequences_[id];
  if (!sequence.live && sequence.position != 0) return Wrong(id, "is free and has tokens");
  if (sequence.before > sequence.position) return Wrong(id, "was longer before it grew");
  for (int group = 0; group < groups(); ++group) {
    RENGA_RETURN_IF_ERROR(CheckTable(id, group, &(*holders)[group]));
  }
  if (sequence.published > sequence.position / page_tokens_) {
    return Wrong(id,
                 StrCat(sequence.published, " pages published of ", sequence.position, " tokens"));
  }
  int32_t before = PrefixIndex::kNone;
  for (int64_t i = 0; i < sequence.published; ++i) {
    const int32_t page = sequence.tables[0].pages[static_cast<size_t>(i)];
    if (!index_.Contains(page) || index_.Before(page) != before) {
      return Wrong(id, StrCat("page ", page, " was published and cannot be found"));
    }
    before = page;
  }
  return absl::OkStatus();
}

absl::Status KvPages::CheckInvariants() const {
  std::vector<std::vector<int32_t>> holders;
  for (const Group& group : groups_) holders.emplace_back(group.pool.references().size(), 0);
  std::vector<bool> dead(sequences_.size());
  for (int id : free_ids_) {
    if (id < 0 || id >= static_cast<int>(dead.size()) || dead[id]) {
      return absl::InternalError(StrCat("kv pages: free id ", id, " does not exist or is twice"));
    }
    dead[id] = true;
  }
  for (size_t i = 0; i < sequences_.size(); ++i) {
    if (sequences_[i].live == dead[i]) return Wrong(i, "is live and free, or neither");
    RENGA_RETURN_IF_ERROR(CheckSequence(i, &holders));
  }
  RENGA_RETURN_IF_ERROR(index_.CheckInvariants(groups_[0].pool.references(), page_tokens_));
  RENGA_RETURN_IF_ERROR(groups_[0].pool.CheckInvariants(
      holders[0], [this](int32_t page) { return index_.Contains(page); }));
  for (size_t i = 1; i < groups_.size(); ++i) {
    const Group& group = groups_[i];
    RENGA_RETURN_IF_ERROR(group.index.CheckInvariants(group.pool.references()));
    RENGA_RETURN_IF_ERROR(group.pool.CheckInvariants(
        holders[i], [&group](int32_t page) { return group.index.Contains(page); }));
    for (size_t page = 0; page < group.pool.references().size(); ++page) {
      const int32_t known = group.index.Known(static_cast<int32_t>(page));
      if (known != WindowIndex::kNone && !index_.Contains(known)) {
        return absl::InternalError(
            StrCat("kv pages: page ", page, " belongs to page ", known, ", which is not known"));
      }
    }
  }
  for (const PageCopy& copy : copies_) {
    const int64_t used = static_cast<int64_t>(groups_[copy.group].pool.references().size());
    if (std::min(copy.from, copy.to) < 0 || std::max(copy.from, copy.to) >= used ||
        copy.from == copy.to) {
      return absl::InternalError(StrCat("kv pages: copy from page ", copy.from, " to ", copy.to));
    }
  }
  return absl::OkStatus();
}

}  // namespace renga
