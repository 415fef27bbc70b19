#include "tests/emulator/cases/gpu_cases.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "ir/base/status.h"
#include "tests/emulator/cases/gpu.h"

namespace renga::emulator {
namespace {

// Of each side of a buffer; keeps the alignment that the driver gives.
constexpr size_t kGuardBytes = 64 << 10;
constexpr uint8_t kNan = 0xff;

bool MemoryIsBare() {
  const char* value = std::getenv("RENGA_KERNEL_MEMORY");
  return value != nullptr && std::string(value) == "bare";
}

// One GPU for all tests of the program, or why there is none.
const absl::StatusOr<Gpu>& TestGpu() {
  static const auto& gpu = *new absl::StatusOr<Gpu>(OpenGpu());
  return gpu;
}

struct GuardedBuffer {
  std::string name;
  size_t bytes = 0, guard = 0;
  cuda::Memory memory;
};

class GpuRun final : public CaseRun {
 public:
  GpuRun(cuda::ContextRef context, const GpuKernels& kernels, cuda::Stream stream)
      : context_(std::move(context)), kernels_(kernels), stream_(std::move(stream)) {}
  // A kernel may still be at work after an error; memory must not go under it.
  ~GpuRun() override { (void)stream_.Synchronize(); }

  absl::StatusOr<void*> Allocate(const std::string& name, size_t bytes) override {
    GuardedBuffer buffer{name, bytes, MemoryIsBare() ? 0 : kGuardBytes, {}};
    RENGA_ASSIGN_OR_RETURN(buffer.memory,
                           cuda::Memory::Allocate(context_, bytes + 2 * buffer.guard));
    if (buffer.guard > 0) {
      RENGA_RETURN_IF_ERROR(stream_.Fill(buffer.memory.data(), kNan, buffer.memory.bytes()));
    }
    buffers_.push_back(std::move(buffer));
    return buffers_.back().memory.data() + buffers_.back().guard;
  }

  absl::Status Write(void* to, absl::Span<const uint8_t> bytes) override {
    return Named(stream_.Write(to, bytes));
  }
  absl::Status Read(const void* from, absl::Span<uint8_t> bytes) override {
    return Named(stream_.Read(from, bytes));
  }

  absl::Status Launch(const std::string& name, const CaseLaunch& launch,
                      void** arguments) override {
    RENGA_ASSIGN_OR_RETURN(const cuda::Function function,
                           kernels_.Find(name, static_cast<int64_t>(launch.shared_bytes)));
    launched_ = name;
    return stream_.Launch(function,
                          {.grid = {launch.grid.x, launch.grid.y, launch.grid.z},
                           .threads = launch.threads,
                           .shared_bytes = static_cast<unsigned>(launch.shared_bytes),
                           .overlaps_previous = launch.overlaps_previous,
                           .cooperative = launch.cooperative},
                          arguments);
  }

  absl::StatusOr<EncodedTensorMap> EncodeMap(const TensorMapSpec& spec) override {
    RENGA_RETURN_IF_ERROR(MakeTensorMap(spec).status());  // its messages are better
    constexpr int kType[] = {0, 0, 1, 0, 2};  // CU_TENSOR_MAP_DATA_TYPE_UINT8, UINT16, UINT32
    constexpr int kSwizzle128 = 3, kL2Promotion128 = 2;
    const unsigned element_strides[3] = {1, 1, 1};
    EncodedTensorMap map;
    RENGA_RETURN_IF_ERROR(context_->Check(
        context_->api().encode_tensor_map(
            &map, kType[spec.element_bytes], spec.rank, const_cast<void*>(spec.base), spec.sizes,
            spec.stride_bytes, spec.box, element_strides, 0,
            spec.swizzle == Swizzle::k128Bytes ? kSwizzle128 : 0, kL2Promotion128, 0),
        "cuTensorMapEncodeTiled"));
    return map;
  }

  absl::Status Finish() override {
    RENGA_RETURN_IF_ERROR(Named(stream_.Synchronize()));
    for (const GuardedBuffer& buffer : buffers_) RENGA_RETURN_IF_ERROR(CheckGuards(buffer));
    return absl::OkStatus();
  }

 private:
  // What fails after a launch is most likely its kernel.
  absl::Status Named(const absl::Status& status) const {
    return launched_.empty() ? status : Annotate(status, StrCat("after kernel ", launched_));
  }

