// Value tables of the formats whose four bits are an index. Constants of the formats.
#pragma once

#include <cstdint>

namespace renga::cpu {

// IQ4_NL and IQ4_XS: levels of a non-uniform quantiser.
alignas(16) inline constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                      1,    13,   25,  38,  53,  69,  89,  113};

// MXFP4 and NVFP4: the sixteen E2M1 numbers, doubled to make them whole.
alignas(16) inline constexpr int8_t kE2M1Doubled[16] = {0, 1,  2,  3,  4,  6,  8,  12,
                                                        0, -1, -2, -3, -4, -6, -8, -12};

}  // namespace renga::cpu
