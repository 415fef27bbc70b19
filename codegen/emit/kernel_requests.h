// Which kernel is to compute a node that more than one can compute, where somebody asked: for
// tests, and to find out which one is at fault. What there is to ask for is in a plan's choices.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ir/core/graph.h"

namespace renga::codegen {

class KernelRequests {
 public:
  KernelRequests() = default;
  // Each is "NODE=KERNEL", or "*=KERNEL" of all nodes that it is a choice of; what names a node
  // goes before what names all. Those of nodes that the graph does not have may be there where
  // `may_be_gone`. InvalidArgument for another form, or a node that is named twice.
  static absl::StatusOr<KernelRequests> Parse(absl::Span<const std::string> requests,
                                              bool may_be_gone);

  // What was asked for of a node; nothing: the usual. InvalidArgument where it is none of
  // `possible`.
  absl::StatusOr<std::optional<std::string>> For(std::string_view node,
                                                 absl::Span<const std::string> possible);

  // InvalidArgument for one that For was never asked about.
  absl::Status CheckMet(const Graph& graph) const;

 private:
  struct Request {
    std::string node, kernel;
    bool met = false;
  };

  std::vector<Request> requests_;
  bool may_be_gone_ = false;
};

}  // namespace renga::codegen
