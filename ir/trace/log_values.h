// Our side of a log's tensor: the numbers that it should hold, and where each of its elements
// stands among them.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ir/trace/llama_log.h"
#include "ir/trace/llama_names.h"
#include "ir/trace/trace.h"

namespace renga {

// [rows, channels], row-major: tokens or cells, each with its heads and dims.
struct OurValues {
  std::vector<float> numbers;
  int64_t rows = 0;
  int64_t channels = 0;
  std::vector<int64_t> shape;  // the same, with the axes that coordinates are given in
  std::vector<std::string> axes;
  double rms_floor = 0;  // the root mean square that errors are measured by is at least this
};

// What `match` says that the log holds, computed from the trace in double. InvalidArgument where
// the values' sizes do not fit each other.
absl::StatusOr<OurValues> ValuesOf(const Trace& trace, const LogMatch& match);

// Where the log's elements stand among ours.
class LogPlaces {
 public:
  static constexpr int64_t kZero = -1;    // padding, or a cell that no token was written to
  static constexpr int64_t kAbsent = -2;  // a row that was not traced

  // Which of the log's axes is what; -1: none.
  struct Axes {
    int row = -1, head = -1, inner = -1;
    bool cells = false;   // rows are a cache's cells: both begin with the same one
    bool padded = false;  // the log's inner axis may be longer than ours
    // One run of numbers, channels innermost, or with row = 0 rows innermost.
    bool flat = false;
  };

  // InvalidArgument where the sizes cannot be those of the same value.
  static absl::StatusOr<LogPlaces> Create(const LogTensor& tensor, const LogMatch& match,
                                          const OurValues& ours);

  // Index into OurValues::numbers, or one of the above. `index` is flat in the log's tensor.
  int64_t Place(int64_t index) const;

  // Whether every row of the log is one of ours, so that the sums mean the same.
  bool covers_log() const { return axes_.cells || shift_ >= 0; }

  // Elements of ours that the log's tensor covers, each once: [begin, end).
  int64_t begin() const { return begin_; }
  int64_t end() const { return end_; }

 private:
  LogPlaces() = default;

  Axes axes_;
  std::array<int64_t, 4> ne_ = {1, 1, 1, 1};
  int64_t rows_ = 0, channels_ = 0;  // ours
  int64_t inner_ = 0;                // of one head, ours
  int64_t log_rows_ = 0;
  int64_t shift_ = 0;  // row of the log + shift = row of ours: both end with the same token
  int64_t begin_ = 0, end_ = 0;
};

}  // namespace renga
