// Copies that run beside the threads: CopyAsync in groups of a thread, tiles and stretches that
// count on an mbarrier.
//
// A copy's target is poisoned and marked when it is issued, and filled as late as waiting allows: a
// kernel that waits too little reads marked bytes under every schedule.

#include <algorithm>
#include <cstring>

#include "ir/base/status.h"
#include "tests/emulator/machine.h"

namespace renga::emulator {
namespace {

// With the 128-byte swizzle, the 16-byte units of each 128 bytes change places with their row's
// number modulo 8.
size_t Swizzled(size_t offset) { return offset ^ (offset >> 3 & 0x70); }

}  // namespace

void Machine::CopyAsync(void* shared, const void* global, int bytes, int source_bytes) {
  const void* pc = __builtin_return_address(0);
  RequireShared(shared, bytes, bytes, "CopyAsync", pc);
  if (source_bytes != 0) {
    if (reinterpret_cast<uintptr_t>(global) % bytes != 0) {
      FailAt(StrCat("CopyAsync: misaligned source: ", memory_.Describe(global)), pc);
    }
    const Region source = RequireGlobal(global, source_bytes, "CopyAsync", pc);
    CheckRange(source, global, source_bytes, AccessKind::kRead, pc, Self());
  }
  const Region target = SharedRegion(current().block);
  CheckRange(target, shared, bytes, AccessKind::kWrite, pc, Self());
  auto* to = static_cast<uint8_t*>(shared);
  target.shadow->SetStates(to - target.base, bytes, ByteState::kCopyInFlight);
  memset(to, 0xff, bytes);
  current().open_copies.push_back(
      {to, source_bytes == 0 ? nullptr : static_cast<const uint8_t*>(global),
       static_cast<size_t>(bytes), pc});
}

void Machine::CommitCopies() {
  Thread& thread = current();
  thread.copy_groups.push_back(std::move(thread.open_copies));
  thread.open_copies.clear();
}

void Machine::FinishCopy(const Copy& copy) {
  if (copy.from == nullptr) {
    memset(copy.to, 0, copy.bytes);
  } else {
    memcpy(copy.to, copy.from, copy.bytes);
  }
  const Region target = SharedRegion(current().block);
  target.shadow->SetStates(copy.to - target.base, copy.bytes, ByteState::kInitialised);
  CheckRange(target, copy.to, copy.bytes, AccessKind::kWrite, copy.pc, Self());
}

void Machine::WaitForCopies(int pending) {
  Thread& thread = current();
  while (thread.copy_groups.size() > static_cast<size_t>(pending)) {
    const std::vector<Copy> group = std::move(thread.copy_groups.front());
    thread.copy_groups.pop_front();
    for (const Copy& copy : group) FinishCopy(copy);
  }
}

// ---- mbarriers ----

void Machine::InitMbarrier(uint64_t* barrier, int arrivals) {
  const void* pc = __builtin_return_address(0);
  Block& block = *current().block;
  RequireShared(barrier, sizeof(*barrier), 8, "InitMbarrier", pc);
  for (const Mbarrier& known : block.mbarriers) {
    if (known.address == barrier) FailAt("InitMbarrier: this one is initialised already", pc);
  }
  if (arrivals < 1) FailAt(StrCat("InitMbarrier: expected arrivals, got ", arrivals), pc);
  if (block.mbarriers.size() == kMaxMbarriers) {
    FailAt(StrCat("InitMbarrier: the emulator has room for ", kMaxMbarriers), pc);
  }
  const Region region = SharedRegion(&block);
  CheckRange(region, barrier, sizeof(*barrier), AccessKind::kWrite, pc, Self());
  region.shadow->SetStates(reinterpret_cast<uint8_t*>(barrier) - region.base, sizeof(*barrier),
                           ByteState::kMbarrier);
  Mbarrier fresh;
  fresh.address = barrier;
  fresh.block = &block;
  fresh.agent = block_threads_ + static_cast<uint32_t>(block.mbarriers.size());
  fresh.count = fresh.pending = arrivals;
  block.mbarriers.push_back(std::move(fresh));
}

Machine::Mbarrier* Machine::FindMbarrier(uint64_t* address, AccessKind kind, const void* pc) {
  Block& block = *current().block;
  for (Mbarrier& barrier : block.mbarriers) {
    if (barrier.address != address) continue;
    const Region region = SharedRegion(&block);
    CheckOrder(region, reinterpret_cast<uint8_t*>(address) - region.base, sizeof(*address), kind,
               pc, Self(), false, false);
    return &barrier;
  }
  Region region;
  FailAt(StrCat("no mbarrier was initialised here: ", FindRegion(address, sizeof(*address), &region)
                                                          ? Describe(region, address)
                                                          : memory_.Describe(address)),
         pc);
  return nullptr;
}

void Machine::CompleteIfFull(Mbarrier* barrier) {
  if (barrier->pending != 0 || barrier->missing_bytes != 0) return;
  // Loads mark what they wrote with the phase they belong to, counted from 1.
  barrier->completed = Join(barrier->completed, With(barrier->arriving, barrier->block->number,
                                                     barrier->agent, barrier->phase + 1));
  barrier->arriving = KnowledgeRef();
  barrier->pending = barrier->count;
  ++barrier->phase;
  Wake(&barrier->waiting);
}

void Machine::ArriveAtMbarrier(uint64_t* address, int expected_bytes) {
  const void* pc = __builtin_return_address(0);
  Mbarrier& barrier = *FindMbarrier(address, AccessKind::kAtomic, pc);
  if (barrier.pending == 0) {
    FailAt(StrCat("more than the ", barrier.count, " arrivals of a phase"), pc);
  }
  barrier.arriving = Join(barrier.arriving, Release(&current()));
  barrier.missing_bytes += expected_bytes;
  --barrier.pending;
  CompleteIfFull(&barrier);
  YieldIfRandom();
}

void Machine::WaitForMbarrier(uint64_t* address, int parity) {
  const void* pc = __builtin_return_address(0);
  Thread& thread = current();
  Mbarrier& barrier = *FindMbarrier(address, AccessKind::kAtomic, pc);
  if (parity != 0 && parity != 1) {
    FailAt(StrCat("WaitForMbarrier: expected a parity of 0 or 1, got ", parity), pc);
  }
  if (static_cast<int>(barrier.phase & 1) == parity) {
    barrier.waiting.push_back(&thread);
    thread.barrier = static_cast<int>(&barrier - thread.block->mbarriers.data());
    Park("WaitForMbarrier", pc);
    thread.barrier = -1;
  }
  Learn(&thread, barrier.completed);
}

// ---- tiles ----

void Machine::StartLoad(TileLoad load, size_t tile_bytes, uint64_t* address, const void* pc) {
  Mbarrier& barrier = *FindMbarrier(address, AccessKind::kAtomic, pc);
  load.tick = barrier.phase + 1;
  load.bytes = tile_bytes;
  load.pc = pc;
  // Whatever used the place before must be known to be over to the thread that asks; the write
  // itself is the engine's.
  const Region target = SharedRegion(current().block);
  CheckRange(target, load.to, tile_bytes, AccessKind::kWrite, pc, {barrier.agent, load.tick});
  target.shadow->SetStates(load.to - target.base, tile_bytes, ByteState::kTileInFlight);
  memset(load.to, 0xff, tile_bytes);
  barrier.loads.push_back(load);
  // Now, where a thread waits for it already, or late; in a phase that nothing waits for, never.
  if (!barrier.waiting.empty() && ready_.preempts() && ready_.random().Below(2) == 0) {
    Deliver(&barrier, barrier.loads.size() - 1);
  }
}

void Machine::FillTile(const TileLoad& load) {
  const TensorMapSpec& map = load.map;
  const uint32_t depth = map.rank == 3 ? map.box[2] : 1;
  const auto* base = static_cast<const uint8_t*>(map.base);
  const auto inside = [&](int axis, int64_t at) {
    return at >= 0 && at < static_cast<int64_t>(map.sizes[axis]);
  };
  size_t to = 0;
  for (uint32_t z = 0; z < depth; ++z) {
    for (uint32_t y = 0; y < map.box[1]; ++y) {
      const int64_t row = static_cast<int64_t>(load.at[1]) + y;
      const int64_t plane = static_cast<int64_t>(load.at[2]) + z;
      const bool row_inside = inside(1, row) && inside(2, plane);
      for (uint32_t x = 0; x < map.box[0]; ++x, to += map.element_bytes) {
        const int64_t column = static_cast<int64_t>(load.at[0]) + x;
        uint8_t* place = load.to + (map.swizzle == Swizzle::k128Bytes ? Swizzled(to) : to);
        if (row_inside && inside(0, column)) {
          memcpy(place,
                 base + plane * map.stride_bytes[1] + row * map.stride_bytes[0] +
                     column * map.element_bytes,
                 map.element_bytes);
        } else {
          memset(place, 0, map.element_bytes);
        }
      }
    }
  }
}

void Machine::Deliver(Mbarrier* barrier, size_t index) {
  const TileLoad load = barrier->loads[index];
  barrier->loads.erase(barrier->loads.begin() + static_cast<ptrdiff_t>(index));
  if (load.map.rank == 0) {
    memcpy(load.to, load.from, load.bytes);
  } else {
    FillTile(load);
  }
  Block* block = barrier->block;
  block->shadow->SetStates(load.to - block->shared, load.bytes, ByteState::kInitialised);
  barrier->missing_bytes -= static_cast<int64_t>(load.bytes);
  CompleteIfFull(barrier);
}

void Machine::LoadTile(void* shared, const void* map, int rank, const int* coordinates,
                       uint64_t* barrier) {
  const void* pc = __builtin_return_address(0);
  TileLoad load{};
  if (!DecodeTensorMap(map, &load.map)) FailAt("LoadTile: this is no tensor map", pc);
  if (load.map.rank != static_cast<uint32_t>(rank)) {
    FailAt(StrCat("LoadTile: ", rank, " coordinates for a tensor map of rank ", load.map.rank), pc);
  }
  size_t bytes = load.map.element_bytes;
  for (int i = 0; i < rank; ++i) {
    load.at[i] = coordinates[i];
    bytes *= load.map.box[i];
  }
  load.to = static_cast<uint8_t*>(shared);
  RequireShared(shared, bytes, load.map.swizzle == Swizzle::k128Bytes ? 1024 : 128, "LoadTile", pc);
  // What the tile covers of the tensor is read, by order of this thread.
  const TensorMapSpec& spec = load.map;
  const int64_t first = std::max(load.at[0], 0);
  const int64_t end = std::min<int64_t>(static_cast<int64_t>(load.at[0]) + spec.box[0],
                                        static_cast<int64_t>(spec.sizes[0]));
  for (uint32_t z = 0; z < (rank == 3 ? spec.box[2] : 1) && first < end; ++z) {
    for (uint32_t y = 0; y < spec.box[1]; ++y) {
      const int64_t row = static_cast<int64_t>(load.at[1]) + y;
      const int64_t plane = static_cast<int64_t>(load.at[2]) + z;
      if (row < 0 || row >= static_cast<int64_t>(spec.sizes[1]) || plane < 0 ||
          plane >= static_cast<int64_t>(spec.sizes[2])) {
        continue;
      }
      const auto* from = static_cast<const uint8_t*>(spec.base) + plane * spec.stride_bytes[1] +
                         row * spec.stride_bytes[0] + first * spec.element_bytes;
      const size_t row_bytes = (end - first) * spec.element_bytes;
      const Region source = RequireGlobal(from, row_bytes, "LoadTile", pc);
      CheckRange(source, from, row_bytes, AccessKind::kRead, pc, Self());
    }
  }
  StartLoad(load, bytes, barrier, pc);
}

void Machine::LoadBulk(void* shared, const void* global, int bytes, uint64_t* barrier) {
  const void* pc = __builtin_return_address(0);
  if (bytes <= 0 || bytes % 16 != 0 || reinterpret_cast<uintptr_t>(global) % 16 != 0) {
    FailAt(StrCat("LoadBulk: expected a source and a size of multiples of 16 bytes, got ", bytes,
                  " bytes at ", memory_.Describe(global)),
           pc);
  }
  RequireShared(shared, bytes, 16, "LoadBulk", pc);
  const Region source = RequireGlobal(global, bytes, "LoadBulk", pc);
  CheckRange(source, global, bytes, AccessKind::kRead, pc, Self());
  TileLoad load{};
  load.map.rank = 0;
  load.to = static_cast<uint8_t*>(shared);
  load.from = static_cast<const uint8_t*>(global);
  StartLoad(load, bytes, barrier, pc);
}

void Machine::FenceForAsyncProxy() {
  Thread& thread = current();
  thread.async_fence_tick = ++thread.tick;
}

}  // namespace renga::emulator
