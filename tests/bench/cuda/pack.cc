#include "tests/bench/cuda/pack.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <random>
#include <set>
#include <thread>

#include "codegen/emit/cuda_pack.h"
#include "codegen/emit/kernel_shapes.h"
#include "ir/base/output_file.h"
#include "runtime/device/cuda/weight_upload.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/pack_weight.h"
#include "tests/support/temp_folder.h"

namespace renga::bench {
namespace {

constexpr DType kTypes[] = {DType::kF32,  DType::kF16,    DType::kBF16, DType::kQ8_0, DType::kQ4_0,
                            DType::kQ4_1, DType::kQ5_0,   DType::kQ5_1, DType::kQ4_K, DType::kQ5_K,
                            DType::kQ6_K, DType::kIQ4_NL, DType::kMXFP4};
constexpr int64_t kRows = 14336, kK = 4096;

// Random bits; patterns of many megabytes repeat.
std::string Noise() {
  std::mt19937_64 random(1);
  std::string bytes(size_t{8} << 20, '\0');
  for (size_t i = 0; i < bytes.size(); i += 8) {
    const uint64_t bits = random();
    std::memcpy(bytes.data() + i, &bits, 8);
  }
  return bytes;
}

absl::Status BenchKernel(const CudaBench& bench, DType type, Table* table) {
  const MmaLayout layout = MmaLayoutOf(type, kRows, kK).value();
  const int64_t bytes = kRows * RowBytes(type, kK);
  RENGA_ASSIGN_OR_RETURN(const cuda::Memory file, bench.Allocate(static_cast<size_t>(bytes)));
  RENGA_ASSIGN_OR_RETURN(const cuda::Memory packed,
                         bench.Allocate(static_cast<size_t>(layout.bytes)));
  RENGA_RETURN_IF_ERROR(bench.stream().Fill(packed.data(), 0, packed.bytes()));
  const std::string noise = Noise();
  for (int64_t at = 0; at < bytes; at += static_cast<int64_t>(noise.size())) {
    const auto piece = std::string_view(noise).substr(0, static_cast<size_t>(bytes - at));
    RENGA_RETURN_IF_ERROR(bench.stream().Write(
        file.data() + at, {reinterpret_cast<const uint8_t*>(piece.data()), piece.size()}));
  }
  const plan::GpuKernel kernel = codegen::PackGpuKernel(type);
  plan::PackWeightArgs args = plan::PackWeightArgsOf(layout);
  args.file = reinterpret_cast<uint64_t>(file.data());
  args.packed = reinterpret_cast<uint64_t>(packed.data());
  args.rows = static_cast<int32_t>(kRows);
  args.tiles = static_cast<int32_t>(layout.tiles);
  Row row = {.what = StrCat("pack ", kRows, "x", kK),
             .type = std::string(Name(type)),
             .bytes = static_cast<double>(bytes + layout.bytes)};
  for (const unsigned blocks_per_sm : {4u, 8u, 16u}) {
    const Variant variant = {
        kernel.name,
        {blocks_per_sm * static_cast<unsigned>(bench.gpu().context->gpu().multiprocessors), 1, 1},
        static_cast<unsigned>(kernel.threads),
        codegen::PackShared(type),
        StrCat(blocks_per_sm, " blocks an SM")};
    RENGA_ASSIGN_OR_RETURN(const double us,
                           bench.Microseconds([&] { return bench.Launch(variant, args); }));
    if (row.us > 0 && us >= row.us) continue;
    row.us = us;
    row.label = variant.label;
  }
  table->Add(row);
  return absl::OkStatus();
}

// A plan of weights alone, whose digests are those of the file that this writes.
class Model {
 public:
  Model() {
    Add("token_embd", DType::kQ4_K, 128256, 4096, "");
    Add("output", DType::kQ6_K, 128256, 4096);
    for (int layer = 0; layer < 32; ++layer) {
      // Half of the layers have more bits in these two.
      const DType type = layer % 2 == 0 ? DType::kQ6_K : DType::kQ4_K;
      const std::string at = StrCat("blk.", layer, ".");
      Add(at + "attn_norm", DType::kF32, 1, 4096, "");
      Add(at + "attn_q", DType::kQ4_K, 4096, 4096);
      Add(at + "attn_k", DType::kQ4_K, 1024, 4096);
      Add(at + "attn_v", type, 1024, 4096);
      Add(at + "attn_output", DType::kQ4_K, 4096, 4096);
      Add(at + "ffn_norm", DType::kF32, 1, 4096, "");
      Add(at + "ffn_gate", DType::kQ4_K, 14336, 4096);
      Add(at + "ffn_up", DType::kQ4_K, 14336, 4096);
      Add(at + "ffn_down", type, 4096, 14336);
    }
    for (const DType type : {DType::kQ4_K, DType::kQ6_K}) {
      const plan::GpuKernel kernel = codegen::PackGpuKernel(type);
      plan_.gpu.packers.push_back(
          {type, static_cast<int32_t>(plan_.gpu.kernels.size()), codegen::PackShared(type)});
      plan_.gpu.kernels.push_back(kernel);
    }
    plan_.gpu.targets = {{"here"}};
    plan_.memory = plan::ComputeMemory(plan_);
  }

