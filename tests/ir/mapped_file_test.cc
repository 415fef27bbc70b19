#include "ir/base/mapped_file.h"

#include <filesystem>
#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_folder.h"

namespace renga {
namespace {

using testing::HasSubstr;

TEST(MappedFile, ReadsWhatTheMappingShows) {
  const TempFolder folder;
  auto opened = MappedFile::Open(folder.Write("x", "0123456789"));
  ASSERT_TRUE(opened.ok()) << opened.status();
  const MappedFile file = std::move(*opened);
  std::string read(4, ' ');
  const auto to = absl::MakeSpan(reinterpret_cast<uint8_t*>(read.data()), read.size());
  ASSERT_TRUE(file.Read(3, to).ok());
  EXPECT_EQ(read, "3456");
  EXPECT_TRUE(file.Read(10, to.first(0)).ok());
  const absl::Status beyond = file.Read(8, to);
  EXPECT_EQ(beyond.code(), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(std::string(beyond.message()), HasSubstr("expected 2 more bytes from 10 on"));
}

TEST(MappedFile, AFileThatWasTruncatedIsAnError) {
  const TempFolder folder;
  const std::string path = folder.Write("x", std::string(100, 'x'));
  const auto file = MappedFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  std::filesystem::resize_file(path, 50);
  uint8_t bytes[60];
  EXPECT_EQ(file->Read(0, absl::MakeSpan(bytes)).code(), absl::StatusCode::kOutOfRange);
  EXPECT_TRUE(file->Read(0, absl::MakeSpan(bytes, 50)).ok());
}

}  // namespace
}  // namespace renga
