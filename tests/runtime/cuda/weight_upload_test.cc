// Weights on their way to a GPU, over the stand-in for the driver, whose streams are as late as can
// be: a buffer that is used again too early shows in what arrives. Kernels "run" here by gathering
// the rows they are given and packing all of them in the end.
#include "runtime/device/cuda/weight_upload.h"

#include <cstring>
#include <filesystem>
#include <map>
#include <random>
#include <tuple>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/mma_layout.h"
#include "ir/base/packing.h"
#include "ir/base/status.h"
#include "runtime/memory/weights.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/pack_weight.h"
#include "runtime/plan/serialize.h"
#include "tests/runtime/cuda/fake_driver.h"
#include "tests/support/temp_folder.h"

namespace renga::cuda {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// What the kernels have been given, by the packed weight's address. The stand-in calls one at a
// time.
std::map<uint64_t, std::vector<uint8_t>>& Gathered() {
  static auto& gathered = *new std::map<uint64_t, std::vector<uint8_t>>;
  return gathered;
}
int launches = 0;
size_t spoiled_byte = SIZE_MAX;  // of what a kernel writes, from the end of each weight

// The handle of a packer's kernel is its type, plus one.
void RunKernel(void* function, const void* arguments, unsigned) {
  const auto type = static_cast<DType>(reinterpret_cast<uintptr_t>(function) - 1);
  plan::PackWeightArgs args;
  std::memcpy(&args, arguments, sizeof(args));
  std::vector<uint8_t>& file = Gathered()[args.packed];
  ++launches;
  if (args.finish == 0) {
    const size_t from = static_cast<size_t>(args.first_tile * 16 * args.row_bytes);
    const size_t bytes = static_cast<size_t>(args.rows * args.row_bytes);
    EXPECT_EQ(args.tiles, (args.rows + 15) / 16);
    file.resize(std::max(file.size(), from + bytes));
    std::memcpy(file.data() + from, reinterpret_cast<const void*>(args.file), bytes);
    return;
  }
  const DTypeInfo& info = Info(type);
  const int64_t k = args.row_bytes / info.block_bytes * info.block_elements;
  const auto layout = MmaLayoutOf(type, static_cast<int64_t>(file.size()) / args.row_bytes, k);
  ASSERT_TRUE(layout.ok()) << layout.status();
  const plan::PackWeightArgs same = plan::PackWeightArgsOf(*layout);
  EXPECT_EQ(std::memcmp(same.plane, args.plane, sizeof(args.plane)), 0);
  EXPECT_EQ(same.tail, args.tail);
  auto* packed = reinterpret_cast<uint8_t*>(args.packed);
  for (int64_t i = 0; i < layout->bytes; ++i) EXPECT_EQ(packed[i], 0) << "not zero at first";
  EXPECT_TRUE(PackForMma(*layout, file, {packed, static_cast<size_t>(layout->bytes)}).ok());
  if (spoiled_byte < static_cast<size_t>(layout->bytes)) {
    packed[static_cast<size_t>(layout->bytes) - 1 - spoiled_byte] ^= 1;
  }
  file.clear();
}

class WeightUploadTest : public testing::Test {
 protected:
  WeightUploadTest() {
    launches = 0;
    spoiled_byte = SIZE_MAX;
    Gathered().clear();
    plan_.target = "sm_90a";
    plan_.gpu.targets = {{"sm_90a", 90, 227 << 10, true}};
    Add("norm", DType::kF32, {100}, "");
    Add("table", DType::kQ4_0, {50, 64}, "");
    Add("a", DType::kQ4_K, {37, 512}, "mma");
    Add("b", DType::kQ6_K, {100, 256}, "mma");
    Add("experts", DType::kQ8_0, {2, 18, 96}, "mma");
    Add("odd", DType::kBF16, {19, 33}, "mma");
    plan_.files = {{Path("model.gguf"), content_.size()}};
    Write("model.gguf", content_);
    plan_.memory = plan::ComputeMemory(plan_);
    plan_.memory.kv = 1000;
    plan_.memory.activations = 2000;
    options_.paths.plan_path = Path("x.plan");
    options_.threads = 1;
  }
  std::string Path(const std::string& name) const { return folder_.File(name); }
  void Write(const std::string& name, std::string_view content) const {
    folder_.Write(name, content);
  }

