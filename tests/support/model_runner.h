// Runs a model's graph on the reference interpreter, one sequence whose cache pages are handed out
// in reverse, so that logical and physical cells differ.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "frontend/gguf/gguf.h"
#include "frontend/models/model.h"
#include "ir/base/status.h"
#include "ir/reference/interpreter.h"

namespace renga {

class ModelRunner {
 public:
  // `file` and `model`, built from it with `options` for one sequence, outlive the runner.
  static absl::StatusOr<std::unique_ptr<ModelRunner>> Create(const GgufFile& file,
                                                             const Model& model,
                                                             const GraphOptions& options,
                                                             int threads) {
    std::unique_ptr<ModelRunner> self(new ModelRunner());
    self->page_tokens_ = options.page_tokens;
    self->pages_ = (options.context + options.page_tokens - 1) / options.page_tokens;
    RENGA_ASSIGN_OR_RETURN(
        self->interpreter_,
        Interpreter::Create(
            model.graph,
            [&](const std::string& name) -> absl::StatusOr<absl::Span<const uint8_t>> {
              const GgufTensor* tensor = file.FindTensor(name);
              if (tensor == nullptr) return absl::NotFoundError(StrCat("no tensor ", name));
              return file.data(*tensor);
            },
            {{"C", self->pages_ * options.page_tokens}}, threads));
    return self;
  }

  // Appends `tokens` to the sequence; the logits of all of them, row after row.
  absl::StatusOr<std::vector<float>> Step(const std::vector<int32_t>& tokens) {
    const int64_t count = static_cast<int64_t>(tokens.size());
    std::vector<int32_t> positions, cells, rows, table;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t position = length_ + i;
      const int64_t page = pages_ - 1 - position / page_tokens_;
      positions.push_back(static_cast<int32_t>(position));
      cells.push_back(static_cast<int32_t>(page * page_tokens_ + position % page_tokens_));
      rows.push_back(static_cast<int32_t>(i));
    }
    length_ += count;
    const int64_t used = (length_ + page_tokens_ - 1) / page_tokens_;
    for (int64_t p = 0; p < used; ++p) table.push_back(static_cast<int32_t>(pages_ - 1 - p));
    const std::vector<HostTensor> params = {Ints(tokens, {count}),
                                            Ints(std::move(positions), {count}),
                                            Ints(std::vector<int32_t>(count, 0), {count}),
                                            Ints(std::move(cells), {count}),
                                            Ints(std::move(table), {1, used}),
                                            Ints(std::move(rows), {count})};
    RENGA_RETURN_IF_ERROR(interpreter_->Run(
        {{"T", count}, {"S", 1}, {"R", count}, {"L", length_}, {"P", used}}, params));
    return interpreter_->Return(0).f;
  }

 private:
  ModelRunner() = default;

  static HostTensor Ints(std::vector<int32_t> values, std::vector<int64_t> shape) {
    HostTensor tensor;
    tensor.dtype = DType::kI32;
    tensor.i = std::move(values);
    tensor.shape = std::move(shape);
    return tensor;
  }

  std::unique_ptr<Interpreter> interpreter_;
  int64_t pages_ = 0, page_tokens_ = 0, length_ = 0;
};

}  // namespace renga
