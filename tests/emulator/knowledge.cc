#include "tests/emulator/knowledge.h"

#include <algorithm>

namespace renga::emulator {
namespace {

auto Find(const Knowledge& knowledge, uint32_t block) {
  return std::lower_bound(knowledge.blocks.begin(), knowledge.blocks.end(), block,
                          [](const auto& entry, uint32_t wanted) { return entry.first < wanted; });
}

bool Covers(const Ticks& a, const Ticks& b) {
  bool covers = a.at.size() >= b.at.size();
  for (size_t i = 0; covers && i < b.at.size(); ++i) covers = a.at[i] >= b.at[i];
  return covers;
}

Ref<const Ticks> Join(const Ref<const Ticks>& a, const Ref<const Ticks>& b) {
  if (a == b || Covers(*a, *b)) return a;
  if (Covers(*b, *a)) return b;
  auto* joined = new Ticks{a->at};
  joined->at.resize(std::max(a->at.size(), b->at.size()));
  for (size_t i = 0; i < b->at.size(); ++i) joined->at[i] = std::max(joined->at[i], b->at[i]);
  return Ref<const Ticks>(joined);
}

}  // namespace

const Ticks* Knowledge::Of(uint32_t block) const {
  const auto found = Find(*this, block);
  return found == blocks.end() || found->first != block ? nullptr : found->second.get();
}

void Knowledge::Set(uint32_t block, Ref<const Ticks> ticks) {
  const auto found = blocks.begin() + (Find(*this, block) - blocks.cbegin());
  if (found != blocks.end() && found->first == block) {
    found->second = std::move(ticks);
  } else {
    blocks.insert(found, {block, std::move(ticks)});
  }
}

KnowledgeRef Join(const KnowledgeRef& a, const KnowledgeRef& b) {
  if (!b || a == b) return a;
  if (!a) return b;
  auto* joined = new Knowledge;
  joined->previous_kernel_done = a->previous_kernel_done || b->previous_kernel_done;
  auto i = a->blocks.begin();
  auto j = b->blocks.begin();
  while (i != a->blocks.end() || j != b->blocks.end()) {
    if (j == b->blocks.end() || (i != a->blocks.end() && i->first < j->first)) {
      joined->blocks.push_back(*i++);
    } else if (i == a->blocks.end() || j->first < i->first) {
      joined->blocks.push_back(*j++);
    } else {
      joined->blocks.emplace_back(i->first, Join(i->second, j->second));
      ++i, ++j;
    }
  }
  return KnowledgeRef(joined);
}

KnowledgeRef With(const KnowledgeRef& known, uint32_t block, uint32_t agent, uint32_t tick) {
  const Ticks* old = known->Of(block);
  if (old != nullptr && agent < old->at.size() && old->at[agent] >= tick) return known;
  auto* ticks = old == nullptr ? new Ticks : new Ticks{old->at};
  if (ticks->at.size() <= agent) ticks->at.resize(agent + 1);
  ticks->at[agent] = tick;
  auto* knowledge = new Knowledge{known->blocks, known->previous_kernel_done};
  knowledge->Set(block, Ref<const Ticks>(ticks));
  return KnowledgeRef(knowledge);
}

}  // namespace renga::emulator
