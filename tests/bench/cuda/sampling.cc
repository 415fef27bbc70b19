#include "tests/bench/cuda/sampling.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "codegen/emit/cuda_sample.h"
#include "codegen/emit/kernel_shapes.h"
#include "codegen/kernels/args.cuh"
#include "ir/base/strings.h"
#include "tests/bench/cuda/layers.h"

namespace renga::bench {
namespace {

constexpr int kVocab = 128256;
constexpr int kSegment = 2 * 4 * kernels::kSampleThreads;  // as plan::SampleMemoryOf has it
constexpr int kBlocks = (kVocab + kSegment - 1) / kSegment;
constexpr int kMostRows = 128;
constexpr int kRowCounts[] = {1, 32, 128};
constexpr int kChanges = 64;

struct Chain {
  const char* label;
  kernels::SampleRow row;
  bool rehearses = true;
};
// The defaults of `renga run`, and what else takes another way.
std::vector<Chain> Chains() {
  kernels::SampleRow defaults = {};
  defaults.kept = 40;
  defaults.top_k = 40;
  defaults.temperature = 0.8f;
  defaults.top_p = 0.95f;
  defaults.typical_p = 1;
  defaults.repeat = 1;
  defaults.log_min_p = std::log(0.05);
  kernels::SampleRow nucleus = defaults, penalties = defaults, typical = defaults, top = defaults;
  nucleus.sums = 1;
  nucleus.kept = 128;
  nucleus.top_k = 0;
  penalties.kept = 40 + kChanges;
  penalties.changes = kChanges;
  penalties.repeat = 1.1f;
  typical.typical_p = 0.999999f;  // the first stays
  top.kept = 128;
  return {{"top-k 40, top-p 0.95, min-p 0.05", defaults},
          {"the same, without a rehearsal", defaults, false},
          {"top-p and min-p alone", nucleus},
          {"64 penalties", penalties},
          {"typical too", typical},
          {"128 largest wanted", top}};
}

// Kernels as between two samplings: enough code, and enough memory read, that little is left of
// either in a cache. Of the last one the sampler waits for the end.
struct Step {
  struct One {
    Layers layers;
    Variant variant;
    const float* norm;
  };
  std::vector<One> products;
  cuda::Memory x, norm, y;

  absl::Status Launch(const CudaBench& bench) const {
    for (const One& one : products) {
      RENGA_RETURN_IF_ERROR(bench.Launch(
          one.variant,
          kernels::LinearArgs{reinterpret_cast<const float*>(x.data()), one.norm, one.layers.At(0),
                              nullptr, nullptr, reinterpret_cast<float*>(y.data()), 1}));
    }
    return absl::OkStatus();
  }
};
constexpr int kWarps = 8;
const Shape kShapes[] = {{"q+k+v", 6144, 4096, true, false},
                         {"output", 4096, 4096, false, false},
                         {"down", 4096, 14336, false, false}};
const Shape kHead = {"head", kVocab, 4096, true, false};
constexpr DType kTypes[] = {DType::kF16, DType::kQ8_0, DType::kQ4_K};

absl::StatusOr<Step::One> MakeProduct(const CudaBench& bench, DType type, const Shape& shape) {
  Step::One one;
  RENGA_ASSIGN_OR_RETURN(one.layers, MakeLayers(bench, type, shape, 1, 1));
  one.variant = {DecodeName(type, shape, 1, kWarps),
                 {1, 1, 1},
                 32 * kWarps,
                 codegen::LinearShared(kWarps, 1, one.layers.layout.padded_k()).At(1),
                 ""};
  RENGA_ASSIGN_OR_RETURN(const int fit, bench.BlocksPerSm(one.variant));
  const int64_t blocks = int64_t{std::max(fit, 1)} * bench.gpu().context->gpu().multiprocessors;
  one.variant.grid[0] = static_cast<unsigned>(std::min(blocks, one.layers.layout.tiles));
  return one;
}

absl::StatusOr<Step> MakeStep(const CudaBench& bench) {
  Step step;
  emulator::Random random(7);
  RENGA_ASSIGN_OR_RETURN(step.x, bench.Upload(random.Vector(14336, 1)));
  RENGA_ASSIGN_OR_RETURN(step.norm, bench.Upload(random.Vector(14336, 1)));
  RENGA_ASSIGN_OR_RETURN(step.y, bench.Allocate(size_t{kVocab} * 4));
  const auto add = [&](DType type, const Shape& shape) -> absl::Status {
    RENGA_ASSIGN_OR_RETURN(Step::One one, MakeProduct(bench, type, shape));
    one.norm = shape.norm ? reinterpret_cast<const float*>(step.norm.data()) : nullptr;
    step.products.push_back(std::move(one));
    return absl::OkStatus();
  };
  for (const DType type : kTypes) {
    for (const Shape& shape : kShapes) RENGA_RETURN_IF_ERROR(add(type, shape));
  }
  RENGA_RETURN_IF_ERROR(add(DType::kQ6_K, kHead));
  return step;
}

// Each three less are e times as many, so that few tokens have 95 % of the weight; the largest is
// the first, which the random number 0 chooses: so `next` stays what it was.
std::vector<float> Logits() {
  std::vector<float> logits;
  for (int row = 0; row < kMostRows; ++row) {
    std::vector<float> one = emulator::Random(row + 1).Vector(kVocab, 1);
    for (float& logit : one) logit = -3.0f * std::log((logit + 1.00001f) / 2);
    std::swap(one[0], *std::max_element(one.begin(), one.end()));
    logits.insert(logits.end(), one.begin(), one.end());
  }
  return logits;
}

// What a launch of the kernel works in.
struct Sampling {
  cuda::Memory logits, next, results, top, maxima, sums, tickets;