  absl::Status Write() {
    const std::string noise = Noise();
    std::vector<std::string_view> pieces;
    for (plan::Weight& weight : plan_.weights) {
      DigestStream digest;
      for (uint64_t at = 0; at < weight.source.bytes; at += noise.size()) {
        pieces.push_back(std::string_view(noise).substr(0, weight.source.bytes - at));
        digest.Add(pieces.back());
      }
      weight.digest = digest.Finish();
    }
    plan_.files = {{folder_.File("model"), bytes_}};
    return WriteFileAtomically(plan_.files[0].path, pieces);
  }

  const plan::Plan& plan() const { return plan_; }
  uint64_t bytes() const { return bytes_; }

 private:
  void Add(const std::string& name, DType type, int64_t rows, int64_t k,
           const std::string& layout = "mma") {
    const auto bytes = static_cast<uint64_t>(rows * RowBytes(type, k));
    plan_.weights.push_back({{name, type, {rows, k}, 0, bytes_, bytes}, {}, layout});
    bytes_ += bytes;
  }

  TempFolder folder_;
  plan::Plan plan_;
  uint64_t bytes_ = 0;
};

absl::Status LoadModel(const CudaBench& bench, Table* table) {
  Model model;
  RENGA_RETURN_IF_ERROR(model.Write());
  const auto find = [&](int32_t kernel) {
    return bench.Find(model.plan().gpu.kernels[kernel].name,
                      model.plan().gpu.packers[0].dynamic_shared);
  };
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  for (const int threads :
       std::set<int>{1, std::min(4, cores), std::min(8, cores), std::min(12, cores)}) {
    for (const size_t piece : {size_t{2} << 20, size_t{4} << 20, size_t{16} << 20}) {
      Row row = {.what = "load 8B Q4_K_M",
                 .type = StrCat(piece >> 20, " MiB"),
                 .tokens = threads,
                 .bytes = static_cast<double>(model.bytes()),
                 .label = StrCat(threads, " threads")};
      for (int i = 0; i < 3; ++i) {
        cuda::UploadOptions options;
        options.threads = threads;
        options.piece_bytes = piece;
        const auto start = std::chrono::steady_clock::now();
        RENGA_RETURN_IF_ERROR(
            cuda::UploadWeights(model.plan(), options, bench.gpu().context, find).status());
        const std::chrono::duration<double, std::micro> us =
            std::chrono::steady_clock::now() - start;
        if (row.us == 0 || us.count() < row.us) row.us = us.count();
      }
      table->Add(row);
    }
  }
  return absl::OkStatus();
}

}  // namespace

KernelTexts PackTexts() {
  KernelTexts texts;
  for (const DType type : kTypes) {
    const plan::GpuKernel kernel = codegen::PackGpuKernel(type);
    texts[kernel.name] = kernel.source;
  }
  return texts;
}

void BenchPack(const CudaBench& bench, Table* table) {
  table->Section("Packing weights on the GPU");
  for (const DType type : kTypes) {
    table->AddFailure("pack", Name(type), BenchKernel(bench, type, table));
  }
}

void BenchLoad(const CudaBench& bench, Table* table) {
  table->Section("Weights from the page cache to the GPU (tokens: threads; type: piece)");
  table->AddFailure("load", "", LoadModel(bench, table));
}

}  // namespace renga::bench
