// Where threads of the emulated GPU meet: block barriers, named barriers, and the lanes of a warp.

#include <algorithm>
#include <cstring>

#include "ir/base/status.h"
#include "tests/emulator/machine.h"

namespace renga::emulator {

void Machine::ReleaseBarrier(Barrier* barrier) {
  Meet(barrier->waiting, barrier->arrivals);
  Wake(&barrier->waiting);
  *barrier = Barrier();
}

void Machine::SyncThreads() {
  const void* pc = __builtin_return_address(0);
  Thread& thread = current();
  Block& block = *thread.block;
  Barrier& barrier = block.barriers[0];
  if (block.live != block_threads_) {
    FailAt(StrCat("SyncThreads after ", block_threads_ - block.live,
                  " threads of the block have ended"),
           pc);
  }
  // The compiler may have made several calls of one line.
  if (barrier.arrived != 0 && barrier.pc != pc && LineOf(barrier.pc) != LineOf(pc)) {
    FailAt(StrCat("divergent barrier: SyncThreads while ", barrier.arrived,
                  " threads wait in that of ", LineOf(barrier.pc)),
           pc);
  }
  barrier.pc = pc;
  barrier.waiting.push_back(&thread);
  barrier.expected = static_cast<int>(block_threads_);
  if (++barrier.arrived == barrier.expected) {
    ReleaseBarrier(&barrier);
    YieldIfRandom();
  } else {
    thread.barrier = 0;
    Park("SyncThreads", pc);
    thread.barrier = -1;
  }
}

void Machine::SyncBarrier(int id, int threads, bool waits) {
  const void* pc = __builtin_return_address(0);
  Thread& thread = current();
  if (id < 1 || id > 15) FailAt(StrCat("barrier ", id, ": expected 1 to 15"), pc);
  if (threads <= 0 || threads % 32 != 0 || threads > static_cast<int>(block_threads_)) {
    FailAt(StrCat("barrier ", id, ": expected a multiple of 32 threads, at most ", block_threads_,
                  ", got ", threads),
           pc);
  }
  Barrier& barrier = thread.block->barriers[id];
  if (barrier.arrived != 0 && barrier.expected != threads) {
    FailAt(StrCat("barrier ", id, ": ", threads, " threads expected here, ", barrier.expected,
                  " at ", LineOf(barrier.pc)),
           pc);
  }
  if (barrier.arrived == 0) barrier.pc = pc;
  barrier.expected = threads;
  ++barrier.arrived;
  if (waits) {
    barrier.waiting.push_back(&thread);
  } else {
    barrier.arrivals = Join(barrier.arrivals, Release(&thread));
  }
  if (barrier.arrived == threads) {
    if (barrier.waiting.empty()) {
      barrier = Barrier();
    } else {
      ReleaseBarrier(&barrier);
    }
    YieldIfRandom();
  } else if (waits) {
    thread.barrier = id;
    Park("SyncBarrier", pc);
    thread.barrier = -1;
  }
}

Machine::Meeting* Machine::FindMeeting(uint32_t lanes, const char* what, const void* pc) {
  Thread& thread = current();
  if ((lanes >> thread.lane & 1) == 0) {
    FailAt(StrCat(what, ": lane ", thread.lane, " is not among the lanes 0x", absl::Hex(lanes),
                  " it names"),
           pc);
  }
  const uint32_t live = thread.block->live_lanes[thread.warp];
  if ((lanes & ~live) != 0) {
    FailAt(StrCat(what, ": names lanes 0x", absl::Hex(lanes & ~live),
                  ", which have ended or do not exist"),
           pc);
  }
  auto& meetings = thread.block->meetings[thread.warp];
  for (const auto& meeting : meetings) {
    if (meeting->lanes == lanes) return meeting.get();
    // Lanes cannot wait in two places, so masks that overlap while some wait will never be
    // complete.
    if ((meeting->arrived & lanes) != 0) {
      FailAt(StrCat(what, ": lanes 0x", absl::Hex(lanes), ", of which 0x",
                    absl::Hex(meeting->arrived & lanes), " wait in ", meeting->what, " at ",
                    LineOf(meeting->pc), " for lanes 0x", absl::Hex(meeting->lanes)),
             pc);
    }
  }
  meetings.push_back(std::make_unique<Meeting>());
  meetings.back()->lanes = lanes;
  return meetings.back().get();
}

Machine::Slots& Machine::MeetLanes(uint32_t lanes, const char* what, const void* pc,
                                   const void* mine, size_t bytes, void (*last)(Slots& slots),
                                   bool orders_memory) {
  Thread& thread = current();
  Meeting& meeting = *FindMeeting(lanes, what, pc);
  if (meeting.arrived != 0 && strcmp(meeting.what, what) != 0) {
    FailAt(StrCat(what, " while other lanes of the warp wait in ", meeting.what, " at ",
                  LineOf(meeting.pc)),
           pc);
  }
  meeting.what = what;
  meeting.pc = pc;
  Slots& slots = meeting.slots[meeting.generation % 2];
  if (bytes != 0) memcpy(slots[thread.lane], mine, bytes);
  meeting.waiting.push_back(&thread);
  meeting.arrived |= 1u << thread.lane;
  if (meeting.arrived == lanes) {
    if (last != nullptr) last(slots);
    if (orders_memory) Meet(meeting.waiting, KnowledgeRef());
    ++meeting.generation;
    meeting.arrived = 0;
    Wake(&meeting.waiting);
    YieldIfRandom();
  } else {
    Park(what, pc);
  }
  return slots;
}

void Machine::SyncWarp(uint32_t lanes) {
  MeetLanes(lanes, "SyncWarp", __builtin_return_address(0), nullptr, 0, nullptr, true);
}

uint32_t Machine::Shuffle(uint32_t lanes, uint32_t value, int source_lane) {
  const void* pc = __builtin_return_address(0);
  if ((lanes >> source_lane & 1) == 0) {
    FailAt(StrCat("Shuffle: reads lane ", source_lane, ", which is not among the lanes 0x",
                  absl::Hex(lanes)),
           pc);
  }
  const Slots& slots = MeetLanes(lanes, "Shuffle", pc, &value, sizeof(value));
  memcpy(&value, slots[source_lane], sizeof(value));
  return value;
}

uint32_t Machine::Vote(uint32_t lanes, bool condition) {
  const Slots& slots =
      MeetLanes(lanes, "vote", __builtin_return_address(0), &condition, sizeof(condition));
  uint32_t votes = 0;
  for (int lane = 0; lane < 32; ++lane) {
    if ((lanes >> lane & 1) != 0 && slots[lane][0] != 0) votes |= 1u << lane;
  }
  return votes;
}

}  // namespace renga::emulator
