// renga completion SHELL: a script for the shell, made from the flags as they are declared, so that
// it cannot fall behind.
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "ir/base/status.h"
#include "tools/renga/command.h"
#include "tools/renga/output.h"

namespace renga {
namespace {

// What a flag takes, where that is one of a few words. Everything else completes to files.
struct Words {
  std::string_view flag;
  std::string_view words;
};
constexpr Words kWords[] = {
    {"--device", "auto cpu cuda reference"},
    {"--target", "cpu"},
    {"--stage", "gguf ir passes plan memory ledger weights tokens trace"},
};

struct Flag {
  std::vector<std::string> names;  // "-p", "--prompt"
  std::string summary;
};

std::vector<Flag> FlagsOf(const Command& command) {
  CLI::App app;
  const RunFn unused = command.add(app);
  std::vector<Flag> flags;
  for (const CLI::Option* option : app.get_options()) {
    Flag flag{{}, option->get_description()};
    for (const std::string& name : option->get_snames()) flag.names.push_back(StrCat("-", name));
    for (const std::string& name : option->get_lnames()) flag.names.push_back(StrCat("--", name));
    if (!flag.names.empty()) flags.push_back(std::move(flag));
  }
  return flags;
}

std::string AllFlags(const Command& command) {
  std::vector<std::string> names;
  for (const Flag& flag : FlagsOf(command)) {
    names.insert(names.end(), flag.names.begin(), flag.names.end());
  }
  return StrJoin(names, " ");
}

std::string Verbs() {
  std::vector<std::string_view> names;
  for (const Command* command : AllCommands()) names.push_back(command->name);
  return StrJoin(names, " ");
}

std::string BashScript() {
  std::string text =
      "# renga completion for bash: source <(renga completion bash)\n"
      "_renga() {\n"
      "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} words=\n"
      "  if ((COMP_CWORD == 1)); then\n";
  StrAppend(&text, "    COMPREPLY=($(compgen -W '", Verbs(), " --help --version' -- \"$word\"))\n",
            "    return\n  fi\n  case $before in\n");
  for (const auto& [flag, words] : kWords) {
    StrAppend(&text, "    ", flag, ") COMPREPLY=($(compgen -W '", words,
              "' -- \"$word\")); return ;;\n");
  }
  text += "  esac\n  case ${COMP_WORDS[1]} in\n";
  for (const Command* command : AllCommands()) {
    StrAppend(&text, "    ", command->name, ") words='", AllFlags(*command), "' ;;\n");
  }
  return text +
         "  esac\n"
         "  [[ ${COMP_WORDS[1]} != completion ]] || words='bash zsh fish'\n"
         "  if [[ $word == -* || ${COMP_WORDS[1]} == completion ]]; then\n"
         "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
         "  else\n"
         "    COMPREPLY=($(compgen -f -- \"$word\"))\n"
         "  fi\n"
         "}\n"
         "complete -o filenames -F _renga renga\n";
}

// Inside single quotes of zsh and fish, and of zsh's own [...] and colons.
std::string Plain(std::string_view text) {
  return absl::StrReplaceAll(ToAbsl(text), {{"'", ""}, {"[", "("}, {"]", ")"}, {":", " -"}});
}

std::string ZshScript() {
  std::string text =
      "#compdef renga\n"
      "# renga completion for zsh: renga completion zsh > \"${fpath[1]}/_renga\"\n"
      "_renga() {\n"
      "  if ((CURRENT == 2)); then\n"
      "    local -a verbs=(\n";
  for (const Command* command : AllCommands()) {
    StrAppend(&text, "      '", command->name, ":", Plain(command->summary), "'\n");
  }
  text += "    )\n    _describe verb verbs\n    return\n  fi\n  case $words[2] in\n";
  for (const Command* command : AllCommands()) {
    if (command->name == "completion") {
      StrAppend(&text, "    completion) _values shell bash zsh fish ;;\n");
      continue;
    }
    StrAppend(&text, "    ", command->name, ") _arguments");
    for (const Flag& flag : FlagsOf(*command)) {
      for (const std::string& name : flag.names) {
        StrAppend(&text, " \\\n      '", name, "[", Plain(flag.summary), "]'");
      }
    }
    text += " \\\n      '*:file:_files' ;;\n";
  }
  return text + "  esac\n}\n_renga \"$@\"\n";
}

std::string FishScript() {
  std::string text = "# renga completion for fish: renga completion fish | source\n";
  for (const Command* command : AllCommands()) {
    StrAppend(&text, "complete -c renga -n __fish_use_subcommand -f -a ", command->name, " -d '",
              Plain(command->summary), "'\n");
  }
  for (const Command* command : AllCommands()) {
    const std::string when =
        StrCat("complete -c renga -n '__fish_seen_subcommand_from ", command->name, "'");
    if (command->name == "completion") StrAppend(&text, when, " -f -a 'bash zsh fish'\n");
    for (const Flag& flag : FlagsOf(*command)) {
      text += when;
      for (const std::string& name : flag.names) {
        const bool is_long = name.compare(0, 2, "--") == 0;
        StrAppend(&text, is_long ? " -l " : " -s ", name.substr(is_long ? 2 : 1));
        for (const auto& [word_flag, words] : kWords) {
          if (name == word_flag) StrAppend(&text, " -x -a '", words, "'");
        }
      }
      StrAppend(&text, " -d '", Plain(flag.summary), "'\n");
    }
  }
  return text;
}

RunFn Add(CLI::App& app) {
  auto shell = std::make_shared<std::string>();
  app.add_option("SHELL", *shell, "bash, zsh or fish")->required();
  return [shell]() -> absl::Status {
    if (*shell == "bash") return WriteStdout(BashScript());
    if (*shell == "zsh") return WriteStdout(ZshScript());
    if (*shell == "fish") return WriteStdout(FishScript());
    return absl::InvalidArgumentError(
        StrCat("completion: expected bash, zsh or fish, got '", *shell, "'"));
  };
}

}  // namespace

const Command kCompletionCommand = {
    .name = "completion",
    .summary = "prints a shell's completion script",
    .examples =
        "  source <(renga completion bash)             # in ~/.bashrc\n"
        "  renga completion fish | source              # in fish's configuration",
    .add = Add,
};

}  // namespace renga
