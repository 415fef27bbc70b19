// Writes the pages that browser_test.py opens: view_pages FOLDER.
#include <cmath>
#include <cstdio>
#include <fstream>
#include <regex>
#include <string>

#include "ir/base/strings.h"
#include "ir/diff/graph_diff.h"
#include "ir/text/parse.h"
#include "tests/view/sample_graphs.h"
#include "tools/view/diff_page.h"
#include "tools/view/page.h"

namespace renga {
namespace {

constexpr int kLayers = 80;

// One layer as large as those of real models.
std::string LayerText(int layer, std::string_view in) {
  const std::string text = StrCat(
      "  %N.attn_norm: f32[T,64] = rms_norm(%IN, @blk.N.attn_norm.weight) {eps=1e-05}\n"
      "  %N.q_proj: f32[T,64] = linear(%N.attn_norm, @blk.N.attn_q.weight)\n"
      "  %N.k_proj: f32[T,32] = linear(%N.attn_norm, @blk.N.attn_k.weight)\n"
      "  %N.v_proj: f32[T,32] = linear(%N.attn_norm, @blk.N.attn_v.weight)\n"
      "  %N.q_heads: f32[T,8,8] = split_heads(%N.q_proj) {heads=8}\n"
      "  %N.k_heads: f32[T,4,8] = split_heads(%N.k_proj) {heads=4}\n"
      "  %N.v: f32[T,4,8] = split_heads(%N.v_proj) {heads=4}\n"
      "  %N.q: f32[T,8,8] = rope(%N.q_heads, %positions) {base=10000.0, dims=8, factor=1.0, "
      "magnitude=1.0, pairing=norm, scaling=none}\n"
      "  %N.k: f32[T,4,8] = rope(%N.k_heads, %positions) {base=10000.0, dims=8, factor=1.0, "
      "magnitude=1.0, pairing=norm, scaling=none}\n"
      "  %N.k_cells: f16[C,4,8] = kv_append(%N.k_cache, %N.k, %cells)\n"
      "  %N.v_cells: f16[C,4,8] = kv_append(%N.v_cache, %N.v, %cells)\n"
      "  %N.scores: f32[T,8,L] = attn_scores(%N.q, %N.k_cells, %sequences, %pages) "
      "{page_tokens=64, scale=0.35, span=L}\n"
      "  %N.probs: f32[T,8,L] = masked_softmax(%N.scores, %positions) {causal=true, window=0}\n"
      "  %N.mix: f32[T,8,8] = attn_values(%N.probs, %N.v_cells, %sequences, %pages) "
      "{page_tokens=64}\n"
      "  %N.attn: f32[T,64] = merge_heads(%N.mix)\n"
      "  %N.attn_out: f32[T,64] = linear(%N.attn, @blk.N.attn_output.weight)\n"
      "  %N.attn_res: f32[T,64] = add(%IN, %N.attn_out)\n"
      "  %N.ffn_norm: f32[T,64] = rms_norm(%N.attn_res, @blk.N.ffn_norm.weight) {eps=1e-05}\n"
      "  %N.gate: f32[T,172] = linear(%N.ffn_norm, @blk.N.ffn_gate.weight)\n"
      "  %N.up: f32[T,172] = linear(%N.ffn_norm, @blk.N.ffn_up.weight)\n"
      "  %N.act: f32[T,172] = glu(%N.gate, %N.up) {activation=silu}\n"
      "  %N.ffn_out: f32[T,64] = linear(%N.act, @blk.N.ffn_down.weight)\n"
      "  %N.out: f32[T,64] = add(%N.attn_res, %N.ffn_out)\n");
  const std::string numbered =
      std::regex_replace(text, std::regex("([%.@])N\\."), StrCat("$01", layer, "."));
  return std::regex_replace(numbered, std::regex("%IN"), StrCat("%", in));
}

// A decoder of `layers` layers.
std::string ModelText(int layers) {
  std::string text =
      "ir 1\ndim T = 1..128\ndim S = 1..1\ndim L = 1..2048\ndim P = 1..32\ndim C = 1..2048\n"
      "weight @token_embd.weight: f32[512,64]\n";
  std::string caches, nodes = "  %embed: f32[T,64] = embed(%tokens, @token_embd.weight)\n", out;
  std::string in = "embed";
  for (int i = 0; i < layers; ++i) {
    for (const auto& [role, shape] : {std::pair("attn_norm", "64"),
                                      {"attn_q", "64,64"},
                                      {"attn_k", "32,64"},
                                      {"attn_v", "32,64"},
                                      {"attn_output", "64,64"},
                                      {"ffn_norm", "64"},
                                      {"ffn_gate", "172,64"},
                                      {"ffn_up", "172,64"},
                                      {"ffn_down", "64,172"}}) {
      StrAppend(&text, "weight @blk.", i, ".", role, ".weight: f32[", shape, "]\n");
    }
    StrAppend(&caches, "cache %", i, ".k_cache: f16[C,4,8]\ncache %", i, ".v_cache: f16[C,4,8]\n");
    nodes += LayerText(i, in);
    in = StrCat(i, ".out");
    StrAppend(&out, ", %", i, ".k_cells, %", i, ".v_cells");
  }
  return StrCat(text, caches,
                "graph @step(%tokens: i32[T], %positions: i32[T], %sequences: i32[T], "
                "%cells: i32[T], %pages: i32[S,P]) {\n",
                nodes, "  return %", in, out, "\n}\n");
}

void Write(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

std::string GraphPageOf(const std::string& title, const Graph& graph) {
  GraphPage page;
  page.title = title;
  page.producer = "renga test";
  page.stage = "as it stands in the file";
  page.graph = &graph;
  page.source = &graph;
  return GraphPageHtml(page);
}

std::string HostilePage() {
  const Graph graph = SmallGraph();
  GraphPage page;
  page.title = "</title><script>alert(1)</script>";
  page.facts = {{"name", "</script><img src=http://example.com/x onerror=alert(1)>\xff"}};
  page.ledger = {{"pass", "1.norm", 1, plan::LedgerResult::kRejected, "<b>\x1b[31m</b>"}};
  page.weights = {{.name = "</script>", .shape = {3}, .bytes = 12}};
  page.graph = &graph;
  page.source = &graph;
  Trace trace;
  trace.values = {{.name = "1.norm", .shape = {2, 3}, .axes = {"token", "<i>"}}};
  trace.values[0].stats.nans = 5;
  page.trace = &trace;
  return GraphPageHtml(page);
}

std::string DiffPageOf(const Graph& a, const Graph& b) {
  const GraphDiff diff = DiffGraphs(a, b);
  DiffPage page;
  page.a_title = "a.ir";
  page.b_title = "b.ir";
  page.producer = "renga test";
  page.a = &a;
  page.b = &b;
  page.diff = &diff;
  for (size_t i = 0; i < diff.matches.size() && !diff.equal(); ++i) {
    page.errors.push_back({.match = static_cast<int>(i),
                           .max_abs = 1e-6 * static_cast<double>(i),
                           .rel_rms = 1e-7,
                           .cosine = 1,
                           .worst = "token 1, dim <2>: 0.25 against 0.5",
                           .first = i == 8});
  }
  return DiffPageHtml(page);
}

// By hand: layer 0's gate, up and act became one node.
std::string FusedPage() {
  const Graph a = Parsed(ModelText(1));
  Graph b = a;
  std::erase_if(b.nodes, [&](const Node& node) {
    return NodeName(b, node) == "0.gate" || NodeName(b, node) == "0.up";
  });
  GraphDiff diff;
  NodeMatch fused;
  diff.match_of_a.resize(a.nodes.size());
  diff.match_of_b.resize(b.nodes.size());
  for (size_t i = 0, j = 0; i < a.nodes.size(); ++i) {
    fused.a.push_back(static_cast<int>(i));
    diff.match_of_a[i] = static_cast<int>(diff.matches.size());
    const std::string_view name = NodeName(a, a.nodes[i]);
    if (name == "0.gate" || name == "0.up") continue;
    fused.b = {static_cast<int>(j)};
    diff.match_of_b[j++] = static_cast<int>(diff.matches.size());
    if (name == "0.act") {
      diff.changes.push_back({.kind = ChangeKind::kFused,
                              .match = static_cast<int>(diff.matches.size()),
                              .a_name = "0.act",
                              .b_name = "0.act",
                              .layer = 0,
                              .before = "gate up act",
                              .after = "act"});
    }
    diff.matches.push_back(std::move(fused));
    fused = {};
  }
  diff.groups.push_back(
      {.kind = ChangeKind::kFused, .layers = {0}, .changes = {0}, .role = "act", .after = "act"});
  DiffPage page;
  page.a_title = "a.ir";
  page.b_title = "b.ir";
  page.a = &a;
  page.b = &b;
  page.diff = &diff;
  return DiffPageHtml(page);
}

void MakePages(const std::string& folder) {
  const Graph a = Parsed(ModelText(kLayers));
  Graph b = a;
  for (Node& node : b.nodes) {
    const std::string_view name = NodeName(b, node);
    if (node.op->name == "rope") node.attrs["base"] = 500000.0;
    if (name == "7.ffn_norm") node.attrs["eps"] = 1e-6;
  }
  for (Value& value : b.values) {
    if (value.name == "9.act") value.name = "9.activated";
  }
  Write(folder + "/layers.html", GraphPageOf("layers.ir", a));
  Write(folder + "/hostile.html", HostilePage());
  Write(folder + "/diff.html", DiffPageOf(a, b));
  Write(folder + "/fused.html", FusedPage());
  Write(folder + "/equal.html", DiffPageOf(a, a));
  Write(folder + "/hostile_diff.html", DiffPageOf(SmallGraph(), Parsed(ModelText(1))));
}

}  // namespace
}  // namespace renga

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: view_pages FOLDER\n");
    return 2;
  }
  renga::MakePages(argv[1]);
  return 0;
}
