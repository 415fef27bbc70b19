// Every value of one run of a model, with its axes and statistics: what `trace` writes, `dump`
// prints and `diff` compares. On disk it is a safetensors file (https://github.com/huggingface/
// safetensors, format of 2023), so that other tools read it too; docs/trace-format.md names what
// its metadata says beyond the tensors.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ir/base/dtype.h"

namespace renga {

// Over all finite elements; counted apart where an element is none. All 0 for an empty tensor.
struct ValueStats {
  double min = 0;
  double max = 0;
  double mean = 0;
  double rms = 0;
  int64_t zeros = 0;
  int64_t nans = 0;
  int64_t infs = 0;
  friend bool operator==(const ValueStats&, const ValueStats&) = default;
};

struct TracedValue {
  std::string name;  // without sigil; unique
  std::string op;    // operator or step that produced it; "param" or "cache" where none did
  DType dtype = DType::kF32;      // f32, f16, bf16 or i32
  std::vector<int64_t> shape;     // row-major, outermost first
  std::vector<std::string> axes;  // one per size: "token", "head", "dim", "key", "cell", "row", ...
  // Of the tokens that the first axis counts, where the run keeps some positions only; else empty:
  // its index is the token's position.
  std::vector<int32_t> positions;
  ValueStats stats;
  absl::Span<const uint8_t> data;  // dense, little-endian; owned by the trace

  int64_t elements() const {
    int64_t n = 1;
    for (int64_t s : shape) n *= s;
    return n;
  }
};

// What was run; two traces of different runs must not be compared.
struct TraceRun {
  std::string model;         // file name without folders
  std::string model_digest;  // of all weights' digests; empty: unknown (random weights)
  std::string device;        // "reference", "cpu", "cuda:0 H100 80GB HBM3"
  std::string target;        // of the plan; empty for a graph alone
  std::string producer;      // "renga 0.1.0"
  std::string prompt;        // text where there was one
  std::vector<int32_t> ids;  // all tokens that were run, in order, BOS included
  // Of the tokens whose rows are kept, ascending; empty: all (positions.h).
  std::vector<int32_t> positions;
  std::string k_type;  // types of the caches, "f16" (cache_types_text.h); empty: none
  std::string v_type;
  std::string ir;  // the graph that was run, text form
};

// Holds its values' bytes (mapped or allocated) as long as it lives; copies share them.
struct Trace {
  TraceRun run;
  std::vector<TracedValue> values;  // in execution order
  std::vector<std::shared_ptr<const void>> storage;

  const TracedValue* Find(std::string_view name) const;  // nullptr when there is none
};

// Element `index` (flat) as a number.
double ElementAt(const TracedValue& value, int64_t index);

// All elements as f32, i32 included.
std::vector<float> AsFloats(const TracedValue& value);

// Whether the file begins as a safetensors file of ours does.
bool IsTraceFile(absl::Span<const uint8_t> bytes);

// Maps the file; values are read when looked at. Untrusted input: InvalidArgument or DataLoss that
// name what is wrong and where (cut short: how many bytes are missing).
absl::StatusOr<Trace> ReadTrace(const std::string& path);

}  // namespace renga
