// The driver and what a program has on a GPU, over a stand-in whose every call can fail.
#include "runtime/device/cuda/driver.h"

#include <cstring>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "runtime/device/cuda/resources.h"
#include "tests/runtime/cuda/fake_driver.h"

namespace renga::cuda {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

std::string Message(const absl::Status& status) { return std::string(status.message()); }

TEST(DriverLoad, SaysWhatWasTriedAndWhatToDo) {
  const auto driver = Driver::Load("/nowhere/libcuda.so.1");
  EXPECT_EQ(driver.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Message(driver.status()), AllOf(HasSubstr("no driver on this machine"),
                                              HasSubstr("/nowhere/libcuda.so.1: cannot open"),
                                              HasSubstr("install NVIDIA's driver")));
}

TEST(DriverLoad, RefusesOldDrivers) {
  const auto without = Driver::Load(FakeFile("fake_driver_without_lookup"));
  EXPECT_EQ(without.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Message(without.status()), HasSubstr("expected a driver for CUDA 12.0 or newer"));
  const auto lacking = Driver::Load(FakeFile("fake_driver_without_launch"));
  EXPECT_EQ(lacking.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Message(lacking.status()), HasSubstr("the driver has no cuLaunchKernelEx"));
}

TEST(DriverLoad, SaysThatThereIsNoGpu) {
  FakeDriver fake;
  fake.SetDevices(0);
  const auto driver = Driver::Load(FakeFile("fake_driver"));
  EXPECT_EQ(driver.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Message(driver.status()), HasSubstr("finds no GPU"));
}

TEST(DriverLoad, ReadsVersionAndFacts) {
  FakeDriver fake;
  const auto driver = Driver::Load(FakeFile("fake_driver"));
  ASSERT_TRUE(driver.ok()) << driver.status();
  EXPECT_EQ(DriverVersionText((*driver)->version()), "12.4");
  const auto context = Context::Open(*driver, 0);
  ASSERT_TRUE(context.ok()) << context.status();
  EXPECT_EQ((*context)->gpu().name, "Fake GPU");
  EXPECT_EQ((*context)->gpu().sm, 90);
  EXPECT_EQ((*context)->gpu().multiprocessors, 132);
  EXPECT_EQ((*context)->gpu().shared_per_block, 227 << 10);
  EXPECT_EQ(Context::Open(*driver, 1).status().code(), absl::StatusCode::kOutOfRange);
}

absl::Span<const uint8_t> BytesOf(const std::vector<int>& values) {
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(int)};
}

