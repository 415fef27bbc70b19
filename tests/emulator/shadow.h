// What the emulator remembers of each byte a kernel may touch: whether it holds a value, and who
// touched it last.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tests/emulator/runtime_interface.h"

namespace renga::emulator {

enum class ByteState : uint8_t {
  kUninitialised,
  kInitialised,
  kCopyInFlight,  // the target of CopyAsync before WaitForCopies
  kTileInFlight,  // the target of LoadTile or LoadBulk before its mbarrier's phase has ended
  kMbarrier,
  kOutside,  // of all arrays of shared memory
};

// One access to up to four neighbouring bytes.
struct AccessRecord {
  uint32_t agent = 0;  // block << agent bits | agent of the block
  uint32_t tick = 0;
  uint32_t site = 0;  // of the instruction, bytes from the start of the compiled file
  uint32_t meta = 0;  // launch << 8 | byte mask << 4 | kind; no bytes: empty

  uint32_t launch() const { return meta >> 8; }
  uint32_t mask() const { return meta >> 4 & 15; }
  AccessKind kind() const { return static_cast<AccessKind>(meta & 3); }
  static uint32_t Meta(uint32_t launch, uint32_t mask, AccessKind kind) {
    return launch << 8 | mask << 4 | static_cast<uint32_t>(kind);
  }
};
inline constexpr uint32_t kMaxLaunch = (1u << 24) - 1;

// The last accesses to four bytes. Four records tell apart what matters: an access that happened
// before a later one of at least its bytes and strength is forgotten; beyond four a reader is,
// first.
struct alignas(64) ShadowCell {
  AccessRecord records[4];

  // Adds `access`, unless a record conflicts: overlapping bytes, at least one a write, not both
  // atomic, and not `before(record)`. Returns that record, or null. `random` picks what to forget.
  template <typename Before>
  const AccessRecord* Add(const AccessRecord& access, uint32_t random, const Before& before) {
    AccessRecord* place = nullptr;
    for (AccessRecord& record : records) {
      if (record.mask() == 0) {
        if (place == nullptr) place = &record;
        continue;
      }
      if (record.agent == access.agent && record.tick == access.tick &&
          record.meta == access.meta) {
        return nullptr;
      }
      if ((record.mask() & access.mask()) == 0) continue;
      const bool ordered = before(record);
      if (!ordered && Conflicts(record.kind(), access.kind())) return &record;
      // Whatever conflicts with the record must conflict with what takes its place.
      const bool weaker = record.kind() == access.kind() || access.kind() == AccessKind::kWrite;
      if (ordered && weaker && (record.mask() & ~access.mask()) == 0) {
        if (place != nullptr && place->mask() != 0) place->meta = 0;
        place = &record;
      }
    }
    if (place == nullptr) place = Victim(random);
    *place = access;
    return nullptr;
  }

  template <typename Before>
  const AccessRecord* Check(const AccessRecord& access, const Before& before) const {
    for (const AccessRecord& record : records) {
      if ((record.mask() & access.mask()) == 0) continue;
      if (Conflicts(record.kind(), access.kind()) && !before(record)) return &record;
    }
    return nullptr;
  }

 private:
  static bool Conflicts(AccessKind a, AccessKind b) {
    return a == AccessKind::kWrite || b == AccessKind::kWrite ||
           (a != b && (a == AccessKind::kAtomic || b == AccessKind::kAtomic));
  }
  AccessRecord* Victim(uint32_t random) {
    for (uint32_t i = 0; i < 4; ++i) {
      AccessRecord* record = &records[(random + i) % 4];
      if (record->kind() == AccessKind::kRead) return record;
    }
    return &records[random % 4];
  }
};

// The shadow of a stretch of memory that starts at a multiple of 4 bytes. Fresh, it says
// uninitialised, untouched.
class Shadow {
 public:
  explicit Shadow(size_t bytes);
  ~Shadow();
  Shadow(const Shadow&) = delete;
  Shadow& operator=(const Shadow&) = delete;

  ByteState* states() { return states_; }
  ShadowCell& CellOf(size_t offset) { return cells_[offset / 4]; }
  void SetStates(size_t offset, size_t bytes, ByteState state);

 private:
  size_t bytes_;
  ByteState* states_;
  ShadowCell* cells_;  // in pages that are there once touched
};

}  // namespace renga::emulator
