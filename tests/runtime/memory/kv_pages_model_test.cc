// KvPages against a naive model that plays the memory: each cell holds a hash of the tokens up to
// the one that wrote it. What KvPages shares, copies, finds again and takes away must leave every
// sequence reading its own history.

#include <bit>
#include <iostream>
#include <optional>
#include <random>

#include "gtest/gtest.h"
#include "runtime/memory/kv_pages.h"
#include "tests/runtime/memory/kv_plan.h"
#include "tests/support/test_seed.h"

namespace renga {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr int kOperations = 50'000;
#else
constexpr int kOperations = 200'000;
#endif

struct Config {
  int64_t page_tokens, context, sequences, pages;  // up to 64 pages: sets of them are masks
};

using Tokens = std::vector<int32_t>;

class Model {
 public:
  Model(const Config& config, uint32_t seed)
      : config_(config),
        random_(seed),
        pages_(PlanOf(config.context, config.sequences, config.pages, 1, config.page_tokens)),
        cells_(config.pages * config.page_tokens),
        sequences_(config.sequences),
        prompts_(8) {}

  // One random operation.
  void Step() {
    int sequence = Random(config_.sequences), tries = 0;
    while (!sequences_[sequence].has_value() && tries++ < config_.sequences) {
      sequence = (sequence + 1) % static_cast<int>(config_.sequences);
    }
    const int kind = Random(100);
    if (kind < 12 || !sequences_[sequence].has_value()) {
      New();
    } else if (kind < 20) {
      Run(false);
    } else if (kind < 23) {
      Run(true);
    } else if (kind < 30) {
      Fork(sequence);
    } else if (kind < 35) {
      Free(sequence);
    } else if (kind < 47) {
      Truncate(sequence);
    } else if (kind < 60) {
      Publish(sequence);
    } else {
      Append(sequence);
    }
    if (pages_.free_pages() != config_.pages - std::popcount(Held())) {
      ADD_FAILURE() << "free pages: " << pages_.free_pages() << ", held " << std::popcount(Held());
    }
  }

  absl::Status CheckInvariants() const { return pages_.CheckInvariants(); }

  // So that a test of nothing is noticed.
  int64_t copies = 0, reused_tokens = 0, refused = 0, swapped = 0;

 private:
  struct Sequence {
    Tokens tokens;
    std::vector<uint64_t> hashes;  // by position, of all tokens up to there
    int64_t computed = 0;          // tokens whose cells were written
    int64_t published = 0;         // tokens that must be known while this sequence lives
  };

  // What the next run writes.
  struct Write {
    int sequence;
    int64_t position;
    int32_t cell;
  };

  int Random(int64_t below) { return static_cast<int>(random_() % below); }
  int64_t Size(int sequence) const {
    return static_cast<int64_t>(sequences_[sequence]->tokens.size());
  }
  int64_t WholePages(int64_t tokens) const {
    return tokens / config_.page_tokens * config_.page_tokens;
  }

  // Few tokens, so that prefixes meet.
  void Extend(Sequence* sequence, int32_t token) {
    uint64_t hash = (sequence->hashes.empty() ? 1 : sequence->hashes.back()) + token + 1;
    hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9;
    hash = (hash ^ (hash >> 27)) * 0x94d049bb133111eb;
    sequence->tokens.push_back(token);
    sequence->hashes.push_back(hash ^ (hash >> 31));
  }
  int32_t Token() { return Random(8) == 0 ? 1 : 0; }

  uint64_t PagesOf(int sequence) const {
    uint64_t mask = 0;
    for (int32_t page : pages_.pages(sequence)) mask |= uint64_t{1} << page;
    return mask;
  }
  uint64_t Held(int except = -1) const {
    uint64_t mask = 0;
    for (int i = 0; i < config_.sequences; ++i) {
      if (sequences_[i].has_value() && i != except) mask |= PagesOf(i);
    }
    return mask;
  }

