// Settings under the name of another architecture than the file's, which nothing reads.
#include <algorithm>
#include <iterator>
#include <map>

#include "ir/base/status.h"
#include "tools/lint/check.h"

namespace renga {
namespace {

// Names that GGUF files use for architectures (general.architecture).
constexpr std::string_view kArchitectures[] = {
    "baichuan",  "bloom",    "command-r", "deepseek",  "deepseek2", "falcon",   "gemma",
    "gemma2",    "gemma3",   "glm4",      "gpt-oss",   "gpt2",      "gptneox",  "granite",
    "internlm2", "llama",    "llama4",    "minicpm",   "mistral3",  "mpt",      "olmo",
    "olmo2",     "phi2",     "phi3",      "qwen",      "qwen2",     "qwen2moe", "qwen3",
    "qwen35",    "qwen3moe", "stablelm",  "starcoder2"};

std::vector<Finding> Run(const LintInput& input) {
  std::map<std::string_view, std::vector<std::string_view>> keys;  // by the architecture they name
  for (const MetaEntry& entry : input.file.metadata().entries()) {
    const std::string_view prefix = entry.key.substr(0, entry.key.find('.'));
    if (prefix == input.model.info.architecture) continue;
    if (std::find(std::begin(kArchitectures), std::end(kArchitectures), prefix) !=
        std::end(kArchitectures)) {
      keys[prefix].push_back(entry.key);
    }
  }
  std::vector<Finding> findings;
  for (const auto& [prefix, names] : keys) {
    std::string what = StrCat("a setting of ", prefix, " in a file of architecture ",
                              input.model.info.architecture);
    if (names.size() > 1) StrAppend(&what, ", and ", names.size() - 1, " more");
    findings.push_back(AboutKey(
        names[0], Sureness::kLikely, std::move(what),
        "nothing reads it, and a default holds in its place: the file was made of parts of two, or "
        "only its general.architecture was changed",
        "convert the model again instead of renaming its architecture"));
  }
  return findings;
}

}  // namespace

const Check kForeignKeys = {"foreign-keys", "settings under another architecture's name", Run};

}  // namespace renga
