// The device headers arrive in the binary as they are in the tree.
#include "codegen/kernels/embedded.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"

namespace renga::codegen {

absl::Span<const DeviceHeader> AwkwardHeaders();  // embedded by the same script, see CMakeLists.txt

namespace {

std::string FileText(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void ExpectAsInTheTree(absl::Span<const DeviceHeader> headers, std::string_view folder) {
  std::vector<std::string> expected;
  const std::string root = RENGA_SOURCE_DIR;
  for (const auto& entry : std::filesystem::directory_iterator(StrCat(root, "/", folder))) {
    if (entry.path().extension() == ".cuh") {
      expected.push_back(StrCat(folder, "/", entry.path().filename().string()));
    }
  }
  std::sort(expected.begin(), expected.end());
  std::vector<std::string> names;
  for (const DeviceHeader& header : headers) {
    names.emplace_back(header.name);
    EXPECT_EQ(header.text, FileText(StrCat(root, "/", header.name))) << header.name;
  }
  EXPECT_EQ(names, expected);
}

TEST(EmbeddedHeaders, AreThoseOfTheFolder) {
  ExpectAsInTheTree(EmbeddedHeaders(), "codegen/kernels");
  for (const DeviceHeader& header : EmbeddedHeaders()) {
    EXPECT_EQ(FindEmbeddedHeader(header.name), &header);
  }
  EXPECT_EQ(FindEmbeddedHeader("codegen/kernels/none.cuh"), nullptr);
  EXPECT_EQ(FindEmbeddedHeader(""), nullptr);
}

TEST(EmbeddedHeaders, AnyTextSurvives) {
  ExpectAsInTheTree(AwkwardHeaders(), "tests/codegen/nvrtc/headers");
  ASSERT_EQ(AwkwardHeaders().size(), 1u);
  EXPECT_THAT(std::string(AwkwardHeaders()[0].text), testing::HasSubstr("漢"));
}

}  // namespace
}  // namespace renga::codegen
