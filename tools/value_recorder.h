// What the steps of a plan write, copied under the names of the graph's values as they run, on any
// device.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "ir/core/graph.h"
#include "ir/trace/trace.h"
#include "tools/step_memory.h"

namespace renga {

class ValueRecorder {
 public:
  // `graph` is that of the memory's plan. Values go to `trace`, whose run says which rows to keep
  // (positions.h); of caches the first `cells` cells. `keep`: which values; null: all. All but
  // `keep` outlive this.
  ValueRecorder(const StepMemory& memory, const Graph& graph, int64_t cells,
                std::function<bool(std::string_view name)> keep, const std::atomic<bool>* cancel,
                Trace* trace);

  // To be called after each step of a run. Cancelled once `cancel` is set; else errors are the
  // memory's.
  absl::Status AfterStep(int step);

  // In the graph's order, as the interpreter records them: a view is copied with its buffer, which
  // may be long before its node.
  void SortValues();

 private:
  struct Source {
    const TensorType* type;
    std::string_view op;
    size_t order;  // of the graph's values
  };

  absl::Status Record(const std::string& name, int buffer);

  const StepMemory& memory_;
  const plan::Plan& plan_;
  const int64_t cells_;
  const std::function<bool(std::string_view name)> keep_;
  const std::atomic<bool>* cancel_;
  Trace* trace_;
  std::map<std::string, Source, std::less<>> values_;
  std::map<std::string, std::vector<std::string>, std::less<>> results_;  // of a node, by its name
  std::map<int, std::vector<int>> views_;
};

}  // namespace renga
