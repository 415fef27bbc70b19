// What the benchmarks of the CUDA kernels share: launches in graphs with dependent launches, times
// of them, the bandwidth they are measured against, and the table.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ir/base/status.h"
#include "tests/emulator/cases/gpu.h"

namespace renga::bench {

using emulator::Gpu;
using emulator::GpuKernels;
using emulator::KernelTexts;

// One way to launch a kernel.
struct Variant {
  std::string kernel;
  unsigned grid[3] = {1, 1, 1};
  unsigned threads = 0;
  int64_t shared_bytes = 0;
  std::string label;  // what is particular about it: "8 warps, 2 blocks an SM"
};

// A line of the result.
struct Row {
  std::string what, type;
  int64_t tokens = 0;
  double us = 0;       // of one launch; 0: none was measured
  double bytes = 0;    // that it has to read
  double flops = 0;    // where that is what counts
  std::string label;   // of the fastest variant
  std::string remark;  // what is wrong with it; not empty: the program fails
};

class CudaBench {
 public:
  // Compiles all of `texts` (and its own) for the first GPU.
  static absl::StatusOr<std::unique_ptr<CudaBench>> Open(KernelTexts texts);
  static KernelTexts OwnTexts();

  absl::StatusOr<cuda::Memory> Allocate(size_t bytes) const {
    return cuda::Memory::Allocate(gpu_.context, bytes);
  }
  template <typename T>
  absl::StatusOr<cuda::Memory> Upload(const std::vector<T>& values) const {
    RENGA_ASSIGN_OR_RETURN(cuda::Memory memory, Allocate(values.size() * sizeof(T)));
    RENGA_RETURN_IF_ERROR(stream_.Write(
        memory.data(),
        {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(T)}));
    return memory;
  }
  template <typename T>
  absl::StatusOr<std::vector<T>> Download(const cuda::Memory& memory, size_t count) const {
    std::vector<T> values(count);
    RENGA_RETURN_IF_ERROR(stream_.Read(
        memory.data(), {reinterpret_cast<uint8_t*>(values.data()), count * sizeof(T)}));
    return values;
  }

  // May overlap the launch before it.
  template <typename Args>
  absl::Status Launch(const Variant& variant, const Args& args) const {
    RENGA_ASSIGN_OR_RETURN(const cuda::Function function,
                           kernels_.Find(variant.kernel, variant.shared_bytes));
    void* arguments[] = {const_cast<Args*>(&args)};
    return stream_.Launch(function,
                          {.grid = {variant.grid[0], variant.grid[1], variant.grid[2]},
                           .threads = variant.threads,
                           .shared_bytes = static_cast<unsigned>(variant.shared_bytes),
                           .overlaps_previous = true},
                          arguments);
  }
  absl::StatusOr<cuda::Function> Find(const std::string& kernel, int64_t shared_bytes) const {
    return kernels_.Find(kernel, shared_bytes);
  }
  // How many blocks of it an SM holds; 0 where a block does not fit.
  absl::StatusOr<int> BlocksPerSm(const Variant& variant) const;

  // Microseconds of everything that `launch_all` launches, as one graph; the median of seven
  // measurements of some replays.
  absl::StatusOr<double> Microseconds(const std::function<absl::Status()>& launch_all) const;

  // Bytes a second of a kernel that only reads, the best of several shapes.
  absl::StatusOr<double> MeasureReadBandwidth() const;

  const Gpu& gpu() const { return gpu_; }
  const cuda::Stream& stream() const { return stream_; }

 private:
  Gpu gpu_;
  GpuKernels kernels_;
  cuda::Stream stream_;
};

// Prints rows as they come, keeps them for JSON.
class Table {
 public:
  Table(const CudaBench& bench, double read_bandwidth);
  void Section(const std::string& title) const;
  void Add(const Row& row);
  // A row that says so where `status` is an error.
  void AddFailure(std::string_view what, std::string_view type, const absl::Status& status);
  // Of rows with a remark.
  int problems() const { return problems_; }
  absl::Status WriteJson(const std::string& path) const;

 private:
  const CudaBench& bench_;
  double read_bandwidth_;
  std::vector<Row> rows_;
  int problems_ = 0;
};

}  // namespace renga::bench
