// Graphs that the tests of tools/view show.
#pragma once

#include <string>
#include <string_view>

#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "ir/text/parse.h"

namespace renga {

inline Graph Parsed(std::string_view text) {
  absl::StatusOr<Graph> graph = Parse(text, "test");
  EXPECT_TRUE(graph.ok()) << graph.status();
  return graph.ok() ? *std::move(graph) : Graph();
}

// A name that would do harm wherever it is taken for markup, for a script or by a terminal.
inline constexpr std::string_view kHostileName =
    R"("0.</script><img src=x onerror=alert(1)>\x1b[31m\xff\'&\"\\\xe2\x80\xae")";

// Two layers of a norm and a product; the weight of layer 0's product has a hostile name.
inline Graph SmallGraph() {
  return Parsed(StrCat(R"(ir 1
dim T = 1..4
weight @blk.0.norm.weight: f32[3]
weight @)",
                       kHostileName, R"(: f32[3,3]
weight @blk.1.norm.weight: f32[3]
weight @blk.1.proj.weight: f32[3,3]
graph @step(%x: f32[T,3]) {
  %0.norm: f32[T,3] = rms_norm(%x, @blk.0.norm.weight) {eps=1e-05}
  %0.proj: f32[T,3] = linear(%0.norm, @)",
                       kHostileName, R"()
  %1.norm: f32[T,3] = rms_norm(%0.proj, @blk.1.norm.weight) {eps=1e-05}
  %1.proj: f32[T,3] = linear(%1.norm, @blk.1.proj.weight)
  %)",
                       kHostileName, R"(: f32[T,3] = add(%1.proj, %0.proj) from(%)", kHostileName,
                       R"(, %gone)
  return %)",
                       kHostileName, R"(
}
)"));
}

}  // namespace renga
