#include "ir/trace/error_sources.h"

#include <algorithm>

#include "ir/trace/value_error.h"

namespace renga {
namespace {

// The input that explains most: of several, errors are not added up, kAmplification covers that.
struct Reach {
  double relative = 0;
  double rms = 0;
  ValueId value = kNoValue;
  bool operator<(const Reach& other) const { return relative * rms < other.relative * other.rms; }
};

}  // namespace

std::vector<ErrorSource> FindErrorSources(const Graph& graph,
                                          const std::vector<KnownError>& errors) {
  std::vector<ErrorSource> sources(graph.values.size());
  // For a value that was not compared: the nearest compared values before it, by their largest
  // absolute and their largest relative error. Two are enough for the maximum that the rule wants.
  std::vector<Reach> absolute(graph.values.size()), relative(graph.values.size());
  for (ValueId id = 0; id < static_cast<ValueId>(graph.values.size()); ++id) {
    if (!errors[id].known) continue;
    absolute[id] = relative[id] = {errors[id].relative, errors[id].rms, id};
  }
  for (const Node& node : graph.nodes) {
    Reach by_absolute, by_relative;
    for (const ValueId id : node.operands) {
      if (id == kNoValue) continue;
      if (by_absolute < absolute[id]) by_absolute = absolute[id];
      if (by_relative.relative < relative[id].relative) by_relative = relative[id];
    }
    for (const ValueId id : node.results) {
      if (!errors[id].known) {
        absolute[id] = by_absolute;
        relative[id] = by_relative;
        // Rounding to a narrower type makes all of its last digit of any difference.
        if (by_relative.relative > 0) {
          const double roundoff = Roundoff(graph.value(id).type.dtype);
          relative[id].relative = std::max(by_relative.relative, roundoff);
        }
        continue;
      }
      const KnownError& out = errors[id];
      ErrorSource& source = sources[id];
      const auto consider = [&](const Reach& reach) {
        if (reach.value == kNoValue || !(reach.relative > 0)) return;
        const double scale = out.rms > 0 ? std::max(1.0, reach.rms / out.rms) : 1.0;
        if (!(reach.relative * scale > source.inputs)) return;
        source.inputs = reach.relative * scale;
        source.input = reach.value;
      };
      consider(by_relative);
      consider(by_absolute);
      source.unexplained =
          out.relative > out.tolerance && out.relative > kAmplification * source.inputs;
    }
  }
  return sources;
}

}  // namespace renga
