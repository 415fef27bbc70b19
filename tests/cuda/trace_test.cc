// Every value of a run on a GPU: as the interpreter has it, node by node.
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "ir/trace/compare.h"
#include "passes/simplify/key_bias_apart.h"
#include "tests/cuda/support.h"
#include "tests/support/test_data.h"
#include "tools/trace_model.h"

namespace renga {
namespace {

class CudaTraceTest : public CudaTest, public testing::WithParamInterface<std::string> {
 protected:
  static Trace TraceOn(const std::string& device, bool fused) {
    TraceModelOptions options;
    options.open.device = device;
    options.open.use_cache = false;
    options.open.kv_type_given = true;
    options.open.compile.k_type = options.open.compile.v_type = DType::kF16;
    if (fused) {
      // The interpreter's keys in f16 have their bias.
      options.open.compile.disabled_passes = {std::string(kKeyBiasApart)};
    } else {
      options.open.compile.only_passes.emplace();
    }
    // More than the kernels for few tokens take.
    options.ids = {1, 20, 7, 5, 9, 11, 8, 6, 2, 17, 15, 23, 4};
    auto trace = TraceModel(TestData(GetParam()), options);
    EXPECT_TRUE(trace.ok()) << device << ": " << trace.status();
    return trace.ok() ? *std::move(trace) : Trace();
  }
};

TEST_P(CudaTraceTest, IsTheInterpreters) {
  for (const bool fused : {false, true}) {
    SCOPED_TRACE(fused);
    const Trace cuda = TraceOn("cuda", fused), reference = TraceOn("reference", fused);
    EXPECT_TRUE(cuda.run.device.starts_with("cuda:0 ")) << cuda.run.device;
    const auto compared = CompareTraces(reference, cuda);
    ASSERT_TRUE(compared.ok()) << compared.status();
    for (const int index : compared->unexplained) {
      const ComparedValue& value = compared->values[static_cast<size_t>(index)];
      ADD_FAILURE() << value.b_name << " (" << value.op << "): " << value.error.relative;
    }
    EXPECT_TRUE(compared->skipped.empty());
    EXPECT_GT(compared->values.size(), fused ? 10u : 25u);
  }
}

INSTANTIATE_TEST_SUITE_P(All, CudaTraceTest,
                         testing::Values("stories260K.gguf", "tiny/qwen2-Q8_0.gguf",
                                         "tiny/llama-moe.gguf"),
                         [](const auto& info) {
                           std::string name = info.param.substr(info.param.find('/') + 1);
                           for (char& c : name) c = absl::ascii_isalnum(c) ? c : '_';
                           return name;
                         });

}  // namespace
}  // namespace renga
