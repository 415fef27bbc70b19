// What differs between two GGUF files: metadata, tensors, and how far the weights are apart.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "frontend/gguf/gguf.h"
#include "ir/diff/graph_diff.h"

namespace renga {

// A key or fact of the container. `before` is empty where it was added, `after` where removed.
struct MetadataChange {
  ChangeKind kind = ChangeKind::kAttribute;  // kAdded, kRemoved, kType or kAttribute (its value)
  std::string key;
  std::string before;
  std::string after;
  std::string note;  // of arrays: "3 of 512 elements, the first at 7"
};

// How far the numbers of b are from those of a.
struct WeightError {
  double squared_error = 0;  // sum over all elements of (b - a)^2
  double squares = 0;        // sum over all elements of a^2
  int64_t elements = 0;
  int64_t not_finite = 0;  // elements that are NaN or infinite on one side only; in no sum

  // ||b - a|| / ||a||; infinite where a is all zeros and b is not.
  double RelativeRms() const;
  void Add(const WeightError& other);
};

struct TensorChange {
  ChangeKind kind;   // kAdded, kRemoved, kShape, kWeightType or kWeightValues
  std::string name;  // "blk.3.attn_q.weight"
  int layer = -1;    // 3; -1 outside layers
  std::string role;  // "attn_q.weight"
  std::string before;
  std::string after;                 // "q5_0", "f32[64,64]"
  std::optional<WeightError> error;  // where both sides have as many elements
  uint64_t bytes_before = 0;
  uint64_t bytes_after = 0;
};

// Tensors of one role that changed alike.
struct TensorGroup {
  ChangeKind kind;
  std::string role;
  std::vector<int> layers;   // ascending; empty outside layers
  std::vector<int> changes;  // indices into GgufDiff::tensors
  std::string before;
  std::string after;
  std::optional<WeightError> error;  // over all tensors of the group
  uint64_t bytes_before = 0;
  uint64_t bytes_after = 0;
};

struct GgufDiff {
  std::vector<MetadataChange> metadata;
  std::vector<TensorChange> tensors;
  std::vector<TensorGroup> groups;
  int64_t keys = 0;            // that both files have
  int64_t common_tensors = 0;  // that both files have

  bool equal() const { return metadata.empty() && tensors.empty(); }
};

struct GgufDiffOptions {
  int threads = 1;
  // Called now and then, from any thread, with bytes done of all; a false answer stops the
  // comparison (Cancelled).
  std::function<bool(int64_t done, int64_t total)> progress;
};

// Reads every weight of both files that are not the same bytes. Where tensors lie in the file is no
// difference. Errors: Cancelled.
absl::StatusOr<GgufDiff> DiffGgufs(const GgufFile& a, const GgufFile& b,
                                   const GgufDiffOptions& options);

}  // namespace renga
