#include "tools/poison.h"

#include <algorithm>

namespace renga {
namespace {

constexpr uint32_t kPoison32 = 0x7fa5a5a5;
constexpr uint16_t kPoison16OfHalf = 0x7da5, kPoison16OfBFloat = 0x7fa5;

constexpr Poison kPoisons[] = {
    {DType::kF32, 4, kPoison32, 0x7f800000},
    {DType::kI32, 4, kPoison32, 0},
    {DType::kF16, 2, kPoison16OfHalf, 0x7c00},
    {DType::kBF16, 2, kPoison16OfBFloat, 0x7f80},
};

template <typename T>
void Fill(const Poison& poison, std::vector<uint8_t>* bytes) {
  std::fill_n(reinterpret_cast<T*>(bytes->data()), bytes->size() / sizeof(T),
              static_cast<T>(poison.pattern));
}

template <typename T>
void Scan(const Poison& poison, absl::Span<const uint8_t> elements, int64_t first, Odd* odd) {
  const T* const data = reinterpret_cast<const T*>(elements.data());
  const int64_t count = static_cast<int64_t>(elements.size() / sizeof(T));
  const T pattern = static_cast<T>(poison.pattern), infinite = static_cast<T>(poison.infinite);
  // The poison is no finite number either, so that one comparison an element is enough.
  const T mask = infinite != 0 ? infinite : static_cast<T>(~T{0});
  const T wanted = infinite != 0 ? infinite : pattern;
  int64_t hits = 0;
  for (int64_t k = 0; k < count; ++k) hits += (data[k] & mask) == wanted;
  if (hits == 0) return;
  for (int64_t k = 0; k < count; ++k) {
    if ((data[k] & mask) != wanted) continue;
    const bool unwritten = data[k] == pattern;
    int64_t& place = unwritten ? odd->first_unwritten : odd->first_not_finite;
    if (place < 0) place = first + k;
    ++(unwritten ? odd->unwritten : odd->not_finite);
  }
}

}  // namespace

const Poison* FindPoison(DType type) {
  for (const Poison& poison : kPoisons) {
    if (poison.type == type) return &poison;
  }
  return nullptr;
}

std::vector<uint8_t> Poisoned(const Poison& poison, int64_t elements) {
  std::vector<uint8_t> bytes(static_cast<size_t>(elements * poison.bytes));
  if (poison.bytes == 4) {
    Fill<uint32_t>(poison, &bytes);
  } else {
    Fill<uint16_t>(poison, &bytes);
  }
  return bytes;
}

void AddOdd(const Poison& poison, absl::Span<const uint8_t> elements, int64_t first, Odd* odd) {
  if (poison.bytes == 4) {
    Scan<uint32_t>(poison, elements, first, odd);
  } else {
    Scan<uint16_t>(poison, elements, first, odd);
  }
}

}  // namespace renga
