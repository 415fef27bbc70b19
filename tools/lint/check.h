// A check: a name and a function that looks at a model and says what is suspicious about it. One
// file a check (or a few that look at the same thing); check_table.cc lists them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "frontend/gguf/gguf.h"
#include "frontend/models/model.h"
#include "tools/lint/finding.h"
#include "tools/lint/weight_facts.h"

namespace renga {

// The tensors of one role in all layers that have it.
struct TensorFamily {
  std::string role;          // "attn_q.weight"
  std::vector<int> tensors;  // indices into the file's tensors, by layer
  std::vector<int> layers;   // the layer of each, ascending
};

struct LintInput {
  const GgufFile& file;
  const Model& model;
  std::vector<WeightFacts> weights;    // one a tensor of the file, in its order
  std::vector<TensorFamily> families;  // by the place of their first tensor in the file
};

// The families of a file; tensors outside layers are in none.
std::vector<TensorFamily> FamiliesOf(const GgufFile& file);

// Null: no such family.
const TensorFamily* FindFamily(const LintInput& input, std::string_view role);

struct Check {
  std::string_view name;   // kebab-case
  std::string_view about;  // what it looks for, one line
  std::vector<Finding> (*run)(const LintInput& input);
};

extern const Check kNanWeights;
extern const Check kZeroWeights;
extern const Check kConstantWeights;
extern const Check kZeroRun;
extern const Check kZeroScales;
extern const Check kUnusedBiases;
extern const Check kMissingBiases;
extern const Check kLayerShapes;
extern const Check kDuplicateTensors;
extern const Check kQuantisationMix;
extern const Check kNormEpsilon;
extern const Check kRopeSettings;
extern const Check kMultipliers;
extern const Check kContextLength;
extern const Check kOddSizes;
extern const Check kForeignKeys;
extern const Check kPreTokenizer;
extern const Check kChatTemplate;
extern const Check kPaddedVocab;
extern const Check kSpecialTokens;
extern const Check kDuplicateTokens;

// In the order in which findings of the same sureness are listed.
absl::Span<const Check* const> AllChecks();

// Null: no such check.
const Check* FindCheck(std::string_view name);

// A finding about a tensor, its layer filled in.
Finding AboutTensor(const GgufTensor& tensor, Sureness sureness, std::string what,
                    std::string_view meaning, std::string_view advice);

// A finding about a metadata key.
Finding AboutKey(std::string_view key, Sureness sureness, std::string what,
                 std::string_view meaning, std::string_view advice);

// "f16[64,32]"
std::string TypeAndShape(const GgufTensor& tensor);

// Whether the tensor is a bias by its name.
bool IsBias(const GgufTensor& tensor);

}  // namespace renga
