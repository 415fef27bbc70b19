#include "tests/bench/cuda/bench.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "ir/base/output_file.h"

namespace renga::bench {
namespace {

constexpr int64_t kReadBytes = int64_t{2} << 30;  // far beyond any L2

// What a launch with eight loads of 16 bytes a thread under way can get.
constexpr const char* kReadStream = R"(#include "codegen/kernels/primitives.cuh"
using namespace renga::kernels;
struct ReadArgs {
  const uint4* from;
  int64_t count;
  uint32_t* to;
};
extern "C" __global__ void __launch_bounds__(1024) read_stream(const ReadArgs args) {
  WaitForPreviousKernel();
  LetNextKernelStart();
  const int64_t stride = int64_t{1} * gridDim.x * blockDim.x;
  uint32_t bits = 0;
  int64_t i = int64_t{1} * blockIdx.x * blockDim.x + threadIdx.x;
  for (; i + 7 * stride < args.count; i += 8 * stride) {
    uint4 v[8];
#pragma unroll
    for (int j = 0; j < 8; ++j) v[j] = LoadStreaming(args.from + i + j * stride);
#pragma unroll
    for (int j = 0; j < 8; ++j) bits |= v[j].x ^ v[j].y ^ v[j].z ^ v[j].w;
  }
  for (; i < args.count; i += stride) bits |= LoadStreaming(args.from + i).x;
  if (bits == 0x12345678u) args.to[0] = bits;
}
)";

struct ReadArgs {
  const void* from;
  int64_t count;
  void* to;
};

}  // namespace

KernelTexts CudaBench::OwnTexts() { return {{"read_stream", kReadStream}}; }

absl::StatusOr<std::unique_ptr<CudaBench>> CudaBench::Open(KernelTexts texts) {
  std::unique_ptr<CudaBench> bench(new CudaBench);
  texts.merge(OwnTexts());
  RENGA_ASSIGN_OR_RETURN(bench->gpu_, emulator::OpenGpu());
  RENGA_ASSIGN_OR_RETURN(bench->kernels_, GpuKernels::Build(bench->gpu_, texts));
  RENGA_ASSIGN_OR_RETURN(bench->stream_, cuda::Stream::Create(bench->gpu_.context));
  return bench;
}

absl::StatusOr<int> CudaBench::BlocksPerSm(const Variant& variant) const {
  if (variant.shared_bytes > gpu_.context->gpu().shared_per_block) return 0;
  return kernels_.BlocksPerMultiprocessor(variant.kernel, static_cast<int>(variant.threads),
                                          variant.shared_bytes);
}

absl::StatusOr<double> CudaBench::Microseconds(
    const std::function<absl::Status()>& launch_all) const {
  constexpr int kMeasurements = 7, kReplays = 3;
  RENGA_ASSIGN_OR_RETURN(const cuda::Graph graph, stream_.Capture(launch_all));
  RENGA_ASSIGN_OR_RETURN(const cuda::Event start, cuda::Event::Create(gpu_.context));
  RENGA_ASSIGN_OR_RETURN(const cuda::Event end, cuda::Event::Create(gpu_.context));
  for (int i = 0; i < 2; ++i) RENGA_RETURN_IF_ERROR(stream_.Launch(graph));
  std::vector<double> times;
  for (int i = 0; i < kMeasurements; ++i) {
    RENGA_RETURN_IF_ERROR(stream_.Record(start));
    for (int r = 0; r < kReplays; ++r) RENGA_RETURN_IF_ERROR(stream_.Launch(graph));
    RENGA_RETURN_IF_ERROR(stream_.Record(end));
    RENGA_RETURN_IF_ERROR(end.Wait());
    RENGA_ASSIGN_OR_RETURN(const float ms, cuda::Event::Milliseconds(start, end));
    times.push_back(ms * 1e3 / kReplays);
  }
  std::nth_element(times.begin(), times.begin() + kMeasurements / 2, times.end());
  return times[kMeasurements / 2];
}

