// Prepares and runs one kernel on tensors made in a test.
#pragma once

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "runtime/device/cpu/kernel.h"

namespace renga::cpu {

// A tensor with its own memory; a symbolic size is given as {symbol, size of this run}.
struct Tensor {
  plan::TensorType type;
  std::vector<int64_t> sizes;
  std::vector<uint8_t> bytes;

  static Tensor Make(DType dtype, std::vector<int64_t> sizes) {
    Tensor t;
    t.type.dtype = dtype;
    int64_t rows = 1;
    for (size_t i = 0; i < sizes.size(); ++i) {
      t.type.shape.push_back({-1, sizes[i]});
      if (i + 1 < sizes.size()) rows *= sizes[i];
    }
    t.bytes.resize(rows * RowBytes(dtype, sizes.back()));
    t.sizes = std::move(sizes);
    return t;
  }
  static Tensor Floats(std::vector<int64_t> sizes, const std::vector<float>& values) {
    Tensor t = Make(DType::kF32, std::move(sizes));
    std::memcpy(t.bytes.data(), values.data(), t.bytes.size());
    return t;
  }
  static Tensor Ints(std::vector<int64_t> sizes, const std::vector<int32_t>& values) {
    Tensor t = Make(DType::kI32, std::move(sizes));
    std::memcpy(t.bytes.data(), values.data(), t.bytes.size());
    return t;
  }

  Tensor& Symbol(size_t axis, int32_t symbol) {
    type.shape[axis] = {symbol, 1};
    return *this;
  }
  std::vector<float> floats() const {
    std::vector<float> out(bytes.size() / 4);
    std::memcpy(out.data(), bytes.data(), bytes.size());
    return out;
  }
  std::vector<int32_t> ints() const {
    std::vector<int32_t> out(bytes.size() / 4);
    std::memcpy(out.data(), bytes.data(), bytes.size());
    return out;
  }
  TensorRef Ref() {
    TensorRef ref{bytes.data(), type.dtype, static_cast<int>(sizes.size())};
    for (size_t i = 0; i < sizes.size(); ++i) ref.dims[i] = sizes[i];
    return ref;
  }
};

inline std::vector<plan::Symbol> TestSymbols() { return {{"T", 512}, {"L", 512}, {"S", 4}}; }

// A null input is an absent optional one.
inline absl::StatusOr<PreparedKernel> PrepareStep(std::string_view kernel,
                                                  const std::vector<Tensor*>& inputs,
                                                  const std::vector<Tensor*>& outputs,
                                                  const std::vector<plan::Attr>& attrs) {
  const KernelDef* def = FindKernel(kernel);
  if (def == nullptr) return absl::NotFoundError(std::string(kernel));
  std::vector<const plan::TensorType*> in, out;
  for (const Tensor* t : inputs) in.push_back(t == nullptr ? nullptr : &t->type);
  for (const Tensor* t : outputs) out.push_back(t == nullptr ? nullptr : &t->type);
  const std::vector<plan::Symbol> symbols = TestSymbols();
  return def->prepare({"the.step", in, out, attrs, symbols});
}

inline void RunPrepared(const PreparedKernel& kernel, const std::vector<Tensor*>& inputs,
                        const std::vector<Tensor*>& outputs, ThreadPool& pool) {
  std::vector<TensorRef> in, out;
  for (Tensor* t : inputs) in.push_back(t == nullptr ? TensorRef() : t->Ref());
  for (Tensor* t : outputs) out.push_back(t->Ref());
  kernel({in, out, pool});
}

inline void RunStep(std::string_view name, const std::vector<Tensor*>& inputs,
                    const std::vector<Tensor*>& outputs, const std::vector<plan::Attr>& attrs,
                    ThreadPool& pool) {
  const absl::StatusOr<PreparedKernel> kernel = PrepareStep(name, inputs, outputs, attrs);
  ASSERT_TRUE(kernel.ok()) << kernel.status();
  RunPrepared(*kernel, inputs, outputs, pool);
}

// Message of the refusal; "" when the step is accepted.
inline std::string Refusal(std::string_view kernel, const std::vector<Tensor*>& inputs,
                           const std::vector<Tensor*>& outputs,
                           const std::vector<plan::Attr>& attrs) {
  return std::string(PrepareStep(kernel, inputs, outputs, attrs).status().message());
}

inline std::vector<float> RandomFloats(int64_t n, int seed, float scale = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> out(n);
  for (float& v : out) v = normal(random);
  return out;
}

}  // namespace renga::cpu
