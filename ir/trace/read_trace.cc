// Reads a trace's file. Everything in it is checked: it may come from anywhere.
#include <charconv>
#include <cmath>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "ir/base/mapped_file.h"
#include "ir/base/status.h"
#include "ir/trace/plain_text.h"
#include "ir/trace/positions.h"
#include "ir/trace/safetensors.h"
#include "ir/trace/trace.h"
#include "ir/trace/trace_keys.h"
#include "nlohmann/json.hpp"

namespace renga {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxAxisName = 64;

absl::StatusOr<std::string> Text(const SafeTensors& file, std::string_view key) {
  const std::string* text = file.FindMetadata(key);
  if (text == nullptr) {
    return absl::InvalidArgumentError(StrCat("metadata ", key, ": expected a text, got none"));
  }
  std::optional<std::string> decoded = DecodePlainText(*text);
  if (!decoded) {
    return absl::InvalidArgumentError(
        StrCat("metadata ", key, ": expected backslashes as \\\\ or \\xNN"));
  }
  return *std::move(decoded);
}

absl::StatusOr<std::vector<int32_t>> Numbers(std::string_view key, std::string_view text) {
  std::vector<int32_t> ids;
  const char* at = text.data();
  const char* end = at + text.size();
  while (at != end) {
    int32_t id = 0;
    const auto [next, error] = std::from_chars(at, end, id);
    if (error != std::errc() || id < 0 || (next != end && *next != ',') || next + 1 == end) {
      return absl::InvalidArgumentError(
          StrCat("metadata ", key, ": expected numbers separated by commas, got an error at byte ",
                 at - text.data()));
    }
    ids.push_back(id);
    at = next == end ? end : next + 1;
  }
  return ids;
}

absl::Status CheckPositions(const TraceRun& run) {
  int64_t last = -1;
  for (const int32_t position : run.positions) {
    if (position <= last || position >= static_cast<int64_t>(run.ids.size())) {
      return absl::InvalidArgumentError(
          StrCat("metadata positions: expected ascending numbers below ", run.ids.size(),
                 ", the number of ids, got ", position));
    }
    last = position;
  }
  return absl::OkStatus();
}

// Gives the value the positions of its rows, where the run keeps some only.
absl::Status TakePositions(const TraceRun& run, TracedValue* value) {
  if (run.positions.empty() || !RowsAreTokens(*value)) return absl::OkStatus();
  const int64_t kept = static_cast<int64_t>(run.positions.size()), rows = value->shape[0];
  if (rows > kept || (value->axes[0] == "token" && rows != kept)) {
    return absl::InvalidArgumentError(StrCat("tensor ", EncodePlainText(value->name),
                                             ": expected rows for the ", kept,
                                             " positions that are kept, got ", rows));
  }
  value->positions.assign(run.positions.end() - rows, run.positions.end());
  return absl::OkStatus();
}

absl::StatusOr<TraceRun> ReadRun(const SafeTensors& file) {
  RENGA_ASSIGN_OR_RETURN(const std::string format, Text(file, trace_keys::kFormat));
  if (format != trace_keys::kFormatName) {
    return absl::InvalidArgumentError("expected a trace, got a safetensors file of something else");
  }
  RENGA_ASSIGN_OR_RETURN(const std::string version, Text(file, trace_keys::kVersion));
  if (version != trace_keys::kVersionText) {
    return absl::UnimplementedError(StrCat("trace version: expected ", trace_keys::kVersionText,
                                           ", got ", EncodePlainText(version.substr(0, 16)),
                                           "; trace it again with this version"));
  }
  TraceRun run;
  const std::pair<std::string_view, std::string*> texts[] = {
      {trace_keys::kModel, &run.model},
      {trace_keys::kModelDigest, &run.model_digest},
      {trace_keys::kDevice, &run.device},
      {trace_keys::kTarget, &run.target},
      {trace_keys::kProducer, &run.producer},
      {trace_keys::kPrompt, &run.prompt},
      {trace_keys::kKType, &run.k_type},
      {trace_keys::kVType, &run.v_type},
      {trace_keys::kIr, &run.ir},
  };
  for (const auto& [key, field] : texts) {
    RENGA_ASSIGN_OR_RETURN(*field, Text(file, key));
  }
  RENGA_ASSIGN_OR_RETURN(const std::string ids, Text(file, trace_keys::kIds));
  RENGA_ASSIGN_OR_RETURN(run.ids, Numbers(trace_keys::kIds, ids));
  RENGA_ASSIGN_OR_RETURN(const std::string positions, Text(file, trace_keys::kPositions));
  RENGA_ASSIGN_OR_RETURN(run.positions, Numbers(trace_keys::kPositions, positions));
  RENGA_RETURN_IF_ERROR(CheckPositions(run));
  return run;
}

// One entry of the table of values. False where a field is missing or of another kind.
bool ReadValue(const Json& json, std::string* name, TracedValue* value) {
  if (!json.is_object()) return false;
  const auto text = [&](const char* key, std::string* out) {
    const auto found = json.find(key);
    if (found == json.end() || !found->is_string()) return false;
    *out = found->get<std::string>();
    return true;
  };
  const auto number = [&](const char* key, double* out) {
    const auto found = json.find(key);
    if (found == json.end() || !found->is_number()) return false;
    *out = found->get<double>();
    return std::isfinite(*out);
  };
  const auto count = [&](const char* key, int64_t* out) {
    const auto found = json.find(key);
    if (found == json.end() || !found->is_number_unsigned()) return false;
    *out = found->get<int64_t>();
    return *out >= 0;
  };
  std::string op;
  ValueStats& stats = value->stats;
  if (!text("name", name) || !text("op", &op) || !number("min", &stats.min) ||
      !number("max", &stats.max) || !number("mean", &stats.mean) || !number("rms", &stats.rms) ||
      !count("zeros", &stats.zeros) || !count("nans", &stats.nans) || !count("infs", &stats.infs)) {
    return false;
  }
  const auto axes = json.find("axes");
  if (axes == json.end() || !axes->is_array()) return false;
  for (const Json& axis : *axes) {
    if (!axis.is_string() || axis.get_ref<const std::string&>().size() > kMaxAxisName) return false;
    value->axes.push_back(axis.get<std::string>());
  }
  std::optional<std::string> decoded_name = DecodePlainText(*name);
  std::optional<std::string> decoded_op = DecodePlainText(op);
  if (!decoded_name || !decoded_op) return false;
  value->name = *std::move(decoded_name);
  value->op = *std::move(decoded_op);
  return true;
}

// Of the table, no more than a good one of that many values has: as a tree, a hostile one would
// take tens of times its text in memory. What is left of it fails the checks of its entries.
Json ParseTable(const std::string& text, size_t values) {
  constexpr int kDepth = 3;               // the table, an entry, its axes
  constexpr int64_t kEventsOfEntry = 64;  // its fields, their names, axes
  int64_t events_left = kEventsOfEntry * (static_cast<int64_t>(values) + 1);
  const auto keep = [&](int depth, Json::parse_event_t, Json&) {
    return depth <= kDepth && --events_left >= 0;
  };
  return Json::parse(text, keep, /*allow_exceptions=*/false);
}

absl::StatusOr<Trace> Read(absl::Span<const uint8_t> bytes) {
  RENGA_ASSIGN_OR_RETURN(SafeTensors file, ParseSafetensors(bytes, "trace"));
  Trace trace;
  RENGA_ASSIGN_OR_RETURN(trace.run, ReadRun(file));
  const std::string* table = file.FindMetadata(trace_keys::kValues);
  const Json json = table == nullptr ? Json() : ParseTable(*table, file.tensors.size());
  if (!json.is_array() || json.size() != file.tensors.size()) {
    return absl::InvalidArgumentError(
        StrCat("metadata values: expected a table of ", file.tensors.size(), " values"));
  }
  absl::flat_hash_map<std::string, SafeTensor*> tensors;
  for (SafeTensor& tensor : file.tensors) tensors[tensor.name] = &tensor;
  for (size_t i = 0; i < json.size(); ++i) {
    std::string name;
    TracedValue value;
    const bool whole = ReadValue(json[i], &name, &value);
    const auto found = whole ? tensors.find(name) : tensors.end();
    if (found == tensors.end() || found->second->shape.size() != value.axes.size()) {
      return absl::InvalidArgumentError(
          StrCat("metadata values: entry ", i,
                 ": expected the name of a tensor, op, an axis for each size and statistics"));
    }
    value.dtype = found->second->dtype;
    value.shape = found->second->shape;
    value.data = found->second->data;
    RENGA_RETURN_IF_ERROR(TakePositions(trace.run, &value));
    tensors.erase(found);  // a name that comes again is no tensor any more
    trace.values.push_back(std::move(value));
  }
  return trace;
}

}  // namespace

bool IsTraceFile(absl::Span<const uint8_t> bytes) {
  return SafetensorsHeaderBytes(bytes) != 0 && bytes.size() > 8;
}

absl::StatusOr<Trace> ReadTrace(const std::string& path) {
  RENGA_ASSIGN_OR_RETURN(MappedFile opened, MappedFile::Open(path));
  auto file = std::make_shared<const MappedFile>(std::move(opened));
  absl::StatusOr<Trace> trace = Read(file->bytes());
  if (!trace.ok()) return Annotate(trace.status(), path);
  trace->storage.push_back(std::move(file));
  return trace;
}

}  // namespace renga
