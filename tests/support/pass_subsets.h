// Models compiled with some of the passes, and what they generate.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "ir/base/status.h"
#include "ir/base/strings.h"
#include "passes/core/pipeline.h"
#include "tools/compiler.h"
#include "tools/open_on_host.h"

namespace renga {

// Bit i: pass i of the default pipeline runs.
using PassSet = uint32_t;

inline int PassCount() { return static_cast<int>(DefaultPipeline().size()); }
inline PassSet AllPasses() { return (PassSet{1} << PassCount()) - 1; }

inline std::vector<std::string> NamesOf(PassSet set) {
  std::vector<std::string> names;
  for (int i = 0; i < PassCount(); ++i) {
    if ((set >> i & 1) != 0) names.emplace_back(DefaultPipeline()[i].name);
  }
  return names;
}

inline std::string TextOf(PassSet set) {
  return StrCat("passes {", StrJoin(NamesOf(set), ","), "}");
}

inline absl::StatusOr<std::shared_ptr<const plan::Plan>> CompileWith(const std::string& model,
                                                                     PassSet set,
                                                                     CompileOptions options) {
  options.only_passes = NamesOf(set);
  options.threads = 1;
  RENGA_ASSIGN_OR_RETURN(Compilation compilation, Compile(model, options));
  return std::make_shared<const plan::Plan>(std::move(compilation.plan));
}

// Greedy, from an empty sequence: the prompt in steps as long as they may be, then one token a
// step. Ties go to the lower id.
inline absl::StatusOr<std::vector<int32_t>> Greedy(Forward& forward,
                                                   const std::vector<int32_t>& prompt,
                                                   int64_t tokens) {
  RENGA_RETURN_IF_ERROR(forward.Truncate(0));
  std::vector<float> logits;
  const size_t most = static_cast<size_t>(forward.max_step_tokens());
  for (size_t begin = 0; begin < prompt.size(); begin += most) {
    const auto chunk = absl::MakeConstSpan(prompt).subspan(begin, most);
    std::vector<int32_t> rows;
    if (begin + chunk.size() == prompt.size()) {
      rows.push_back(static_cast<int32_t>(chunk.size()) - 1);
    }
    RENGA_RETURN_IF_ERROR(forward.Run(chunk, rows, &logits));
  }
  std::vector<int32_t> ids;
  while (static_cast<int64_t>(ids.size()) < tokens) {
    const auto best = std::max_element(logits.begin(), logits.end());
    ids.push_back(static_cast<int32_t>(best - logits.begin()));
    if (static_cast<int64_t>(ids.size()) == tokens) break;
    RENGA_RETURN_IF_ERROR(forward.Run(absl::MakeConstSpan(ids).last(1), {0}, &logits));
  }
  return ids;
}

}  // namespace renga
