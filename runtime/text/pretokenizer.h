// Cuts text into the pieces that byte-level BPE merges within, by the regular expressions of
// pretokenizer_table.h.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/text/pretokenizer_table.h"

namespace renga {

// Compiled once, then safe to use from several threads.
//
// Dialect of the table: PCRE2 with UTF and without UCP, so that \d, \w and [A-Za-z] are ASCII as in
// the published patterns (\p{...} is Unicode in any case). \s and \S are expanded here to the
// Unicode property White_Space, because PCRE2's own Unicode \s also holds U+180E.
class PreTokenizer {
 public:
  // `name` as in tokenizer.ggml.pre; an unknown one is an error that lists the known ones.
  static absl::StatusOr<std::unique_ptr<PreTokenizer>> Create(std::string_view name);
  static absl::StatusOr<std::unique_ptr<PreTokenizer>> CreateFamily(
      const PreTokenizerFamily& family);
  ~PreTokenizer();

  // Pieces of `text`, in order, as views into it; joined they give the text. `text` is UTF-8 in
  // which surrogates are allowed (see RepairUtf8); anything else is an error.
  absl::StatusOr<std::vector<std::string_view>> Split(std::string_view text) const;

  bool ignore_merges() const { return ignore_merges_; }
  bool raw() const { return raw_; }

 private:
  class Pass;
  PreTokenizer();

  std::vector<std::unique_ptr<Pass>> passes_;
  bool ignore_merges_ = false;
  bool raw_ = false;
};

}  // namespace renga
