#include "tools/bisect/run_log.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "ir/base/mapped_file.h"
#include "ir/base/status.h"

namespace renga {
namespace {

constexpr size_t kFields = 4;

}  // namespace

absl::StatusOr<RunLog> RunLog::Open(const std::string& path) {
  RunLog log;
  log.path_ = path;
  struct stat info;
  if (path.empty() || stat(path.c_str(), &info) != 0 || info.st_size == 0) return log;
  RENGA_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  const std::string text(reinterpret_cast<const char*>(file.bytes().data()), file.size());
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(text, '\n'))) {
    const std::vector<std::string> fields = absl::StrSplit(line, '\t');
    if (fields.size() == kFields) log.answers_[fields[0]] = fields[2];
  }
  return log;
}

const std::string* RunLog::Find(const std::string& key) const {
  const auto found = answers_.find(key);
  return found == answers_.end() ? nullptr : &found->second;
}

absl::Status RunLog::Add(const std::string& key, double seconds, std::string_view answer,
                         std::string_view set) {
  answers_[key] = std::string(answer);
  if (path_.empty()) return absl::OkStatus();
  const std::string line =
      StrCat(key, "\t", absl::StrFormat("%.3f", seconds), "\t", answer, "\t", set, "\n");
  FILE* file = fopen(path_.c_str(), "a");
  if (file == nullptr) {
    return absl::InvalidArgumentError(StrCat(path_, ": cannot be written: ", strerror(errno)));
  }
  const bool written = fwrite(line.data(), 1, line.size(), file) == line.size();
  if (fclose(file) == 0 && written) return absl::OkStatus();
  return absl::ResourceExhaustedError(StrCat(path_, ": cannot be written: ", strerror(errno)));
}

}  // namespace renga
