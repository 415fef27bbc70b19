#include "tests/emulator/global_memory.h"

#include <algorithm>
#include <cstring>

#include "ir/base/status.h"
#include "tests/emulator/pages.h"

namespace renga::emulator {
namespace {

uintptr_t AddressOf(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }

}  // namespace

GlobalMemory::~GlobalMemory() {
  for (auto& [address, buffer] : buffers_) {
    if (buffer.shadow != nullptr) UnmapPages(buffer.base - kGap, buffer.bytes + 2 * kGap);
  }
}

absl::StatusOr<void*> GlobalMemory::Allocate(std::string name, size_t bytes) {
  if (bytes == 0) return absl::InvalidArgumentError(StrCat("buffer '", name, "': has no bytes"));
  auto* base = static_cast<uint8_t*>(MapPages(bytes + 2 * kGap)) + kGap;
  memset(base, 0xff, bytes);
  buffers_[AddressOf(base)] = {std::move(name), base, bytes, std::make_unique<Shadow>(bytes)};
  return base;
}

absl::Status GlobalMemory::AddReadOnly(std::string name, const void* base, size_t bytes) {
  auto* start = const_cast<uint8_t*>(static_cast<const uint8_t*>(base));
  const auto next = buffers_.lower_bound(AddressOf(base));
  const bool overlaps = (next != buffers_.end() && next->first < AddressOf(base) + bytes) ||
                        (next != buffers_.begin() &&
                         std::prev(next)->first + std::prev(next)->second.bytes > AddressOf(base));
  if (bytes == 0 || overlaps) {
    return absl::InvalidArgumentError(StrCat("buffer '", name, "': expected bytes of its own, got ",
                                             overlaps ? "some of another buffer" : "none"));
  }
  buffers_[AddressOf(base)] = {std::move(name), start, bytes, nullptr, false};
  return absl::OkStatus();
}

absl::Status GlobalMemory::Free(void* base) {
  const auto found = buffers_.find(AddressOf(base));
  if (found == buffers_.end()) return absl::InvalidArgumentError("free: not the start of a buffer");
  Buffer& buffer = found->second;
  if (buffer.shadow != nullptr) UnmapPages(buffer.base - kGap, buffer.bytes + 2 * kGap);
  last_ = nullptr;
  buffers_.erase(found);
  return absl::OkStatus();
}

Buffer* GlobalMemory::Find(const void* address, size_t bytes) {
  const auto holds = [&](const Buffer& buffer) {
    const size_t offset = AddressOf(address) - AddressOf(buffer.base);
    return offset < buffer.bytes && bytes <= buffer.bytes - offset;
  };
  if (last_ != nullptr && holds(*last_)) return last_;
  auto next = buffers_.upper_bound(AddressOf(address));
  if (next == buffers_.begin()) return nullptr;
  Buffer& buffer = std::prev(next)->second;
  if (!holds(buffer)) return nullptr;
  last_ = &buffer;
  return last_;
}

absl::StatusOr<Buffer*> GlobalMemory::Writable(const void* address, size_t bytes) {
  Buffer* buffer = Find(address, std::max<size_t>(bytes, 1));
  if (buffer == nullptr) {
    return absl::InvalidArgumentError(StrCat("copy of ", bytes, " bytes: ", Describe(address)));
  }
  if (buffer->shadow == nullptr) {
    return absl::InvalidArgumentError(StrCat("buffer '", buffer->name, "' is read-only"));
  }
  return buffer;
}

absl::Status GlobalMemory::Write(void* to, absl::Span<const uint8_t> bytes) {
  RENGA_ASSIGN_OR_RETURN(Buffer * buffer, Writable(to, bytes.size()));
  memcpy(to, bytes.data(), bytes.size());
  buffer->shadow->SetStates(static_cast<uint8_t*>(to) - buffer->base, bytes.size(),
                            ByteState::kInitialised);
  return absl::OkStatus();
}

absl::Status GlobalMemory::SetWritable(const void* base, bool writable) {
  const auto found = buffers_.find(AddressOf(base));
  if (found == buffers_.end() || found->second.shadow == nullptr) {
    return absl::InvalidArgumentError("not the start of a buffer that was allocated");
  }
  found->second.writable = writable;
  return absl::OkStatus();
}

absl::Status GlobalMemory::Forget(void* from, size_t bytes) {
  RENGA_ASSIGN_OR_RETURN(Buffer * buffer, Writable(from, bytes));
  memset(from, 0xff, bytes);
  buffer->shadow->SetStates(static_cast<uint8_t*>(from) - buffer->base, bytes,
                            ByteState::kUninitialised);
  return absl::OkStatus();
}

absl::StatusOr<size_t> GlobalMemory::FirstUnwritten(const void* from, size_t bytes) const {
  Buffer* buffer = const_cast<GlobalMemory*>(this)->Find(from, bytes);
  if (buffer == nullptr || buffer->shadow == nullptr) {
    return absl::InvalidArgumentError(StrCat("read of ", bytes, " bytes: ", Describe(from)));
  }
  const ByteState* states =
      buffer->shadow->states() + (static_cast<const uint8_t*>(from) - buffer->base);
  return std::find_if_not(states, states + bytes,
                          [](ByteState state) { return state == ByteState::kInitialised; }) -
         states;
}

absl::Status GlobalMemory::Read(const void* from, absl::Span<uint8_t> bytes) const {
  Buffer* buffer = const_cast<GlobalMemory*>(this)->Find(from, bytes.size());
  if (buffer == nullptr) {
    return absl::InvalidArgumentError(StrCat("read of ", bytes.size(), " bytes: ", Describe(from)));
  }
  if (buffer->shadow != nullptr) {
    RENGA_ASSIGN_OR_RETURN(const size_t first, FirstUnwritten(from, bytes.size()));
    if (first != bytes.size()) {
      const size_t offset = static_cast<const uint8_t*>(from) - buffer->base;
      const ByteState* states = buffer->shadow->states() + offset;
      const auto count =
          bytes.size() - std::count(states, states + bytes.size(), ByteState::kInitialised);
      return absl::InternalError(StrCat("buffer '", buffer->name, "': nothing has written ", count,
                                        " of the bytes read, the first at +", offset + first));
    }
  }
  memcpy(bytes.data(), from, bytes.size());
  return absl::OkStatus();
}

std::string GlobalMemory::Describe(const void* address) const {
  const uintptr_t at = AddressOf(address);
  const Buffer* nearest = nullptr;
  size_t distance = kGap;
  bool beyond = false;
  for (const auto& [start, buffer] : buffers_) {
    const uintptr_t end = start + buffer.bytes;
    if (at >= start && at < end) {
      return StrCat("buffer '", buffer.name, "' (", buffer.bytes, " bytes) + ", at - start);
    }
    const size_t away = at < start ? start - at : at - end;
    if (away >= distance) continue;
    nearest = &buffer;
    distance = away;
    beyond = at >= end;
  }
  if (nearest == nullptr) return StrCat("address 0x", absl::Hex(at), ", near no buffer");
  return StrCat(distance, beyond ? " bytes beyond the end of" : " bytes before the start of",
                " buffer '", nearest->name, "' (", nearest->bytes, " bytes)");
}

}  // namespace renga::emulator
