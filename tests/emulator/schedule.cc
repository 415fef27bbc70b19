#include "tests/emulator/schedule.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace renga::emulator {

void ReadyQueue::Line::Reset(size_t capacity) {
  ring.resize(capacity);
  head = size = 0;
}

void ReadyQueue::Line::Push(uint32_t thread) {
  if (size == ring.size()) {  // grows at its end, so put the head first
    std::rotate(ring.begin(), ring.begin() + static_cast<ptrdiff_t>(head), ring.end());
    head = 0;
    ring.resize(2 * size + 1);
  }
  const size_t end = head + size++;
  ring[end < ring.size() ? end : end - ring.size()] = thread;
}

uint32_t ReadyQueue::Line::Pop(size_t index) {
  const size_t at = (head + index) % ring.size();
  std::swap(ring[head], ring[at]);
  const uint32_t thread = ring[head];
  if (++head == ring.size()) head = 0;
  --size;
  return thread;
}

void ReadyQueue::Reset(const Schedule& schedule, size_t threads) {
  schedule_ = schedule;
  const size_t warps = (threads + 31) / 32;
  const bool skewed = schedule.kind == Schedule::Kind::kSkewed;
  lines_.resize(skewed ? warps : 1);
  for (Line& line : lines_) line.Reset(skewed ? 33 : threads + 1);
  polling_.Reset(threads + 1);
  ranks_.resize(warps);
  std::iota(ranks_.begin(), ranks_.end(), 0u);
  random_ = RandomBits(schedule.seed);
  for (size_t i = warps; i > 1; --i) std::swap(ranks_[i - 1], ranks_[random_.Below(i)]);
  first_ = 0;
}

void ReadyQueue::Push(uint32_t thread) {
  const size_t line = lines_.size() == 1 ? 0 : ranks_[thread / 32];
  lines_[line].Push(thread);
  first_ = std::min(first_, line);
}

void ReadyQueue::PushAll(std::vector<uint32_t>* threads) {
  if (schedule_.kind == Schedule::Kind::kReverse) std::reverse(threads->begin(), threads->end());
  for (const uint32_t thread : *threads) Push(thread);
}

bool ReadyQueue::Pop(uint32_t* thread) {
  while (first_ < lines_.size() && lines_[first_].size == 0) ++first_;
  Line& line = first_ < lines_.size() ? lines_[first_] : polling_;
  if (line.size == 0) return false;
  *thread = line.Pop(preempts() ? random_.Below(line.size) : 0);
  return true;
}

}  // namespace renga::emulator
