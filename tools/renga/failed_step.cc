#include "tools/renga/failed_step.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "ir/base/status.h"
#include "tools/own_file.h"
#include "tools/renga/errors.h"
#include "tools/renga/progress.h"
#include "tools/renga/text.h"
#include "tools/repro/keep_failed_step.h"

namespace renga {
namespace {

struct Ended {
  int exit_code = -1;  // -1: by a signal
  std::string text;    // of stdout and stderr
};

// This program, with other arguments.
absl::StatusOr<Ended> RunSelf(std::vector<std::string> args) {
  constexpr size_t kMostText = 1 << 16;
  const std::string program = OwnFile();
  args.insert(args.begin(), program);
  std::vector<char*> argv;
  for (std::string& arg : args) argv.push_back(arg.data());
  argv.push_back(nullptr);
  int ends[2];
  if (pipe(ends) != 0) return absl::UnavailableError(StrCat("pipe: ", strerror(errno)));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
  posix_spawn_file_actions_addclose(&actions, ends[0]);
  posix_spawn_file_actions_addclose(&actions, ends[1]);
  pid_t child = 0;
  const int error = posix_spawn(&child, program.c_str(), &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (error != 0) {
    close(ends[0]);
    return absl::UnavailableError(StrCat(program, ": ", strerror(error)));
  }
  Ended ended;
  char buffer[4096];
  for (ssize_t got; (got = read(ends[0], buffer, sizeof(buffer))) != 0;) {
    if (got < 0 && errno != EINTR) break;
    const size_t room = kMostText - std::min(kMostText, ended.text.size());
    if (got > 0) ended.text.append(buffer, std::min(static_cast<size_t>(got), room));
  }
  close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status)) ended.exit_code = WEXITSTATUS(status);
  return ended;
}

// The first line of what it said, without the prefix of errors.
std::string FirstLine(std::string_view text) {
  constexpr std::string_view kError = "error: ";
  if (text.substr(0, kError.size()) == kError) text.remove_prefix(kError.size());
  return std::string(text.substr(0, text.find('\n')));
}

std::string AloneText(const absl::StatusOr<Ended>& ended) {
  if (!ended.ok()) return StrCat("could not be run alone: ", ToStd(ended.status().message()));
  const std::string said = FirstLine(ended->text);
  switch (ended->exit_code) {
    case 0:
      return StrCat("does not fail alone: it depends on what ran before, or on chance; ", said);
    case kExitNo:
      return StrCat("does not fail alone, but gives something else: ", said);
    case kExitMachine:
      // Loading may fail too, and says nothing of the step.
      if (said.substr(0, 5) == "step ") return StrCat("fails alone too: ", said);
      [[fallthrough]];
    default:
      return StrCat("could not be run alone (exit code ", ended->exit_code, "): ", said);
  }
}

}  // namespace

absl::Status WithKeptStep(const absl::Status& status, const GivenSteps& given,
                          const std::string& folder, int threads) {
  const std::string message(status.message());
  KeepOptions options;
  options.found = FirstLine(message);
  options.threads =
      threads > 0 ? threads : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const std::string& step = given.plan.plan->steps[static_cast<size_t>(given.failed_step)].name;
  Progress progress(StrCat(EscapeOnOneLine(step), " failed; computing what it was given"));
  options.progress = [&](int64_t done, int64_t total) { progress.Update(done, total); };
  const absl::StatusOr<KeptFailure> kept = KeepFailedStep(given, folder, options);
  progress.Stop();
  if (!kept.ok()) {
    return absl::Status(status.code(), StrCat(message, "\n  could not be kept in ", folder, ": ",
                                              ToStd(kept.status().message())));
  }
  std::string text = StrCat(message, "\n  kept in ", folder,
                            ", with what the reference interpreter gives it to read");
  if (!kept->without.empty()) StrAppend(&text, "; without repro.cu: ", kept->without);
  std::vector<std::string> args = kept->alone;
  args.insert(args.begin(), "bisect");
  if (threads > 0) args.insert(args.end(), {"-t", StrCat(threads)});
  Progress again(StrCat("running ", EscapeOnOneLine(step), " alone"));
  const absl::StatusOr<Ended> ended = RunSelf(std::move(args));
  again.Stop();
  return absl::Status(status.code(), StrCat(text, "\n  ", AloneText(ended)));
}

}  // namespace renga
