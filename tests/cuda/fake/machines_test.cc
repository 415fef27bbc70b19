// Machines on which a plan for GPUs does not run, or not as it is: what run, bench and devices say
// and with which exit code.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "gmock/gmock.h"
#include "tests/cuda/fake/fake_gpu.h"

namespace renga {
namespace {

using Json = nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::vector<std::string> RunArgs(const std::string& model, const std::string& device) {
  return {"run", model, "--device", device, "--ids", "1,403", "-n", "2", "--temp", "0", "--json"};
}
std::vector<std::string> BenchArgs(const std::string& model, const std::string& device) {
  return {"bench", model, "--device", device, "-p", "4", "-n", "2", "-r", "1"};
}

class Machines : public testing::Test {
 protected:
  std::string PlanFor(const std::string& target) const {
    return WritePlan(folder_.File(target + ".plan"), FakePlan(target));
  }

  // Both verbs refuse with that exit code, naming `words`.
  void ExpectRefused(const std::string& model, const std::string& device,
                     const ProcessOptions& machine, int code,
                     const std::vector<std::string>& words) const {
    for (const auto& args : {RunArgs(model, device), BenchArgs(model, device)}) {
      const ProcessResult result = Renga(args, machine);
      EXPECT_TRUE(result.IsCleanError(code)) << args[0] << "\n" << result.Describe();
      EXPECT_THAT(result.err, Not(HasSubstr("bug in renga"))) << args[0];
      for (const std::string& word : words) EXPECT_THAT(result.err, HasSubstr(word)) << args[0];
    }
  }

  // What `renga devices` says of cuda, for people and as JSON.
  void ExpectDevices(const ProcessOptions& machine, const std::string& text,
                     const std::string& reason) const {
    const ProcessResult result = Renga({"devices"}, machine);
    EXPECT_EQ(result.exit_code, 0) << result.Describe();
    EXPECT_THAT(result.out, HasSubstr(text));
    const ProcessResult json = Renga({"devices", "--json"}, machine);
    const Json devices = Json::parse(json.out)["devices"];
    ASSERT_EQ(devices.size(), 3u) << json.out;
    EXPECT_EQ(devices[2]["kind"], "cuda");
    EXPECT_EQ(devices[2]["available"], false);
    EXPECT_THAT(devices[2]["reason"].get<std::string>(), HasSubstr(reason));
  }

  // A GGUF runs on the cpu by itself, and says why not on a GPU.
  void ExpectTheCpu(const ProcessOptions& machine, const std::string& note) const {
    const ProcessResult result = Renga(RunArgs(StoryModel(), "auto"), machine);
    EXPECT_EQ(result.exit_code, 0) << result.Describe();
    EXPECT_THAT(result.err, AllOf(HasSubstr("cpu, "), HasSubstr(StrCat("(cuda: ", note, ")"))));
    EXPECT_EQ(Json::parse(result.out).count("kernels_compiled"), 0u);
  }

