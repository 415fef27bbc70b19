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

inline float FromHalf(uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const double fraction = bits & 1023;
  double value = exponent == 0    ? std::ldexp(fraction, -24)
                 : exponent != 31 ? std::ldexp(1024 + fraction, exponent - 25)
                 : fraction == 0  ? HUGE_VAL
                                  : std::numeric_limits<double>::quiet_NaN();
  return static_cast<float>((bits & 0x8000) != 0 ? -value : value);
}

// What a buffer of `type` begins with, as numbers.
inline Tensor ReadBack(const char* from, const std::string& type, std::vector<int64_t> shape) {
  Tensor tensor = Make(type == "i32" ? "i32" : "f32", std::move(shape));
  const size_t n = static_cast<size_t>(tensor.elements());
  if (type == "i32" || type == "f32") {
    void* const to = type == "i32" ? static_cast<void*>(tensor.i.data()) : tensor.f.data();
    FromDevice(static_cast<char*>(to), from, n * 4);
    return tensor;
  }
  const size_t bytes = type == "q8_0" ? n / 32 * 34 : n * 2;
  std::vector<char> raw(bytes);
  FromDevice(raw.data(), from, bytes);
  for (size_t k = 0; k < n; ++k) {
    uint16_t half = 0;
    std::memcpy(&half, raw.data() + (type == "q8_0" ? k / 32 * 34 : k * 2), 2);
    if (type == "bf16") {
      const uint32_t wide = static_cast<uint32_t>(half) << 16;
      std::memcpy(&tensor.f[k], &wide, 4);
    } else {
      tensor.f[k] = FromHalf(half);
    }
    if (type == "q8_0") tensor.f[k] *= static_cast<signed char>(raw[k / 32 * 34 + 2 + k % 32]);
  }
  return tensor;
}

}  // namespace repro
