// The parts that decide what is a race: vector clocks, and what a cell remembers of four bytes.

#include <algorithm>

#include "tests/emulator/selftest/support.h"

namespace renga::emulator {
namespace {

using testing::ElementsAre;

KnowledgeRef Knows(uint32_t block, std::vector<uint32_t> ticks) {
  auto* knowledge = new Knowledge;
  auto* at = new Ticks;
  at->at = std::move(ticks);
  knowledge->Set(block, Ref<const Ticks>(at));
  return KnowledgeRef(knowledge);
}

TEST(KnowledgeOf, JoiningKeepsTheLaterTickOfEach) {
  const KnowledgeRef a = Knows(3, {1, 5, 0}), b = Knows(3, {2, 4}), c = Knows(1, {7});
  const KnowledgeRef all = Join(Join(a, b), c);
  EXPECT_THAT(all->Of(3)->at, ElementsAre(2, 5, 0));
  EXPECT_THAT(all->Of(1)->at, ElementsAre(7));
  EXPECT_EQ(all->Of(2), nullptr);
  EXPECT_EQ(Join(a, KnowledgeRef()), a);
  EXPECT_EQ(Join(KnowledgeRef(), a), a);
  const KnowledgeRef more = With(a, 3, 4, 9);
  EXPECT_THAT(more->Of(3)->at, ElementsAre(1, 5, 0, 0, 9));
  EXPECT_THAT(a->Of(3)->at, ElementsAre(1, 5, 0));
  EXPECT_EQ(With(a, 3, 1, 4), a);  // known already
}

AccessRecord By(uint32_t agent, uint32_t tick, AccessKind kind, uint32_t mask = 15) {
  return {agent, tick, agent * 100, AccessRecord::Meta(1, mask, kind)};
}
constexpr auto kNothingBefore = [](const AccessRecord&) { return false; };
constexpr auto kAllBefore = [](const AccessRecord&) { return true; };

TEST(ShadowCells, ConflictsNeedAWriteAndCommonBytes) {
  using enum AccessKind;
  struct {
    AccessKind first, second;
    bool conflict;
  } cases[] = {{kRead, kRead, false},  {kRead, kWrite, true},     {kWrite, kRead, true},
               {kWrite, kWrite, true}, {kAtomic, kAtomic, false}, {kAtomic, kRead, true},
               {kRead, kAtomic, true}, {kAtomic, kWrite, true},   {kWrite, kAtomic, true}};
  for (const auto& one : cases) {
    ShadowCell cell;
    ASSERT_EQ(cell.Add(By(1, 1, one.first, 3), 0, kNothingBefore), nullptr);
    EXPECT_EQ(cell.Add(By(2, 1, one.second, 12), 0, kNothingBefore), nullptr);
    const AccessRecord* conflict = cell.Check(By(3, 1, one.second, 2), kNothingBefore);
    EXPECT_EQ(conflict != nullptr, one.conflict);
    if (one.conflict && conflict != nullptr) {
      EXPECT_EQ(conflict->agent, 1u);
    }
    EXPECT_EQ(cell.Check(By(3, 1, one.second, 2), kAllBefore), nullptr);
  }
}

TEST(ShadowCells, AnOrderedWriteReplacesWhatCameBefore) {
  ShadowCell cell;
  for (uint32_t agent = 1; agent <= 4; ++agent) {
    ASSERT_EQ(cell.Add(By(agent, 1, AccessKind::kRead), 0, kNothingBefore), nullptr);
  }
  ASSERT_EQ(cell.Add(By(5, 1, AccessKind::kWrite), 0, kAllBefore), nullptr);
  const auto used = std::count_if(cell.records, cell.records + 4,
                                  [](const AccessRecord& record) { return record.mask() != 0; });
  EXPECT_EQ(used, 1);
  // An ordered atomic does not hide the write from other atomics.
  ASSERT_EQ(cell.Add(By(5, 1, AccessKind::kAtomic), 0, kAllBefore), nullptr);
  EXPECT_NE(cell.Check(By(6, 1, AccessKind::kAtomic), kNothingBefore), nullptr);
}

TEST(ShadowCells, ReadersAreForgottenBeforeWriters) {
  ShadowCell cell;
  ASSERT_EQ(cell.Add(By(1, 1, AccessKind::kWrite), 0, kNothingBefore), nullptr);
  for (uint32_t agent = 2; agent < 20; ++agent) {
    const auto knows_writer = [](const AccessRecord& record) { return record.agent == 1; };
    ASSERT_EQ(cell.Add(By(agent, 1, AccessKind::kRead), agent, knows_writer), nullptr);
  }
  const AccessRecord* conflict = cell.Check(By(30, 1, AccessKind::kRead), kNothingBefore);
  ASSERT_NE(conflict, nullptr);
  EXPECT_EQ(conflict->agent, 1u);
}

std::vector<uint32_t> Order(Schedule schedule, size_t threads) {
  ReadyQueue queue;
  queue.Reset(schedule, threads);
  std::vector<uint32_t> all(threads), order;
  for (uint32_t i = 0; i < threads; ++i) all[i] = i;
  queue.PushAll(&all);
  for (uint32_t thread; queue.Pop(&thread);) order.push_back(thread);
  return order;
}

TEST(Schedules, EachThreadComesOnce) {
  for (const NamedSchedule& schedule : TestSchedules()) {
    std::vector<uint32_t> order = Order(schedule.schedule, 100);
    std::sort(order.begin(), order.end());
    ASSERT_EQ(order.size(), 100u) << schedule.name;
    for (uint32_t i = 0; i < 100; ++i) EXPECT_EQ(order[i], i) << schedule.name;
  }
  EXPECT_EQ(Order({Schedule::Kind::kForward, 0}, 3), (std::vector<uint32_t>{0, 1, 2}));
  EXPECT_EQ(Order({Schedule::Kind::kReverse, 0}, 3), (std::vector<uint32_t>{2, 1, 0}));
  EXPECT_NE(Order({Schedule::Kind::kRandom, 1}, 50), Order({Schedule::Kind::kRandom, 2}, 50));
  EXPECT_EQ(Order({Schedule::Kind::kRandom, 1}, 50), Order({Schedule::Kind::kRandom, 1}, 50));
}

TEST(GlobalMemoryTest, KnowsItsBuffers) {
  GlobalMemory memory;
  auto a = memory.Allocate("a", 100);
  ASSERT_TRUE(a.ok());
  auto* base = static_cast<uint8_t*>(*a);
  EXPECT_NE(memory.Find(base + 96, 4), nullptr);
  EXPECT_EQ(memory.Find(base + 97, 4), nullptr);
  EXPECT_EQ(memory.Find(base - 1, 1), nullptr);
  EXPECT_EQ(memory.Describe(base + 112), "12 bytes beyond the end of buffer 'a' (100 bytes)");
  EXPECT_EQ(memory.Describe(base - 3), "3 bytes before the start of buffer 'a' (100 bytes)");
  EXPECT_EQ(memory.Describe(base + 7), "buffer 'a' (100 bytes) + 7");
  EXPECT_FALSE(memory.Write(base + 50, std::vector<uint8_t>(51)).ok());
  EXPECT_FALSE(memory.Allocate("none", 0).ok());
  EXPECT_FALSE(memory.AddReadOnly("overlap", base + 10, 4).ok());
  ASSERT_TRUE(memory.Write(base, std::vector<uint8_t>(100, 1)).ok());
  ASSERT_TRUE(memory.Forget(base, 1).ok());
  std::vector<uint8_t> bytes(100);
  EXPECT_FALSE(memory.Read(base, absl::MakeSpan(bytes)).ok());
  ASSERT_TRUE(memory.Free(base).ok());
  EXPECT_FALSE(memory.Free(base).ok());
  EXPECT_EQ(memory.Find(base, 1), nullptr);
}

}  // namespace
}  // namespace renga::emulator
