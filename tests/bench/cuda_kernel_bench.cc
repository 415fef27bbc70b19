// How fast the CUDA kernels are on this machine's GPU, beside what it can read at best. Kernels are
// compiled by NVRTC from the sources inside this program. docs/gpu.md says how to run it.
//   cuda_kernel_bench [--json FILE] [--only decode|prefill|attention|chain|sampling|pack|load]
//   [--compile-only TARGET]

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <string>
#include <string_view>

#include "codegen/nvrtc/target.h"
#include "tests/bench/cuda/attention.h"
#include "tests/bench/cuda/bench.h"
#include "tests/bench/cuda/chain.h"
#include "tests/bench/cuda/pack.h"
#include "tests/bench/cuda/products.h"
#include "tests/bench/cuda/sampling.h"

namespace renga::bench {
namespace {

struct Group {
  std::string_view name;
  KernelTexts (*texts)();
  void (*run)(const CudaBench& bench, Table* table);
  bool only_asked = false;  // writes large files
};
constexpr Group kGroups[] = {
    {"decode", DecodeTexts, BenchDecodeProducts},  {"prefill", PrefillTexts, BenchPrefillProducts},
    {"attention", AttentionTexts, BenchAttention}, {"chain", ChainTexts, BenchChain},
    {"sampling", SamplingTexts, BenchSampling},    {"pack", PackTexts, BenchPack},
    {"load", PackTexts, BenchLoad, true}};

struct Options {
  std::string json, only, compile_only;
  bool Wants(const Group& group) const {
    return only.empty() ? !group.only_asked : only == group.name;
  }
};

KernelTexts TextsOf(const Options& options) {
  KernelTexts texts;
  for (const Group& group : kGroups) {
    if (options.Wants(group)) texts.merge(group.texts());
  }
  return texts;
}

// Needs no GPU.
absl::Status CompileOnly(const Options& options) {
  RENGA_ASSIGN_OR_RETURN(const codegen::GpuTarget* target,
                         codegen::FindGpuTarget(options.compile_only));
  RENGA_ASSIGN_OR_RETURN(const auto nvrtc, emulator::LoadNvrtc());
  KernelTexts texts = TextsOf(options);
  texts.merge(CudaBench::OwnTexts());
  RENGA_ASSIGN_OR_RETURN(const codegen::KernelBuild build,
                         emulator::BuildTexts(*nvrtc, *target, texts));
  std::printf("%-40s %9s %5s\n", "kernel", "registers", "stack");
  for (const codegen::BuiltKernel& kernel : build.kernels) {
    const codegen::KernelResources& resources = kernel.report.resources;
    std::printf("%-40s %9lld %5lld\n", resources.name.c_str(),
                static_cast<long long>(resources.registers),
                static_cast<long long>(resources.stack_bytes));
  }
  std::printf("%zu kernels in %.1f s\n", build.kernels.size(), build.seconds);
  return absl::OkStatus();
}

absl::Status Run(const Options& options) {
  if (!options.compile_only.empty()) return CompileOnly(options);
  RENGA_ASSIGN_OR_RETURN(const auto bench, CudaBench::Open(TextsOf(options)));
  RENGA_ASSIGN_OR_RETURN(const double read_bandwidth, bench->MeasureReadBandwidth());
  Table table(*bench, read_bandwidth);
  for (const Group& group : kGroups) {
    if (options.Wants(group)) group.run(*bench, &table);
  }
  if (!options.json.empty()) RENGA_RETURN_IF_ERROR(table.WriteJson(options.json));
  if (table.problems() > 0) {
    return absl::InternalError(StrCat(table.problems(), " rows are wrong or failed"));
  }
  return absl::OkStatus();
}

int Main(int count, char** words) {
  Options options;
  for (int i = 1; i < count; ++i) {
    const std::string_view word = words[i];
    std::string* value = word == "--json"           ? &options.json
                         : word == "--only"         ? &options.only
                         : word == "--compile-only" ? &options.compile_only
                                                    : nullptr;
    if (value == nullptr || i + 1 == count) {
      std::fprintf(stderr,
                   "usage: cuda_kernel_bench [--json FILE] [--only "
                   "decode|prefill|attention|chain|sampling|pack|load] "
                   "[--compile-only TARGET]\n");
      return 2;
    }
    *value = words[++i];
  }
  const auto is_only = [&](const Group& group) { return group.name == options.only; };
  if (!options.only.empty() && std::none_of(std::begin(kGroups), std::end(kGroups), is_only)) {
    std::fprintf(stderr, "cuda_kernel_bench: --only: unknown group '%s'\n", options.only.c_str());
    return 2;
  }
  if (const absl::Status status = Run(options); !status.ok()) {
    std::fprintf(stderr, "cuda_kernel_bench: %s\n", std::string(status.message()).c_str());
    return absl::IsUnavailable(status) ? 3 : 1;
  }
  return 0;
}

}  // namespace
}  // namespace renga::bench

int main(int count, char** words) { return renga::bench::Main(count, words); }
