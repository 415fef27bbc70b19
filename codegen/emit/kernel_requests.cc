#include "codegen/emit/kernel_requests.h"

#include <algorithm>

#include "ir/base/status.h"

namespace renga::codegen {
namespace {

constexpr std::string_view kFlag = "--kernel", kAll = "*";

// Without sigil; null: the graph has none of that name.
const Node* FindNode(const Graph& graph, std::string_view name) {
  for (const Node& node : graph.nodes) {
    if (NodeName(graph, node) == name) return &node;
  }
  return nullptr;
}

}  // namespace

absl::StatusOr<KernelRequests> KernelRequests::Parse(absl::Span<const std::string> requests,
                                                     bool may_be_gone) {
  KernelRequests parsed;
  parsed.may_be_gone_ = may_be_gone;
  for (const std::string& text : requests) {
    const size_t equals = text.rfind('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == text.size()) {
      return absl::InvalidArgumentError(
          StrCat(kFlag, " ", text, ": expected NODE=KERNEL, as 0.act=mma"));
    }
    Request request{text.substr(0, equals), text.substr(equals + 1)};
    for (const Request& other : parsed.requests_) {
      if (other.node != request.node) continue;
      return absl::InvalidArgumentError(StrCat(kFlag, " ", text,
                                               ": expected one kernel a node, got ", other.kernel,
                                               " for ", other.node, " before"));
    }
    parsed.requests_.push_back(std::move(request));
  }
  return parsed;
}

absl::StatusOr<std::optional<std::string>> KernelRequests::For(
    std::string_view node, absl::Span<const std::string> possible) {
  Request* all = nullptr;
  for (Request& request : requests_) {
    const bool is_possible =
        std::find(possible.begin(), possible.end(), request.kernel) != possible.end();
    if (request.node == kAll && is_possible) all = &request;
    if (request.node != node) continue;
    if (!is_possible) {
      return absl::InvalidArgumentError(
          StrCat(kFlag, " ", node, "=", request.kernel, ": expected one of ",
                 StrJoin(possible, ", "), ", which can compute it here, got ", request.kernel));
    }
    request.met = true;
    return request.kernel;
  }
  if (all == nullptr) return std::nullopt;
  all->met = true;
  return all->kernel;
}

absl::Status KernelRequests::CheckMet(const Graph& graph) const {
  for (const Request& request : requests_) {
    if (request.met || may_be_gone_) continue;
    const Node* const node = FindNode(graph, request.node);
    const std::string got = request.node == kAll ? "none that this is a choice of"
                            : node == nullptr    ? StrCat("no node of that name")
                                                 : StrCat(node->op->name, ", which one alone can");
    return absl::InvalidArgumentError(
        StrCat(kFlag, " ", request.node, "=", request.kernel,
               ": expected a node that more than one kernel can compute, got ", got,
               "; `renga dump --stage ledger --json` lists them, the choices of a kernel"));
  }
  return absl::OkStatus();
}

}  // namespace renga::codegen