  void Add(const std::string& name, DType type, std::vector<int64_t> shape,
           const std::string& layout) {
    int64_t bytes = RowBytes(type, shape.back());
    for (size_t i = 0; i + 1 < shape.size(); ++i) bytes *= shape[i];
    content_.resize(content_.size() + 32, '-');
    const uint64_t offset = content_.size();
    for (int64_t i = 0; i < bytes; ++i) content_ += static_cast<char>(random_());
    plan_.weights.push_back({{name, type, shape, 0, offset, static_cast<uint64_t>(bytes)},
                             DigestOf(std::string_view(content_).substr(offset)),
                             layout});
    if (layout.empty()) return;
    const auto kernel = static_cast<int32_t>(plan_.gpu.kernels.size());
    plan_.gpu.kernels.push_back({.name = name, .threads = 96});
    plan_.gpu.packers.push_back({type, kernel, 1234});
  }

  // What shall stand on the GPU.
  std::vector<uint8_t> Expected(const plan::Weight& weight) const {
    const auto* file = reinterpret_cast<const uint8_t*>(content_.data()) + weight.source.offset;
    if (weight.layout.empty()) return {file, file + weight.source.bytes};
    const std::vector<int64_t>& shape = weight.source.shape;
    const int64_t k = shape.back(), rows = shape[shape.size() - 2];
    const MmaLayout layout = MmaLayoutOf(weight.source.dtype, rows, k).value();
    std::vector<uint8_t> packed(plan::StoredBytes(weight));
    const size_t matrix = static_cast<size_t>(rows * RowBytes(weight.source.dtype, k));
    size_t to = 0;
    for (size_t from = 0; from < weight.source.bytes; from += matrix) {
      EXPECT_TRUE(PackForMma(layout, {file + from, matrix},
                             absl::MakeSpan(packed).subspan(to, layout.bytes))
                      .ok());
      to += static_cast<size_t>(layout.bytes);
    }
    return packed;
  }