absl::StatusOr<double> CudaBench::MeasureReadBandwidth() const {
  RENGA_ASSIGN_OR_RETURN(const cuda::Memory from, Allocate(kReadBytes));
  RENGA_ASSIGN_OR_RETURN(const cuda::Memory to, Allocate(4));
  // No constant: memory may hold what it has.
  std::vector<uint32_t> noise(1 << 20);
  uint32_t bits = 1;
  for (uint32_t& word : noise) word = bits = bits * 1664525 + 1013904223;
  const absl::Span<const uint8_t> piece(reinterpret_cast<const uint8_t*>(noise.data()),
                                        noise.size() * 4);
  RENGA_RETURN_IF_ERROR(stream_.Write(from.data(), piece));
  for (size_t at = piece.size(); at < kReadBytes; at += piece.size()) {
    RENGA_RETURN_IF_ERROR(stream_.Copy(from.data() + at, from.data(), piece.size()));
  }
  double best = 0;
  for (const unsigned threads : {256u, 512u, 1024u}) {
    for (const unsigned per_sm : {1u, 2u, 4u, 8u}) {
      if (threads * per_sm > 2048) continue;
      const Variant variant = {
          "read_stream",
          {per_sm * static_cast<unsigned>(gpu_.context->gpu().multiprocessors), 1, 1},
          threads,
          0,
          ""};
      RENGA_ASSIGN_OR_RETURN(
          const double us, Microseconds([&] {
            return Launch(variant, ReadArgs{from.data(), kReadBytes / 16, to.data()});
          }));
      best = std::max(best, static_cast<double>(kReadBytes) / us * 1e6);
    }
  }
  return best;
}

Table::Table(const CudaBench& bench, double read_bandwidth)
    : bench_(bench), read_bandwidth_(read_bandwidth) {
  const cuda::GpuFacts& gpu = bench.gpu().context->gpu();
  std::printf("%s, sm_%d, %d SMs, driver for CUDA %s, NVRTC %s\n", gpu.name.c_str(), gpu.sm,
              gpu.multiprocessors,
              cuda::DriverVersionText(bench.gpu().context->driver().version()).c_str(),
              ToString(bench.gpu().nvrtc->version()).c_str());
  std::printf("read stream: %.0f GB/s, the 100 %% of what follows\n", read_bandwidth * 1e-9);
}

void Table::Section(const std::string& title) const {
  std::printf("\n%s\n%-28s %-8s %6s %9s %7s %6s %8s  %s\n", title.c_str(), "what", "type", "tokens",
              "us", "GB/s", "%", "TFLOP/s", "fastest of");
}

void Table::Add(const Row& row) {
  rows_.push_back(row);
  if (!row.remark.empty()) ++problems_;
  std::printf("%-28s %-8s %6lld ", row.what.c_str(), row.type.c_str(),
              static_cast<long long>(row.tokens));
  if (row.us > 0) {
    std::printf("%9.2f %7.0f %6.1f ", row.us, row.bytes / row.us * 1e-3,
                row.bytes / row.us * 1e8 / read_bandwidth_);
    if (row.flops > 0) {
      std::printf("%8.1f  ", row.flops / row.us * 1e-6);
    } else {
      std::printf("%8s  ", "");
    }
  } else {
    std::printf("%9s %7s %6s %8s  ", "-", "", "", "");
  }
  std::printf("%s%s%s\n", row.label.c_str(),
              row.remark.empty() ? "" : "  WRONG: ", row.remark.c_str());
  std::fflush(stdout);
}

void Table::AddFailure(std::string_view what, std::string_view type, const absl::Status& status) {
  if (status.ok()) return;
  Add({.what = std::string(what),
       .type = std::string(type),
       .remark = std::string(status.message())});
}

absl::Status Table::WriteJson(const std::string& path) const {
  const cuda::GpuFacts& gpu = bench_.gpu().context->gpu();
  nlohmann::json rows = nlohmann::json::array();
  for (const Row& row : rows_) {
    nlohmann::json one = {
        {"what", row.what},     {"type", row.type},
        {"tokens", row.tokens}, {"us", row.us > 0 ? nlohmann::json(row.us) : nlohmann::json()},
        {"bytes", row.bytes},   {"flops", row.flops},
        {"variant", row.label}};
    if (!row.remark.empty()) one["wrong"] = row.remark;
    rows.push_back(std::move(one));
  }
  const nlohmann::json all = {{"gpu", gpu.name},
                              {"sm", gpu.sm},
                              {"multiprocessors", gpu.multiprocessors},
                              {"driver", bench_.gpu().context->driver().version()},
                              {"nvrtc", ToString(bench_.gpu().nvrtc->version())},
                              {"read_bytes_per_second", read_bandwidth_},
                              {"rows", rows}};
  return WriteFileAtomically(path, {all.dump(1) + "\n"});
}

}  // namespace renga::bench
