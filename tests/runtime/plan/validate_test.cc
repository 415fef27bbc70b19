#include "runtime/plan/validate.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "tests/runtime/plan/sample_plan.h"

namespace renga::plan {
namespace {

using ::testing::HasSubstr;

TEST(Validate, AcceptsTheSample) { EXPECT_TRUE(Validate(SamplePlan()).ok()); }

struct Fault {
  const char* name;
  void (*damage)(Plan& plan);
  const char* message;
};

std::ostream& operator<<(std::ostream& out, const Fault& fault) { return out << fault.name; }

class ValidateFault : public ::testing::TestWithParam<Fault> {};

TEST_P(ValidateFault, SaysWhereExpectedAndGot) {
  Plan plan = SamplePlan();
  GetParam().damage(plan);
  const absl::Status status = Validate(plan);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(ToStd(status.message()), HasSubstr(GetParam().message));
}

const Fault kFaults[] = {
    {"Target", [](Plan& p) { p.target.clear(); }, "target: expected a name, got none"},
    {"Vocab", [](Plan& p) { p.model.vocab = 0; }, "model: vocab: expected 1..2147483647, got 0"},
    {"Layers", [](Plan& p) { p.model.layers = -1; },
     "model: layers: expected 0..1099511627776, got -1"},
    {"PageTokens", [](Plan& p) { p.geometry.page_tokens = 0; },
     "geometry: page_tokens: expected 1..1048576, got 0"},
    {"Context", [](Plan& p) { p.geometry.context = -5; },
     "geometry: context: expected 1..2147483647, got -5"},
    {"Sequences", [](Plan& p) { p.geometry.max_sequences = 0; },
     "geometry: max_sequences: expected 1.."},
    {"StepTokens", [](Plan& p) { p.geometry.max_step_tokens = 0; },
     "geometry: max_step_tokens: expected 1.."},
    {"InvariantTokens",
     [](Plan& p) { p.geometry.invariant_tokens = p.geometry.max_step_tokens + 1; },
     "geometry: invariant_tokens: expected 1.."},
    {"SymbolMax", [](Plan& p) { p.symbols[0].max = 0; },
     "symbol T: max: expected 1..2147483647, got 0"},
    {"SymbolHuge", [](Plan& p) { p.symbols[3].max = int64_t{1} << 40; },
     "symbol L: max: expected 1..2147483647, got 1099511627776"},
    {"SymbolTwice", [](Plan& p) { p.symbols[1].name = "T"; },
     "symbol T: expected one of that name, got two"},
    {"SymbolNameless", [](Plan& p) { p.symbols[1].name = ""; },
     "symbol: expected a name, got none"},
    {"SymbolsMany",
     [](Plan& p) {
       p.symbols.resize(65, {"X", 1});
     },
     "symbols: expected 0..64, got 65"},
    {"TooFewTokens", [](Plan& p) { p.symbols[0].max = 3; },
     "symbol T: max: expected 4 (max_step_tokens) or more, got 3"},
    {"TooFewCells", [](Plan& p) { p.symbols[5].max = 12; },
     "symbol C: max: expected 16 (cells of a sequence) or more, got 12"},
    {"CellsOfNoPage", [](Plan& p) { p.symbols[5].max = 33; },
     "symbol C: max: expected a multiple of 4 (page_tokens), got 33"},
    {"WeightFile", [](Plan& p) { p.weights[1].source.file = 2; },
     "weight out: file: expected 0..1, got 2"},
    {"WeightBytes", [](Plan& p) { p.weights[1].source.bytes = 161; },
     "weight out: bytes: expected 160 (f16[10,8]), got 161"},
    {"WeightBlock", [](Plan& p) { p.weights[1].source.dtype = DType::kQ8_0; },
     "weight out: last axis: expected a multiple of 32 (a block of q8_0), got q8_0[10,8]"},
    {"WeightShape", [](Plan& p) { p.weights[1].source.shape = {}; },
     "weight out: rank: expected 1 to 4, got 0"},
    {"WeightSize",
     [](Plan& p) {
       p.weights[1].source.shape = {int64_t{1} << 40, int64_t{1} << 40};
     },
     "weight out: size: expected at most"},
    {"WeightNegative",
     [](Plan& p) {
       p.weights[1].source.shape = {-10, 8};
     },
     "weight out: axis 0: expected a size of 1 or more, got -10"},
    {"WeightAlignment", [](Plan& p) { p.weights[0].source.offset = 65; },
     "weight table: offset: expected a multiple of 8, got 65"},
    {"WeightOutside", [](Plan& p) { p.weights[0].source.offset = 4088; },
     "weight table: expected bytes inside its file of 4096, got 320 at offset 4088"},
    {"WeightFarOutside", [](Plan& p) { p.weights[0].source.offset = UINT64_MAX - 7; },
     "weight table: expected bytes inside its file"},
    {"WeightTwice", [](Plan& p) { p.weights[1].source.name = "table"; },
     "weight table: expected one of that name and layout, got two"},
    {"LayoutUnknown", [](Plan& p) { p.weights[2].layout = "rows9"; },
     "weight packed: layout: expected one of mma, rows8, got rows9"},
    {"LayoutType", [](Plan& p) { p.weights[1].layout = "rows8"; },
     "weight out: layout rows8: expected a type of q4_0"},
    {"LayoutOfBuffer", [](Plan& p) { p.buffers[11].type.layout = ""; },
     "buffer packed: bytes: expected 340"},
    {"LayoutOfFile", [](Plan& p) { p.weights[2].layout = ""; },
     "buffer packed: expected layout '' (the weight's), got rows8"},
    {"LayoutOfArena",
     [](Plan& p) {
       p.buffers[11].space = Space::kArena;
       p.buffers[11].index = -1;
     },
     "buffer packed: expected no layout, being no weight, got rows8"},
    {"EmbeddedUnaligned",
     [](Plan& p) {
       p.data_bytes = 8192;
       p.weights[2].embedded = {64, {}};
     },
     "weight packed: embedded: expected an offset that is a multiple of 4096, got 64"},
    {"EmbeddedOutside",
     [](Plan& p) {
       p.data_bytes = 4096 + 543;
       p.weights[2].embedded = {4096, {}};
     },
     "weight packed: embedded: expected bytes inside the data section of 4639, got 544 at offset "
     "4096"},
    {"EmbeddedFarOutside",
     [](Plan& p) {
       p.data_bytes = 4096;
       p.weights[2].embedded = {UINT64_MAX - 4095, {}};
     },
     "weight packed: embedded: expected bytes inside the data section of 4096"},
    {"EmbeddedTwice",
     [](Plan& p) {
       p.data_bytes = 8192;
       p.weights[0].embedded = {4096, {}};
       p.weights[2].embedded = {4096, {}};
     },
     "embedded: expected bytes of its own, got some of "},
    {"DataHuge", [](Plan& p) { p.data_bytes = UINT64_MAX; }, "data_bytes: expected at most"},
    {"Choice", [](Plan& p) { p.choices[0].chosen = "rows9"; },
     "choice of layout for packed: expected one of file, rows8, got rows9"},
    {"CacheCell", [](Plan& p) { p.caches[0].cell_bytes = 8; },
     "cache 0.k_cache: cell_bytes: expected 16 (f16[2,4]), got 8"},
    {"CacheHeads", [](Plan& p) { p.caches[0].heads = 0; },
     "cache 0.k_cache: axis 0: expected a size of 1 or more, got 0"},
    {"CacheLayer", [](Plan& p) { p.caches[0].layer = -2; },
     "cache 0.k_cache: layer: expected -1.."},
    {"CacheWithoutCells", [](Plan& p) { p.symbols[5].name = "D"; },
     "symbols: expected C (the caches' cells), got none"},
    {"CacheName", [](Plan& p) { p.caches[0].name = "1.k_cache"; },
     "buffer 0.k_cache: expected the name 1.k_cache, got this"},
    {"KernelTwice", [](Plan& p) { p.kernels[1].name = "embed"; },
     "kernel embed: expected one of that name, got two"},
    {"KernelNameless", [](Plan& p) { p.kernels[1].name = ""; },
     "kernel: expected a name, got none"},
    {"BufferTwice", [](Plan& p) { p.buffers[8].name = "x"; },
     "buffer x: expected one of that name, got two"},
    {"BufferNameless", [](Plan& p) { p.buffers[8].name = ""; },
     "buffer: expected a name, got none"},
    {"BufferBytes", [](Plan& p) { p.buffers[8].bytes = 127; },
     "buffer y: bytes: expected 128 (f32[T,8]), got 127"},
    {"BufferSymbol", [](Plan& p) { p.buffers[8].type.shape[0].symbol = 6; },
     "buffer y: axis 0: expected one of 6 symbols, got symbol 6"},
    {"BufferRank",
     [](Plan& p) {
       p.buffers[8].type.shape.resize(5, {-1, 1});
     },
     "buffer y: rank: expected 1 to 4, got 5"},
    {"BufferOffset", [](Plan& p) { p.buffers[8].offset = 129; },
     "buffer y: offset: expected a multiple of 64, got 129"},
    {"BufferOutside", [](Plan& p) { p.buffers[8].offset = uint64_t{1} << 63; },
     "buffer y: expected bytes inside the activations'"},
    {"BufferIndex", [](Plan& p) { p.buffers[8].index = 0; }, "buffer y: index: expected -1, got 0"},
    {"InputIndex", [](Plan& p) { p.buffers[0].index = 3; },
     "buffer tokens: index: expected one of 3, got 3"},
    {"InputName", [](Plan& p) { p.buffers[0].index = 1; },
     "buffer tokens: index: expected that of input tokens, got 1 (rows)"},
    {"InputOffset", [](Plan& p) { p.buffers[0].offset = 64; },
     "buffer tokens: offset: expected 0, got 64"},
    {"InputMissing", [](Plan& p) { p.inputs.push_back("pages"); },
     "input pages: expected a buffer, got none"},
    {"WeightIndex", [](Plan& p) { p.buffers[3].index = -1; },
     "buffer table: index: expected one of 3, got -1"},
    {"WeightType", [](Plan& p) { p.buffers[3].index = 1; },
     "buffer table: expected f16[10,8] (the weight's), got f32[10,8]"},
    {"CacheType",
     [](Plan& p) {
       p.buffers[5].type.shape = {{5, 1}, {-1, 4}, {-1, 2}};
     },
     "buffer 0.k_cache: expected f16[C,2,4] (the cache's), got f16[C,4,2]"},
    {"ViewOfNothing", [](Plan& p) { p.buffers[7].view_of = 12; },
     "buffer x_heads: view_of: expected 0..11, got 12"},
    {"ViewNegative", [](Plan& p) { p.buffers[7].view_of = -2; },
     "buffer x_heads: view_of: expected -1 or more, got -2"},
    {"ViewOfView", [](Plan& p) { p.buffers[7].view_of = 7; },
     "buffer x_heads: expected a view of no view"},
    {"ViewElsewhere", [](Plan& p) { p.buffers[7].offset = 64; },
     "buffer x_heads: expected the type, place and bytes of x, which it views"},
    {"ViewSizes",
     [](Plan& p) {
       p.buffers[7].type.shape[0] = {2, 1};
     },
     "buffer x_heads: expected as many elements as x: f32[T,8], got f32[R,2,4]"},
    {"StepKernel", [](Plan& p) { p.steps[0].kernel = 5; },
     "step 0 (x): kernel: expected 0..4, got 5"},
    {"StepKindKernel", [](Plan& p) { p.steps[0].kind = StepKind::kCopy; },
     "step 0 (x): kernel: expected -1, got 0"},
    {"StepLayer", [](Plan& p) { p.steps[0].layer = -7; },
     "step 0 (x): layer: expected -1 or more, got -7"},
    {"StepInput", [](Plan& p) { p.steps[2].inputs[1] = 12; },
     "step 2 (y): input: expected a buffer 0..11, got 12"},
    {"StepInputNegative", [](Plan& p) { p.steps[2].inputs[1] = -2; },
     "step 2 (y): input: expected a buffer 0..11, got -2"},
    {"StepOutput", [](Plan& p) { p.steps[2].outputs[0] = -1; },
     "step 2 (y): output: expected a buffer 0..11, got -1"},
    {"StepNoOutput", [](Plan& p) { p.steps[2].outputs.clear(); },
     "step 2 (y): expected an output, got none"},
    {"StepManyInputs", [](Plan& p) { p.steps[2].inputs.resize(65, -1); },
     "step 2 (y): expected at most 64 inputs and outputs, got 65 and 1"},
    {"StepWritesInput", [](Plan& p) { p.steps[0].outputs = {1}; },
     "step 0 (x): expected an output in the arena or a cache, got rows, which is constant"},
    {"StepWritesWeight", [](Plan& p) { p.steps[0].outputs = {4}; },
     "step 0 (x): expected an output in the arena or a cache, got out, which is constant"},
    {"StepWritesView", [](Plan& p) { p.steps[0].outputs = {7}; },
     "step 0 (x): expected an output that is no view, got x_heads"},
    {"StepOverlap", [](Plan& p) { p.buffers[8].offset = 64; },
     "step 2 (y): expected outputs apart from inputs, got y over x"},
    {"StepOutputsOverlap",
     [](Plan& p) {
       p.steps[0].outputs = {6, 9};
     },
     "step 0 (x): expected outputs apart from each other, got last over x"},
    {"ReadBeforeWrite", [](Plan& p) { p.steps[0].outputs = {8}; },
     "step 1 (0.k_new): expected x_heads written and still there"},
    {"Overwritten",
     [](Plan& p) {
       p.steps[1].outputs = {5, 9};
       p.steps[1].inputs[1] = -1;
     },
     "step 2 (y): expected x written and still there, got one not yet written, or overwritten"},
    {"AttrTwice", [](Plan& p) { p.steps[2].attrs[1].name = "a_float"; },
     "step 2 (y): attributes: expected sorted, unique names, got a_float after a_float"},
    {"AttrNameless", [](Plan& p) { p.steps[2].attrs[0].name = ""; },
     "step 2 (y): attribute: expected a name, got none"},
    {"OutputUnknown", [](Plan& p) { p.outputs[0] = "nothing"; },
     "output nothing: expected a buffer, got none of that name"},
    {"OutputTwice", [](Plan& p) { p.outputs.push_back("logits"); },
     "output logits: expected one of that name, got two"},
    {"OutputGone", [](Plan& p) { p.outputs.push_back("y"); },
     "output y: expected y written and still there"},
    {"MemoryWeights", [](Plan& p) { ++p.memory.weights; },
     "memory: weights: expected 1024, got 1025"},
    {"MemoryKv", [](Plan& p) { p.memory.kv = 0; }, "memory: kv: expected 512, got 0"},
    {"MemoryActivations", [](Plan& p) { p.memory.activations += 64; },
     "memory: activations: expected 512, got 576"},
    {"TokenizerOffset", [](Plan& p) { p.tokenizer.offsets[3] = 1; },
     "tokenizer: offsets[3]: expected 2 or more, got 1"},
    {"TokenizerFirst", [](Plan& p) { p.tokenizer.offsets[0] = 1; },
     "tokenizer: offsets[0]: expected 0, got 1"},
    {"TokenizerLast", [](Plan& p) { p.tokenizer.text += "x"; },
     "tokenizer: last offset: expected 12 (the text's size), got 11"},
    {"TokenizerText", [](Plan& p) { p.tokenizer.offsets.clear(); },
     "tokenizer: text: expected none without offsets, got 11 bytes"},
    {"TokenizerVocab", [](Plan& p) { p.model.vocab = 11; },
     "tokenizer: tokens: expected 11 (the model's vocab) or more, got 10"},
    {"TokenizerTypes", [](Plan& p) { p.tokenizer.types.pop_back(); },
     "tokenizer: types: expected 10 (one a token), got 9"},
    {"TokenizerScores", [](Plan& p) { p.tokenizer.scores.pop_back(); },
     "tokenizer: scores: expected none or 10 (one a token), got 9"},
    {"TokenizerMerge", [](Plan& p) { p.tokenizer.merges[1].second = 10; },
     "tokenizer: merges[1]: expected 0..9, got 10"},
    {"TokenizerBos", [](Plan& p) { p.tokenizer.bos = 10; },
     "tokenizer: bos: expected -1..9, got 10"},
    {"TokenizerPad", [](Plan& p) { p.tokenizer.pad = -2; },
     "tokenizer: pad: expected -1..9, got -2"},
    {"TokenizerEnd", [](Plan& p) { p.tokenizer.end_of_generation[1] = 2; },
     "tokenizer: end_of_generation[1]: expected more than 2 (sorted), got 2"},
    {"TokenizerEndRange", [](Plan& p) { p.tokenizer.end_of_generation[1] = 10; },
     "tokenizer: end_of_generation[1]: expected 0..9, got 10"},
};

INSTANTIATE_TEST_SUITE_P(All, ValidateFault, ::testing::ValuesIn(kFaults),
                         [](const auto& info) { return info.param.name; });

TEST(Validate, APlanWithoutTokenizerIsFine) {
  Plan plan = SamplePlan();
  plan.tokenizer = {};
  EXPECT_TRUE(Validate(plan).ok());
}

}  // namespace
}  // namespace renga::plan