  // The computed cells of a sequence, read through its table.
  void CheckContent(int sequence) const {
    const Sequence& expected = *sequences_[sequence];
    int64_t position = 0;
    for (int32_t page : pages_.pages(sequence)) {
      const uint64_t* cells = cells_.data() + page * config_.page_tokens;
      for (int64_t i = 0; i < config_.page_tokens && position < expected.computed;
           ++i, ++position) {
        if (cells[i] == expected.hashes[position]) continue;
        ADD_FAILURE() << "sequence " << sequence << ", position " << position << ", page " << page;
        return;
      }
    }
    EXPECT_EQ(position, expected.computed);
  }

  // An empty sequence, or one that starts with what is known of a prompt like one seen before.
  void New() {
    const absl::StatusOr<int> made = pages_.NewSequence();
    int live = 0;
    for (const auto& sequence : sequences_) live += sequence.has_value();
    ASSERT_EQ(made.ok(), live < config_.sequences);
    if (!made.ok()) return;
    ASSERT_FALSE(sequences_[*made].has_value());
    Sequence& sequence = sequences_[*made].emplace();
    Tokens prompt = prompts_[Random(prompts_.size())];
    if (const auto& other = sequences_[Random(config_.sequences)]; other.has_value() && Random(2)) {
      prompt = other->tokens;
    }
    if (!prompt.empty() && Random(3) == 0) prompt[Random(prompt.size())] ^= 1;
    for (int i = Random(4); i > 0; --i) prompt.push_back(Token());
    // What others have published and hold must be found.
    int64_t least = 0;
    const int64_t most = WholePages(std::max<int64_t>(prompt.size(), 1) - 1);
    for (const auto& other : sequences_) {
      if (!other.has_value()) continue;
      int64_t same = 0;
      const int64_t limit = std::min(most, other->published);
      while (same < limit && prompt[same] == other->tokens[same]) ++same;
      least = std::max(least, WholePages(same));
    }
    const int64_t found = pages_.Reuse(*made, prompt).value();
    ASSERT_EQ(found, WholePages(found));
    ASSERT_EQ(found, pages_.position(*made));
    ASSERT_GE(found, least);
    ASSERT_LE(found, most);
    for (int64_t i = 0; i < found; ++i) Extend(&sequence, prompt[i]);
    sequence.computed = sequence.published = found;
    reused_tokens += found;
    CheckContent(*made);
  }

  void Fork(int sequence) {
    if (sequences_[sequence]->computed != Size(sequence)) Run(false);
    const absl::StatusOr<int> made = pages_.Fork(sequence);
    if (!made.ok()) {
      for (const auto& other : sequences_) ASSERT_TRUE(other.has_value());
      return;
    }
    ASSERT_FALSE(sequences_[*made].has_value());
    sequences_[*made] = sequences_[sequence];
    ASSERT_EQ(pages_.position(*made), Size(sequence));
    ASSERT_EQ(pages_.pages(*made), pages_.pages(sequence));
  }

  void Free(int sequence) {
    prompts_[Random(prompts_.size())] = sequences_[sequence]->tokens;
    pages_.Free(sequence);
    Forget(sequence, 0);
    sequences_[sequence].reset();
  }

  // Writes that nobody waits for any more.
  void Forget(int sequence, int64_t from) {
    std::erase_if(writes_, [&](const Write& write) {
      return write.sequence == sequence && write.position >= from;
    });
  }

  void Truncate(int sequence) {
    Sequence& cut = *sequences_[sequence];
    const int64_t size = Size(sequence);
    int64_t keep = Random(size + 1);
    if (Random(3) == 0) keep = cut.computed;
    if (Random(20) == 0) keep = Random(2) ? size + 1 : -1;
    const absl::Status status = pages_.Truncate(sequence, keep);
    ASSERT_EQ(status.ok(), keep >= 0 && keep <= size);
    if (!status.ok()) return;
    Forget(sequence, keep);
    cut.tokens.resize(keep);
    cut.hashes.resize(keep);
    cut.computed = std::min(cut.computed, keep);
    cut.published = std::min(cut.published, WholePages(keep));
  }

