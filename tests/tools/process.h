// Runs the renga binary of this build as a user would, and says how it went.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/temp_folder.h"

namespace renga {

struct ProcessOptions {
  std::string input;                 // stdin
  std::string stdout_path;           // stdout goes there instead of into ProcessResult::out
  bool close_stdout = false;         // nobody reads: the pipe's other end is closed at once
  bool interrupt_on_output = false;  // SIGINT as soon as something is on stdout
  bool interrupt_on_note = false;    // SIGINT as soon as something is on stderr
  std::string interrupt_on_file;     // SIGINT as soon as there is a file anywhere in this folder
  std::vector<std::pair<std::string, std::string>> environment;  // beside what this process has
  std::string cache;        // XDG_CACHE_HOME; empty: a folder that cannot be made
  int kill_on_files = 0;    // SIGKILL as soon as there are so many files in it; 0: never
  double kill_after_s = 0;  // SIGKILL then; 0: never
  uint64_t file_limit = 0;  // bytes a file can have, as on a full disk; 0: any number
  int timeout_s = 120;      // SIGKILL then
};

struct ProcessResult {
  int exit_code = -1;  // -1: killed
  int signal = 0;      // that killed it
  std::string out, err;
  double seconds = 0;      // as the clock on the wall has it
  double cpu_seconds = 0;  // does not depend on what else the machine is doing
  int64_t peak_kb = 0;     // largest resident set

  // An error as users should see them: one paragraph, prefixed, nothing on stdout. A generation
  // that had begun has already said which device it took.
  bool IsCleanError(int code) const {
    const size_t error = err.rfind("error: ");
    return exit_code == code && out.empty() && error != std::string::npos &&
           err.find("error: ") == error && std::count(&err[0], &err[error], '\n') <= 1 &&
           err.back() == '\n' && err.find("\n\n") == std::string::npos;
  }
  std::string Describe() const {
    return "exit " + std::to_string(exit_code) + " signal " + std::to_string(signal) + " in " +
           std::to_string(seconds) + " s\nstdout: " + out.substr(0, 500) +
           "\nstderr: " + err.substr(0, 2000);
  }
};

namespace process_internal {

[[noreturn]] inline void Exec(const std::string& program, std::vector<std::string> args, int in,
                              int out, int err, const ProcessOptions& options) {
  dup2(in, 0);
  dup2(out, 1);
  dup2(err, 2);
  for (int fd = 3; fd < 64; ++fd) close(fd);
  signal(SIGPIPE, SIG_DFL);
  signal(SIGINT, SIG_DFL);
  setenv("XDG_CACHE_HOME", options.cache.empty() ? "/dev/null/none" : options.cache.c_str(), 1);
  for (const auto& [name, value] : options.environment) setenv(name.c_str(), value.c_str(), 1);
  if (options.file_limit > 0) {
    signal(SIGXFSZ, SIG_IGN);  // so that writing fails
    const rlimit limit = {options.file_limit, options.file_limit};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  std::vector<char*> argv;
  args.insert(args.begin(), program);
  for (std::string& arg : args) argv.push_back(arg.data());
  argv.push_back(nullptr);
  execv(program.c_str(), argv.data());
  _exit(127);
}

inline int CountFiles(const std::string& folder) {
  int count = 0;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator at(folder, error), end; !error && at != end;
       at.increment(error)) {
    std::error_code ignored;
    count += at->is_regular_file(ignored);
  }
  return count;
}

// One read of what is there; false at the end.
inline bool Drain(int fd, std::string* text) {
  char buffer[1 << 14];
  const ssize_t got = read(fd, buffer, sizeof(buffer));
  if (got > 0) text->append(buffer, static_cast<size_t>(got));
  return got > 0;
}

}  // namespace process_internal

inline ProcessResult RunProcess(const std::string& program, const std::vector<std::string>& args,
                                const ProcessOptions& options = {}) {
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [&start] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  ProcessResult result;
  const TempFolder folder;  // stdin as a file: no deadlock whoever reads how much
  const std::string input = folder.Write("stdin", options.input);
  const int in = open(input.c_str(), O_RDONLY | O_CLOEXEC);
  int out[2], err[2];
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) return result;
  int out_end = out[1];
  if (!options.stdout_path.empty()) {
    out_end = open(options.stdout_path.c_str(), O_WRONLY | O_CLOEXEC);
  }
  const pid_t child = fork();
  if (child == 0) {
    process_internal::Exec(program, args, in, out_end, err[1], options);
  }
  close(in);
  close(out[1]);
  close(err[1]);
  if (out_end != out[1]) close(out_end);
  bool out_open = true, err_open = true, interrupted = false;
  if (options.close_stdout) {
    close(out[0]);
    out_open = false;
  }
  while ((out_open || err_open) && seconds() < options.timeout_s) {
    pollfd fds[2] = {{out_open ? out[0] : -1, POLLIN, 0}, {err_open ? err[0] : -1, POLLIN, 0}};
    const bool watch = !options.interrupt_on_file.empty() && !interrupted;
    const bool kills = options.kill_on_files > 0 || options.kill_after_s > 0;
    const int ready = poll(fds, 2, kills ? 1 : watch ? 5 : 100);
    if (watch && process_internal::CountFiles(options.interrupt_on_file) > 0) {
      interrupted = true;
      kill(child, SIGINT);
    }
    if ((options.kill_after_s > 0 && seconds() > options.kill_after_s) ||
        (options.kill_on_files > 0 &&
         process_internal::CountFiles(options.cache) >= options.kill_on_files)) {
      kill(child, SIGKILL);
    }
    if (ready <= 0) continue;
    if (fds[0].revents != 0) out_open = process_internal::Drain(out[0], &result.out);
    if (fds[1].revents != 0) err_open = process_internal::Drain(err[0], &result.err);
    const bool interrupt = (options.interrupt_on_output && !result.out.empty()) ||
                           (options.interrupt_on_note && !result.err.empty());
    if (interrupt && !interrupted) {
      interrupted = true;
      kill(child, SIGINT);
    }
  }
  if (seconds() >= options.timeout_s) kill(child, SIGKILL);
  if (!options.close_stdout) close(out[0]);
  close(err[0]);
  int status = 0;
  rusage usage = {};
  wait4(child, &status, 0, &usage);
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  result.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  result.seconds = seconds();
  result.peak_kb = usage.ru_maxrss;
  const auto cpu = [](const timeval& time) { return time.tv_sec + 1e-6 * time.tv_usec; };
  result.cpu_seconds = cpu(usage.ru_utime) + cpu(usage.ru_stime);
  return result;
}

inline const char* RengaBinary() { return RENGA_BINARY_DIR "/renga"; }

inline ProcessResult Renga(const std::vector<std::string>& args,
                           const ProcessOptions& options = {}) {
  return RunProcess(RengaBinary(), args, options);
}

inline std::string StoryModel() { return RENGA_SOURCE_DIR "/tests/data/stories260K.gguf"; }

}  // namespace renga
