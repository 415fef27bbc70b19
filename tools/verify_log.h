// What a verify has found right so far, in a file, so that one that was interrupted goes on where
// it was. What is wrong is not kept: it is looked at again, and told in full.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tools/bisect/run_log.h"

namespace renga {

class VerifyLog {
 public:
  VerifyLog() = default;  // keeps nothing beyond this

  // In the cache, under the name of `subject`, which has all that the findings depend on but the
  // program, which is added. `fresh`: forgets what an earlier one found. Errors as RunLog::Open.
  static absl::StatusOr<VerifyLog> Open(std::string_view subject, bool fresh);

  // What was found of part `part` ("0.q") of `step` before: one line without tabs; nullopt:
  // nothing.
  std::optional<std::string> Find(std::string_view step, std::string_view part) const;
  absl::Status Add(std::string_view step, std::string_view part, std::string_view found);

  // There is nothing to go on with: the next one starts over.
  void End();

  bool kept() const { return !path_.empty(); }

 private:
  std::string path_;  // empty: none
  RunLog log_;
};

// A share of a tolerance, or other numbers, as text that reads back the same.
std::string ExactText(double number);
std::optional<double> ExactNumber(std::string_view text);

}  // namespace renga
