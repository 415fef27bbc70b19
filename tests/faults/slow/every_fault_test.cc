// The faults of devices in a real model, and those of CUDA kernels in every tiny one.
#include <chrono>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "tests/faults/zoo/cuda_faults.h"
#include "tests/faults/zoo/device_faults.h"
#include "tests/faults/zoo/editable_gguf.h"
#include "tests/support/real_model.h"
#include "tests/support/test_data.h"

namespace renga::faults {
namespace {

using testing::IsEmpty;

// ---- SmolLM2 ----

class SmolLm2Test : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(SmolLm2())) {
      GTEST_SKIP() << "SKIPPED: " << SmolLm2() << " is absent; tools/fetch-models gets it";
    }
  }
  static ZooOptions Options(bool fused) {
    ZooOptions options;
    options.fused = fused;
    options.quick = true;
    options.ids = {504, 3575, 282, 4649, 314};
    options.nodes.threads = 0;
    return options;
  }
};

TEST_F(SmolLm2Test, EveryFaultIsFoundAndNothingElse) {
  const auto model = OpenZooModel(SmolLm2());
  ASSERT_TRUE(model.ok()) << model.status();
  int done = 0;
  for (const DeviceFault& fault : DeviceFaults()) {
    if (const std::string why = fault.cannot(*model); !why.empty()) {
      std::cout << fault.name << ": " << why << "\\n";
      continue;
    }
    SCOPED_TRACE(fault.name);
    Graph graph;
    const auto verdict =
        VerifyWith(model->path, fault.faults(*model), Options(fault.fused), &graph);
    ASSERT_TRUE(verdict.ok()) << verdict.status();
    EXPECT_THAT(Differences(fault.wrong(*model, graph), verdict->nodes), IsEmpty());
    std::cout << fault.name << "\\n";
    ++done;
  }
  EXPECT_GE(done, 20);
}

// Scores far apart and a large last norm at once; it has no biases.
TEST_F(SmolLm2Test, WhatLooksWrongIsNotBlamed) {
  const auto gguf = EditableGguf(SmolLm2());
  ASSERT_TRUE(gguf.ok()) << gguf.status();
  TempFolder folder;
  for (const bool norms : {false, true}) {
    GgufWriter changed = *gguf;
    for (GgufWriter::Tensor& tensor : changed.tensors) {
      if (norms && tensor.name.ends_with(".attn_norm.weight")) Rescale(&tensor, 4, 0);
      if (norms && tensor.name == "output_norm.weight") Rescale(&tensor, 1, 7);
    }
    const std::string path = folder.Write("changed.gguf", changed.Bytes());
    for (const bool fused : {false, true}) {
      const auto verdict = VerifyWith(path, {}, Options(fused));
      ASSERT_TRUE(verdict.ok()) << verdict.status();
      EXPECT_THAT(Named(verdict->nodes), IsEmpty());
      EXPECT_THAT(verdict->nodes.model, IsEmpty());
    }
  }
}

// ---- CUDA kernels, on the emulator ----

class EveryCudaModel : public testing::TestWithParam<std::string> {};

TEST_P(EveryCudaModel, EveryFaultIsFoundAndNothingElse) {
  const auto model = CudaModel::Open(GetParam());
  if (absl::IsUnimplemented(model.status())) {  // types that no kernel multiplies by
    EXPECT_THAT(std::string(model.status().message()), testing::HasSubstr("has no kernel"));
    GTEST_SKIP() << model.status();
  }
  ASSERT_TRUE(model.ok()) << model.status();
  const auto vocab = static_cast<int32_t>(model->zoo().vocab);
  const auto ids = [&](int32_t n) {
    std::vector<int32_t> some;
    for (int32_t i = 0; i < 3 + n % 4; ++i) some.push_back((i * 41 + n * 17 + 2) % vocab);
    return some;
  };
  const auto right = model->VerifyRight(ids(0));
  ASSERT_TRUE(right.ok()) << right.status();
  EXPECT_THAT(Named(right->nodes), IsEmpty());
  int32_t n = 0;
  for (const CudaFault& fault : CudaFaults()) {
    ++n;
    if (!fault.cannot(model->zoo()).empty()) continue;
    SCOPED_TRACE(fault.name);
    EXPECT_THAT(model->Differences(fault, ids(n)), IsEmpty());
  }
}

// Kernels that somebody asked for are as right as the usual ones.
TEST(EveryKernel, IsRight) {
  for (const char* way : {"few", "mma", "wgmma", "unsplit", "tiles"}) {
    SCOPED_TRACE(way);
    const auto model = CudaModel::Open(TestData("tiny/qwen2-F16.gguf"), {StrCat("*=", way)});
    ASSERT_TRUE(model.ok()) << model.status();
    const auto right = model->VerifyRight({1, 40, 77, 5, 9});
    ASSERT_TRUE(right.ok()) << right.status();
    EXPECT_THAT(Named(right->nodes), IsEmpty());
  }
}

INSTANTIATE_TEST_SUITE_P(All, EveryCudaModel, testing::ValuesIn(ZooModelPaths()),
                         [](const auto& info) {
                           std::string name = std::filesystem::path(info.param).stem();
                           for (char& c : name) {
                             c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
                           }
                           return name;
                         });

}  // namespace
}  // namespace renga::faults
