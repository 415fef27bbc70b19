#include "ir/trace/write_trace.h"

#include <utility>

#include "ir/base/status.h"
#include "ir/trace/plain_text.h"
#include "ir/trace/safetensors.h"
#include "ir/trace/trace_keys.h"
#include "nlohmann/json.hpp"

namespace renga {
namespace {

using Json = nlohmann::ordered_json;

Json ValueJson(const TracedValue& value) {
  const ValueStats& stats = value.stats;
  return {{"name", EncodePlainText(value.name)},
          {"op", EncodePlainText(value.op)},
          {"axes", value.axes},
          {"min", stats.min},
          {"max", stats.max},
          {"mean", stats.mean},
          {"rms", stats.rms},
          {"zeros", stats.zeros},
          {"nans", stats.nans},
          {"infs", stats.infs}};
}

}  // namespace

absl::Status WriteTrace(const Trace& trace, const std::string& path) {
  const TraceRun& run = trace.run;
  SafeTensors file;
  const auto add = [&](std::string_view key, std::string_view text) {
    file.metadata.emplace_back(std::string(key), EncodePlainText(text));
  };
  add(trace_keys::kFormat, trace_keys::kFormatName);
  add(trace_keys::kVersion, trace_keys::kVersionText);
  add(trace_keys::kModel, run.model);
  add(trace_keys::kModelDigest, run.model_digest);
  add(trace_keys::kDevice, run.device);
  add(trace_keys::kTarget, run.target);
  add(trace_keys::kProducer, run.producer);
  add(trace_keys::kPrompt, run.prompt);
  add(trace_keys::kIds, StrJoin(run.ids, ","));
  add(trace_keys::kPositions, StrJoin(run.positions, ","));
  add(trace_keys::kKType, run.k_type);
  add(trace_keys::kVType, run.v_type);
  add(trace_keys::kIr, run.ir);
  Json values = Json::array();
  for (const TracedValue& value : trace.values) {
    values.push_back(ValueJson(value));
    file.tensors.push_back({EncodePlainText(value.name), value.dtype, value.shape, value.data});
  }
  // JSON itself: it is UTF-8 already, and its backslashes are its own.
  file.metadata.emplace_back(std::string(trace_keys::kValues), values.dump());
  return WriteSafetensors(file, path);
}

}  // namespace renga
