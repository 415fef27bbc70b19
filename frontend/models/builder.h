// Writes a model's graph and keeps the account of its weights. The first error sticks: later calls
// do nothing, and Finish returns it, so that an architecture reads as what it computes.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "frontend/gguf/gguf.h"
#include "frontend/models/model.h"
#include "ir/core/graph.h"

namespace renga {

enum class Presence { kAbsent, kOptional, kRequired };

class ModelBuilder {
 public:
  // `vocab` is the number of tokens of the file's vocabulary. `file` outlives the builder.
  ModelBuilder(const GgufFile& file, std::string_view architecture, const GraphOptions& options,
               int64_t vocab);

  // Metadata `<architecture>.<key>`. Without a default the key is required. Integers are sizes and
  // counts: 0..2^31-1.
  int64_t Int(std::string_view key);
  int64_t Int(std::string_view key, int64_t otherwise);
  double Float(std::string_view key);  // finite
  double Float(std::string_view key, double otherwise);
  double PositiveFloat(std::string_view key);
  double PositiveFloat(std::string_view key, double otherwise);
  bool Bool(std::string_view key, bool otherwise);
  std::string String(std::string_view key, std::string_view otherwise);
  // A key that holds one number for all layers, or a list with one a layer.
  int64_t LayerInt(std::string_view key, int layer);
  int64_t LayerInt(std::string_view key, int layer, int64_t otherwise);
  bool HasKey(std::string_view key) const;

  // The tensor of that name as a weight of the graph, declared on first use. Its shape must be
  // `shape`; an error names the tensor, the shape expected and the shape in the file.
  ValueId Weight(const std::string& name, std::vector<int64_t> shape);
  // kNoValue when the file has none and it is optional.
  ValueId Weight(const std::string& name, std::vector<int64_t> shape, Presence presence);
  bool HasTensor(std::string_view name) const;
  // Size of axis 0 of a tensor that must be there.
  int64_t TensorRows(std::string_view name);
  int64_t tensor_count() const;
  // Says why a tensor of the file is rightly unused. Does nothing when the file lacks it.
  void Ignore(const std::string& name, std::string_view reason);

  // Adds a node with one result.
  ValueId Op(std::string_view op, std::string name, std::vector<ValueId> operands,
             AttrMap attrs = {});

  // Adds a node with as many results as there are names; empty after an error.
  std::vector<ValueId> Ops(std::string_view op, std::vector<std::string> names,
                           std::vector<ValueId> operands, AttrMap attrs = {});

  // A K or V cache of `heads` x `head_dim` a cell.
  ValueId Cache(std::string name, DType dtype, int64_t heads, int64_t head_dim);
  // Names the value that holds a cache's new contents.
  void ReturnCache(ValueId value) { cache_returns_.push_back(value); }
  // [R,vocab], and the token that greedy decoding goes on with, i32[R].
  void ReturnLogits(ValueId logits, ValueId next) {
    logits_ = logits;
    next_ = next;
  }

  // Inputs of every graph, all i32: token ids, positions, page table rows and cache cells of the T
  // tokens; page tables of the S sequences; rows whose logits are asked for.
  ValueId tokens() const { return tokens_; }        // [T]
  ValueId positions() const { return positions_; }  // [T]
  ValueId sequences() const { return sequences_; }  // [T]
  ValueId cells() const { return cells_; }          // [T]
  ValueId pages() const { return pages_; }          // [S,P]
  ValueId rows() const { return rows_; }            // [R]

  const GraphOptions& options() const { return options_; }
  int64_t vocab() const { return vocab_; }
  ModelInfo& info() { return info_; }
  const TensorType& type(ValueId id) const { return graph_.value(id).type; }

  // Records an error unless there is one already.
  void Fail(const absl::Status& status);
  bool ok() const { return status_.ok(); }
  std::string Key(std::string_view key) const;  // "<architecture>.<key>"
  const std::string& path() const;

  // Checks the weight account, verifies the graph and hands everything over but the tokenizer.
  absl::StatusOr<Model> Finish() &&;

 private:
  template <typename T>
  T Take(absl::StatusOr<T> value, T otherwise);
  int64_t Size(std::string_view key, absl::StatusOr<int64_t> value, int64_t otherwise);
  absl::Status CheckAccount() const;

  const GgufFile& file_;
  std::string architecture_;
  GraphOptions options_;
  int64_t vocab_;
  absl::Status status_;
  Graph graph_;
  ModelInfo info_;
  std::vector<WeightSource> weights_;
  std::vector<IgnoredTensor> ignored_;
  absl::flat_hash_map<std::string, ValueId> bound_;
  std::vector<ValueId> cache_returns_;
  ValueId logits_ = kNoValue;
  ValueId next_ = kNoValue;
  ValueId tokens_, positions_, sequences_, cells_, pages_, rows_;
};

}  // namespace renga
