// A context of next to nothing, and sizes that are odd.
#include "ir/base/status.h"
#include "tools/lint/check.h"
#include "tools/lint/keys.h"

namespace renga {
namespace {

constexpr int64_t kShortestContext = 32;  // tokens

std::vector<Finding> RunContext(const LintInput& input) {
  const int64_t context = input.model.info.context_length;
  if (context >= kShortestContext) return {};
  return {AboutKey(ModelKey(input, "context_length"),
                   context < 1 ? Sureness::kLikely : Sureness::kMaybe,
                   StrCat("is ", context, " tokens"),
                   "there is no room for a prompt; -c and scaled RoPE go by it too",
                   "compare with max_position_embeddings of the original's configuration")};
}

std::vector<Finding> RunOdd(const LintInput& input) {
  const ModelInfo& info = input.model.info;
  const int64_t value_length = ModelInt(input, "attention.value_length").value_or(0);
  const struct {
    std::string_view key;
    int64_t size;
  } sizes[] = {{"embedding_length", info.embedding},
               {"feed_forward_length", info.feed_forward},
               {"attention.key_length", info.head_dim},
               {"attention.value_length", value_length}};
  std::vector<Finding> findings;
  for (const auto& [key, size] : sizes) {
    if (size % 2 == 0) continue;
    findings.push_back(AboutKey(
        ModelKey(input, key), Sureness::kMaybe, StrCat("is ", size, ", an odd number"),
        "it computes, but no trained model has such a size: one too many or too few, perhaps",
        "compare with the sizes of the original's configuration"));
  }
  return findings;
}

}  // namespace

const Check kContextLength = {"context-length", "a context of next to nothing", RunContext};
const Check kOddSizes = {"odd-sizes", "sizes that are odd numbers", RunOdd};

}  // namespace renga
