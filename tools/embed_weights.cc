#include "tools/embed_weights.h"

#include <utility>

#include "ir/base/status.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/serialize.h"
#include "runtime/plan/validate.h"

namespace renga {

absl::StatusOr<std::unique_ptr<EmbeddedPlan>> EmbedWeights(plan::Plan* plan, int threads) {
  auto file = std::make_unique<EmbeddedPlan>();
  WeightOptions options;
  options.threads = threads;
  RENGA_ASSIGN_OR_RETURN(file->store, WeightStore::Open(*plan, options));
  file->zeros.assign(plan::kPageBytes, '\0');
  file->parts.push_back({});  // the head, once it is known
  plan->data_bytes = 0;
  for (size_t i = 0; i < plan->weights.size(); ++i) {
    plan::Weight& weight = plan->weights[i];
    const std::string_view data(
        reinterpret_cast<const char*>(file->store.data(static_cast<int>(i))),
        plan::StoredBytes(weight));
    weight.embedded = {plan->data_bytes, DigestOf(data)};
    plan->data_bytes += plan::AlignToPage(data.size());
    file->parts.push_back(data);
    file->parts.push_back(
        std::string_view(file->zeros).substr(0, plan::AlignToPage(data.size()) - data.size()));
  }
  if (plan->data_bytes == 0) {
    return absl::InvalidArgumentError("--embed-weights: expected a plan with weights, got none");
  }
  RENGA_RETURN_IF_ERROR(plan::Validate(*plan));
  RENGA_ASSIGN_OR_RETURN(plan::PlanEnds ends, plan::SerializeEnds(*plan));
  file->head = std::move(ends.head);
  file->trailer = std::move(ends.trailer);
  file->parts[0] = file->head;
  file->parts.push_back(file->trailer);
  for (const std::string_view part : file->parts) file->bytes += part.size();
  return file;
}

}  // namespace renga
