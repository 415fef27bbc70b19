// The device of a repro.cu: a GPU under nvcc, else the host.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "tools/repro/standalone/formulas.h"

#ifdef __CUDACC__
#include <cuda_runtime.h>
#endif

namespace repro {

#ifdef __CUDACC__

inline void Check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
  std::exit(2);
}

inline char* Allocate(size_t bytes, int fill) {
  void* memory = nullptr;
  Check(cudaMalloc(&memory, bytes), "cudaMalloc");
  Check(cudaMemset(memory, fill, bytes), "cudaMemset");
  return static_cast<char*>(memory);
}
inline void ToDevice(char* to, const char* from, size_t bytes) {
  Check(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice), "cudaMemcpy");
}
inline void FromDevice(char* to, const char* from, size_t bytes) {
  Check(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost), "cudaMemcpy");
}
inline void Launch(const void* kernel, dim3 grid, unsigned threads, size_t shared, void* block) {
  void* arguments[] = {block};
  Check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(shared)),
        "cudaFuncSetAttribute");
  Check(cudaLaunchKernel(kernel, grid, dim3(threads), arguments, shared, nullptr), "launch");
  Check(cudaDeviceSynchronize(), "the kernel");
}
#define REPRO_LAUNCH(kernel, x, y, z, threads, shared, block) \
  repro::Launch(reinterpret_cast<const void*>(&kernel), dim3(x, y, z), threads, shared, block)

#else

inline char* Allocate(size_t bytes, int fill) {
  void* const memory = std::aligned_alloc(256, (bytes + 511) / 256 * 256);
  if (memory == nullptr) std::exit(2);
  std::memset(memory, fill, bytes);
  return static_cast<char*>(memory);
}
inline void ToDevice(char* to, const char* from, size_t bytes) { std::memcpy(to, from, bytes); }
inline void FromDevice(char* to, const char* from, size_t bytes) { std::memcpy(to, from, bytes); }
#define REPRO_LAUNCH(kernel, x, y, z, threads, shared, block)                                  \
  repro::HostMachine().Run(&renga::emulator::Thunk<&kernel>::Call, {x, y, z}, threads, shared, \
                           block)

#endif

inline void Put(unsigned char* to, const void* address) {
  std::memcpy(to, &address, sizeof(address));
}

// The first bytes of a buffer from a file.
inline void Fill(char* to, const std::string& path, size_t bytes) {
  std::vector<char> content(bytes);
  std::ifstream file(path, std::ios::binary);
  file.read(content.data(), static_cast<std::streamsize>(bytes));
  if (!file || file.peek() != std::ifstream::traits_type::eof()) {
    std::fprintf(stderr, "%s: expected %zu bytes\n", path.c_str(), bytes);
    std::exit(2);
  }
  ToDevice(to, content.data(), bytes);
}

inline float FromE4M3(unsigned char bits) {
  if ((bits & 0x7f) == 0x7f) return std::numeric_limits<float>::quiet_NaN();
  const int exponent = bits >> 3 & 15, fraction = bits & 7;
  const double size =
      exponent == 0 ? std::ldexp(fraction, -9) : std::ldexp(8 + fraction, exponent - 10);
  return static_cast<float>((bits & 0x80) != 0 ? -size : size);
}
inline float FromHalf(uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const double fraction = bits & 1023;
  double value = exponent == 0    ? std::ldexp(fraction, -24)
                 : exponent != 31 ? std::ldexp(1024 + fraction, exponent - 25)
                 : fraction == 0  ? HUGE_VAL
                                  : std::numeric_limits<double>::quiet_NaN();
  return static_cast<float>((bits & 0x8000) != 0 ? -value : value);
}

// Numbers n d in blocks of 32: the whole ones of `bytes` a block, then from `scales` on the d as
// f16.
inline void ReadBlocks(const char* from, const std::string& type, size_t scales, Tensor* tensor) {
  const size_t blocks = static_cast<size_t>(tensor->elements()) / 32;
  const size_t bytes = type == "q8_0" ? 32 : 16;
  std::vector<unsigned char> quants(blocks * bytes);
  std::vector<uint16_t> steps(blocks);
  FromDevice(reinterpret_cast<char*>(quants.data()), from, quants.size());
  FromDevice(reinterpret_cast<char*>(steps.data()), from + scales, blocks * 2);
  for (size_t block = 0; block < blocks; ++block) {
    const unsigned char* const of = quants.data() + block * bytes;
    double numbers[32], turned[32];
    for (int k = 0; k < 32; ++k) {
      const int n = type == "q8_0" ? static_cast<signed char>(of[k])
                                   : (k < 16 ? of[k] & 15 : of[k - 16] >> 4) - 8;
      numbers[k] = n * double{FromHalf(steps[block])};
    }
    if (type == "q4_0") Turn(numbers, turned);
    for (int k = 0; k < 32; ++k) {
      tensor->f[block * 32 + k] = static_cast<float>(type == "q4_0" ? turned[k] : numbers[k]);
    }
  }
}

// What a buffer of `type` begins with, as numbers. `scales`: of types of blocks.
inline Tensor ReadBack(const char* from, const std::string& type, std::vector<int64_t> shape,
                       size_t scales) {
  Tensor tensor = Make(type == "i32" ? "i32" : "f32", std::move(shape));
  const size_t n = static_cast<size_t>(tensor.elements());
  if (type == "i32" || type == "f32") {
    void* const to = type == "i32" ? static_cast<void*>(tensor.i.data()) : tensor.f.data();
    FromDevice(static_cast<char*>(to), from, n * 4);
    return tensor;
  }
  if (type == "q8_0" || type == "q4_0") {
    ReadBlocks(from, type, scales, &tensor);
    return tensor;
  }
  const bool eight = type == "f8_e4m3";
  std::vector<unsigned char> raw(eight ? n : n * 2);
  FromDevice(reinterpret_cast<char*>(raw.data()), from, raw.size());
  for (size_t k = 0; k < n; ++k) {
    if (eight) {
      tensor.f[k] = FromE4M3(raw[k]);
      continue;
    }
    uint16_t half = 0;
    std::memcpy(&half, raw.data() + k * 2, 2);
    if (type == "bf16") {
      const uint32_t wide = static_cast<uint32_t>(half) << 16;
      std::memcpy(&tensor.f[k], &wide, 4);
    } else {
      tensor.f[k] = FromHalf(half);
    }
  }
  return tensor;
}

}  // namespace repro
