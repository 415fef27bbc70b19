// What a plan says about GPUs: the kernels with their source and code, and how a step launches
// them. A plan for several GPUs has the same kernels and launches for all, with code for each.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "ir/base/dtype.h"
#include "runtime/plan/expr.h"

namespace renga::plan {

// A GPU that the plan has code for, and what a launch may use of it.
struct GpuTarget {
  std::string name;              // "sm_90a"
  int32_t sm = 0;                // 90: compute capability 9.0
  int64_t shared_per_block = 0;  // bytes, static and dynamic together
  // The code runs on that compute capability alone, and the PTX too; else the driver can compile
  // the PTX for any newer GPU.
  bool only_this = false;
  friend bool operator==(const GpuTarget&, const GpuTarget&) = default;
};

// What the compiler made of a kernel for one target, and what a launch of it takes.
struct GpuImage {
  int32_t target = 0;  // index into Gpu::targets
  int64_t registers = 0;
  int64_t stack_bytes = 0;    // a thread: spilled registers, arrays that are indexed at run time
  int64_t static_shared = 0;  // bytes a block
  int64_t blocks_per_sm = 0;  // at a time, with the most dynamic shared memory any launch asks for
  int64_t warps_per_sm = 0;   // likewise
  std::string limiter;        // what keeps out another block: "registers", "shared memory", ...
  std::string cubin;          // ELF image
  std::string ptx;            // text; empty where no newer GPU can use it
  std::string log;            // warnings; usually empty
  friend bool operator==(const GpuImage&, const GpuImage&) = default;
};

// Equal sources are one kernel: none names a layer.
struct GpuKernel {
  std::string name;     // the extern "C" entry, unique
  std::string ir;       // the operator that it computes, with types in place of names
  std::string source;   // CUDA C++; includes headers of codegen/kernels only
  int64_t threads = 0;  // of a block
  // One for each of Gpu::targets, in that order; none where the plan was lowered but not compiled.
  std::vector<GpuImage> images;
  friend bool operator==(const GpuKernel&, const GpuKernel&) = default;
};

enum class ArgKind : uint8_t {
  kPointer = 0,    // address of a buffer's byte `value`
  kNull = 1,       // a null pointer
  kInt32 = 2,      // value of `size`
  kInt64 = 3,      // value of `size`
  kTensorMap = 4,  // `map` of what begins at a buffer's byte `offset`, as the device encodes it
};

// Where the bytes of a tile go in shared memory.
enum class Swizzle : uint8_t {
  kNone = 0,      // one row of the tile after another
  k128Bytes = 1,  // rows of 128 bytes; in row r its 16-byte piece p lies at p xor (r % 8)
};

// An axis of a tensor, and of the tiles that are taken of it.
struct MapAxis {
  Expr size;            // elements
  uint64_t stride = 0;  // bytes from one to the next; of all axes but the fastest, which has 0
  uint32_t tile = 1;    // elements; what of a tile lies beyond `size` is filled with zeros
  friend bool operator==(const MapAxis&, const MapAxis&) = default;
};

// A tensor as the copy engine of GPUs from sm_90 on wants it described (tensor_map.h).
struct TensorMap {
  DType type = DType::kF16;
  std::vector<MapAxis> axes;  // fastest first
  Swizzle swizzle = Swizzle::kNone;
  friend bool operator==(const TensorMap&, const TensorMap&) = default;
};

// A field of a kernel's one parameter, a struct that is passed by value. The fields lie one after
// another, each at a multiple of its own alignment (launch.h packs them).
struct Arg {
  ArgKind kind = ArgKind::kNull;
  std::string name;     // as codegen/kernels/args.cuh has it; for people
  int32_t buffer = -1;  // of kPointer, kTensorMap: an input, output or scratch buffer of the step
  uint64_t offset = 0;  // likewise: bytes from the buffer's start
  Expr size = {};       // of kInt32 and kInt64
  TensorMap map = {};   // of kTensorMap
  friend bool operator==(const Arg&, const Arg&) = default;
};

// A run may tell the symbol L, the number of key positions, larger than it is, up to its maximum:
// in a CUDA graph, which then serves many lengths. Every step must give the same; causal attention
// does, since positions say where keys end, and lowering refuses any other.
struct Launch {
  int32_t kernel = -1;       // index into Gpu::kernels
  std::array<Expr, 3> grid;  // blocks in x, y and z, each 1 or more
  Expr dynamic_shared;       // bytes
  std::vector<Arg> args;
  // The kernel waits by itself for the launch before it (griddepcontrol) and may start early: it is
  // launched with programmatic stream serialization.
  bool overlaps_previous = false;
  friend bool operator==(const Launch&, const Launch&) = default;
};

// One of the ways in which a step is computed, by the number of its tokens or rows.
struct Variant {
  int64_t last = 0;              // the largest value of Step::chosen_by that it serves
  std::vector<Launch> launches;  // in order
  std::string reason;            // why this one, for people
  friend bool operator==(const Variant&, const Variant&) = default;
};

// The kernel that puts weights of one type into the layout `mma`, as they are loaded. It takes
// PackWeightArgs (pack_weight.h), and runs with any grid of one dimension.
struct GpuPacker {
  DType type = DType::kF32;
  int32_t kernel = -1;         // index into Gpu::kernels
  int64_t dynamic_shared = 0;  // bytes
  friend bool operator==(const GpuPacker&, const GpuPacker&) = default;
};

// The kernel that chooses tokens by random numbers and the like, after the steps of a run. It takes
// SampleArgs (sample_args.h), and runs with a grid of its blocks a row and rows.
struct GpuSampler {
  int32_t kernel = -1;         // index into Gpu::kernels; -1: there is none
  int64_t dynamic_shared = 0;  // bytes
  friend bool operator==(const GpuSampler&, const GpuSampler&) = default;
};

// Nothing of it in a plan for the cpu.
struct Gpu {
  std::vector<GpuTarget> targets;
  std::vector<GpuKernel> kernels;
  std::vector<GpuPacker> packers;  // one for each type of which a weight has the layout `mma`
  GpuSampler sampler;
  friend bool operator==(const Gpu&, const Gpu&) = default;
};

}  // namespace renga::plan
