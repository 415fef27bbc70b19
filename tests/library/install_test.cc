// What `cmake --install` makes is all that another program needs: the example is built against it,
// as CMake and as pkg-config have it, and writes the recorded texts.
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/tools/process.h"

namespace renga {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const char kExample[] = RENGA_SOURCE_DIR "/tools/library/example";

std::string ReadFile(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  EXPECT_FALSE(text.str().empty()) << path;
  return text.str();
}

class LibraryInstall : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TempFolder;
    Shell("cmake --install '" RENGA_BINARY_DIR "' --prefix '" + folder_->path() + "/first'");
    // Nothing may depend on where that was.
    std::filesystem::rename(folder_->File("first"), Prefix());
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }

  static std::string Prefix() { return folder_->File("prefix"); }
  static std::string Shell(const std::string& command) {
    const ProcessResult result =
        RunProcess("/bin/sh", {"-c", command},
                   {.environment = {{"CXXFLAGS", ""}, {"CFLAGS", ""}, {"LDFLAGS", ""}}});
    EXPECT_EQ(result.exit_code, 0) << command << "\n" << result.out << result.Describe();
    return result.out;
  }

  // The two lines of a program, which takes the model and perhaps more.
  static void ExpectTexts(const std::string& program, const std::vector<std::string>& more = {}) {
    const ProcessOptions options = {
        .environment = {{"LD_LIBRARY_PATH", Prefix() + "/" RENGA_LIBDIR}}};
    std::vector<std::string> args = {StoryModel()};
    args.insert(args.end(), more.begin(), more.end());
    const ProcessResult result = RunProcess(program, args, options);
    EXPECT_EQ(result.exit_code, 0) << result.Describe();
    EXPECT_EQ(result.err, "");
    std::istringstream out(result.out);
    std::vector<std::string> lines;
    for (std::string line; std::getline(out, line);) lines.push_back(line);
    std::ifstream in(RENGA_SOURCE_DIR "/tests/data/reference/stories260K.llamacpp.jsonl");
    for (std::string& expected : lines) {
      std::string line;
      ASSERT_TRUE(std::getline(in, line)) << result.out;
      const nlohmann::json record = nlohmann::json::parse(line);
      const std::string text =
          record["text"].get<std::string>() + record["greedy_text"].get<std::string>();
      // One of the records is longer than what the example asks for.
      EXPECT_THAT(text, StartsWith(expected));
      EXPECT_GT(expected.size(), 90u);
    }
    EXPECT_EQ(lines.size(), 2u);
    args[0] = "/absent.gguf";
    const ProcessResult failed = RunProcess(program, args, options);
    EXPECT_EQ(failed.exit_code, 1);
    EXPECT_THAT(failed.err, StartsWith("error: /absent.gguf: cannot open"));
  }

 private:
  static TempFolder* folder_;
};

TempFolder* LibraryInstall::folder_ = nullptr;

TEST_F(LibraryInstall, HasTheseFiles) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(Prefix())) {
    if (!entry.is_regular_file()) continue;
    std::string path = entry.path().lexically_relative(Prefix()).generic_string();
    // Debug, release: as it was built.
    if (path.find("rengaTargets-") == std::string::npos) files.push_back(path);
  }
  std::sort(files.begin(), files.end());
  const std::string lib = RENGA_LIBDIR;
#ifdef RENGA_HAS_SHARED
  EXPECT_EQ(
      std::erase_if(
          files, [&](const std::string& file) { return file.starts_with(lib + "/librenga.so"); }),
      3u);
#endif
  EXPECT_THAT(files, ElementsAre("bin/renga", "include/renga/renga.h", "include/renga/renga.hpp",
                                 lib + "/cmake/renga/rengaConfig.cmake",
                                 lib + "/cmake/renga/rengaConfigVersion.cmake",
                                 lib + "/cmake/renga/rengaTargets.cmake", lib + "/librenga.a",
                                 lib + "/pkgconfig/renga.pc"));
  EXPECT_THAT(Shell("'" + Prefix() + "/bin/renga' --version"), StartsWith("renga "));
}

TEST_F(LibraryInstall, IsFoundByCMake) {
  const std::string build = Prefix() + "/../cmake";
  Shell("cmake -G Ninja -S " + std::string(kExample) + " -B " + build +
        " -DCMAKE_PREFIX_PATH=" + Prefix() + " && cmake --build " + build + " -j2");
  ExpectTexts(build + "/two_prompts");
  ExpectTexts(build + "/two_prompts_c");
  // The first is what the text goes on with, of five.
  const ProcessResult follows =
      RunProcess(build + "/what_follows", {StoryModel(), "Once upon a time"});
  EXPECT_EQ(follows.exit_code, 0) << follows.Describe();
  EXPECT_EQ(std::count(follows.out.begin(), follows.out.end(), '\n'), 5) << follows.out;
  EXPECT_EQ(follows.out.substr(8, follows.out.find('\n') - 8), "  ,");
}

TEST_F(LibraryInstall, IsFoundByPkgConfig) {
  const std::string flags = "$(PKG_CONFIG_PATH='" + Prefix() +
                            "/" RENGA_LIBDIR "/pkgconfig' pkg-config --cflags --libs renga)";
  const std::string warnings = " -Wall -Wextra -pedantic -Werror -o ";
  const std::string program = Prefix() + "/../program", source = kExample;
  Shell("gcc -std=c99" + warnings + program + " " + source + "/two_prompts.c " + flags);
  ExpectTexts(program);
  Shell("g++ -std=c++17" + warnings + program + " " + source + "/two_prompts.cc " + flags);
  ExpectTexts(program);
}

#ifdef RENGA_HAS_SHARED
TEST_F(LibraryInstall, IsLoadedByPython) {
  const std::string script = Prefix() + "/../two_prompts", source = kExample;
  Shell("(echo '#!/usr/bin/env python3'; cat " + source + "/two_prompts.py) > " + script +
        " && chmod +x " + script);
  const std::string library = Prefix() + "/" RENGA_LIBDIR "/librenga.so";
  ExpectTexts(script, {library});
  // Nothing but the interface is to be seen.
  std::istringstream symbols(Shell("nm -D --defined-only " + library));
  int functions = 0;
  for (std::string line; std::getline(symbols, line);) {
    EXPECT_THAT(line, HasSubstr(" T renga_"));
    ++functions;
  }
  EXPECT_GT(functions, 15);
}
#endif

TEST_F(LibraryInstall, HeadersNeedNothingElse) {
  for (const char* name : {"renga.h", "renga.hpp"}) {
    std::istringstream header(ReadFile(Prefix() + "/include/renga/" + name));
    for (std::string line; std::getline(header, line);) {
      if (!line.starts_with("#include")) continue;
      // Of the standard library, whose headers have no folder, or our own.
      EXPECT_TRUE(line == "#include \"renga/renga.h\"" ||
                  (line.find('<') != line.npos && line.find('/') == line.npos))
          << line;
    }
  }
}

TEST_F(LibraryInstall, TheExampleIsTheOneOfTheDocumentation) {
  std::istringstream example(ReadFile(std::string(kExample) + "/two_prompts.cc"));
  std::string indented;
  for (std::string line; std::getline(example, line);) {
    if (!line.starts_with("// ")) indented += line.empty() ? "\n" : "    " + line + "\n";
  }
  EXPECT_THAT(ReadFile(RENGA_SOURCE_DIR "/docs/library.md"), HasSubstr(indented));
}

}  // namespace
}  // namespace renga
