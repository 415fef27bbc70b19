#include "tools/verify_log.h"

#include <unistd.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "ir/base/digest.h"
#include "ir/base/mapped_file.h"
#include "ir/base/status.h"
#include "tools/cache_folder.h"
#include "tools/own_file.h"

namespace renga {
namespace {

std::string KeyOf(std::string_view step, std::string_view part) { return StrCat(step, ": ", part); }

}  // namespace

absl::StatusOr<VerifyLog> VerifyLog::Open(std::string_view subject, bool fresh) {
  VerifyLog log;
  const std::string folder = CacheFolder("verify");
  const auto self = MappedFile::Open(OwnFile());
  std::error_code error;
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
  // A cache that cannot be had is no error.
  if (folder.empty() || !self.ok() || error || access(folder.c_str(), W_OK) != 0) return log;
  const Digest digest = DigestOf(StrCat(DigestOf(self->bytes()).ToHex(), "\n", subject));
  log.path_ = StrCat(folder, "/", digest.ToHex(), ".tsv");
  if (fresh) std::filesystem::remove(log.path_, error);
  RENGA_ASSIGN_OR_RETURN(log.log_, RunLog::Open(log.path_));
  return log;
}

std::optional<std::string> VerifyLog::Find(std::string_view step, std::string_view part) const {
  const std::string* found = log_.Find(KeyOf(step, part));
  return found == nullptr ? std::nullopt : std::optional<std::string>(*found);
}

absl::Status VerifyLog::Add(std::string_view step, std::string_view part, std::string_view found) {
  return path_.empty() ? absl::OkStatus() : log_.Add(KeyOf(step, part), 0, found, "");
}

void VerifyLog::End() {
  std::error_code error;
  if (!path_.empty()) std::filesystem::remove(path_, error);
}

std::string ExactText(double number) { return absl::StrFormat("%.17g", number); }

std::optional<double> ExactNumber(std::string_view text) {
  double number = 0;
  if (!absl::SimpleAtod(absl::string_view(text.data(), text.size()), &number)) return std::nullopt;
  return number;
}

}  // namespace renga
