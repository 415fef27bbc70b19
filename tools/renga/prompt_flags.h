// The text a verb works on: -p TEXT or -f FILE.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"

namespace renga {

struct PromptFlags {
  std::optional<std::string> text;
  std::optional<std::string> file;  // "-" is stdin
};

// -p and -f, which exclude each other.
void AddPromptFlags(CLI::App& app, PromptFlags* flags);

// The text, every byte of it; nullopt when neither flag was given. Errors: as MappedFile::Open, and
// InvalidArgument for texts of more than 16 MiB.
absl::StatusOr<std::optional<std::string>> ReadPrompt(const PromptFlags& flags);

// "1,403, 407": ids separated by commas or blanks. InvalidArgument naming `flag` and the part that
// is no number.
absl::StatusOr<std::vector<int32_t>> ParseIds(std::string_view text, std::string_view flag);

// InvalidArgument naming the first id that is none of 0..vocab-1.
absl::Status CheckIds(const std::vector<int32_t>& ids, int64_t vocab, std::string_view flag);

}  // namespace renga
