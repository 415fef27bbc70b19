#include "tools/renga/prompt_flags.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "ir/base/status.h"

namespace renga {
namespace {

constexpr size_t kMaxPromptBytes = size_t{16} << 20;  // no context holds as much

// Pipes, devices and files alike, which is why it does not map.
absl::StatusOr<std::string> ReadAll(int fd, const std::string& name) {
  std::string text;
  std::vector<char> piece(1 << 16);
  for (;;) {
    const ssize_t got = read(fd, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return absl::InvalidArgumentError(StrCat(name, ": cannot read: ", strerror(errno)));
    }
    if (got == 0) return text;
    text.append(piece.data(), static_cast<size_t>(got));
    if (text.size() > kMaxPromptBytes) {
      return absl::InvalidArgumentError(
          StrCat(name, ": expected a text of at most ", kMaxPromptBytes, " bytes, got more"));
    }
  }
}

}  // namespace

void AddPromptFlags(CLI::App& app, PromptFlags* flags) {
  CLI::Option* text = app.add_option("-p,--prompt", flags->text, "the text");
  app.add_option("-f,--file", flags->file, "file with the text, - for stdin; bytes as they are")
      ->excludes(text);
}

absl::StatusOr<std::optional<std::string>> ReadPrompt(const PromptFlags& flags) {
  if (flags.text) return flags.text;
  if (!flags.file) return std::nullopt;
  if (*flags.file == "-") {
    RENGA_ASSIGN_OR_RETURN(std::string text, ReadAll(STDIN_FILENO, "stdin"));
    return text;
  }
  const int fd = open(flags.file->c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    const std::string message = StrCat("-f ", *flags.file, ": cannot open: ", strerror(errno));
    return errno == ENOENT ? absl::NotFoundError(message) : absl::InvalidArgumentError(message);
  }
  absl::StatusOr<std::string> text = ReadAll(fd, StrCat("-f ", *flags.file));
  close(fd);
  RENGA_RETURN_IF_ERROR(text.status());
  return *std::move(text);
}

absl::StatusOr<std::vector<int32_t>> ParseIds(std::string_view text, std::string_view flag) {
  std::vector<int32_t> ids;
  constexpr std::string_view kSeparators = ", \t\n";
  for (;;) {
    text.remove_prefix(std::min(text.find_first_not_of(kSeparators), text.size()));
    if (text.empty()) return ids;
    const std::string_view part = text.substr(0, text.find_first_of(kSeparators));
    int32_t id = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), id);
    if (error != std::errc() || end != part.data() + part.size()) {
      return absl::InvalidArgumentError(
          StrCat(flag, ": expected token ids separated by commas, got '", part.substr(0, 40), "'"));
    }
    ids.push_back(id);
    text.remove_prefix(part.size());
  }
}

absl::Status CheckIds(const std::vector<int32_t>& ids, int64_t vocab, std::string_view flag) {
  for (const int32_t id : ids) {
    if (id < 0 || id >= vocab) {
      return absl::InvalidArgumentError(StrCat(flag, ": token id ", id, ": expected 0..", vocab - 1,
                                               ", the vocabulary has ", vocab, " tokens"));
    }
  }
  return absl::OkStatus();
}

}  // namespace renga
