// What callers of the C interface pass in, checked: nothing that they say of a size or a number is
// believed, as far as it can be told.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ir/base/status.h"
#include "renga/renga.h"
#include "runtime/exec/generate.h"
#include "runtime/text/tokenizer.h"
#include "tools/library/error.h"
#include "tools/open_model.h"

namespace renga {

// Bytes of a text, and elements of an array: more than a model takes, less than what makes a
// forgotten or negative size.
inline constexpr size_t kMaxArgument = size_t{1} << 28;

// All errors of this file are InvalidArgument and begin with `what` or the name of a field.
absl::StatusOr<std::string_view> TextOf(const renga_text& text, std::string_view what);

// Null with a count of 0 is an empty array.
absl::Status CheckArray(const void* data, size_t count, std::string_view what);

template <typename T>
absl::StatusOr<absl::Span<const T>> ArrayOf(const T* data, size_t count, std::string_view what) {
  RENGA_RETURN_IF_ERROR(CheckArray(data, count, what));
  return absl::MakeConstSpan(data, count);
}

// `given` may be null. Plans take no options of compiling.
absl::StatusOr<OpenOptions> OpenOptionsOf(const renga_options* given, bool is_plan);

// `flags`: RENGA_PLAIN_TEXT, RENGA_BARE_TEXT.
absl::StatusOr<EncodeOptions> EncodeOptionsOf(uint32_t flags);

// All but the prompt, for a model of `vocab` tokens and prompts of at most `context`. Sampling
// parameters are checked by who generates.
absl::StatusOr<GenerateOptions> GenerateOptionsOf(const renga_request& request, int64_t vocab,
                                                  int64_t context);

}  // namespace renga
