#include "tests/emulator/compile.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "ir/base/digest.h"
#include "ir/base/output_file.h"
#include "ir/base/status.h"

namespace renga::emulator {
namespace {

constexpr const char* kPrelude = "tests/emulator/primitives_host.h";

absl::StatusOr<std::string> ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(StrCat(path, ": cannot be read"));
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

bool IsInclude(const std::string& line) {
  const size_t start = line.find_first_not_of(" \t");
  return start != std::string::npos && line.compare(start, 8, "#include") == 0;
}

// The path of a line `#include "path"`, or nothing.
std::string IncludedPath(const std::string& line) {
  if (!IsInclude(line)) return "";
  const size_t open = line.find('"');
  const size_t close = line.find('"', open + 1);
  if (open == std::string::npos || close == std::string::npos) return "";
  return line.substr(open + 1, close - open - 1);
}

// Adds a file below the root and all it includes to what a compiled file depends on.
absl::Status AddFile(const std::string& root, const std::string& path, std::set<std::string>* seen,
                     DigestStream* digest);

absl::Status AddIncludes(const std::string& root, const std::string& text,
                         std::set<std::string>* seen, DigestStream* digest) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::string path = IncludedPath(line);
    if (path.empty() || !std::filesystem::exists(StrCat(root, "/", path))) continue;
    RENGA_RETURN_IF_ERROR(AddFile(root, path, seen, digest));
  }
  return absl::OkStatus();
}

absl::Status AddFile(const std::string& root, const std::string& path, std::set<std::string>* seen,
                     DigestStream* digest) {
  if (!seen->insert(path).second) return absl::OkStatus();
  RENGA_ASSIGN_OR_RETURN(const std::string text, ReadText(StrCat(root, "/", path)));
  digest->Add(StrCat(path, "\n", text.size(), "\n", text));
  return AddIncludes(root, text, seen, digest);
}

// All sources in one file. #line keeps each line where its author has it.
std::string Combine(absl::Span<const KernelSource> sources) {
  std::string includes, bodies, thunks;
  int number = 0;
  for (const KernelSource& source : sources) {
    StrAppend(&bodies, "namespace renga_source_", number, " {\n#line 1 \"", source.name, "\"\n");
    std::istringstream lines(source.text);
    for (std::string line; std::getline(lines, line);) {
      if (IsInclude(line)) {
        StrAppend(&includes, line, "\n");
        line.clear();
      }
      StrAppend(&bodies, line, "\n");
    }
    StrAppend(&bodies, "}  // namespace\n");
    for (const std::string& kernel : source.kernels) {
      StrAppend(&thunks, "extern \"C\" __attribute__((visibility(\"default\"))) void ",
                ThunkName(kernel), "(void** arguments) {\n  renga::emulator::Thunk<&renga_source_",
                number, "::", kernel, ">::Call(arguments);\n}\n");
      const std::string bytes = ArgumentBytesName(kernel);
      StrAppend(&thunks, "extern \"C\" {\n__attribute__((visibility(\"default\"))) ",
                "extern const unsigned long ", bytes, ";\nconst unsigned long ", bytes,
                " = renga::emulator::Thunk<&renga_source_", number, "::", kernel,
                ">::kArgumentBytes;\n}\n");
    }
    ++number;
  }
  return StrCat(includes, bodies, "#line 1 \"thunks\"\n", thunks);
}

const std::vector<std::string>& Flags() {
  static const auto& flags = *new std::vector<std::string>{
      "-std=c++20", "-O1", "-g1", "-fPIC", "-shared", "-DRENGA_EMULATOR", "-fno-exceptions",
      "-fno-gnu-unique", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wno-unused-parameter",
      "-Wno-unused-function", "-Wno-psabi", "-Wno-unknown-pragmas", "-Werror=uninitialized",
      // What the emulator watches: see primitives_host.h.
      "-fsanitize=thread,alignment,bounds,shift,integer-divide-by-zero",
      // A local variable that is read before it is written holds garbage that shows.
      "-ftrivial-auto-var-init=pattern",
      // Loops stay loops: a call of memset would go unwatched.
      "-fno-tree-loop-distribute-patterns", "-fno-builtin-memcpy", "-fno-builtin-memset"};
  return flags;
}

}  // namespace

std::string ThunkName(const std::string& kernel) { return StrCat("renga_thunk_", kernel); }

std::string ArgumentBytesName(const std::string& kernel) {
  return StrCat(ThunkName(kernel), "_argument_bytes");
}

std::string ShellQuoted(const std::string& word) {
  std::string quoted = "'";
  for (const char c : word) {
    if (c == '\'') {
      quoted += "'\\''";
    } else {
      quoted += c;
    }
  }
  return quoted + "'";
}

CommandOutput RunCommand(const std::string& command) {
  FILE* pipe = popen(StrCat("(", command, ") 2>&1").c_str(), "r");
  if (pipe == nullptr) return {-1, "cannot start a shell"};
  CommandOutput output;
  char chunk[4096];
  for (size_t n; (n = fread(chunk, 1, sizeof(chunk), pipe)) > 0;) output.text.append(chunk, n);
  const int status = pclose(pipe);
  output.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return output;
}

