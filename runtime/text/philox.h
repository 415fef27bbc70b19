// Philox4x32-10, the counter-based generator of Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3" (SC 2011). A number depends on its key and counter alone, so any device can compute any
// of them in any order.
#pragma once

#include <array>
#include <cstdint>

namespace renga {

using PhiloxBlock = std::array<uint32_t, 4>;

constexpr PhiloxBlock Philox(PhiloxBlock counter, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53} * counter[0];
    const uint64_t product1 = uint64_t{0xCD9E8D57} * counter[2];
    counter = {
        static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key0, static_cast<uint32_t>(product1),
        static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key1, static_cast<uint32_t>(product0)};
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
  return counter;
}

// The random number in [0, 1) that decides token number `step` of a generation with this seed:
// the upper 53 of 64 bits, word 1 above word 0, of the block with key = seed and counter = step.
constexpr double UniformOfStep(uint64_t seed, uint64_t step) {
  const PhiloxBlock block =
      Philox({static_cast<uint32_t>(step), static_cast<uint32_t>(step >> 32), 0, 0},
             static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
  const uint64_t bits = uint64_t{block[1]} << 32 | block[0];
  return static_cast<double>(bits >> 11) * 0x1.0p-53;
}

}  // namespace renga
