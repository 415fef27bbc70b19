#include "tests/emulator/shadow.h"

#include <cstdlib>
#include <cstring>

#include "tests/emulator/pages.h"

namespace renga::emulator {
namespace {

size_t CellBytes(size_t bytes) { return (bytes + 3) / 4 * sizeof(ShadowCell); }

}  // namespace

Shadow::Shadow(size_t bytes)
    : bytes_(bytes),
      states_(static_cast<ByteState*>(MapPages(bytes))),
      cells_(static_cast<ShadowCell*>(MapPages(CellBytes(bytes)))) {}

Shadow::~Shadow() {
  UnmapPages(states_, bytes_);
  UnmapPages(cells_, CellBytes(bytes_));
}

void Shadow::SetStates(size_t offset, size_t bytes, ByteState state) {
  memset(states_ + offset, static_cast<int>(state), bytes);
}

}  // namespace renga::emulator
