#include "ir/base/output_file.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

#include "gtest/gtest.h"
#include "tests/support/temp_folder.h"

namespace renga {
namespace {

class OutputFileTest : public testing::Test {
 protected:
  std::string Path(const std::string& name) const { return folder_.File(name); }
  static std::string Read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }
  int Entries() const {
    const std::filesystem::directory_iterator entries(folder_.path());
    return static_cast<int>(std::distance(begin(entries), end(entries)));
  }

  TempFolder folder_;
};

TEST_F(OutputFileTest, WritesAllPartsAndNothingElse) {
  ASSERT_TRUE(WriteFileAtomically(Path("a"), {"one", std::string_view("\0two", 4)}).ok());
  EXPECT_EQ(Read(Path("a")), std::string("one\0two", 7));
  EXPECT_EQ(Entries(), 1);
  struct stat info;
  ASSERT_EQ(stat(Path("a").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0644u);
}

TEST_F(OutputFileTest, ReplacesTheOldFileWhole) {
  ASSERT_TRUE(WriteFileAtomically(Path("a"), {"a much longer text"}).ok());
  ASSERT_TRUE(WriteFileAtomically(Path("a"), {"short"}).ok());
  EXPECT_EQ(Read(Path("a")), "short");
  EXPECT_EQ(Entries(), 1);
}

TEST_F(OutputFileTest, MissingFolder) {
  const absl::Status status = WriteFileAtomically(Path("missing/a"), {"x"});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            Path("missing/a") + ": cannot create a file beside it: No such file or directory");
}

TEST_F(OutputFileTest, AFolderIsNoTarget) {
  const absl::Status status = WriteFileAtomically(folder_.path(), {"x"});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), folder_.path() + ": cannot write: Is a directory");
}

TEST_F(OutputFileTest, ARenameThatFailsLeavesNothing) {
  // A folder that is not empty cannot be replaced; it appears between the check and the rename only
  // in races, so a path that ends in '/' stands in for it: the file is complete, its name
  // impossible.
  const absl::Status status = WriteFileAtomically(Path("a/"), {"x"});
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(Entries(), 0);
}

TEST_F(OutputFileTest, AFullDeviceIsAnErrorOfTheMachine) {
  const absl::Status status = WriteFileAtomically("/dev/full", {"x"});
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(status.message(), "/dev/full: cannot write: No space left on device");
}

TEST_F(OutputFileTest, ADeviceIsWrittenDirectly) {
  EXPECT_TRUE(WriteFileAtomically("/dev/null", {"x"}).ok());
}

}  // namespace
}  // namespace renga
