#include "ir/trace/confirm.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "ir/base/status.h"
#include "ir/trace/recorded.h"
#include "ir/trace/replay.h"

namespace renga {
namespace {

// What a recorded, under the ids of b's graph.
Recorded RecordedByA(const ConfirmInputs& inputs) {
  absl::flat_hash_map<std::string_view, const TracedValue*> by_name;
  for (const TracedValue& value : inputs.a.values) by_name.emplace(value.name, &value);
  absl::flat_hash_map<ValueId, const TracedValue*> values;
  for (const auto& [a_id, b_id] : inputs.pairs) {
    const Value& value = inputs.a_graph.value(a_id);
    if (value.kind != ValueKind::kResult) continue;  // what a run is given, RunParam knows
    const auto found = by_name.find(value.name);
    if (found != by_name.end()) values.emplace(b_id, found->second);
  }
  return Recorded(inputs.b_graph, inputs.a.run, std::move(values));
}

}  // namespace

absl::Status ConfirmByReplay(const ConfirmInputs& inputs, TraceComparison* comparison) {
  const int threads = inputs.threads > 0
                          ? inputs.threads
                          : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  const Recorded recorded = RecordedByA(inputs);
  const RecordedValue lookup = [&](ValueId id) { return recorded(id); };
  const Replayer replayer(inputs.b_graph, inputs.b_weights, threads);
  absl::flat_hash_map<std::string_view, ValueId> b_ids;
  for (const auto& [a_id, b_id] : inputs.pairs) {
    const Value& value = inputs.b_graph.value(b_id);
    if (value.kind == ValueKind::kResult) b_ids.emplace(value.name, b_id);
  }
  comparison->unexplained.clear();
  for (size_t i = 0; i < comparison->values.size(); ++i) {
    ComparedValue& value = comparison->values[i];
    const auto id = b_ids.find(value.b_name);
    if (!value.within() && id != b_ids.end()) {
      const TracedValue* expected = recorded.Find(id->second);
      const absl::StatusOr<HostTensor> got =
          replayer.Replay(id->second, lookup, recorded.symbols());
      if (got.ok() && expected != nullptr) {
        std::vector<uint8_t> bytes;
        TracedValue again = ToTracedValue(*got, &bytes);
        again.name = value.b_name;
        again.axes = expected->axes;
        RENGA_ASSIGN_OR_RETURN(const ValueError error,
                               CompareValues(*expected, again, value.tolerance));
        value.replayed = error.relative;
        value.unexplained = error.relative > value.tolerance || error.lone_nonfinite > 0;
      }
    }
    if (value.unexplained) comparison->unexplained.push_back(static_cast<int>(i));
  }
  return absl::OkStatus();
}

}  // namespace renga
