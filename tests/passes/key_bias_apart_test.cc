// For GPUs the bias of keys stays out of caches of 16 bits too, where their kernels can add it.
#include "passes/simplify/key_bias_apart.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "ir/text/parse.h"

namespace renga {
namespace {

using testing::HasSubstr;

// Keys of two heads of `width` in `type`, of which `dims` are turned.
std::string KeysIn(std::string_view type, int width, int dims, bool biased) {
  const int rows = 2 * width;
  const std::string keys = StrCat("f32[T,2,", width, "]"),
                    cells = StrCat(type, "[C,2,", width, "]");
  return StrCat("ir 1\ndim T = 1..8\ndim S = 1..2\ndim P = 1..4\ndim L = 1..64\ndim C = 1..64\n",
                "weight @k: q8_0[", rows, ",64]\nweight @kb: f32[", rows,
                "]\ncache %0.k_cache: ", cells, "\ngraph @step(%x: f32[T,64], %q: f32[T,4,", width,
                "], %positions: i32[T], %cells: i32[T], %sequences: i32[T], %pages: i32[S,P]) {\n",
                "  %0.k_proj: f32[T,", rows, "] = linear(%x, @k", biased ? ", bias=@kb" : "", ")\n",
                "  %0.k_heads: ", keys, " = split_heads(%0.k_proj) {heads=2}\n", "  %0.k: ", keys,
                " = rope(%0.k_heads, %positions) {base=10000.0, dims=", dims,
                ", factor=1.0, magnitude=1.0, pairing=neox, scaling=none}\n",
                "  %0.k_cells: ", cells, " = kv_append(%0.k_cache, %0.k, %cells)\n",
                "  %0.scores: f32[T,4,L] = attn_scores(%q, %0.k_cells, %sequences, %pages) "
                "{page_tokens=16, scale=0.125, span=L}\n",
                "  %0.probs: f32[T,4,L] = masked_softmax(%0.scores, %positions) {causal=true, "
                "window=0}\n  return %0.probs, %0.k_cells\n}\n");
}

TEST(KeyBiasApartForGpu, TakesItOutOf16BitsWhereKernelsAddIt) {
  struct Case {
    std::string type;
    int width, dims;
    bool biased, taken;
    std::string rejected;  // nothing: no word of it
  };
  const Case cases[] = {
      {"f16", 32, 32, true, true, ""},
      {"bf16", 20, 16, true, true, ""},
      {"f32", 32, 32, true, false, ""},  // has the digits
      {"f16", 32, 32, false, false, ""},
      {"f16", 32, 12, true, false, "12 dims are turned; GPUs add the bias of multiples of 8"},
      {"bf16", 10, 8, true, false, "keys of 10; GPUs add the bias to multiples of 4"},
      // Blocks cannot do with their bias inside: the emitter says what else there is.
      {"q8_0", 32, 12, true, true, ""},
      // Numbers of 8 bits can, badly, where kernels cannot add it.
      {"f8_e4m3", 20, 16, true, true, ""},
      {"f8_e4m3", 10, 8, true, false, "keys of 10; GPUs add the bias to multiples of 4"},
      {"f8_e4m3", 32, 32, false, false, ""},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(StrCat(c.type, " ", c.width, " ", c.dims, " ", c.biased));
    absl::StatusOr<Graph> graph = Parse(KeysIn(c.type, c.width, c.dims, c.biased), "keys.ir");
    ASSERT_TRUE(graph.ok()) << graph.status();
    Ledger ledger;
    const absl::StatusOr<bool> changed = KeyBiasApartForGpu(*graph, ledger);
    ASSERT_TRUE(changed.ok()) << changed.status();
    EXPECT_EQ(*changed, c.taken);
    if (!c.taken && c.rejected.empty()) {
      EXPECT_TRUE(ledger.entries.empty());
      continue;
    }
    ASSERT_EQ(ledger.entries.size(), 1u);
    EXPECT_EQ(ledger.entries[0].matched, c.taken);
    EXPECT_THAT(ledger.entries[0].reason,
                HasSubstr(c.taken ? StrCat("which keys in ", c.type, " are without") : c.rejected));
  }
}

TEST(KeyBiasApart, LeavesCachesOfNumbersAloneOnTheCpu) {
  for (const std::string type : {"f16", "bf16", "f32"}) {
    absl::StatusOr<Graph> graph = Parse(KeysIn(type, 32, 32, true), "keys.ir");
    ASSERT_TRUE(graph.ok()) << graph.status();
    Ledger ledger;
    const absl::StatusOr<bool> changed = KeyBiasApart(*graph, ledger);
    ASSERT_TRUE(changed.ok()) << changed.status();
    EXPECT_FALSE(*changed) << type;
  }
}

TEST(KeyBiasApart, TakesItOutOfE4M3OnTheCpu) {
  for (const int width : {32, 10}) {
    absl::StatusOr<Graph> graph = Parse(KeysIn("f8_e4m3", width, 8, true), "keys.ir");
    ASSERT_TRUE(graph.ok()) << graph.status();
    Ledger ledger;
    const absl::StatusOr<bool> changed = KeyBiasApart(*graph, ledger);
    ASSERT_TRUE(changed.ok()) << changed.status();
    EXPECT_TRUE(*changed) << width;
  }
}

}  // namespace
}  // namespace renga