  // With a context of its own, which is gone afterwards, as the weights are; `read` gets them.
  absl::Status Upload(std::vector<std::vector<uint8_t>>* read = nullptr) {
    RENGA_ASSIGN_OR_RETURN(const auto driver, Driver::Load(FakeFile("fake_driver")));
    RENGA_ASSIGN_OR_RETURN(const ContextRef context, Context::Open(driver, 0));
    RENGA_ASSIGN_OR_RETURN(
        const DeviceWeights weights,
        UploadWeights(plan_, options_, context, [this](int32_t kernel) { return Kernel(kernel); }));
    EXPECT_EQ(weights.bytes(), plan_.memory.weights);
    if (read == nullptr) return absl::OkStatus();
    RENGA_ASSIGN_OR_RETURN(const Stream stream, Stream::Create(context));
    for (size_t i = 0; i < plan_.weights.size(); ++i) {
      std::vector<uint8_t>& bytes = read->emplace_back(plan::StoredBytes(plan_.weights[i]));
      const uint8_t* at = weights.data(static_cast<int>(i));
      EXPECT_EQ((at - weights.data(0)) % 256, 0);
      RENGA_RETURN_IF_ERROR(stream.Read(at, absl::MakeSpan(bytes)));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Function> Kernel(int32_t kernel) const {
    for (const plan::GpuPacker& packer : plan_.gpu.packers) {
      if (packer.kernel != kernel) continue;
      return Function{reinterpret_cast<FunctionHandle>(static_cast<uintptr_t>(packer.type) + 1),
                      plan_.gpu.kernels[kernel].name};
    }
    return absl::NotFoundError("no such kernel");
  }

  void StartFake(FakeDriver& fake) {
    fake.BeLate();
    fake.OnLaunch(RunKernel, sizeof(plan::PackWeightArgs));
  }

  const TempFolder folder_;
  std::mt19937 random_{11};
  std::string content_;
  plan::Plan plan_;
  UploadOptions options_;
};

std::string Message(const absl::Status& status) { return std::string(status.message()); }

TEST_F(WeightUploadTest, WhatNeverEndsIsAnErrorThatNamesTheTensor) {
  FakeDriver fake;
  StartFake(fake);
  options_.threads = 1;
  options_.piece_bytes = 4096;  // so that a staging buffer is waited for
  options_.patience_seconds = 0.03;
  int64_t pieces = 0;
  options_.progress = [&](int64_t, int64_t) {
    if (++pieces == 2) fake.Hang();
  };
  const absl::Status status = Upload();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_THAT(Message(status), HasSubstr("tensor "));
  EXPECT_THAT(Message(status), HasSubstr("has not ended after 0.03 s"));
}

TEST_F(WeightUploadTest, PutsEveryWeightWhereItBelongs) {
  for (const int threads : {1, 3}) {
    for (const size_t piece : {size_t{1}, size_t{6000}, size_t{1} << 20}) {
      for (const bool paranoid : {false, true}) {
        SCOPED_TRACE(StrCat(threads, " threads, pieces of ", piece, paranoid ? ", paranoid" : ""));
        FakeDriver fake;
        StartFake(fake);
        options_.threads = threads;
        options_.piece_bytes = piece;
        options_.paranoid = paranoid;
        int64_t done = 0, total = 0;
        options_.progress = [&](int64_t now, int64_t all) {
          EXPECT_GT(now, done);
          done = now;
          total = all;
        };
        std::vector<std::vector<uint8_t>> read;
        const absl::Status status = Upload(&read);
        ASSERT_TRUE(status.ok()) << status;
        for (size_t i = 0; i < read.size(); ++i) {
          EXPECT_TRUE(read[i] == Expected(plan_.weights[i])) << plan_.weights[i].source.name;
        }
        int64_t bytes = 0;
        for (const plan::Weight& weight : plan_.weights) {
          bytes += static_cast<int64_t>(weight.source.bytes);
        }
        EXPECT_EQ(done, bytes);
        EXPECT_EQ(total, bytes);
        EXPECT_EQ(fake.live(), 0);
        EXPECT_EQ(fake.config().block_x, 96u);
        EXPECT_EQ(fake.config().dynamic_shared_bytes, 1234u);
      }
    }
  }
}

bool Frees(const std::string& call) {
  for (const char* part : {"Free", "Destroy", "Release"}) {
    if (call.find(part) != call.npos) return true;
  }
  return false;
}

TEST_F(WeightUploadTest, EveryCallFailingInTurnIsAnErrorAndLeaksNothing) {
  options_.piece_bytes = 6000;
  options_.paranoid = true;
  int calls = 0;
  {
    FakeDriver fake;
    StartFake(fake);
    ASSERT_TRUE(Upload().ok());
    calls = fake.calls();
  }
  ASSERT_GT(calls, 60);
  for (int call = 1; call <= calls; ++call) {
    FakeDriver failing;
    StartFake(failing);
    Gathered().clear();
    failing.FailAt(call, /*CUDA_ERROR_LAUNCH_FAILED=*/719);
    const absl::Status status = Upload();
    ASSERT_NE(failing.failed(), "") << call;
    EXPECT_EQ(failing.live(), 0) << failing.failed();
    if (status.ok()) {
      // Waiting before everything goes is the one other call whose error nobody needs.
      EXPECT_TRUE(Frees(failing.failed()) || failing.failed() == "cuStreamSynchronize")
          << failing.failed();
      continue;
    }
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    EXPECT_THAT(Message(status), HasSubstr(StrCat("cuda: ", failing.failed())));
  }
}

TEST_F(WeightUploadTest, AChangedFileIsRefusedInTheSameWordsAsOnTheCpu) {
  content_[plan_.weights[3].source.offset + 7] ^= 1;
  content_[plan_.weights[4].source.offset + 7] ^= 1;
  Write("model.gguf", content_);
  WeightOptions cpu;
  cpu.plan_path = options_.paths.plan_path;
  const absl::Status expected = WeightStore::Open(plan_, cpu).status();
  EXPECT_THAT(Message(expected), HasSubstr("has changed since"));
  for (const int threads : {1, 4}) {
    FakeDriver fake;
    StartFake(fake);
    options_.threads = threads;
    EXPECT_EQ(Upload(), expected);
    EXPECT_EQ(fake.live(), 0);
  }
}

TEST_F(WeightUploadTest, OutOfMemorySaysWhatEachArenaTakesAndWhatToLower) {
  int calls = 0;
  {
    FakeDriver fake;
    StartFake(fake);
    ASSERT_TRUE(Upload().ok());
    calls = fake.calls();
  }
  int allocations = 0;
  for (int call = 1; call <= calls; ++call) {
    FakeDriver failing;
    StartFake(failing);
    Gathered().clear();
    failing.FailAt(call, kErrorOutOfMemory);
    const absl::Status status = Upload();
    EXPECT_EQ(failing.live(), 0);
    if (failing.failed() != "cuMemAlloc" && failing.failed() != "cuMemHostAlloc") continue;
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    // The first is that of the weights.
    EXPECT_THAT(
        Message(status),
        ++allocations == 1
            ? AllOf(HasSubstr("no memory for weights: "),
                    HasSubstr(StrCat("(cuda: cuMemAlloc(", plan_.memory.weights, " bytes)")))
            : AllOf(HasSubstr("no memory for staging buffers of weights: "),
                    HasSubstr("(cuda: cuMem")));
    EXPECT_THAT(Message(status),
                AllOf(HasSubstr("kB of weights, 1.0 kB of keys and values and 2.0 kB of "
                                "activations at up to "),
                      HasSubstr("of the 1.1 GB of Fake GPU 1.0 MB are free"), HasSubstr("(-c)"),
                      HasSubstr("--max-step"), HasSubstr("--kv-type")));
  }
  EXPECT_EQ(allocations, 1 + 2 * 2);
}

TEST_F(WeightUploadTest, StopsWhenAskedTo) {
  for (const int threads : {1, 3}) {
    FakeDriver fake;
    StartFake(fake);
    std::atomic<bool> cancel = false;
    options_.threads = threads;
    options_.cancel = &cancel;
    int pieces = 0;
    options_.progress = [&](int64_t, int64_t) { cancel = ++pieces == 2; };
    options_.piece_bytes = 1000;
    EXPECT_EQ(Upload(), absl::CancelledError("interrupted"));
    EXPECT_EQ(fake.live(), 0);
    EXPECT_LE(pieces, 2 + threads);
  }
}

TEST_F(WeightUploadTest, ParanoidFindsABitThatIsNotThatOfTheFile) {
  options_.paranoid = true;
  // The plan's first packed weight is "a". Byte 15 from the end is the exponent's first; byte 16 +
  // 256 is before it and its padding, among scales.
  using Case = std::tuple<size_t, absl::StatusCode, std::string>;
  for (const auto& [byte, code, what] :
       {Case(15, absl::StatusCode::kInternal, "the exponent on the GPU is"),
        Case(16 + 256, absl::StatusCode::kUnavailable, "what arrived on the GPU has digest")}) {
    FakeDriver fake;
    StartFake(fake);
    spoiled_byte = byte;
    const absl::Status status = Upload();
    EXPECT_EQ(status.code(), code);
    EXPECT_THAT(Message(status), AllOf(HasSubstr("tensor a: "), HasSubstr(what)));
  }
}

TEST_F(WeightUploadTest, EmbeddedWeightsAreCopiedAsTheyLie) {
  std::string data;
  for (plan::Weight& weight : plan_.weights) {
    data.resize((data.size() + plan::kPageBytes - 1) / plan::kPageBytes * plan::kPageBytes);
    const std::vector<uint8_t> bytes = Expected(weight);
    weight.embedded = {data.size(), DigestOf(bytes)};
    data.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  plan_.data_bytes = data.size();
  Write("x.plan", data + std::string(plan::kTrailerBytes, 't'));
  std::filesystem::remove(Path("model.gguf"));
  FakeDriver fake;
  StartFake(fake);
  options_.paranoid = true;
  options_.threads = 2;
  std::vector<std::vector<uint8_t>> read;
  const absl::Status status = Upload(&read);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(launches, 0);
  for (size_t i = 0; i < read.size(); ++i) {
    EXPECT_TRUE(read[i] == Expected(plan_.weights[i])) << plan_.weights[i].source.name;
  }
  data[plan_.weights[2].embedded->offset] ^= 1;
  Write("x.plan", data + std::string(plan::kTrailerBytes, 't'));
  const absl::Status damaged = Upload();
  EXPECT_EQ(damaged.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(Message(damaged),
              AllOf(HasSubstr("x.plan: damaged: tensor a: digest"), HasSubstr("compile it again")));
}

TEST_F(WeightUploadTest, AMissingKernelIsAnError) {
  FakeDriver fake;
  const auto driver = Driver::Load(FakeFile("fake_driver"));
  ASSERT_TRUE(driver.ok());
  const auto context = Context::Open(*driver, 0);
  ASSERT_TRUE(context.ok());
  const auto weights = UploadWeights(plan_, options_, *context, [](int32_t) {
    return absl::NotFoundError("kernel a is not there");
  });
  EXPECT_EQ(weights.status(), absl::NotFoundError("kernel a is not there"));
}

}  // namespace
}  // namespace renga::cuda