// Everything once, in a program's order; `result` gets what came back from the GPU.
absl::Status UseAll(std::vector<int>* result) {
  RENGA_ASSIGN_OR_RETURN(const auto driver, Driver::Load(FakeFile("fake_driver")));
  RENGA_ASSIGN_OR_RETURN(const ContextRef context, Context::Open(driver, 0));
  RENGA_ASSIGN_OR_RETURN(const Stream stream, Stream::Create(context));
  RENGA_ASSIGN_OR_RETURN(const Module module, Module::Load(context, "a cubin"));
  RENGA_ASSIGN_OR_RETURN(const Function kernel, module.Find("kernel"));
  RENGA_RETURN_IF_ERROR(module.AllowShared(kernel, 100000));
  RENGA_ASSIGN_OR_RETURN(const int blocks, module.BlocksPerMultiprocessor(kernel, 128, 100000));
  EXPECT_EQ(blocks, 3);
  RENGA_ASSIGN_OR_RETURN(const Memory a, Memory::Allocate(context, 4 * sizeof(int)));
  RENGA_ASSIGN_OR_RETURN(const Memory b, Memory::Allocate(context, 4 * sizeof(int)));
  RENGA_RETURN_IF_ERROR(stream.Write(a.data(), BytesOf({1, 2, 3, 4})));
  RENGA_RETURN_IF_ERROR(stream.Fill(b.data(), 0xff, b.bytes()));
  RENGA_RETURN_IF_ERROR(stream.Copy(b.data(), a.data(), 2 * sizeof(int)));
  RENGA_ASSIGN_OR_RETURN(const Event start, Event::Create(context));
  RENGA_ASSIGN_OR_RETURN(const Event end, Event::Create(context));
  RENGA_RETURN_IF_ERROR(stream.Record(start));
  RENGA_ASSIGN_OR_RETURN(const Event inside, Event::Create(context));
  RENGA_ASSIGN_OR_RETURN(const Graph graph, stream.Capture([&]() -> absl::Status {
    int argument = 4711;
    void* arguments[] = {&argument};
    RENGA_RETURN_IF_ERROR(stream.RecordEachTime(inside));
    return stream.Launch(
        kernel,
        {.grid = {5, 6, 7}, .threads = 128, .shared_bytes = 100000, .overlaps_previous = true},
        arguments);
  }));
  RENGA_RETURN_IF_ERROR(stream.Launch(graph));
  RENGA_RETURN_IF_ERROR(stream.Record(end));
  RENGA_RETURN_IF_ERROR(end.Wait());
  RENGA_ASSIGN_OR_RETURN(const Event untimed, Event::CreateUntimed(context));
  RENGA_RETURN_IF_ERROR(stream.Record(untimed));
  RENGA_ASSIGN_OR_RETURN(const Stream other, Stream::Create(context));
  RENGA_RETURN_IF_ERROR(other.WaitFor(untimed));
  RENGA_RETURN_IF_ERROR(untimed.WaitWithin(/*seconds=*/10, /*pause_seconds=*/0));
  RENGA_ASSIGN_OR_RETURN(const float ms, Event::Milliseconds(start, end));
  RENGA_ASSIGN_OR_RETURN(const float first, Event::Milliseconds(start, inside));
  EXPECT_GE(first, 0);
  EXPECT_GE(ms, first);
  result->resize(4);
  return stream.Read(b.data(), {reinterpret_cast<uint8_t*>(result->data()), b.bytes()});
}

TEST(Resources, DoWhatTheySay) {
  FakeDriver fake;
  std::vector<int> result;
  const absl::Status status = UseAll(&result);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(result, (std::vector<int>{1, 2, -1, -1}));
  EXPECT_EQ(fake.live(), 0);
  EXPECT_EQ(fake.config().grid_z, 7u);
  EXPECT_EQ(fake.config().block_x, 128u);
  EXPECT_EQ(fake.config().dynamic_shared_bytes, 100000u);
  EXPECT_EQ(fake.shared_allowed(), 100000);
  EXPECT_EQ(fake.first_argument(), 4711);
  ASSERT_EQ(fake.config().attribute_count, 1u);
  EXPECT_EQ(fake.attributes()[0].id, kProgrammaticStreamSerialization);
  EXPECT_EQ(fake.attributes()[0].value, 1);
}

bool Frees(const std::string& call) {
  for (const char* part : {"Free", "Destroy", "Unload", "Release"}) {
    if (call.find(part) != call.npos) return true;
  }
  return false;
}

TEST(Resources, EveryCallFailingInTurnIsAnErrorAndLeaksNothing) {
  constexpr int kLaunchFailed = 719;
  FakeDriver fake;
  std::vector<int> result;
  ASSERT_TRUE(UseAll(&result).ok());
  const int calls = fake.calls();
  ASSERT_GT(calls, 35);
  for (int call = 1; call <= calls; ++call) {
    FakeDriver failing;
    failing.FailAt(call, kLaunchFailed);
    const absl::Status status = UseAll(&result);
    ASSERT_THAT(failing.failed(), testing::Not(IsEmpty())) << call;
    EXPECT_EQ(failing.live(), 0) << failing.failed();
    // What fails while freeing is not heard.
    if (Frees(failing.failed()) && status.ok()) continue;
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << failing.failed();
    EXPECT_THAT(Message(status),
                AllOf(HasSubstr(StrCat("cuda: ", failing.failed())),
                      HasSubstr("CUDA_ERROR_OF_THE_FAKE (719): what the fake was told")));
  }
}

