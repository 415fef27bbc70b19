#include "tests/emulator/cases/emulator_cases.h"

#include <iterator>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "ir/base/status.h"
#include "tests/emulator/emulator.h"

namespace renga::emulator {
namespace {

class EmulatorRun final : public CaseRun {
 public:
  EmulatorRun(const KernelLibrary& library, const Schedule& schedule)
      : library_(library), schedule_(schedule) {}

  absl::StatusOr<void*> Allocate(const std::string& name, size_t bytes) override {
    return emulator_.memory().Allocate(name, bytes);
  }
  absl::Status Write(void* to, absl::Span<const uint8_t> bytes) override {
    return emulator_.memory().Write(to, bytes);
  }
  absl::Status Read(const void* from, absl::Span<uint8_t> bytes) override {
    return emulator_.memory().Read(from, bytes);
  }
  absl::Status Launch(const std::string& name, const CaseLaunch& launch,
                      void** arguments) override {
    RENGA_ASSIGN_OR_RETURN(const Kernel* kernel, library_.Find(name));
    LaunchOptions options;
    options.schedule = schedule_;
    options.overlaps_previous = launch.overlaps_previous;
    options.cooperative = launch.cooperative;
    return emulator_.LaunchWith(*kernel, {launch.grid, {launch.threads}, launch.shared_bytes},
                                options, arguments);
  }
  absl::StatusOr<EncodedTensorMap> EncodeMap(const TensorMapSpec& spec) override {
    return MakeTensorMap(spec);
  }
  // The emulator judges every access at once.
  absl::Status Finish() override { return absl::OkStatus(); }

 private:
  const KernelLibrary& library_;
  Schedule schedule_;
  Emulator emulator_;
};

constexpr Schedule kSchedules[] = {{Schedule::Kind::kForward, 0},
                                   {Schedule::Kind::kReverse, 0},
                                   {Schedule::Kind::kRandom, 1},
                                   {Schedule::Kind::kSkewed, 1}};

class EmulatorCases final : public CaseLibrary {
 public:
  explicit EmulatorCases(std::unique_ptr<KernelLibrary> library) : library_(std::move(library)) {}

  int runs() const override { return static_cast<int>(std::size(kSchedules)); }
  absl::StatusOr<std::unique_ptr<CaseRun>> Start(int run) const override {
    return StartEmulatorRun(*library_, kSchedules[run]);
  }

 private:
  std::unique_ptr<KernelLibrary> library_;
};

}  // namespace

std::unique_ptr<CaseRun> StartEmulatorRun(const KernelLibrary& library, const Schedule& schedule) {
  return std::make_unique<EmulatorRun>(library, schedule);
}

absl::StatusOr<std::unique_ptr<CaseLibrary>> CompileForEmulator(const CompileOptions& options,
                                                                const CaseTexts& texts) {
  std::vector<KernelSource> sources;
  std::map<std::string_view, size_t> known;  // a text that defines several kernels is one source
  for (const auto& [name, text] : texts) {
    const auto [at, is_new] = known.emplace(text, sources.size());
    if (is_new) sources.push_back({.name = StrCat(name, ".cu"), .text = text, .kernels = {}});
    sources[at->second].kernels.push_back(name);
  }
  RENGA_ASSIGN_OR_RETURN(std::unique_ptr<KernelLibrary> library,
                         KernelLibrary::Compile(options, sources));
  return std::unique_ptr<CaseLibrary>(std::make_unique<EmulatorCases>(std::move(library)));
}

}  // namespace renga::emulator
