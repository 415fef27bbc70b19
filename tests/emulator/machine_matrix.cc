// Matrix products: mma.sync and ldmatrix of a warp, wgmma of a warpgroup.

#include <algorithm>
#include <cstring>

#include "ir/base/status.h"
#include "tests/emulator/machine.h"

namespace renga::emulator {
namespace {

// By hand: without F16C in the build the compiler's own conversion is a call.
float HalfToFloat(uint16_t bits) {
  uint32_t wide = static_cast<uint32_t>(bits & 0x7fff) << 13;
  if ((bits & 0x7c00) == 0x7c00) wide |= 0x7f800000u;
  float value;
  memcpy(&value, &wide, sizeof(value));
  if ((bits & 0x7c00) != 0x7c00) value *= 0x1p112f;  // the exponents' biases: 127 - 15
  return (bits & 0x8000) != 0 ? -value : value;
}

float Bfloat16ToFloat(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  memcpy(&value, &wide, sizeof(value));
  return value;
}

// What a lane brings to an mma and, in c, takes away.
struct MmaLane {
  float c[4];
  uint32_t a[4], b[2];
};

// Places of registers after the PTX ISA, "Matrix Fragments for mma.m16n8k16".
template <float (*kToFloat)(uint16_t)>
void MultiplyWarp(uint8_t (&slots)[32][64]) {
  float a[16][16], b[16][8], c[16][8];
  const auto low = [](uint32_t pair) { return kToFloat(static_cast<uint16_t>(pair)); };
  const auto high = [](uint32_t pair) { return kToFloat(static_cast<uint16_t>(pair >> 16)); };
  for (int lane = 0; lane < 32; ++lane) {
    MmaLane mine;
    memcpy(&mine, slots[lane], sizeof(mine));
    const int g = lane / 4, q = lane % 4;
    for (int i = 0; i < 4; ++i) {
      a[g + i % 2 * 8][q * 2 + i / 2 * 8] = low(mine.a[i]);
      a[g + i % 2 * 8][q * 2 + i / 2 * 8 + 1] = high(mine.a[i]);
      c[g + i / 2 * 8][q * 2 + i % 2] = mine.c[i];
    }
    for (int i = 0; i < 2; ++i) {
      b[q * 2 + i * 8][g] = low(mine.b[i]);
      b[q * 2 + i * 8 + 1][g] = high(mine.b[i]);
    }
  }
  for (int m = 0; m < 16; ++m) {
    for (int k = 0; k < 16; ++k) {
      for (int n = 0; n < 8; ++n) c[m][n] += a[m][k] * b[k][n];
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    auto* sums = reinterpret_cast<float*>(slots[lane]);
    const int g = lane / 4, q = lane % 4;
    for (int i = 0; i < 4; ++i) sums[i] = c[g + i / 2 * 8][q * 2 + i % 2];
  }
}

constexpr uint32_t kPoison = 0xffffffffu;  // a NaN no sum of numbers makes

}  // namespace

void Machine::Mma(float* c, const uint32_t* a, const uint32_t* b, bool bfloat) {
  MmaLane mine;
  memcpy(mine.c, c, sizeof(mine.c));
  memcpy(mine.a, a, sizeof(mine.a));
  memcpy(mine.b, b, sizeof(mine.b));
  const Slots& slots =
      MeetLanes(~0u, bfloat ? "MmaBf16" : "MmaF16", __builtin_return_address(0), &mine,
                sizeof(mine), bfloat ? MultiplyWarp<Bfloat16ToFloat> : MultiplyWarp<HalfToFloat>);
  memcpy(&mine, slots[current().lane], sizeof(mine));
  memcpy(c, mine.c, sizeof(mine.c));
}

void Machine::LoadMatrix(uint32_t* r, int matrices, bool transposed, const void* row) {
  const void* pc = __builtin_return_address(0);
  const uint32_t lane = current().lane;
  uint8_t mine[16] = {};
  if (lane < 8u * matrices) {
    RequireShared(row, 16, 16, "LoadMatrix", pc);
    CheckRange(SharedRegion(current().block), row, 16, AccessKind::kRead, pc, Self());
    memcpy(mine, row, 16);
  }
  const Slots& slots = MeetLanes(~0u, "LoadMatrix", pc, mine, sizeof(mine));
  const uint32_t line = lane / 4, column = lane % 4 * 2;
  for (int m = 0; m < matrices; ++m) {
    uint16_t pair[2];
    for (uint32_t i = 0; i < 2; ++i) {
      const uint32_t from_row = transposed ? column + i : line;
      const uint32_t from_column = transposed ? line : column + i;
      memcpy(&pair[i], &slots[m * 8 + from_row][from_column * 2], 2);
    }
    memcpy(&r[m], pair, 4);
  }
}

// ---- wgmma ----
//
// A warpgroup's operations of a group run once all its 128 threads have committed the group and one
// of them waits for it. Until then the sums are poisoned, and the tile is read as late as may be.

uint64_t Machine::WgmmaTile(const void* shared_tile, int k16) {
  const void* pc = __builtin_return_address(0);
  RequireShared(shared_tile, 1024, 1024, "WgmmaTile", pc);
  if (k16 < 0 || k16 > 3) FailAt(StrCat("WgmmaTile: expected k16 of 0 to 3, got ", k16), pc);
  const uint64_t offset = static_cast<const uint8_t*>(shared_tile) - current().block->shared;
  return ((offset >> 4) + k16 * 2) | 1ull << 16 | 64ull << 32 | 1ull << 62;
}

// Eight k (16 bytes) of row n of a tile: rows of 128 bytes, swizzled by the address.
const uint8_t* Machine::TileRow(uint64_t descriptor, int n, int k8) const {
  const size_t linear = ((descriptor & 0x3fff) << 4) + static_cast<size_t>(n) * 128 + k8 * 16;
  return current_->block->shared + (linear ^ (linear >> 3 & 0x70));
}

void Machine::CheckTile(uint64_t descriptor, int columns, const void* pc, Who who,
                        bool only_check) {
  const Region region = SharedRegion(current().block);
  for (int n = 0; n < columns; ++n) {
    for (int k8 = 0; k8 < 2; ++k8) {
      CheckRange(region, TileRow(descriptor, n, k8), 16, AccessKind::kRead, pc, who, only_check,
                 /*async=*/true);
    }
  }
}

void Machine::Wgmma(float* d, int sums, const uint32_t* a, uint64_t b, bool accumulate) {
  const void* pc = __builtin_return_address(0);
  Thread& thread = current();
  if (block_threads_ % 128 != 0) {
    FailAt(StrCat("Wgmma: expected a block of whole warpgroups, got ", block_threads_, " threads"),
           pc);
  }
  if (!thread.wgmma_fenced) FailAt("Wgmma without a FenceWgmma before it", pc);
  Warpgroup& group = thread.block->warpgroups[thread.agent / 128];
  if (thread.lane == 0 && (group.checked_tile != b || group.checked_by != thread.known)) {
    CheckTile(b, sums * 2, pc, Self(), true);
    group.checked_tile = b;
    group.checked_by = thread.known;
  }
  auto pending = std::find_if(thread.sums.begin(), thread.sums.end(),
                              [&](const PendingSums& known) { return known.d == d; });
  if (pending == thread.sums.end()) {
    thread.sums.push_back({d, std::vector<float>(d, d + sums)});
    pending = thread.sums.end() - 1;
    std::fill_n(reinterpret_cast<uint8_t*>(d), sums * sizeof(float), 0xff);
  }
  ++pending->operations;
  thread.open_wgmma.push_back({d, sums, a, {a[0], a[1], a[2], a[3]}, b, accumulate, pc});
}

void Machine::FenceWgmma() { current().wgmma_fenced = true; }

void Machine::CommitWgmma() {
  Thread& thread = current();
  thread.wgmma_groups.push_back(std::move(thread.open_wgmma));
  thread.open_wgmma.clear();
  ++thread.wgmma_committed;
  // Others of the warpgroup may wait for this.
  std::vector<Thread*> waiting;
  const uint32_t first = thread.block->first_thread + thread.agent / 128 * 128;
  for (uint32_t i = first; i < first + 128 && i < threads_.size(); ++i) {
    Thread& other = *threads_[i];
    if (other.waits_for != nullptr && strcmp(other.waits_for, "WaitForWgmma") == 0) {
      waiting.push_back(&other);
    }
  }
  if (!waiting.empty()) Wake(&waiting);
}

void Machine::WaitForWgmma(int pending) {
  const void* pc = __builtin_return_address(0);
  Thread& thread = current();
  if (block_threads_ % 128 != 0) {
    FailAt(StrCat("WaitForWgmma: expected a block of whole warpgroups, got ", block_threads_,
                  " threads"),
           pc);
  }
  thread.wgmma_fenced = false;  // what follows may touch registers
  const uint32_t group = thread.agent / 128;
  const uint32_t first = thread.block->first_thread + group * 128;
  if (thread.wgmma_committed <= static_cast<uint64_t>(pending)) return;
  const uint64_t upto = thread.wgmma_committed - pending;
  const auto committed = [&] {
    for (uint32_t i = first; i < first + 128; ++i) {
      if (threads_[i]->wgmma_committed < upto) return false;
    }
    return true;
  };
  while (!committed()) Park("WaitForWgmma", pc);
  ExecuteWgmma(group, upto);
  const uint32_t agent = block_threads_ + kMaxMbarriers + group;
  if (thread.own->at[agent] < upto) {
    Warpgroup& state = thread.block->warpgroups[group];
    if (state.before_wait != thread.known ||
        state.after_wait->Of(thread.block->number)->at[agent] != upto) {
      state.before_wait = thread.known;
      state.after_wait =
          With(thread.known, thread.block->number, agent, static_cast<uint32_t>(upto));
    }
    SetKnown(&thread, state.after_wait);
  }
  YieldIfRandom();
}

void Machine::ExecuteWgmma(uint32_t group, uint64_t upto) {
  Block& block = *current().block;
  Warpgroup& state = block.warpgroups[group];
  Thread* lanes[128];
  for (uint32_t i = 0; i < 128; ++i) {
    lanes[i] = threads_[block.first_thread + group * 128 + i].get();
  }
  for (; state.executed < upto; ++state.executed) {
    const size_t operations = lanes[0]->wgmma_groups.front().size();
    for (Thread* lane : lanes) {
      if (lane->wgmma_groups.front().size() != operations) {
        FailAt(StrCat("Wgmma: the threads of a warpgroup commit ", operations, " and ",
                      lane->wgmma_groups.front().size(), " operations"),
               current().pc);
      }
    }
    for (size_t i = 0; i < operations; ++i) RunOperation(lanes, i);
    for (Thread* lane : lanes) lane->wgmma_groups.pop_front();
  }
}

void Machine::RunOperation(Thread* const* lanes, size_t index) {
  const WgmmaOperation& one = lanes[0]->wgmma_groups.front()[index];
  const int columns = one.sums * 2;
  const uint32_t group = lanes[0]->agent / 128;
  const auto tick = static_cast<uint32_t>(current().block->warpgroups[group].executed + 1);
  CheckTile(one.b, columns, one.pc, {block_threads_ + kMaxMbarriers + group, tick}, false);

  std::vector<float> b(16 * columns);  // [k][n]
  for (int n = 0; n < columns; ++n) {
    for (int k8 = 0; k8 < 2; ++k8) {
      uint16_t eight[8];
      memcpy(eight, TileRow(one.b, n, k8), sizeof(eight));
      for (int k = 0; k < 8; ++k) b[(k8 * 8 + k) * columns + n] = HalfToFloat(eight[k]);
    }
  }
  std::vector<float> row(columns);
  for (int warp = 0; warp < 4; ++warp) {
    float a[16][16];
    for (int lane = 0; lane < 32; ++lane) {
      const WgmmaOperation& mine = lanes[warp * 32 + lane]->wgmma_groups.front()[index];
      const Thread& thread = *lanes[warp * 32 + lane];
      if (mine.b != one.b || mine.sums != one.sums || mine.accumulate != one.accumulate) {
        FailAt(StrCat("Wgmma: ", PlaceOf(thread), " multiplies another tile than the first of its ",
                      "warpgroup"),
               mine.pc);
      }
      if (memcmp(mine.a, mine.a_address, sizeof(mine.a)) != 0) {
        FailAt(StrCat("Wgmma: a of ", PlaceOf(thread),
                      " changed, or went out of scope, before WaitForWgmma"),
               mine.pc);
      }
      for (int i = 0; i < 4; ++i) {
        for (int h = 0; h < 2; ++h) {
          a[lane / 4 + i % 2 * 8][lane % 4 * 2 + i / 2 * 8 + h] =
              HalfToFloat(static_cast<uint16_t>(mine.a[i] >> 16 * h));
        }
      }
    }
    PendingSums* sums_of[32];
    for (int lane = 0; lane < 32; ++lane) {
      Thread& thread = *lanes[warp * 32 + lane];
      const float* d = thread.wgmma_groups.front()[index].d;
      sums_of[lane] = &*std::find_if(thread.sums.begin(), thread.sums.end(),
                                     [&](const PendingSums& known) { return known.d == d; });
    }
    for (int r = 0; r < 16; ++r) {
      float* of_quad[4];
      for (int q = 0; q < 4; ++q) of_quad[q] = &sums_of[r % 8 * 4 + q]->values[r / 8 * 2];
      for (int n = 0; n < columns; ++n) {
        row[n] = one.accumulate ? of_quad[n % 8 / 2][n / 8 * 4 + n % 2] : 0.0f;
      }
      for (int k = 0; k < 16; ++k) {
        const float factor = a[r][k];
        const float* line = &b[k * columns];
        for (int n = 0; n < columns; n += 16) {
          for (int i = 0; i < 16; ++i) row[n + i] += factor * line[n + i];
        }
      }
      for (int n = 0; n < columns; ++n) of_quad[n % 8 / 2][n / 8 * 4 + n % 2] = row[n];
    }
    for (int lane = 0; lane < 32; ++lane) {
      PendingSums& sums = *sums_of[lane];
      Thread& thread = *lanes[warp * 32 + lane];
      if (--sums.operations != 0) continue;
      for (size_t i = 0; i < sums.values.size(); ++i) {
        uint32_t bits;
        memcpy(&bits, sums.d + i, sizeof(bits));
        if (bits != kPoison) {
          FailAt(StrCat("Wgmma: d of ", PlaceOf(thread), " was written before WaitForWgmma"),
                 one.pc);
        }
      }
      memcpy(sums.d, sums.values.data(), sums.values.size() * sizeof(float));
      thread.sums.erase(thread.sums.begin() + (&sums - thread.sums.data()));
    }
  }
}

}  // namespace renga::emulator
