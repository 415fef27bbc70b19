// Which of the threads that can run runs next.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace renga::emulator {

struct Schedule {
  enum class Kind : uint8_t {
    kForward,  // in order of their numbers, each until it must wait
    kReverse,
    kRandom,  // any, also where one could go on
    kSkewed,  // warps in a random order of rank: the first runs as far as it can, the last only
              // when all others wait
  };
  Kind kind = Kind::kForward;
  uint64_t seed = 0;
};

// Numbers that look random and repeat.
class RandomBits {
 public:
  explicit RandomBits(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 0x632be59bd9b4e019u) {}
  uint32_t Next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<uint32_t>(state_ >> 16);
  }
  uint32_t Below(size_t limit) { return Next() % static_cast<uint32_t>(limit); }

 private:
  uint64_t state_;
};

// The threads that can run, by number.
class ReadyQueue {
 public:
  // Empties it for `threads` threads in warps of 32.
  void Reset(const Schedule& schedule, size_t threads);
  void Push(uint32_t thread);
  // For a thread that polls: it runs once nothing else can.
  void PushLast(uint32_t thread) { polling_.Push(thread); }
  // Puts threads that were released together in, in the schedule's order.
  void PushAll(std::vector<uint32_t>* threads);
  bool Pop(uint32_t* thread);
  RandomBits& random() { return random_; }
  bool preempts() const { return schedule_.kind == Schedule::Kind::kRandom; }

 private:
  // First in, first out.
  struct Line {
    std::vector<uint32_t> ring;
    size_t head = 0, size = 0;
    void Reset(size_t capacity);
    void Push(uint32_t thread);
    uint32_t Pop(size_t index);  // of those in it
  };

  Schedule schedule_;
  RandomBits random_{0};
  std::vector<Line> lines_;      // one, or of each warp in order of rank
  std::vector<uint32_t> ranks_;  // of the warps
  size_t first_ = 0;             // no line before it has a thread
  Line polling_;
};

}  // namespace renga::emulator