  absl::Status CheckGuards(const GuardedBuffer& buffer) const {
    if (buffer.guard == 0) return absl::OkStatus();
    std::vector<uint8_t> guard(buffer.guard);
    const auto is_written = [](uint8_t byte) { return byte != kNan; };
    RENGA_RETURN_IF_ERROR(stream_.Read(buffer.memory.data(), absl::MakeSpan(guard)));
    // The nearest to the buffer is the last one below it, the first one beyond it.
    const auto below = std::find_if(guard.rbegin(), guard.rend(), is_written);
    if (below != guard.rend()) {
      return absl::InternalError(StrCat("kernel ", launched_, ": a write ",
                                        below - guard.rbegin() + 1, " bytes before buffer '",
                                        buffer.name, "' (", buffer.bytes, " bytes)"));
    }
    RENGA_RETURN_IF_ERROR(
        stream_.Read(buffer.memory.data() + buffer.guard + buffer.bytes, absl::MakeSpan(guard)));
    const auto beyond = std::find_if(guard.begin(), guard.end(), is_written);
    if (beyond != guard.end()) {
      return absl::InternalError(StrCat("kernel ", launched_, ": a write ", beyond - guard.begin(),
                                        " bytes beyond the end of buffer '", buffer.name, "' (",
                                        buffer.bytes, " bytes)"));
    }
    return absl::OkStatus();
  }

  cuda::ContextRef context_;
  const GpuKernels& kernels_;
  cuda::Stream stream_;
  std::vector<GuardedBuffer> buffers_;
  std::string launched_;  // last
};

class GpuCases final : public CaseLibrary {
 public:
  GpuCases(cuda::ContextRef context, GpuKernels kernels)
      : context_(std::move(context)), kernels_(std::move(kernels)) {}

  int runs() const override { return MemoryIsBare() ? 1 : 3; }
  absl::StatusOr<std::unique_ptr<CaseRun>> Start(int) const override {
    RENGA_ASSIGN_OR_RETURN(cuda::Stream stream, cuda::Stream::Create(context_));
    return std::unique_ptr<CaseRun>(
        std::make_unique<GpuRun>(context_, kernels_, std::move(stream)));
  }

 private:
  cuda::ContextRef context_;
  GpuKernels kernels_;
};

// Of kernels that cannot run here.
class IdleCases final : public CaseLibrary {
 public:
  explicit IdleCases(std::string skip_reason) : skip_reason_(std::move(skip_reason)) {}

  std::string skip_reason() const override { return skip_reason_; }
  int runs() const override { return 0; }
  absl::StatusOr<std::unique_ptr<CaseRun>> Start(int) const override {
    return absl::FailedPreconditionError("these kernels cannot run here");
  }

 private:
  std::string skip_reason_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<CaseLibrary>> CompileForGpu(const CaseTexts& texts) {
  const absl::StatusOr<Gpu>& gpu = TestGpu();
  if (absl::IsUnavailable(gpu.status())) {
    return std::make_unique<IdleCases>(StrCat("no GPU: ", gpu.status().message()));
  }
  if (!gpu.ok()) return gpu.status();
  RENGA_ASSIGN_OR_RETURN(GpuKernels kernels, GpuKernels::Build(*gpu, texts));
  return std::make_unique<GpuCases>(gpu->context, std::move(kernels));
}

absl::StatusOr<std::unique_ptr<CaseLibrary>> CompileForTarget(std::string_view name,
                                                              const CaseTexts& texts) {
  RENGA_ASSIGN_OR_RETURN(const codegen::GpuTarget* target, codegen::FindGpuTarget(name));
  const auto nvrtc = LoadNvrtc();
  if (!nvrtc.ok()) {
    return std::make_unique<IdleCases>(StrCat("no NVRTC: ", nvrtc.status().message()));
  }
  RENGA_ASSIGN_OR_RETURN(const codegen::KernelBuild build, BuildTexts(**nvrtc, *target, texts));
  for (const codegen::BuiltKernel& kernel : build.kernels) {
    const codegen::KernelResources& resources = kernel.report.resources;
    if (resources.stack_bytes == 0) continue;
    return absl::InvalidArgumentError(StrCat("kernel ", resources.name, " for ", name, ": ",
                                             resources.stack_bytes,
                                             " bytes of stack a thread, expected none"));
  }
  return std::make_unique<IdleCases>("");
}

}  // namespace renga::emulator
