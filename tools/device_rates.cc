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
    {"H100 80GB HBM3", 3.0e12, 798e12,
     "measured on such a card with CUDA 13.0: a read-only stream of 0.4 to 16 GB (3.06-3.10 TB/s, "
     "a "
     "copy 3.01), a bf16 product of 8192^3 with random data"},
};

// Far beyond any cache. Threads take the next chunk when they are done with one: another program
// that takes a core's time then holds up one chunk, not a share of the stream.
constexpr size_t kStreamBytes = size_t{512} << 20;
constexpr size_t kChunkBytes = size_t{4} << 20;
constexpr size_t kChunks = kStreamBytes / kChunkBytes;  // of one pass
constexpr size_t kLeastPasses = 2, kMostPasses = 8;
constexpr double kSeconds = 1;  // after which no more passes than the least are made

class Mapping {
 public:
  explicit Mapping(size_t bytes)
      : size_(bytes),
        data_(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {}
  ~Mapping() {
    if (data_ != MAP_FAILED) munmap(data_, size_);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  uint8_t* bytes() const { return data_ == MAP_FAILED ? nullptr : static_cast<uint8_t*>(data_); }

 private:
  size_t size_;
  void* data_;
};

void InParallel(int threads, const std::function<void()>& work) {
  std::vector<std::thread> others;
  for (int i = 1; i < threads; ++i) others.emplace_back(work);
  work();
  for (std::thread& thread : others) thread.join();
}

// Of the words of a chunk. A line of cache has sums of its own, so that no addition waits for
// another.
uint64_t Sum(const uint8_t* chunk) {
  uint64_t sums[8] = {};
  for (size_t i = 0; i < kChunkBytes; i += sizeof(sums)) {
    uint64_t words[8];
    std::memcpy(words, chunk + i, sizeof(words));
    for (size_t j = 0; j < 8; ++j) sums[j] += words[j];
  }
  uint64_t sum = 0;
  for (uint64_t part : sums) sum += part;
  return sum;
}

// Bytes a second over the fastest stretch as long as the stream; empty without the memory for it.
std::optional<double> MeasureReading(int threads) {
  const Mapping memory(kStreamBytes);
  if (memory.bytes() == nullptr) return std::nullopt;
  // Pages that nobody wrote are all the same one; they lie near the core that writes them first.
  std::atomic<size_t> written = 0;
  InParallel(threads, [&] {
    for (size_t i = written++; i < kChunks; i = written++) {
      std::memset(memory.bytes() + i * kChunkBytes, 1, kChunkBytes);
    }
  });
  std::atomic<size_t> next = 0;
  std::atomic<uint64_t> sum = 0;  // looked at below: what nobody looks at need not be read
  std::vector<double> ends(kMostPasses * kChunks);  // of each chunk, seconds from the start
  const auto start = std::chrono::steady_clock::now();
  InParallel(threads, [&] {
    double now = 0;
    for (size_t i = next++; i < ends.size(); i = next++) {
      if (i >= kLeastPasses * kChunks && now > kSeconds) break;
      sum += Sum(memory.bytes() + i % kChunks * kChunkBytes);
      now = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      ends[i] = now;
    }
  });
  if (sum == 0) return std::nullopt;

  std::erase(ends, 0.0);
  std::sort(ends.begin(), ends.end());
  double shortest = ends.back();
  for (size_t i = kChunks; i < ends.size(); ++i) {
    shortest = std::min(shortest, ends[i] - ends[i - kChunks]);
  }
  return static_cast<double>(kStreamBytes) / std::max(shortest, 1e-9);
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
  if (kind != TestKind::kDecode && !rates.flops_per_second) return std::nullopt;
  double seconds = token_cost.bytes / *rates.bytes_per_second;
  if (rates.flops_per_second) {
    seconds = std::max(seconds, token_cost.flops / *rates.flops_per_second);
  }
  return 1 / seconds;
}

}  // namespace renga
