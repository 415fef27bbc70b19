// The faults that a device can have, of any model: how each is put in, what it must be found as,
// and in which models it cannot exist. The numbers are those of docs/faults.md.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ir/core/graph.h"
#include "tests/faults/zoo/zoo.h"

namespace renga::faults {

// What the rules ask of a model.
struct ZooModel {
  std::string name;  // "llama-moe"
  std::string path;
  Graph graph;  // as the frontend wrote it
  int layers = 0;
  int64_t width = 0, heads = 0, kv_heads = 0, vocab = 0;
  std::vector<std::string> biases;  // names of weights
  bool tied = false;                // the output is the embedding
  // Whether a product reads a matrix of one of these types.
  bool HasProductOf(std::initializer_list<DType> types) const;
  bool HasExperts() const;
};

// Errors as GgufFile::Open and BuildModel.
absl::StatusOr<ZooModel> OpenZooModel(const std::string& path);
// stories260K and all of tests/data/tiny, by name.
std::vector<std::string> ZooModelPaths();

struct DeviceFault {
  std::string name;    // "f02_pairs_of_rope"
  bool fused = false;  // with all passes, else none
  // Why a model cannot have it; empty: it can.
  std::function<std::string(const ZooModel&)> cannot;
  std::function<Faults(const ZooModel&)> faults;
  // Every value that it makes wrong, with what is said of it (a part of that), of the graph that
  // runs.
  std::function<std::map<std::string, std::string>(const ZooModel&, const Graph&)> wrong;
  bool several = false;  // more than one fault at once
};

absl::Span<const DeviceFault> DeviceFaults();

// What is not as it should be: values that are not named, named in other words, blamed. Empty: the
// fault is found and nothing else.
std::vector<std::string> Differences(const std::map<std::string, std::string>& wrong,
                                     const Verdict& verdict);

}  // namespace renga::faults
