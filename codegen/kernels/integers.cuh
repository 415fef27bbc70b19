// The integer types, for kernels and for the host. NVRTC knows no <cstdint>.
#pragma once

#ifndef RENGA_EMULATOR
#if defined(__CUDACC_RTC__)
namespace renga::kernels {
using int8_t = signed char;
using uint8_t = unsigned char;
using int16_t = short;
using uint16_t = unsigned short;
using int32_t = int;
using uint32_t = unsigned int;
using int64_t = long long;
using uint64_t = unsigned long long;
}  // namespace renga::kernels
#else
#include <cstdint>
namespace renga::kernels {
using std::int16_t;
using std::int32_t;
using std::int64_t;
using std::int8_t;
using std::uint16_t;
using std::uint32_t;
using std::uint64_t;
using std::uint8_t;
}  // namespace renga::kernels
#endif
#endif
