// What a bisect has tried, in a file: so that one that was interrupted goes on where it was, and
// people can read what led to the answer.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace renga {

// A line a run, fields separated by tabs: the key, seconds, the answer, the set. Later lines of a
// key count. Lines that are not of this form are left alone.
class RunLog {
 public:
  // Reads the file where there is one, and appends to it from then on. An empty path: keeps all in
  // memory. InvalidArgument where the file cannot be read or written.
  static absl::StatusOr<RunLog> Open(const std::string& path);

  // The answer of an earlier run; nullptr: none.
  const std::string* Find(const std::string& key) const;

  // Written at once. ResourceExhausted or InvalidArgument where that fails.
  absl::Status Add(const std::string& key, double seconds, std::string_view answer,
                   std::string_view set);

 private:
  std::string path_;
  std::map<std::string, std::string> answers_;  // by key
};

}  // namespace renga
