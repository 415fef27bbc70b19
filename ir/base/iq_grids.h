// Codebooks of the IQ types. Such a type stores, for a group of weights, the number of a point in a
// fixed lattice; the points are constants of the format. A point is kept here as one 16-bit code:
// coordinate i is an index into a short table of levels, at bits [i * width, (i + 1) * width).
//
//   IQ1: 8 coordinates of 2 bits, levels kLevelsIq1
//   IQ2: 8 coordinates of 2 bits, levels kLevelsIq2
//   IQ3: 4 coordinates of 3 bits, levels kLevelsIq3Xxs or kLevelsIq3S
#pragma once

#include <cstdint>

namespace renga {

// The fourth level of the 2-bit tables is never used by a code (tested); it only keeps every
// possible index inside the table.
inline constexpr float kLevelsIq1[4] = {-1, 0, 1, 0};
inline constexpr float kLevelsIq2[4] = {8, 25, 43, 0};
inline constexpr float kLevelsIq3Xxs[8] = {4, 12, 20, 28, 36, 44, 52, 62};
inline constexpr float kLevelsIq3S[8] = {1, 3, 5, 7, 9, 11, 13, 15};

extern const uint16_t kGridIq1[2048];  // IQ1_S and IQ1_M
extern const uint16_t kGridIq2Xxs[256];
extern const uint16_t kGridIq2Xs[512];
extern const uint16_t kGridIq2S[1024];
extern const uint16_t kGridIq3Xxs[256];
extern const uint16_t kGridIq3S[512];

}  // namespace renga
