// The renga binary: finds the verb, parses its flags, runs it, and turns its status into an exit
// code.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_format.h"
#include "ir/base/nearest.h"
#include "ir/base/status.h"
#include "tools/renga/command.h"
#include "tools/renga/errors.h"
#include "tools/renga/interrupt.h"
#include "tools/renga/output.h"

namespace renga {
namespace {

// A file opened while fd 1 is closed would become stdout; a result must never end up in it.
void OpenStandardFiles() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (fcntl(fd, F_GETFD) >= 0) continue;
    // Reading stdin gives nothing, writing stdout fails, as they would have.
    const int opened = open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY);
    if (opened >= 0 && opened != fd) close(opened);
  }
}

std::string Overview() {
  std::string text =
      "Compiles GGUF language models into plans that can be inspected, and runs them.\n\n"
      "usage: renga VERB [FLAGS]\n\n";
  for (const Command* command : AllCommands()) {
    StrAppend(&text,
              absl::StrFormat("  %-11s %s\n", ToAbsl(command->name), ToAbsl(command->summary)));
  }
  return StrCat(text,
                "\n  renga VERB --help   the verb's flags, with examples\n"
                "  renga --version     the version\n\n"
                "exit codes: 0 done; 1 the answer is no; 2 wrong usage or bad input; 3 the machine "
                "cannot; 130 interrupted\n");
}

absl::Status UnknownVerb(std::string_view verb) {
  std::vector<std::string_view> names;
  std::string_view closest;
  size_t distance = 3;  // further away is no typing error
  for (const Command* command : AllCommands()) {
    names.push_back(command->name);
    // Bounded, as anything may be typed.
    const size_t d = EditDistance(verb.substr(0, 64), command->name);
    if (d < distance) {
      distance = d;
      closest = command->name;
    }
  }
  std::string message = StrCat("unknown verb '", verb, "', expected one of ", StrJoin(names, ", "));
  if (!closest.empty()) StrAppend(&message, "; did you mean '", closest, "'");
  return absl::InvalidArgumentError(message);
}

// What is missing, under the name the usage line has for it.
std::string MissingOptions(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    if (!option->get_required() || option->count() > 0) continue;
    const std::string positional = option->get_name(/*positional=*/true);
    names.push_back(positional.empty() ? option->get_name() : positional);
  }
  return StrCat("missing: ", StrJoin(names, ", "));
}

absl::Status RunCommand(const Command& command, int argc, char** argv) {
  const std::string name = StrCat("renga ", command.name);
  CLI::App app(std::string(command.summary), name);
  app.footer(StrCat("Examples:\n", command.examples));
  const RunFn run = command.add(app);
  const std::string hint = StrCat("; `", name, " --help` lists the flags");
  try {  // CLI11 reports by exceptions; they end here
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return WriteStdout(app.help());
  } catch (const CLI::RequiredError&) {
    return absl::InvalidArgumentError(StrCat(MissingOptions(app), hint));
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(StrCat(error.what(), hint));
  }
  return run();
}

absl::Status Main(int argc, char** argv) {
  const std::string_view verb = argc > 1 ? argv[1] : "";
  if (verb == "--help" || verb == "-h" || verb == "help") return WriteStdout(Overview());
  if (verb == "--version") return WriteStdout(StrCat("renga ", RENGA_VERSION, "\n"));
  if (verb.empty()) {
    return absl::InvalidArgumentError("no verb given; `renga --help` lists them");
  }
  for (const Command* command : AllCommands()) {
    if (command->name == verb) return RunCommand(*command, argc - 1, argv + 1);
  }
  return UnknownVerb(verb);
}

}  // namespace
}  // namespace renga

int main(int argc, char** argv) {
  renga::OpenStandardFiles();
  renga::InstallSignalHandlers();
  // Nothing of ours throws, but the standard library does when memory is gone.
  std::set_new_handler([] {
    fputs("error: out of memory; try a smaller context (-c) or a smaller model\n", stderr);
    _exit(renga::kExitMachine);
  });
  return renga::Report(renga::Main(argc, argv));
}