  void Append(int sequence) {
    Sequence& grown = *sequences_[sequence];
    const int64_t size = Size(sequence), page = config_.page_tokens;
    const int64_t count = Random(Random(4) == 0 ? 3 * page + 2 : 3);
    // A page more than the table grows by, when the last one is another sequence's too.
    const bool shared =
        count > 0 && size % page != 0 && (Held(sequence) >> pages_.pages(sequence).back() & 1) != 0;
    const int64_t needed = (size + count + page - 1) / page - (size + page - 1) / page + shared;
    const bool fits =
        size + count <= config_.context && needed <= config_.pages - std::popcount(Held());
    std::vector<int32_t> cells;
    const absl::Status status = pages_.Append(sequence, count, &cells);
    ASSERT_EQ(status.ok(), fits) << status;
    ASSERT_EQ(cells.size(), fits ? count : 0u);
    ASSERT_EQ(pages_.position(sequence), size + (fits ? count : 0));
    refused += !fits;
    for (int32_t cell : cells) {
      const int64_t position = Size(sequence);
      ASSERT_EQ(cell, pages_.CellOf(sequence, position));
      Extend(&grown, Token());
      writes_.push_back({sequence, position, cell});
    }
  }

  void Publish(int sequence) {
    Sequence& known = *sequences_[sequence];
    const int64_t count = Random(3) == 0 ? Random(known.computed + 1) : known.computed;
    const uint64_t before = PagesOf(sequence);
    const absl::Span<const int32_t> tokens(known.tokens);
    const absl::Status status = pages_.Publish(sequence, tokens.subspan(0, count));
    ASSERT_TRUE(status.ok()) << status;
    known.published = std::max(known.published, WholePages(count));
    swapped += before != PagesOf(sequence);
  }

  // Makes copies, then writes what was appended, all or, when it fails, something in some of the
  // cells; then the steps' sequences are rolled back, as after an error of a device.
  void Run(bool fails) {
    for (const PageCopy& copy : pages_.TakeCopies()) {
      std::copy_n(cells_.begin() + copy.from * config_.page_tokens, config_.page_tokens,
                  cells_.begin() + copy.to * config_.page_tokens);
      ++copies;
    }
    for (const Write& write : writes_) {
      if (!fails) {
        cells_[write.cell] = sequences_[write.sequence]->hashes[write.position];
      } else if (Random(2)) {
        cells_[write.cell] = random_();
      }
    }
    writes_.clear();
    for (int i = 0; i < config_.sequences; ++i) {
      if (!sequences_[i].has_value()) continue;
      Sequence& sequence = *sequences_[i];
      if (fails) {
        ASSERT_TRUE(pages_.Truncate(i, sequence.computed).ok());
        sequence.tokens.resize(sequence.computed);
        sequence.hashes.resize(sequence.computed);
      }
      sequence.computed = Size(i);
      CheckContent(i);
    }
  }

  const Config config_;
  std::mt19937 random_;
  KvPages pages_;
  std::vector<uint64_t> cells_;
  std::vector<std::optional<Sequence>> sequences_;
  std::vector<Tokens> prompts_;  // of sequences freed
  std::vector<Write> writes_;
};

class KvPagesModelTest : public testing::TestWithParam<Config> {};

TEST_P(KvPagesModelTest, EverySequenceReadsItsOwnHistory) {
  const uint32_t seed = TestSeed();
  Model model(GetParam(), seed);
  for (int i = 0; i < kOperations && !HasFailure(); ++i) {
    SCOPED_TRACE(i);
    model.Step();
    if (i % 32 == 0) {
      ASSERT_EQ(model.CheckInvariants(), absl::OkStatus());
    }
  }
  EXPECT_GT(model.reused_tokens, kOperations / 100);
  EXPECT_GT(model.refused, kOperations / 1000);
  if (GetParam().page_tokens > 1) {
    EXPECT_GT(model.copies, kOperations / 1000);
  }
  EXPECT_GT(model.swapped, kOperations / 10000);
  std::cout << model.copies << " copies, " << model.reused_tokens << " tokens reused, "
            << model.refused << " refused, " << model.swapped << " swapped\n";
}

INSTANTIATE_TEST_SUITE_P(Configs, KvPagesModelTest,
                         testing::Values(Config{4, 24, 5, 17}, Config{1, 10, 4, 12},
                                         Config{3, 20, 8, 12}, Config{2, 16, 3, 40},
                                         Config{5, 37, 6, 9}),
                         [](const auto& info) {
                           const Config& config = info.param;
                           return StrCat(config.pages, "PagesOf", config.page_tokens);
                         });

}  // namespace
}  // namespace renga
