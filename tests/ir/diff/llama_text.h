// The text of a llama-like graph of any number of layers, to be edited and compared.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "ir/core/graph.h"
#include "ir/core/op_def.h"
#include "ir/text/parse.h"

namespace renga {

inline std::string LlamaText(int layers = 2) {
  std::string text =
      "ir 1\ndim T = 1..512\ndim R = 1..8\ndim S = 1..4\ndim P = 1..16\ndim C = 1..4096\n"
      "dim L = 1..4096\nweight @token_embd.weight: q8_0[1000,64]\n";
  std::string caches, nodes, returned;
  for (int layer = 0; layer < layers; ++layer) {
    // # is the layer, < the value it starts from.
    std::string weights =
        "weight @blk.#.attn_norm.weight: f32[64]\n"
        "weight @blk.#.attn_q.weight: q4_0[64,64]\n"
        "weight @blk.#.attn_q.bias: f32[64]\n"
        "weight @blk.#.attn_k.weight: q4_0[32,64]\n"
        "weight @blk.#.attn_v.weight: q4_0[32,64]\n"
        "weight @blk.#.attn_output.weight: f16[64,64]\n"
        "weight @blk.#.ffn_norm.weight: f32[64]\n"
        "weight @blk.#.ffn_gate.weight: q4_0[96,64]\n"
        "weight @blk.#.ffn_up.weight: q4_0[96,64]\n"
        "weight @blk.#.ffn_down.weight: q4_0[64,96]\n";
    std::string body =
        "  %#.attn_norm: f32[T,64] = rms_norm(<, @blk.#.attn_norm.weight) {eps=1e-06}\n"
        "  %#.q_proj: f32[T,64] = linear(%#.attn_norm, @blk.#.attn_q.weight, "
        "bias=@blk.#.attn_q.bias)\n"
        "  %#.k_proj: f32[T,32] = linear(%#.attn_norm, @blk.#.attn_k.weight)\n"
        "  %#.v_proj: f32[T,32] = linear(%#.attn_norm, @blk.#.attn_v.weight)\n"
        "  %#.q_heads: f32[T,4,16] = split_heads(%#.q_proj) {heads=4}\n"
        "  %#.k_heads: f32[T,2,16] = split_heads(%#.k_proj) {heads=2}\n"
        "  %#.v: f32[T,2,16] = split_heads(%#.v_proj) {heads=2}\n"
        "  %#.q: f32[T,4,16] = rope(%#.q_heads, %positions) {base=10000.0, dims=16, factor=1.0, "
        "magnitude=1.0, pairing=norm, scaling=none}\n"
        "  %#.k: f32[T,2,16] = rope(%#.k_heads, %positions) {base=10000.0, dims=16, factor=1.0, "
        "magnitude=1.0, pairing=norm, scaling=none}\n"
        "  %#.k_cells: f16[C,2,16] = kv_append(%#.k_cache, %#.k, %cells)\n"
        "  %#.v_cells: f16[C,2,16] = kv_append(%#.v_cache, %#.v, %cells)\n"
        "  %#.scores: f32[T,4,L] = attn_scores(%#.q, %#.k_cells, %sequences, %pages) "
        "{page_tokens=64, scale=0.25, span=L}\n"
        "  %#.probs: f32[T,4,L] = masked_softmax(%#.scores, %positions) {causal=true, window=0}\n"
        "  %#.mix: f32[T,4,16] = attn_values(%#.probs, %#.v_cells, %sequences, %pages) "
        "{page_tokens=64}\n"
        "  %#.attn: f32[T,64] = merge_heads(%#.mix)\n"
        "  %#.attn_out: f32[T,64] = linear(%#.attn, @blk.#.attn_output.weight)\n"
        "  %#.attn_res: f32[T,64] = add(<, %#.attn_out)\n"
        "  %#.ffn_norm: f32[T,64] = rms_norm(%#.attn_res, @blk.#.ffn_norm.weight) {eps=1e-06}\n"
        "  %#.gate: f32[T,96] = linear(%#.ffn_norm, @blk.#.ffn_gate.weight)\n"
        "  %#.up: f32[T,96] = linear(%#.ffn_norm, @blk.#.ffn_up.weight)\n"
        "  %#.act: f32[T,96] = glu(%#.gate, %#.up) {activation=silu}\n"
        "  %#.ffn_out: f32[T,64] = linear(%#.act, @blk.#.ffn_down.weight)\n"
        "  %#.out: f32[T,64] = add(%#.attn_res, %#.ffn_out)\n";
    std::string cache = "cache %#.k_cache: f16[C,2,16]\ncache %#.v_cache: f16[C,2,16]\n";
    std::string back = ", %#.k_cells, %#.v_cells";
    const std::string input = layer == 0 ? "%embed" : StrCat("%", layer - 1, ".out");
    const auto fill = [&](const std::string& from, std::string* into) {
      for (const char c : from) {
        if (c == '#') {
          StrAppend(into, layer);
        } else if (c == '<') {
          into->append(input);
        } else {
          into->push_back(c);
        }
      }
    };
    fill(weights, &text);
    fill(cache, &caches);
    fill(body, &nodes);
    fill(back, &returned);
  }
  StrAppend(&text, "weight @output_norm.weight: f32[64]\n", caches,
            "graph @step(%tokens: i32[T], %positions: i32[T], %sequences: i32[T], %cells: i32[T], "
            "%pages: i32[S,P], %rows: i32[R]) {\n"
            "  %embed: f32[T,64] = embed(%tokens, @token_embd.weight)\n",
            nodes, "  %output_norm: f32[T,64] = rms_norm(%", layers - 1,
            ".out, @output_norm.weight) {eps=1e-06}\n"
            "  %logits_all: f32[T,1000] = linear(%output_norm, @token_embd.weight)\n"
            "  %logits: f32[R,1000] = gather_rows(%logits_all, %rows)\n"
            "  return %logits",
            returned, "\n}\n");
  return text;
}

// `text` with every `from` replaced; a test whose text has none of it fails.
inline std::string Replaced(std::string text, std::string_view from, std::string_view to) {
  size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  for (; at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// An operator of the tests alone, so that fusions do not depend on which operators exist.
inline const OpDef kAddBias = {.name = "add_bias", .operands = {{"x"}, {"bias", true}}};

// The graph before a bias was fused into q_proj: q_mm and the add_bias that makes it q_proj.
inline Graph WithSplitBias(Graph graph) {
  std::vector<Node> nodes;
  for (Node& node : graph.nodes) {
    if (node.op->name != "linear" || node.operands[2] == kNoValue) {
      nodes.push_back(std::move(node));
      continue;
    }
    const Value result = graph.value(node.results[0]);
    const ValueId product =
        graph.AddValue(StrCat(LayerOf(result.name), ".q_mm"), result.type, ValueKind::kResult);
    Node add{.op = &kAddBias, .operands = {product, node.operands[2]}, .results = node.results};
    node.operands[2] = kNoValue;
    node.results = {product};
    nodes.push_back(std::move(node));
    nodes.push_back(std::move(add));
  }
  graph.nodes = std::move(nodes);
  return graph;
}

// The whole of a layer's attention between rope and merge_heads.
inline const OpDef kWholeAttention = {
    .name = "whole_attention",
    .operands = {{"q"}, {"k"}, {"v"}, {"positions"}, {"sequences"}, {"pages"}},
    .attrs = {{"scale", AttrType::kFloat}},
};

inline Graph Parsed(const std::string& text) {
  absl::StatusOr<Graph> graph = Parse(text, "test.ir");
  EXPECT_TRUE(graph.ok()) << graph.status();
  return graph.ok() ? *std::move(graph) : Graph();
}

}  // namespace renga
