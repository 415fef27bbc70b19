// The output of llama.cpp's llama-eval-callback: every tensor of a run with its operator, inputs,
// the first and last three numbers along each axis, and the sum of all. Untrusted text.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace renga {

struct LogInput {
  std::string name;
  std::array<int64_t, 4> ne = {1, 1, 1, 1};
};

// One printed number: four decimals.
struct LogNumber {
  int64_t index;  // flat, ne[0] innermost
  double value;
};

struct LogTensor {
  std::string name;                          // "Qcur-0", "cache_k_l0 (view) (permuted)"
  std::string op;                            // "MUL_MAT"
  std::string dtype;                         // "f32"
  std::array<int64_t, 4> ne = {1, 1, 1, 1};  // GGUF's order: innermost first
  std::vector<LogInput> inputs;
  std::vector<LogNumber> numbers;
  std::optional<double> sum;  // six decimals, summed up in f32
  bool whole = false;         // all rows and the sum were there
  int line = 0;               // of its head, from 1

  int64_t elements() const { return ne[0] * ne[1] * ne[2] * ne[3]; }
};

struct LlamaLog {
  std::vector<LogTensor> tensors;  // in execution order
  int damaged = 0;                 // tensors that are not whole; the last one of a log cut short
  bool cut_short = false;          // the text ends inside a tensor or a line
};

// "{64, 5, 1, 1}"
std::string SizesText(const std::array<int64_t, 4>& ne);

// Skips lines of anything else (timings, the generated text) and takes any prefix before a tensor's
// name ("common_debug_cb_eval:", "ggml_debug:"). A tensor that does not print as announced is kept
// with `whole` false. InvalidArgument where there is no tensor at all.
absl::StatusOr<LlamaLog> ParseLlamaLog(std::string_view text);

// Whether the beginning of a text has the head of a tensor.
bool LooksLikeLlamaLog(std::string_view text);

// The log in a file, gzip-compressed or plain, of at most 512 MiB of text. A compressed file that
// is cut short is read as far as it goes. NotFound and InvalidArgument name the file.
absl::StatusOr<LlamaLog> ReadLlamaLog(const std::string& path);

// The first `limit` bytes of the text in such a file; for telling what a file is.
absl::StatusOr<std::string> ReadLogText(const std::string& path, int64_t limit);

}  // namespace renga
