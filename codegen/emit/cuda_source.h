// The source of one CUDA kernel: about 15 lines that say which template of codegen/kernels it is
// and with what constants. All that is special about a kernel stands in this text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "ir/core/graph.h"
#include "runtime/plan/gpu.h"

namespace renga::codegen {

struct CudaKernel {
  std::string header;               // "linear": codegen/kernels/linear.cuh
  std::string call;                 // "Linear<Config>"
  std::string args;                 // "LinearArgs"
  std::string detail;               // what tells it from its like, for people: "q5_0_896x896_8"
  std::vector<std::string> config;  // lines of struct Config; none: there is no such struct
  int64_t threads = 0;              // of a block
  // Blocks that a multiprocessor shall hold. Always said: left alone, the compiler sometimes spills
  // a register to reach a number of its own.
  int64_t blocks_per_sm = 1;
  std::string ir;  // what it computes, where that is a part that several operators have
  // The arguments hold a tensor map: the copy engine reads it where the launch put it.
  bool has_tensor_map = false;
};

// The plan's kernel without code. `ir` is what it computes (OperatorText) where kernel.ir does not
// say it, `range` for which sizes ("T = 1..8"). Its name ends in a digest of its text, so equal
// kernels have equal names and others have not.
plan::GpuKernel MakeGpuKernel(const CudaKernel& kernel, std::string_view ir,
                              std::string_view range);

// The source of a GpuKernel for one block a multiprocessor, which leaves a thread all registers that
// a block can have; empty where that is what it asks for, or where it says nothing.
std::string WithOneBlockPerSm(std::string_view source);

// The node's operator with types in place of names, equal for all layers:
//   f32[T,896] = norm_linear(f32[T,896], f32[896], q5_0[896,896], bias=f32[896]) {eps=1e-06}
std::string OperatorText(const Graph& graph, const Node& node);

// Constants as C++ has them.
std::string FloatText(double value);   // "1e-05f"
std::string DoubleText(double value);  // "10000.0"

// "Packed<Q5_0, 896, 4864>": a weight in the layout of ir/base/mma_layout.h. `exactly`: with the
// decoder that rounds least, of types that have two ("Packed<Q4_K_FromMiddle, 896, 4864>").
std::string PackedText(DType type, int64_t rows, int64_t k, bool exactly = false);

// "q5_0_896x4864": the same in a name.
std::string ShapeName(DType type, int64_t rows, int64_t k);

// "FileQ5_0": of codegen/kernels/file_rows.cuh.
std::string FileText(DType type);

// "PackQ5_0": of codegen/kernels/pack_types.cuh.
std::string PackTypeText(DType type);

// Types of weights that kernels multiply by and embed: "f32 f16 bf16 ...".
std::string ProductTypeNames();

}  // namespace renga::codegen
