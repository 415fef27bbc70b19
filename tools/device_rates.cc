#include "tools/device_rates.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#include "absl/types/span.h"
#include "ir/base/strings.h"

namespace renga {
namespace {

struct GpuRates {
  std::string_view name;  // as the driver has it, all of it: a PCIe card is another device
  double bytes_per_second;
  double flops_per_second;
  std::string_view source;
};
constexpr GpuRates kGpus[] = {
    {"NVIDIA H100 80GB HBM3", 3.0e12, 798e12,
     "measured on such a card with CUDA 13.0: a read-only stream of 0.4 to 16 GB (3.06-3.10 TB/s, "
     "a "
     "copy 3.01), a bf16 product of 8192^3 with random data"},
};

// Far beyond any cache.
constexpr size_t kStreamBytes = size_t{512} << 20;
constexpr int kPasses = 6;

class Mapping {
 public:
  explicit Mapping(size_t bytes)
      : bytes_(bytes),
        data_(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {}
  ~Mapping() {
    if (data_ != MAP_FAILED) munmap(data_, bytes_);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  uint64_t* words() const { return data_ == MAP_FAILED ? nullptr : static_cast<uint64_t*>(data_); }

 private:
  size_t bytes_;
  void* data_;
};

// Sums of its own for a line of cache, so that no addition waits for another.
uint64_t Sum(absl::Span<const uint64_t> words) {
  uint64_t sums[8] = {};
  for (size_t i = 0; i + 8 <= words.size(); i += 8) {
    for (size_t j = 0; j < 8; ++j) sums[j] += words[i + j];
  }
  uint64_t sum = 0;
  for (uint64_t part : sums) sum += part;
  return sum;
}

void InParallel(int threads, const std::function<void(int)>& work) {
  std::vector<std::thread> others;
  for (int i = 1; i < threads; ++i) others.emplace_back(work, i);
  work(0);
  for (std::thread& thread : others) thread.join();
}

// Bytes a second of the fastest of a few passes; empty without the memory for them.
std::optional<double> MeasureReading(int threads) {
  const Mapping memory(kStreamBytes);
  uint64_t* words = memory.words();
  if (words == nullptr) return std::nullopt;
  // Threads take the next chunk when they are done with one: another program that takes a core's
  // time holds up one chunk, not a share of the stream.
  constexpr size_t kChunkWords = (size_t{4} << 20) / sizeof(uint64_t);
  constexpr size_t kChunks = kStreamBytes / sizeof(uint64_t) / kChunkWords;
  const auto for_chunks = [&](const std::function<void(size_t)>& work) {
    std::atomic<size_t> next = 0;
    InParallel(threads, [&](int) {
      for (size_t i = next++; i < kChunks; i = next++) work(i);
    });
  };
  // Pages that nobody wrote are all the same one.
  for_chunks(
      [&](size_t i) { std::memset(words + i * kChunkWords, 1, kChunkWords * sizeof(*words)); });
  std::atomic<uint64_t> sum = 0;  // looked at below: what nobody looks at need not be read
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    for_chunks(
        [&](size_t i) { sum += Sum(absl::MakeConstSpan(words + i * kChunkWords, kChunkWords)); });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, static_cast<double>(kStreamBytes) / seconds.count());
  }
  return sum == 0 ? std::nullopt : std::optional<double>(best);
}

}  // namespace

DeviceRates RatesOf(std::string_view device, int threads) {
  if (device == "cpu") {
    DeviceRates rates;
    rates.bytes_per_second = MeasureReading(threads);
    rates.source = rates.bytes_per_second
                       ? StrCat("measured now: ", threads, threads == 1 ? " thread" : " threads",
                                " reading ", kStreamBytes >> 20, " MiB; arithmetic: not measured")
                       : StrCat("none: no ", kStreamBytes >> 20, " MiB of memory to measure with");
    return rates;
  }
  for (const GpuRates& gpu : kGpus) {
    if (!device.ends_with(gpu.name)) continue;
    return {gpu.bytes_per_second, gpu.flops_per_second, std::string(gpu.source)};
  }
  return {std::nullopt, std::nullopt,
          StrCat("none: nobody has measured ", device, "; tools/device_rates.cc lists who was")};
}

std::optional<double> BoundOf(TestKind kind, const StepCost& token_cost, const DeviceRates& rates) {
  if (!rates.bytes_per_second) return std::nullopt;
  if (kind == TestKind::kPrompt && !rates.flops_per_second) return std::nullopt;
  double seconds = token_cost.bytes / *rates.bytes_per_second;
  if (rates.flops_per_second) {
    seconds = std::max(seconds, token_cost.flops / *rates.flops_per_second);
  }
  return 1 / seconds;
}

}  // namespace renga
