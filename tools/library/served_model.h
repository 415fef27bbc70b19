// What is behind the C interface: a model with its engine, and what of each request was polled.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "renga/renga.h"
#include "runtime/exec/engine.h"
#include "tools/library/fair_mutex.h"
#include "tools/open_model.h"

namespace renga {

// Every function is one of renga.h with its errors as a status, and as thread-safe as that says.
class ServedModel {
 public:
  static absl::StatusOr<std::unique_ptr<ServedModel>> Open(const char* path,
                                                           const renga_options* options);

  absl::Status GetInfo(renga_info* info) const;
  absl::StatusOr<std::vector<int32_t>> Tokenize(const char* text, size_t bytes,
                                                uint32_t flags) const;
  absl::StatusOr<std::string> Detokenize(const int32_t* tokens, size_t count) const;

  absl::StatusOr<int64_t> Add(const renga_request* request);
  absl::StatusOr<int64_t> Fork(int64_t parent, size_t kept, const renga_request* request);
  absl::StatusOr<bool> Step();
  absl::Status Poll(int64_t id, renga_output* output);
  absl::Status Result(int64_t id, renga_output* output);
  absl::Status Cancel(int64_t id);
  absl::Status Remove(int64_t id);

 private:
  // What callers were shown of a request, and the memory that they look at.
  struct Shown {
    size_t tokens = 0, bytes = 0;  // polled
    std::vector<int32_t> ids;
    std::string text;
    std::vector<double> logprobs;
    std::vector<renga_logit> top, prompt_top;
  };

  absl::StatusOr<std::vector<int32_t>> PromptOf(const renga_request& request) const;
  absl::StatusOr<GenerateOptions> OptionsOf(const renga_request& request) const;
  // Fills in what there is behind so many tokens and bytes.
  void Show(const GenerateResult& result, size_t tokens, size_t bytes, bool finished, Shown* shown,
            renga_output* output) const;
  void ShowLogits(const GenerateResult& result, size_t tokens, Shown* shown,
                  renga_output* value) const;

  ModelFacts facts_;
  std::string architecture_, name_;  // printable
  FairMutex mutex_;                  // of what follows
  std::unique_ptr<Engine> engine_;
  std::map<int64_t, Shown> shown_;
};

}  // namespace renga
