// Which instruction sets the kernels are compiled for; included before any Highway header. Fewer
// than Highway could: each costs compile time, and those left out (SSSE3, the Zen 4 and Sapphire
// Rapids variants, SVE) gain these kernels little over their neighbours.
#pragma once

#if defined(__x86_64__) || defined(__i386__)
#define HWY_WANT_AVX3_DL 1
// x86-64-v2 is the least we run on. Without this Highway would take one-lane scalar code as the
// base on gcc 12, and the kernels assume 128-bit vectors.
#define HWY_BASELINE_TARGETS HWY_SSE4
// Bits 0..6 are the sets above AVX3_DL in every Highway 1.x.
#if defined(RENGA_SANITIZED)
// The AVX-512 sets compile from the same text as AVX2 and would double the sanitizers' build.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3 | HWY_AVX3_DL | ((1LL << 7) - 1))
#else
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | ((1LL << 7) - 1))
#endif
#elif defined(__aarch64__)
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#endif

// Before a loop whose trip count is a small constant and whose body indexes registers: optimisation
// levels below 3 would leave it a loop and the registers in memory.
#if defined(__clang__)
#define RENGA_UNROLL _Pragma("clang loop unroll(full)")
#else
#define RENGA_UNROLL _Pragma("GCC unroll 16")
#endif
