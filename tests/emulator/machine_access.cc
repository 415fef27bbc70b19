// The machine's memory: bounds, values never written, data on their way, races.

#include <algorithm>
#include <cstring>

#include "ir/base/status.h"
#include "tests/emulator/machine.h"

namespace renga::emulator {
namespace {

const char* Verb(AccessKind kind) {
  static constexpr const char* kVerbs[] = {"reads", "writes", "changes"};
  return kVerbs[static_cast<int>(kind)];
}

struct StateFault {
  ByteState state;
  bool reads, writes;  // which of them it forbids
  const char* what;
};
constexpr StateFault kStateFaults[] = {
    {ByteState::kUninitialised, true, false, "that nothing has written"},
    {ByteState::kCopyInFlight, true, true,
     "that a CopyAsync still fills: WaitForCopies is missing"},
    {ByteState::kTileInFlight, true, true,
     "that a LoadTile or LoadBulk still fills: the mbarrier's phase was not waited for"},
    {ByteState::kMbarrier, true, true, "of an mbarrier"},
    {ByteState::kOutside, true, true, "outside of the arrays of shared memory"},
};

}  // namespace

bool Machine::MayStillRun(uint32_t launch, const Thread& thread) const {
  const LaunchRecord& record = launches_.rbegin()->second;
  const auto& running =
      thread.known->previous_kernel_done ? record.may_run_after_wait : record.may_run_before_wait;
  return std::find(running.begin(), running.end(), launch) != running.end();
}

inline bool Machine::Before(const AccessRecord& record, const Thread& thread) const {
  if (record.launch() != launch_) return !MayStillRun(record.launch(), thread);
  const uint32_t block = record.agent >> agent_bits_;
  const uint32_t agent = record.agent & AgentsMask();
  if (block == thread.block->number) {
    return agent == thread.agent || record.tick <= thread.own->at[agent];
  }
  const Ticks* ticks = thread.known->Of(block);
  return ticks != nullptr && agent < ticks->at.size() && record.tick <= ticks->at[agent];
}

bool Machine::FindRegion(const void* address, size_t bytes, Region* region) {
  Block* block = current().block;
  const size_t offset = static_cast<const uint8_t*>(address) - block->shared;
  if (offset < kArenaBytes && bytes <= kArenaBytes - offset) {
    *region = SharedRegion(block);
    return true;
  }
  Buffer* buffer = memory_.Find(address, bytes);
  if (buffer == nullptr) return false;
  *region = {buffer->base, buffer->bytes, buffer->shadow.get(), nullptr, buffer->writable};
  return true;
}

std::string Machine::Describe(const Region& region, const void* address) const {
  if (region.block == nullptr) return memory_.Describe(address);
  const auto* at = static_cast<const uint8_t*>(address);
  const std::vector<SharedArray>& arrays = region.block->arrays;
  if (arrays.empty()) return "shared memory, of which the kernel has taken no array";
  // The array that holds the address, or the one before it.
  size_t index = 0;
  while (index + 1 < arrays.size() && arrays[index + 1].base <= at) ++index;
  const SharedArray& array = arrays[index];
  return StrCat("shared array ", index, " (", array.bytes, " bytes, taken at ", LineOf(array.pc),
                ") ", at < array.base ? "- " : "+ ",
                at < array.base ? array.base - at : at - array.base);
}

void Machine::Access(const void* address, size_t bytes, AccessKind kind, const void* pc) {
  if (++accesses_ > options_.max_accesses) {
    FailAt(StrCat("the launch made more than ", options_.max_accesses,
                  " accesses: does a loop not end?"),
           pc);
  }
  Region region;
  if (!FindRegion(address, bytes, &region)) {
    if (kernel_->module->Holds(address, bytes) && kind == AccessKind::kRead) return;  // constants
    for (const auto& thread : threads_) {
      const auto at = reinterpret_cast<uintptr_t>(address);
      if (thread->view != nullptr && at - thread->view->stack_low < thread->view->stack_bytes) {
        FailAt(StrCat(Verb(kind), " a local variable of ", PlaceOf(*thread)), pc);
      }
    }
    FailAt(StrCat(Verb(kind), " ", bytes, " bytes out of bounds: ", memory_.Describe(address)), pc);
  }
  if (kind != AccessKind::kRead) polls_ = 0;
  CheckRange(region, address, bytes, kind, pc, Self());
}

void Machine::CheckRange(const Region& region, const void* address, size_t bytes, AccessKind kind,
                         const void* pc, Who who, bool only_check, bool async) {
  if (!region.writable && kind != AccessKind::kRead) {
    FailAt(
        StrCat(Verb(kind), " ", bytes, " bytes of read-only memory: ", Describe(region, address)),
        pc);
  }
  if (region.shadow == nullptr) return;
  const size_t offset = static_cast<const uint8_t*>(address) - region.base;
  CheckStates(region, offset, bytes, kind, pc);
  CheckOrder(region, offset, bytes, kind, pc, who, only_check, async);
  if (kind == AccessKind::kWrite && !only_check) {
    region.shadow->SetStates(offset, bytes, ByteState::kInitialised);
  }
}

void Machine::CheckStates(const Region& region, size_t offset, size_t bytes, AccessKind kind,
                          const void* pc) {
  const ByteState* states = region.shadow->states() + offset;
  if (bytes == 4) {  // the common case at once
    uint32_t four;
    memcpy(&four, states, 4);
    if (four == 0x01010101u) return;
  }
  const bool reads = kind != AccessKind::kWrite;
  const bool writes = kind != AccessKind::kRead;
  for (size_t i = 0; i < bytes; ++i) {
    if (states[i] == ByteState::kInitialised) continue;
    for (const StateFault& fault : kStateFaults) {
      if (fault.state != states[i] || !((fault.reads && reads) || (fault.writes && writes))) {
        continue;
      }
      FailAt(StrCat(Verb(kind), " ", bytes, " bytes ", fault.what, ": ",
                    Describe(region, region.base + offset + i)),
             pc);
    }
  }
}

void Machine::CheckOrder(const Region& region, size_t offset, size_t bytes, AccessKind kind,
                         const void* pc, Who who, bool only_check, bool async) {
  if (!options_.check_order) return;
  const Thread& thread = current();
  AccessRecord access;
  const uint32_t number = thread.block->number;
  access.agent = number << agent_bits_ | who.agent;
  access.tick = who.tick;
  access.site = kernel_->module->SiteOf(pc);
  const auto before = [&](const AccessRecord& record) { return Before(record, thread); };
  const size_t end = offset + bytes;
  for (size_t at = offset & ~size_t{3}; at < end; at += 4) {
    const uint32_t low = at < offset ? static_cast<uint32_t>(offset - at) : 0;
    const uint32_t high = at + 4 > end ? static_cast<uint32_t>(end - at) : 4;
    access.meta = AccessRecord::Meta(launch_, (1u << high) - (1u << low), kind);
    ShadowCell& cell = region.shadow->CellOf(at);
    // What an earlier block of this place left behind is no concern of shared memory.
    if (region.block != nullptr) {
      for (AccessRecord& record : cell.records) {
        const bool ours = record.launch() == launch_ && record.agent >> agent_bits_ == number;
        record.meta = ours ? record.meta : 0;
      }
    }
    const AccessRecord* conflict =
        only_check ? cell.Check(access, before)
                   : cell.Add(access, static_cast<uint32_t>(at / 4 + accesses_), before);
    if (conflict != nullptr) {
      const AccessRecord record = *conflict;
      FailConflict(record, StrCat(Verb(kind), " ", bytes, " bytes"),
                   Describe(region, region.base + std::max(at, offset)), pc);
    }
    if (!async) continue;
    for (const AccessRecord& record : cell.records) {
      const uint32_t agent = record.agent & AgentsMask();
      if (record.mask() == 0 || record.kind() != AccessKind::kWrite || agent >= block_threads_) {
        continue;
      }
      const Thread& writer = *threads_[region.block->first_thread + agent];
      if (record.tick < writer.async_fence_tick) continue;
      FailAt(StrCat("reads through the async proxy what ", PlaceOf(writer), " wrote at ",
                    kernel_->module->LineOf(record.site),
                    " without a FenceForAsyncProxy after it: ", Describe(region, region.base + at)),
             pc);
    }
  }
}

void Machine::FailConflict(const AccessRecord& record, const std::string& what,
                           const std::string& where, const void* pc) {
  static constexpr const char* kNouns[] = {"read", "write", "atomic access"};
  const char* noun = kNouns[static_cast<int>(record.kind())];
  if (record.launch() != launch_) {
    const auto launch = launches_.find(record.launch());
    const bool known = launch != launches_.end();
    FailAt(
        StrCat(what, " that kernel ", known ? launch->second.kernel : "?",
               ", which may still run, ", record.kind() == AccessKind::kRead ? "reads" : "writes",
               " at ", known ? launch->second.module->LineOf(record.site) : "?",
               current().known->previous_kernel_done
                   ? ": the kernel between them has not waited for it: "
                   : ": WaitForPreviousKernel comes later or never: ",
               where),
        pc);
  }
  const uint32_t number = record.agent >> agent_bits_;
  const uint32_t agent = record.agent & AgentsMask();
  const Dim3 block{number % grid_.x, number / grid_.x % grid_.y, number / grid_.x / grid_.y};
  const Dim3 thread{agent % block_size_.x, agent / block_size_.x % block_size_.y,
                    agent / block_size_.x / block_size_.y};
  std::string who = StrCat("block (", block.x, ",", block.y, ",", block.z, ")");
  if (agent < block_threads_) {
    StrAppend(&who, ", thread (", thread.x, ",", thread.y, ",", thread.z, ")");
  } else {
    StrAppend(&who,
              agent < block_threads_ + kMaxMbarriers ? ", the copy engine" : ", the tensor cores");
  }
  FailAt(StrCat("race: ", what, " with nothing to order it after the ", noun, " of ", who, " at ",
                kernel_->module->LineOf(record.site), ": ", where),
         pc);
}

void Machine::CheckNonCoherent(const void* address, size_t bytes) {
  Region region;
  if (!FindRegion(address, bytes, &region)) return;  // the load itself will say so
  const void* pc = __builtin_return_address(0);
  if (region.block != nullptr) FailAt("LoadStreaming of shared memory", pc);
  if (region.shadow == nullptr) return;
  const size_t offset = static_cast<const uint8_t*>(address) - region.base;
  for (size_t at = offset & ~size_t{3}; at < offset + bytes; at += 4) {
    for (const AccessRecord& record : region.shadow->CellOf(at).records) {
      if (record.mask() == 0 || record.launch() != launch_ || record.kind() == AccessKind::kRead) {
        continue;
      }
      FailAt(StrCat("LoadStreaming of memory that this launch writes, at ",
                    kernel_->module->LineOf(record.site), ": ", Describe(region, address)),
             pc);
    }
  }
}

void Machine::CheckAligned(const void* address, size_t bytes) {
  if (reinterpret_cast<uintptr_t>(address) % bytes == 0) return;
  FailAt(StrCat("misaligned access: ", bytes, " bytes at ", memory_.Describe(address)),
         __builtin_return_address(0));
}

void Machine::RequireShared(const void* address, size_t bytes, size_t alignment, const char* what,
                            const void* pc) {
  const Block* block = current().block;
  const size_t offset = static_cast<const uint8_t*>(address) - block->shared;
  if (offset >= kArenaBytes || bytes > kArenaBytes - offset) {
    FailAt(StrCat(what, ": expected an address in shared memory, got ", memory_.Describe(address)),
           pc);
  }
  if (offset % alignment != 0) {
    FailAt(StrCat(what, ": expected a multiple of ", alignment, " bytes, got ",
                  Describe(SharedRegion(current().block), address)),
           pc);
  }
}

Machine::Region Machine::RequireGlobal(const void* address, size_t bytes, const char* what,
                                       const void* pc) {
  Buffer* buffer = memory_.Find(address, bytes);
  if (buffer == nullptr) {
    FailAt(StrCat(what, ": reads ", bytes, " bytes out of bounds: ", memory_.Describe(address)),
           pc);
  }
  return {buffer->base, buffer->bytes, buffer->shadow.get(), nullptr};
}

void* Machine::Take(uint32_t offset, size_t bytes, int alignment) {
  Thread& thread = current();
  Block& block = *thread.block;
  const void* pc = __builtin_return_address(0);
  if (alignment < 16 || alignment > 1024 || (alignment & (alignment - 1)) != 0) {
    FailAt(StrCat("SharedArena: expected an alignment of 16 to 1024 bytes, a power of two, got ",
                  alignment),
           pc);
  }
  const size_t index = thread.arrays_taken++;
  if (index == block.arrays.size()) {
    if (offset + bytes > shared_bytes_) {
      FailAt(StrCat("SharedArena: takes ", offset + bytes, " bytes in all, the launch has ",
                    shared_bytes_),
             pc);
    }
    const size_t start =
        (block.shared_used + kZoneBytes + alignment - 1) & ~static_cast<size_t>(alignment - 1);
    if (start + bytes + kZoneBytes > kArenaBytes) {
      FailAt("SharedArena: more arrays than the emulator has room for", pc);
    }
    block.arrays.push_back({offset, block.shared + start, bytes, pc});
    memset(block.shared + start, 0xff, bytes);
    block.shadow->SetStates(start, bytes, ByteState::kUninitialised);
    block.shared_used = start + bytes;
  }
  const SharedArray& array = block.arrays[index];
  if (array.offset != offset || array.bytes != bytes) {
    FailAt(StrCat("SharedArena: array ", index, ": this thread takes ", bytes, " bytes at +",
                  offset, ", another took ", array.bytes, " at +", array.offset),
           pc);
  }
  return array.base;
}

}  // namespace renga::emulator