namespace {

std::string CommandOf(const CompileOptions& options) {
  std::string command = ShellQuoted(options.compiler);
  for (const std::string& flag : Flags()) StrAppend(&command, " ", flag);
#if defined(__x86_64__)
  if (__builtin_cpu_supports("f16c") && __builtin_cpu_supports("fma")) {
    command += " -mf16c -mfma";
  }
#endif
  for (const std::string& flag : options.flags) StrAppend(&command, " ", ShellQuoted(flag));
  return command;
}

// The path without its ending of what is compiled of `text`: by the content of all that is read.
// `command` with the compiler's version.
absl::StatusOr<std::string> StemOf(const CompileOptions& options, const std::string& command,
                                   const std::string& text) {
  DigestStream digest;
  digest.Add(command);
  digest.Add(text);
  std::set<std::string> seen;
  RENGA_RETURN_IF_ERROR(AddFile(options.root, kPrelude, &seen, &digest));
  RENGA_RETURN_IF_ERROR(AddIncludes(options.root, text, &seen, &digest));
  return StrCat(options.cache_folder, "/", digest.Finish().ToHex());
}

absl::StatusOr<std::string> CompileToSharedObject(const CompileOptions& options,
                                                  std::string command, const std::string& stem,
                                                  const std::string& text,
                                                  const std::string& what) {
  const std::string path = StrCat(stem, ".so");
  if (std::filesystem::exists(path)) return path;
  const std::string source_path = StrCat(stem, ".cc");
  RENGA_RETURN_IF_ERROR(WriteFileAtomically(source_path, {text}));
  // Other processes may compile the same; whoever is last replaces a good file by its equal.
  const std::string unfinished = StrCat(stem, ".", getpid(), ".tmp");
  // The object is made with the sanitizer and linked without, for its library must stay out.
  StrAppend(&command, " -ffile-prefix-map=", ShellQuoted(options.root), "/= -I",
            ShellQuoted(options.root), " -fdebug-prefix-map=\"$PWD\"=", kSourcePrefix, " -include ",
            kPrelude, " -x c++ -c ", ShellQuoted(source_path), " -o ",
            ShellQuoted(unfinished + ".o"), " && ", ShellQuoted(options.compiler),
            " -shared -Wl,-z,now ", ShellQuoted(unfinished + ".o"), " -o ", ShellQuoted(unfinished),
            " -lm");
  const CommandOutput output = RunCommand(command);
  std::error_code error;
  std::filesystem::remove(unfinished + ".o", error);
  if (output.exit_code != 0) {
    std::filesystem::remove(unfinished, error);
    return absl::InvalidArgumentError(
        StrCat("compiling ", what, " for the emulator:\n", output.text));
  }
  std::filesystem::rename(unfinished, path, error);
  if (error) return absl::InternalError(StrCat(path, ": ", error.message()));
  return path;
}

}  // namespace

absl::StatusOr<CompiledSources> CompileSources(const CompileOptions& options,
                                               absl::Span<const KernelSource> sources) {
  const std::string command = CommandOf(options);
  const std::string compiler =
      StrCat(command, "\n", RunCommand(StrCat(ShellQuoted(options.compiler), " --version")).text);
  std::error_code error;
  std::filesystem::create_directories(options.cache_folder, error);
  CompiledSources compiled;
  std::vector<KernelSource> missing;
  std::vector<std::string> places;  // of the missing: files that say where each is
  for (const KernelSource& source : sources) {
    RENGA_ASSIGN_OR_RETURN(const std::string stem,
                           StemOf(options, compiler, Combine(absl::MakeConstSpan(&source, 1))));
    std::string place = StrCat(stem, ".in");
    if (const absl::StatusOr<std::string> file = ReadText(place); file.ok()) {
      const std::string path = StrCat(options.cache_folder, "/", *file);
      if (std::filesystem::exists(path)) {
        compiled.files[path].push_back(source);
        continue;
      }
    }
    missing.push_back(source);
    places.push_back(std::move(place));
  }
  compiled.from_cache = missing.empty();
  if (missing.empty()) return compiled;
  const std::string text = Combine(missing);
  RENGA_ASSIGN_OR_RETURN(const std::string stem, StemOf(options, compiler, text));
  const std::string what = StrCat(
      missing[0].name, missing.size() > 1 ? StrCat(" and ", missing.size() - 1, " more") : "");
  RENGA_ASSIGN_OR_RETURN(const std::string path,
                         CompileToSharedObject(options, command, stem, text, what));
  const std::string file = std::filesystem::path(path).filename().string();
  for (const std::string& place : places) {
    RENGA_RETURN_IF_ERROR(WriteFileAtomically(place, {file}));
  }
  compiled.files[path] = std::move(missing);
  return compiled;
}

absl::StatusOr<KernelSource> ReadKernelSource(const std::string& path) {
  KernelSource source;
  source.name = path;
  RENGA_ASSIGN_OR_RETURN(source.text, ReadText(path));
  constexpr std::string_view kMark = "extern \"C\" __global__";
  for (size_t at = 0; (at = source.text.find(kMark, at)) != std::string::npos;) {
    // The kernel's name is the first word before a parenthesis that is no keyword of CUDA.
    size_t start = at + kMark.size();
    std::string name;
    while (name.empty()) {
      const size_t open = source.text.find('(', start);
      if (open == std::string::npos) break;
      size_t end = open;
      while (end > start && isspace(source.text[end - 1])) --end;
      size_t begin = end;
      while (begin > start && (isalnum(source.text[begin - 1]) || source.text[begin - 1] == '_')) {
        --begin;
      }
      const std::string word = source.text.substr(begin, end - begin);
      if (word == "__launch_bounds__") {
        start = source.text.find(')', open) + 1;
      } else {
        name = word;
      }
    }
    if (name.empty()) {
      return absl::InvalidArgumentError(StrCat(path, ": a kernel without a name"));
    }
    source.kernels.push_back(name);
    at = start;
  }
  return source;
}

}  // namespace renga::emulator