// What a stream is told behind an event waits for the other stream's work, and nothing else does.
TEST(Resources, StreamsWaitForEvents) {
  FakeDriver fake;
  const auto driver = Driver::Load(FakeFile("fake_driver"));
  ASSERT_TRUE(driver.ok());
  const auto context = Context::Open(*driver, 0);
  ASSERT_TRUE(context.ok());
  const auto a = Stream::Create(*context), b = Stream::Create(*context);
  const auto event = Event::CreateUntimed(*context), done = Event::CreateUntimed(*context);
  const auto memory = Memory::Allocate(*context, 8), late = Memory::Allocate(*context, 8);
  ASSERT_TRUE(a.ok() && b.ok() && event.ok() && done.ok() && memory.ok() && late.ok());
  fake.BeLate();
  ASSERT_TRUE(a->Fill(memory->data(), 1, 8).ok());
  ASSERT_TRUE(a->Record(*event).ok());
  ASSERT_TRUE(a->Fill(late->data(), 1, 8).ok());
  ASSERT_TRUE(b->WaitFor(*event).ok());
  ASSERT_TRUE(b->Copy(memory->data() + 4, memory->data(), 4).ok());
  ASSERT_TRUE(b->Record(*done).ok());
  EXPECT_NE(memory->data()[0], 1);
  ASSERT_TRUE(done->WaitWithin(10, 0).ok());
  EXPECT_EQ(memory->data()[7], 1);
  EXPECT_NE(late->data()[0], 1);
  fake.Hang();
  EXPECT_TRUE(absl::IsDeadlineExceeded(done->WaitWithin(0.01, 0.001)));
}

TEST(Resources, OutOfMemoryIsItsOwnError) {
  FakeDriver fake;
  const auto driver = Driver::Load(FakeFile("fake_driver"));
  ASSERT_TRUE(driver.ok());
  const auto context = Context::Open(*driver, 0);
  ASSERT_TRUE(context.ok());
  fake.FailAt(fake.calls() + 1, kErrorOutOfMemory);
  const auto memory = Memory::Allocate(*context, 12345);
  EXPECT_EQ(memory.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(Message(memory.status()), HasSubstr("cuMemAlloc(12345 bytes)"));
  const auto none = Memory::Allocate(*context, 0);
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(none->data(), nullptr);
}

TEST(Resources, AMissingKernelIsNamed) {
  FakeDriver fake;
  const auto driver = Driver::Load(FakeFile("fake_driver"));
  ASSERT_TRUE(driver.ok());
  const auto context = Context::Open(*driver, 0);
  ASSERT_TRUE(context.ok());
  const auto module = Module::Load(*context, "a cubin");
  ASSERT_TRUE(module.ok());
  const auto kernel = module->Find("absent");
  EXPECT_EQ(kernel.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Message(kernel.status()), HasSubstr("cuModuleGetFunction(absent)"));
}

// What fails in between leaves the stream usable.
TEST(Resources, AFailedCaptureEnds) {
  FakeDriver fake;
  const auto driver = Driver::Load(FakeFile("fake_driver"));
  ASSERT_TRUE(driver.ok());
  const auto context = Context::Open(*driver, 0);
  ASSERT_TRUE(context.ok());
  const auto stream = Stream::Create(*context);
  ASSERT_TRUE(stream.ok());
  const auto graph = stream->Capture([] { return absl::CancelledError("no more"); });
  EXPECT_EQ(graph.status(), absl::CancelledError("no more"));
  EXPECT_TRUE(stream->Synchronize().ok());
  EXPECT_EQ(fake.live(), 2);  // context and stream: the half-made graph is gone
}

}  // namespace
}  // namespace renga::cuda