  const TempFolder folder_;
};

TEST_F(Machines, WithoutADriver) {
  // Found first, whether or not this machine has a driver.
  folder_.Write("libcuda.so.1", "no library");
  ProcessOptions machine;
  machine.environment = {{"LD_LIBRARY_PATH", folder_.path()}};
  const std::string plan = PlanFor("sm_90a");
  ExpectRefused(plan, "cuda", machine, 3,
                {"compiled for sm_90a, which needs such a GPU", "no driver on this machine",
                 "libcuda.so.1", "--target cpu"});
  ExpectRefused(StoryModel(), "cuda", machine, 3,
                {"no driver on this machine", "install NVIDIA's driver", "--device cpu"});
  ExpectDevices(machine, "cuda       not available: no driver on this machine",
                "no driver on this machine");
  ExpectTheCpu(machine, "no driver on this machine");
}

TEST_F(Machines, WithADriverThatIsTooOld) {
  const std::string plan = PlanFor("sm_90a");
  const ProcessOptions without = OnFake({}, "fake_driver_without_lookup"),
                       lacking = OnFake({}, "fake_driver_without_launch");
  ExpectRefused(plan, "cuda", without, 3,
                {"no cuGetProcAddress_v2, expected a driver for CUDA 12.0"});
  ExpectRefused(plan, "cuda", lacking, 3,
                {"the driver has no cuLaunchKernelEx, expected one for CUDA 12.0"});
  ExpectRefused(StoryModel(), "cuda:0", lacking, 3, {"the driver has no cuLaunchKernelEx"});
  ExpectDevices(lacking, "not available: the driver has no cuLaunchKernelEx",
                "expected one for CUDA 12.0 or newer");
  ExpectTheCpu(lacking, "the driver has no cuLaunchKernelEx, expected one for CUDA 12.0 or newer");
}

TEST_F(Machines, WithoutAGpu) {
  const ProcessOptions machine = OnFake({{"FAKE_DEVICES", "0"}});
  ExpectRefused(PlanFor("sm_90a"), "cuda", machine, 3, {"finds no GPU", "needs such a GPU"});
  ExpectDevices(machine, "not available: the driver (libcuda.so.1) finds no GPU", "finds no GPU");
  ExpectTheCpu(machine, "the driver (libcuda.so.1) finds no GPU");
}

TEST_F(Machines, WithAGpuOlderThanAnyTarget) {
  const ProcessOptions machine = OnFake({{"FAKE_SM", "75"}});
  const std::string reason = "Fake GPU has compute capability 7.5, expected 8.0 or newer";
  ExpectRefused(PlanFor("sm_80"), "cuda", machine, 3, {reason});
  ExpectRefused(StoryModel(), "cuda", machine, 3, {reason, "use --device cpu"});
  ExpectDevices(machine, StrCat("not available: ", reason), reason);
  ExpectTheCpu(machine, reason);
}

TEST_F(Machines, WithFewerGpusThanAskedFor) {
  const std::string plan = PlanFor("sm_90a");
  ExpectRefused(plan, "cuda:3", OnFake(), 3, {"no device cuda:3, this machine has cuda:0 alone"});
  ExpectRefused(StoryModel(), "cuda:3", OnFake({{"FAKE_DEVICES", "2"}}), 3,
                {"no device cuda:3, this machine has cuda:0 to cuda:1", "renga devices"});
  const ProcessResult second = Renga(RunArgs(plan, "cuda:1"), OnFake({{"FAKE_DEVICES", "2"}}));
  EXPECT_EQ(second.exit_code, 0) << second.Describe();
  EXPECT_EQ(Json::parse(second.out)["device"], "cuda:1 Fake GPU");
}

TEST_F(Machines, DevicesListsEachGpu) {
  const std::string report = folder_.File("report");
  const ProcessResult json =
      Renga({"devices", "--json"}, OnFake({{"FAKE_DEVICES", "2"}, {"FAKE_REPORT", report}}));
  const Json devices = Json::parse(json.out)["devices"];
  ASSERT_EQ(devices.size(), 4u) << json.out;
  EXPECT_EQ(devices[3]["name"], "cuda:1");
  EXPECT_EQ(devices[3]["target"], "sm_90a");
  EXPECT_EQ(devices[3]["driver"], "12.4");
  EXPECT_EQ(FakeReport::Read(report).alive, "");
  EXPECT_THAT(Renga({"devices"}, OnFake()).out,
              HasSubstr("cuda:0     Fake GPU, 132 multiprocessors, 1024 MiB, runs plans for "
                        "sm_90a, driver for CUDA 12.4"));
}

TEST_F(Machines, DevicesSaysWhyOneOfSeveralCannotBeUsed) {
  const std::string report = folder_.File("report");
  Renga({"devices"}, OnFake({{"FAKE_DEVICES", "2"}, {"FAKE_REPORT", report}}));
  const std::vector<std::string> trace = FakeReport::Read(report).trace;
  const auto last = std::find(trace.rbegin(), trace.rend(), "cuDevicePrimaryCtxRetain");
  ASSERT_NE(last, trace.rend());
  const ProcessOptions machine =
      OnFake({{"FAKE_DEVICES", "2"}, {"FAKE_FAIL_AT", StrCat(trace.rend() - last)}});
  EXPECT_THAT(Renga({"devices"}, machine).out,
              AllOf(HasSubstr("cuda:0     Fake GPU, "),
                    HasSubstr("cuda:1     not available: cuDevicePrimaryCtxRetain(1) fails")));
  const Json devices = Json::parse(Renga({"devices", "--json"}, machine).out)["devices"];
  ASSERT_EQ(devices.size(), 4u);
  EXPECT_EQ(devices[3]["name"], "cuda:1");
  EXPECT_EQ(devices[3]["available"], false);
}

TEST_F(Machines, APlanWithCodeRunsWithNothingCompiled) {
  const ProcessResult result = Renga(RunArgs(PlanFor("sm_90a"), "cuda"), OnFake());
  EXPECT_EQ(result.exit_code, 0) << result.Describe();
  EXPECT_THAT(result.err, HasSubstr("cuda:0 Fake GPU"));
  const Json json = Json::parse(result.out);
  EXPECT_EQ(json["device"], "cuda:0 Fake GPU");
  EXPECT_EQ(json["kernels_compiled"], 0);
}

TEST_F(Machines, AnOlderGpusPlanRunsThroughPtx) {
  const plan::Plan plan = FakePlan("sm_80");
  const std::string path = WritePlan(folder_.File("x.plan"), plan);
  const ProcessResult result = Renga(RunArgs(path, "cuda"), OnFake());
  EXPECT_EQ(result.exit_code, 0) << result.Describe();
  EXPECT_EQ(Json::parse(result.out)["kernels_compiled"], plan.gpu.kernels.size());
  // Of the same generation code is code.
  const ProcessResult same = Renga(RunArgs(path, "cuda"), OnFake({{"FAKE_SM", "86"}}));
  EXPECT_EQ(same.exit_code, 0) << same.Describe();
  EXPECT_EQ(Json::parse(same.out)["kernels_compiled"], 0);
}

TEST_F(Machines, APlanForAnotherGpuSaysWhatToCompile) {
  const std::string plan = PlanFor("sm_90a");
  ExpectRefused(plan, "cuda", OnFake({{"FAKE_SM", "80"}}), 2,
                {"compiled for sm_90a, this GPU is Fake GPU (sm_80)",
                 StrCat("run  renga compile ", StoryModel(), " --target sm_80 -o ", plan),
                 StrCat("or   renga run ", plan, " --recompile")});
}

// A GGUF is compiled for the GPU first.
TEST_F(Machines, WithoutNvrtc) {
  const ProcessOptions machine = OnFake({{"RENGA_NVRTC", folder_.path()}});
  ExpectRefused(StoryModel(), "cuda", machine, 3,
                {"no usable libnvrtc in the folder of RENGA_NVRTC"});
  ExpectTheCpu(machine, "no usable libnvrtc in the folder of RENGA_NVRTC");
  EXPECT_EQ(Renga(RunArgs(PlanFor("sm_90a"), "cuda"), machine).exit_code, 0);
}

TEST_F(Machines, DeviceAndPlanMustBeOfAKind) {
  ExpectRefused(PlanFor("sm_90a"), "cpu", OnFake(), 3,
                {"compiled for sm_90a, which needs such a GPU", "--target cpu"});
  const std::string cpu_plan = folder_.File("cpu.plan");
  ASSERT_EQ(Renga({"compile", StoryModel(), "-o", cpu_plan}).exit_code, 0);
  ExpectRefused(cpu_plan, "cuda", OnFake(), 2,
                {"was compiled for cpu", "compile it with --target for the GPU"});
}

TEST_F(Machines, AFileThatChangedSinceCompilation) {
  const std::string gguf = folder_.File("model.gguf");
  std::filesystem::copy_file(StoryModel(), gguf);
  const std::string plan =
      WritePlan(folder_.File("x.plan"), FakePlan("sm_90a", CompileOptions(), gguf));
  EXPECT_EQ(Renga(RunArgs(plan, "cuda"), OnFake()).exit_code, 0);
  // One bit of the last weight.
  std::fstream file(gguf, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(-4, std::ios::end);
  const char byte = static_cast<char>(file.peek() ^ 1);
  file.seekp(-4, std::ios::end);
  file.put(byte);
  file.close();
  ExpectRefused(plan, "cuda", OnFake(), 2, {"has changed since"});
  std::filesystem::resize_file(gguf, 100000);
  ExpectRefused(plan, "cuda", OnFake(), 2, {"model.gguf"});
  std::filesystem::remove(gguf);
  ExpectRefused(plan, "cuda", OnFake(), 2, {"model.gguf"});
}

// Kernels that are not run leave zeros where the weights' layout should be.
TEST_F(Machines, ParanoidReadsTheWeightsBack) {
  std::vector<std::string> args = RunArgs(PlanFor("sm_90a"), "cuda");
  args.push_back("--paranoid");
  const ProcessResult result = Renga(args, OnFake());
  EXPECT_NE(result.exit_code, 0) << result.Describe();
  EXPECT_THAT(result.err, HasSubstr("on the GPU"));
  EXPECT_EQ(Renga({"run", StoryModel(), "--device", "cpu", "--ids", "1", "-n", "1", "--paranoid"})
                .exit_code,
            0);
}

// Also behind a depth, which is computed once and copied to the other sequences' pages.
TEST_F(Machines, BenchTakesManySequencesAtATime) {
  CompileOptions options;
  options.max_sequences = 3;
  const std::string plan =
      WritePlan(folder_.File("three.plan"), FakePlan("sm_90a", std::move(options)));
  const ProcessResult result = Renga({"bench", plan, "--device", "cuda", "-p", "8", "-n", "3", "-d",
                                      "0,70", "-b", "1,3", "--serve", "10,4", "-r", "1", "--json"},
                                     OnFake());
  ASSERT_EQ(result.exit_code, 0) << result.Describe();
  const Json json = Json::parse(result.out);
  std::vector<std::string> tests;
  for (const Json& row : json["rows"]) tests.push_back(row["test"]);
  EXPECT_EQ(tests, (std::vector<std::string>{"pp8", "tg3", "tg3@70", "serve10+4", "pp8x3", "tg3x3",
                                             "tg3x3@70", "serve10+4x3"}));
  EXPECT_GT(json["rows"][7]["host_percent"], 0);
}

TEST(Linking, NamesNoCudaLibrary) {
  const ProcessResult ldd = RunProcess("/usr/bin/ldd", {RengaBinary()});
  ASSERT_EQ(ldd.exit_code, 0) << ldd.Describe();
  EXPECT_THAT(ldd.out, HasSubstr("libc.so"));
  for (const char* name : {"cuda", "nvrtc", "cublas", "nvidia"}) {
    EXPECT_THAT(ldd.out, Not(HasSubstr(name)));
  }
}

}  // namespace
}  // namespace renga
