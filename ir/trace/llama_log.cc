#include "ir/trace/llama_log.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "ir/base/status.h"

namespace renga {
namespace {

constexpr size_t kMaxName = 256;
constexpr size_t kMaxInputs = 16;
constexpr int64_t kMaxElements = int64_t{1} << 62;

std::string_view Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

template <typename T>
std::optional<T> ReadNumber(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// "64, 5, 1, 1"; product at most kMaxElements.
std::optional<std::array<int64_t, 4>> ReadSizes(std::string_view text) {
  std::array<int64_t, 4> ne = {1, 1, 1, 1};
  int64_t product = 1;
  size_t axis = 0;
  for (const absl::string_view piece : absl::StrSplit(ToAbsl(text), ',')) {
    const auto size = ReadNumber<int64_t>(Trim(ToStd(piece)));
    if (axis == ne.size() || !size.has_value() || *size < 1 || *size > kMaxElements / product) {
      return std::nullopt;
    }
    product *= *size;
    ne[axis++] = *size;
  }
  return ne;
}

// The head of a tensor, or nullopt:
//   PREFIX:   NAME = (f32)  OP(A{64, 5, 1, 1}, B{64, 1, 1, 1}}) = {64, 5, 1, 1}
// with nothing for B where there is no second input, and one brace too many after it.
std::optional<LogTensor> ReadHead(std::string_view line) {
  const size_t result = line.rfind(") = {");
  const size_t type = line.find(" = (");
  if (result == std::string_view::npos || type == std::string_view::npos || type >= result) {
    return std::nullopt;
  }
  LogTensor tensor;
  std::string_view name = line.substr(0, type);
  const size_t prefix = name.rfind(": ");
  if (prefix == std::string_view::npos) return std::nullopt;
  name = Trim(name.substr(prefix + 2));
  const size_t type_end = line.find(')', type);
  const size_t open = line.find('(', type_end);
  if (open == std::string_view::npos || open > result) return std::nullopt;
  const std::string_view op = Trim(line.substr(type_end + 1, open - type_end - 1));
  const std::string_view dtype = line.substr(type + 4, type_end - type - 4);
  if (name.empty() || name.size() > kMaxName || op.empty() || op.size() > kMaxName ||
      dtype.size() > kMaxName) {
    return std::nullopt;
  }
  std::string_view sizes = Trim(line.substr(result + 5));
  if (sizes.empty() || sizes.back() != '}') return std::nullopt;
  sizes.remove_suffix(1);
  const auto ne = ReadSizes(sizes);
  if (!ne.has_value()) return std::nullopt;
  tensor.name = std::string(name);
  tensor.op = std::string(op);
  tensor.dtype = std::string(dtype);
  tensor.ne = *ne;
  std::string_view inputs = line.substr(open + 1, result - open - 1);
  while (tensor.inputs.size() < kMaxInputs) {
    const size_t begin = inputs.find('{');
    const size_t end = inputs.find('}');
    if (begin == std::string_view::npos || end == std::string_view::npos || end < begin) break;
    const auto input_ne = ReadSizes(inputs.substr(begin + 1, end - begin - 1));
    std::string_view input = Trim(inputs.substr(0, begin));
    while (!input.empty() && (input.front() == ',' || input.front() == ' ')) input.remove_prefix(1);
    if (!input_ne.has_value() || input.size() > kMaxName) return std::nullopt;
    tensor.inputs.push_back({std::string(input), *input_ne});
    inputs.remove_prefix(end + 1);
  }
  return tensor;
}

// Follows the brackets of one tensor's numbers.
class Body {
 public:
  explicit Body(LogTensor* tensor) : tensor_(*tensor) {}

  // False once the tensor does not print as its head announced.
  bool Take(std::string_view line) {
    if (line.substr(0, 5) == "sum =") return TakeSum(Trim(line.substr(5)));
    if (line == "[") return ++depth_ <= 2;
    if (line == "]" || line == "],") return Close();
    if (line.substr(0, 3) == "...") return Skip();
    if (line.front() != '[') return true;  // another line of the log
    return depth_ == 2 && TakeRow(line);
  }
  bool done() const { return done_; }

 private:
  // After "..." come as many as were before it.
  static bool Jump(int64_t size, int64_t* at) {
    if (*at < 1 || size - *at <= *at) return false;
    *at = size - *at;
    return true;
  }

  bool Skip() {
    if (depth_ == 1) return Jump(tensor_.ne[2], &at2_);
    return depth_ == 2 && Jump(tensor_.ne[1], &at1_);
  }

  bool Close() {
    if (depth_ == 2) {
      if (std::exchange(at1_, 0) != tensor_.ne[1]) return false;
      ++at2_;
    } else if (depth_ == 1) {
      if (std::exchange(at2_, 0) != tensor_.ne[2]) return false;
      ++at3_;
    }
    return --depth_ >= 0;
  }

  bool TakeRow(std::string_view line) {
    const size_t end = line.rfind(']');
    if (end == std::string_view::npos) return false;
    if (at1_ >= tensor_.ne[1] || at2_ >= tensor_.ne[2] || at3_ >= tensor_.ne[3]) return false;
    const int64_t row = at1_ + tensor_.ne[1] * (at2_ + tensor_.ne[2] * at3_);
    int64_t at0 = 0;
    for (const absl::string_view raw : absl::StrSplit(ToAbsl(line.substr(1, end - 1)), ',')) {
      const std::string_view piece = Trim(ToStd(raw));
      if (piece.empty()) continue;
      if (piece == "...") {
        if (!Jump(tensor_.ne[0], &at0)) return false;
        continue;
      }
      const auto value = ReadNumber<double>(piece);
      if (!value.has_value() || at0 >= tensor_.ne[0]) return false;
      tensor_.numbers.push_back({row * tensor_.ne[0] + at0, *value});
      ++at0;
    }
    ++at1_;
    return at0 == tensor_.ne[0];
  }

  bool TakeSum(std::string_view text) {
    tensor_.sum = ReadNumber<double>(text);
    done_ = true;
    tensor_.whole = tensor_.sum.has_value() && depth_ == 0 && at3_ == tensor_.ne[3];
    return tensor_.whole;
  }

  LogTensor& tensor_;
  int depth_ = 0;
  int64_t at1_ = 0, at2_ = 0, at3_ = 0;
  bool done_ = false;
};

}  // namespace

std::string SizesText(const std::array<int64_t, 4>& ne) {
  return StrCat("{", StrJoin(ne, ", "), "}");
}

bool LooksLikeLlamaLog(std::string_view text) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    if (ReadHead(Trim(text.substr(0, end))).has_value()) return true;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return false;
}

absl::StatusOr<LlamaLog> ParseLlamaLog(std::string_view text) {
  LlamaLog log;
  std::optional<Body> body;  // of the last tensor, while it is being read
  int number = 0;
  const bool whole_lines = text.ends_with('\n');
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = Trim(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    if (line.empty()) continue;
    if (std::optional<LogTensor> head = ReadHead(line); head.has_value()) {
      head->line = number;
      log.tensors.push_back(*std::move(head));
      body.emplace(&log.tensors.back());
    } else if (body.has_value() && (!body->Take(line) || body->done())) {
      body.reset();
    }
  }
  if (log.tensors.empty()) {
    return absl::InvalidArgumentError(
        "expected the output of llama-eval-callback, got no line that announces a tensor (\"... "
        "NAME = (f32) OP(...) = {64, 5, 1, 1}\")");
  }
  log.cut_short = body.has_value() || !whole_lines;
  log.damaged = static_cast<int>(std::count_if(log.tensors.begin(), log.tensors.end(),
                                               [](const LogTensor& t) { return !t.whole; }));
  return log;
}

}  // namespace renga