  static absl::StatusOr<Sampling> Make(const CudaBench& bench) {
    Sampling made;
    RENGA_ASSIGN_OR_RETURN(made.logits, bench.Upload(Logits()));
    RENGA_ASSIGN_OR_RETURN(made.next, bench.Upload(std::vector<int32_t>(kMostRows)));
    RENGA_ASSIGN_OR_RETURN(made.results, bench.Allocate(kMostRows * sizeof(kernels::SampleResult)));
    RENGA_ASSIGN_OR_RETURN(made.top, bench.Allocate(kMostRows * kernels::kSampleKept * 8));
    RENGA_ASSIGN_OR_RETURN(made.maxima,
                           bench.Allocate(kMostRows * kBlocks * kernels::kSampleChunks * 4));
    RENGA_ASSIGN_OR_RETURN(made.sums, bench.Allocate(kMostRows * kBlocks * 8));
    RENGA_ASSIGN_OR_RETURN(made.tickets, bench.Upload(std::vector<uint32_t>(kMostRows)));
    return made;
  }
};

absl::Status BenchChain(const CudaBench& bench, const Step& step, double step_us,
                        const Sampling& memory, const Chain& chain, int rows, Table* table) {
  std::vector<kernels::SampleRow> all(static_cast<size_t>(rows), chain.row);
  for (int row = 0; row < rows; ++row) all[row].row = row;
  std::vector<kernels::SampleChange> changes;  // among them likely tokens, not the first
  for (int i = 0; i < kChanges; ++i) changes.push_back({1 + i * 1999, 1, 0, 0});
  RENGA_ASSIGN_OR_RETURN(const cuda::Memory rows_at, bench.Upload(all));
  RENGA_ASSIGN_OR_RETURN(const cuda::Memory changes_at, bench.Upload(changes));
  kernels::SampleArgs args = {};
  args.logits = reinterpret_cast<const float*>(memory.logits.data());
  args.next = reinterpret_cast<int32_t*>(memory.next.data());
  args.rows = reinterpret_cast<const kernels::SampleRow*>(rows_at.data());
  args.changes = reinterpret_cast<const kernels::SampleChange*>(changes_at.data());
  args.results = reinterpret_cast<kernels::SampleResult*>(memory.results.data());
  args.top = reinterpret_cast<uint64_t*>(memory.top.data());
  args.maxima = reinterpret_cast<float*>(memory.maxima.data());
  args.part_sums = reinterpret_cast<uint64_t*>(memory.sums.data());
  args.tickets = reinterpret_cast<uint32_t*>(memory.tickets.data());
  args.columns = args.vocab = kVocab;
  args.segment = kSegment;
  args.rehearses = chain.rehearses ? 1 : 0;
  const Variant variant = {codegen::SampleGpuKernel().name,
                           {kBlocks, static_cast<unsigned>(rows), 1},
                           kernels::kSampleThreads,
                           codegen::SampleShared(),
                           ""};
  constexpr int kRepeated = 20;
  RENGA_ASSIGN_OR_RETURN(const double repeated, bench.Microseconds([&]() -> absl::Status {
    for (int i = 0; i < kRepeated; ++i) RENGA_RETURN_IF_ERROR(bench.Launch(variant, args));
    return absl::OkStatus();
  }));
  RENGA_ASSIGN_OR_RETURN(const double behind, bench.Microseconds([&]() -> absl::Status {
    RENGA_RETURN_IF_ERROR(step.Launch(bench));
    return bench.Launch(variant, args);
  }));
  RENGA_ASSIGN_OR_RETURN(const auto results, bench.Download<kernels::SampleResult>(
                                                 memory.results, static_cast<size_t>(rows)));
  Row row = {.what = "sample", .type = "F32", .tokens = rows};
  row.us = behind - step_us;
  row.bytes = 4.0 * rows * kVocab;
  row.label = StrCat(chain.label, "; one after the other ",
                     static_cast<int64_t>(std::lround(repeated / kRepeated * 100)) / 100.0, " us");
  for (int i = 0; i < rows && row.remark.empty(); ++i) {
    if (results[i].id != 0) row.remark = StrCat("row ", i, " chose ", results[i].id, ", not 0");
  }
  table->Add(row);
  return absl::OkStatus();
}

absl::Status BenchAll(const CudaBench& bench, Table* table) {
  RENGA_ASSIGN_OR_RETURN(const Step step, MakeStep(bench));
  RENGA_ASSIGN_OR_RETURN(const Sampling memory, Sampling::Make(bench));
  for (const Chain& chain : Chains()) {
    for (const int rows : kRowCounts) {
      // Anew each time: a difference of two times wants them close together.
      RENGA_ASSIGN_OR_RETURN(const double step_us,
                             bench.Microseconds([&] { return step.Launch(bench); }));
      RENGA_RETURN_IF_ERROR(BenchChain(bench, step, step_us, memory, chain, rows, table));
    }
  }
  return absl::OkStatus();
}

}  // namespace

KernelTexts SamplingTexts() {
  KernelTexts texts;
  for (const DType type : kTypes) {
    for (const Shape& shape : kShapes) {
      texts[DecodeName(type, shape, 1, kWarps)] = DecodeText(type, shape, 1, kWarps);
    }
  }
  texts[DecodeName(DType::kQ6_K, kHead, 1, kWarps)] = DecodeText(DType::kQ6_K, kHead, 1, kWarps);
  const plan::GpuKernel kernel = codegen::SampleGpuKernel();
  texts[kernel.name] = kernel.source;
  return texts;
}

void BenchSampling(const CudaBench& bench, Table* table) {
  table->Section("Sampling from 128,256 logits: what it adds behind ten products of 800 MB");
  table->AddFailure("sample", "F32", BenchAll(bench, table));
}

}  // namespace renga::bench
