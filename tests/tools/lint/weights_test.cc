// Every check of weights: cases in which it fires, and close ones in which it must not.
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "tests/tools/lint/lint_case.h"

namespace renga {
namespace {

void SetFloat(TinyModel& tiny, std::string_view name, size_t index, float value) {
  std::memcpy(tiny.Tensor(name).data.data() + index * sizeof(float), &value, sizeof(value));
}

void Fill(TinyModel& tiny, std::string_view name, float value) {
  const size_t elements = tiny.Tensor(name).data.size() / sizeof(float);
  for (size_t i = 0; i < elements; ++i) SetFloat(tiny, name, i, value);
}

// Makes a tensor of f32 one of Q8_0 (blocks of 32: an f16 scale, 32 int8) with the given scale in
// its first `changed` blocks and 1 in the others.
void MakeQ8(TinyModel& tiny, std::string_view name, uint16_t scale, size_t changed,
            char quant = 3) {
  GgufWriter::Tensor& tensor = tiny.Tensor(name);
  const size_t blocks = tensor.data.size() / sizeof(float) / 32;
  std::string data;
  for (size_t b = 0; b < blocks; ++b) {
    const bool is_changed = b < changed;
    data += Raw<uint16_t>(is_changed ? scale : 0x3c00);
    for (int i = 0; i < 32; ++i) {
      data += is_changed && quant == 0 ? '\0' : static_cast<char>(quant + i * 5 + b + name.size());
    }
  }
  tensor.data = std::move(data);
  tensor.type = static_cast<uint32_t>(DType::kQ8_0);
}

void AddBiases(TinyModel& tiny, std::string_view stem, int64_t size) {
  for (int64_t layer = 0; layer < tiny.layers; ++layer) {
    tiny.AddWeight(StrCat("blk.", layer, ".", stem, ".bias"), {size});
  }
}
void AddQkvBiases(TinyModel& tiny) {
  AddBiases(tiny, "attn_q", tiny.heads * tiny.head_dim);
  AddBiases(tiny, "attn_k", tiny.kv_heads * tiny.head_dim);
  AddBiases(tiny, "attn_v", tiny.kv_heads * tiny.head_dim);
}

// Rows of whole blocks.
void Wide(TinyModel& tiny) {
  tiny.embedding = 64;
  tiny.heads = 4;
  tiny.head_dim = 16;
  tiny.hidden = 96;
}
void WideAndDeep(TinyModel& tiny) {
  Wide(tiny);
  tiny.layers = 9;
}
void Four(TinyModel& tiny) { tiny.layers = 4; }
// ffn_up has 64 * 256 elements.
void Large(TinyModel& tiny) {
  Wide(tiny);
  tiny.hidden = 256;
}

void ToHalf(TinyModel& tiny, std::string_view name) {
  GgufWriter::Tensor& tensor = tiny.Tensor(name);
  std::string data;
  for (size_t i = 0; i < tensor.data.size(); i += sizeof(float)) {
    float value;
    std::memcpy(&value, tensor.data.data() + i, sizeof(value));
    data += Raw(FloatToHalf(value));
  }
  tensor.data = std::move(data);
  tensor.type = static_cast<uint32_t>(DType::kF16);
}

void CopyTensor(TinyModel& tiny, std::string_view from, std::string_view to) {
  tiny.Tensor(to).data = tiny.Tensor(from).data;
}

void SetHidden(TinyModel& tiny, const std::vector<uint32_t>& sizes) {
  tiny.Set("feed_forward_length", MetaType::kArray, RawArray(MetaType::kU32, sizes));
  for (size_t layer = 0; layer < sizes.size(); ++layer) {
    const std::string block = StrCat("blk.", layer, ".");
    for (const std::string_view role : {"ffn_gate.weight", "ffn_up.weight", "ffn_down.weight"}) {
      tiny.Remove(StrCat(block, role));
    }
    tiny.AddWeight(block + "ffn_gate.weight", {sizes[layer], tiny.embedding});
    tiny.AddWeight(block + "ffn_up.weight", {sizes[layer], tiny.embedding});
    tiny.AddWeight(block + "ffn_down.weight", {tiny.embedding, sizes[layer]});
  }
}

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

class Weights : public testing::TestWithParam<LintCase> {};
TEST_P(Weights, Case) { RunCase(GetParam()); }

std::vector<LintCase> Cases() {
  return {
      {"NothingChanged", [](TinyModel&) {}, {}},
      // 10 x 12 values: element 27 is [2,3].
      {"Nan",
       [](TinyModel& tiny) { SetFloat(tiny, "blk.1.ffn_up.weight", 27, kNan); },
       {"certain nan-weights blk.1.ffn_up.weight: 1 NaN of 120 values, the first at [2,3]"}},
      {"NanAndInfinities",
       [](TinyModel& tiny) {
         SetFloat(tiny, "output_norm.weight", 4, -kInf);
         SetFloat(tiny, "output_norm.weight", 7, kNan);
         SetFloat(tiny, "output_norm.weight", 9, kInf);
       },
       {"certain nan-weights output_norm.weight: 1 NaN and 2 infinite of 12 values, the first at "
        "[4]"}},
      {"NanScale",
       [](TinyModel& tiny) { MakeQ8(tiny, "blk.0.ffn_up.weight", 0x7e00, 1); },
       {"certain nan-weights blk.0.ffn_up.weight: 32 NaN of 6144 values, the first at [0,0]; the "
        "scales of 1 of 192 blocks are no finite numbers"},
       Wide},
      {"LargeIsNotSuspicious",
       [](TinyModel& tiny) {
         AddQkvBiases(tiny);
         SetFloat(tiny, "blk.0.attn_k.bias", 1, -3e38f);
         SetFloat(tiny, "blk.1.attn_norm.weight", 1, 1e30f);
         SetFloat(tiny, "blk.0.attn_q.weight", 1, std::numeric_limits<float>::denorm_min());
       },
       {}},

      {"ZeroMatrix",
       [](TinyModel& tiny) { Fill(tiny, "blk.1.attn_v.weight", -0.0f); },
       {"certain zero-weights blk.1.attn_v.weight: all 48 values are zero"}},
      {"OneZeroBias",
       [](TinyModel& tiny) {
         AddQkvBiases(tiny);
         Fill(tiny, "blk.1.attn_k.bias", 0);
       },
       {"likely zero-weights blk.1.attn_k.bias: all 4 values are zero"}},
      {"AllBiasesZero",
       [](TinyModel& tiny) {
         AddBiases(tiny, "attn_output", tiny.embedding);
         Fill(tiny, "blk.0.attn_output.bias", 0);
         Fill(tiny, "blk.1.attn_output.bias", 0);
       },
       {"maybe zero-weights blk.0.attn_output.bias: all 12",
        "maybe zero-weights blk.1.attn_output.bias: all 12"}},
      {"OneValueIsEnough",
       [](TinyModel& tiny) {
         Fill(tiny, "blk.1.attn_v.weight", 0);
         SetFloat(tiny, "blk.1.attn_v.weight", 47, 1e-30f);
       },
       {}},

      {"ConstantMatrix",
       [](TinyModel& tiny) { Fill(tiny, "blk.0.ffn_down.weight", 0.5f); },
       {"certain constant-weights blk.0.ffn_down.weight: all 120 values are 0.5"}},
      {"ConstantNorms",
       [](TinyModel& tiny) {
         Fill(tiny, "blk.0.attn_norm.weight", 1);
         Fill(tiny, "blk.1.attn_norm.weight", 1);
       },
       {"maybe constant-weights blk.0.attn_norm.weight: all 12 values are 1",
        "maybe constant-weights blk.1.attn_norm.weight: all 12 values are 1"}},
      {"ConstantRopeFactors",
       [](TinyModel& tiny) {
         tiny.AddFloats("rope_freqs.weight", {2}, {1, 1});
       },
       {}},

      // 16,384 values: from the stretch of 256 after element 300 on.
      {"ZeroRun",
       [](TinyModel& tiny) {
         for (size_t i = 300; i < 300 + 5000; ++i) SetFloat(tiny, "blk.0.ffn_up.weight", i, 0);
       },
       {"likely zero-run blk.0.ffn_up.weight: 4608 of 16384 values, from [8,0] on, are zero"},
       Large},
      {"ZeroToTheEnd",
       [](TinyModel& tiny) {
         for (size_t i = 9000; i < 16384; ++i) SetFloat(tiny, "blk.0.ffn_up.weight", i, 0);
       },
       {"likely zero-run blk.0.ffn_up.weight: 7168 of 16384 values, from [144,0] on"},
       Large},
      {"ManyShortRuns",
       [](TinyModel& tiny) {
         for (size_t i = 0; i < 16384; ++i) {
           if (i % 4000 != 0) SetFloat(tiny, "blk.0.ffn_up.weight", i, 0);
         }
       },
       {},
       Large},

      {"LostScales",
       [](TinyModel& tiny) { MakeQ8(tiny, "blk.0.ffn_up.weight", 0, 12); },
       {"likely zero-scales blk.0.ffn_up.weight: 12 of 192 blocks have a scale of zero and quants "
        "that differ, the first at [0,0]"},
       Wide},
      {"FewLostScales",
       [](TinyModel& tiny) { MakeQ8(tiny, "blk.0.ffn_up.weight", 0x8000, 11); },
       {"maybe zero-scales blk.0.ffn_up.weight: 11 of 192"},
       Wide},
      {"BlocksOfZeros",
       [](TinyModel& tiny) { MakeQ8(tiny, "blk.0.ffn_up.weight", 0, 24, 0); },
       {},
       Wide},

      {"BiasLackingInOneLayer",
       [](TinyModel& tiny) {
         AddQkvBiases(tiny);
         tiny.Remove("blk.1.attn_v.bias");
       },
       {"likely missing-biases blk.1.attn_v.bias: the file has no such bias, while 1 of 2 layers "
        "have it"}},
      {"NoKeyBias",
       [](TinyModel& tiny) {
         AddQkvBiases(tiny);
         tiny.Remove("blk.0.attn_k.bias");
         tiny.Remove("blk.1.attn_k.bias");
       },
       {"maybe missing-biases blk.*.attn_k.bias: no layer has this bias, though others"}},
      {"AllBiases", AddQkvBiases, {}},

      {"OneLayerOfAnotherShape",
       [](TinyModel& tiny) {
         SetHidden(tiny, {10, 10, 12, 10});
       },
       {"maybe layer-shapes blk.2.ffn_gate.weight: has shape [12,12], in other layers [10,12]",
        "maybe layer-shapes blk.2.ffn_up.weight", "maybe layer-shapes blk.2.ffn_down.weight"},
       Four},
      {"LayersOfTwoShapes",
       [](TinyModel& tiny) {
         SetHidden(tiny, {10, 12, 12, 10});
       },
       {},
       Four},

      {"SameTensorTwice",
       [](TinyModel& tiny) { CopyTensor(tiny, "blk.0.attn_q.weight", "blk.1.attn_q.weight"); },
       {"likely duplicate-tensors blk.1.attn_q.weight: has the same bytes as blk.0.attn_q.weight"}},
      {"KeysAreValues",
       [](TinyModel& tiny) { CopyTensor(tiny, "blk.1.attn_k.weight", "blk.1.attn_v.weight"); },
       {"likely duplicate-tensors blk.1.attn_v.weight: has the same bytes as blk.1.attn_k.weight"}},
      {"SameLayerTwice",
       [](TinyModel& tiny) {
         for (GgufWriter::Tensor& tensor : tiny.writer.tensors) {
           if (!tensor.name.starts_with("blk.3.")) continue;
           CopyTensor(tiny, "blk.1." + tensor.name.substr(6), tensor.name);
         }
       },
       {"maybe duplicate-tensors layer 3: every tensor has the same bytes as in layer 1"},
       Four},
      {"OutputStoredTwice",
       [](TinyModel& tiny) { CopyTensor(tiny, "token_embd.weight", "output.weight"); },
       {"maybe duplicate-tensors output.weight: has the same bytes as token_embd.weight"}},
      {"SameBytesInAnotherShape",  // [10,12] and [12,10]
       [](TinyModel& tiny) { CopyTensor(tiny, "blk.0.ffn_gate.weight", "blk.0.ffn_down.weight"); },
       {}},

      {"OneCoarseTensor",
       [](TinyModel& tiny) { MakeQ8(tiny, "blk.4.ffn_up.weight", 0, 0); },
       {"likely quantisation-mix blk.4.ffn_up.weight: is q8_0, 8.5 bits an element, in most other "
        "layers 32"},
       WideAndDeep},
      {"HalfAsFine",
       [](TinyModel& tiny) {
         for (int64_t layer = 0; layer < tiny.layers; ++layer) {
           const std::string name = StrCat("blk.", layer, ".ffn_up.weight");
           if (layer == 4) {
             MakeQ8(tiny, name, 0, 0);
           } else {
             ToHalf(tiny, name);
           }
         }
       },
       {"maybe quantisation-mix blk.4.ffn_up.weight: is q8_0, 8.5 bits an element, in most other "
        "layers 16"},
       WideAndDeep},
      {"ManyCoarseTensorsAreARecipe",
       [](TinyModel& tiny) {
         for (int64_t layer = 1; layer < tiny.layers; layer += 4) {
           MakeQ8(tiny, StrCat("blk.", layer, ".ffn_up.weight"), 0, 0, static_cast<char>(layer));
         }
       },
       {},
       WideAndDeep},
      {"FinerIsNotSuspicious",
       [](TinyModel& tiny) {
         for (int64_t layer = 1; layer < tiny.layers; ++layer) {
           MakeQ8(tiny, StrCat("blk.", layer, ".ffn_up.weight"), 0, 0, static_cast<char>(layer));
         }
       },
       {},
       WideAndDeep},
  };
}
INSTANTIATE_TEST_SUITE_P(Lint, Weights, testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace renga
