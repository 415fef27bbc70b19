// A structure that has grown, between programs and libraries of different age.
#include "tools/library/structures.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace renga {

// As it came out, today, and as it will be.
struct Old {
  size_t size;
  int64_t first;
};
struct Grown {
  size_t size;
  int64_t first, second;
};
struct Later {
  size_t size;
  int64_t first, second, third;
};

template <>
inline constexpr size_t kFirstBytes<Grown> = sizeof(Old);
template <>
Grown DefaultStructure() {
  return {0, 10, 20};
}

namespace {

// As a program has it that was compiled with T.
template <typename T>
Grown* AsToday(T* structure) {
  return reinterpret_cast<Grown*>(structure);
}

TEST(LibraryStructures, AnOldProgramGetsDefaultsForWhatIsNew) {
  Old old[2] = {{}, {77, 77}};  // the second must not be touched
  InitStructure(AsToday(old), sizeof(Old));
  EXPECT_EQ(old[0].size, sizeof(Old));
  EXPECT_EQ(old[0].first, 10);
  old[0].first = 11;
  const auto read = ReadStructure(AsToday(old), "it");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->first, 11);
  EXPECT_EQ(read->second, 20);
  WriteStructure(Grown{0, 1, 2}, AsToday(old));
  EXPECT_EQ(old[0].size, sizeof(Old));
  EXPECT_EQ(old[0].first, 1);
  EXPECT_EQ(old[1].size, 77u);
  EXPECT_EQ(old[1].first, 77);
}

TEST(LibraryStructures, ANewProgramIsTakenAtItsWord) {
  Later later = {0, 7, 7, 7};
  InitStructure(AsToday(&later), sizeof(Later));
  EXPECT_EQ(later.size, sizeof(Later));
  EXPECT_EQ(later.second, 20);
  EXPECT_EQ(later.third, 0);
  EXPECT_EQ(ReadStructure(AsToday(&later), "it")->second, 20);
  later.third = 1;
  EXPECT_EQ(ReadStructure(AsToday(&later), "it").status().message(),
            "it: uses what only a later version of the library knows");
  WriteStructure(Grown{0, 1, 2}, AsToday(&later));
  EXPECT_EQ(later.size, sizeof(Later));
  EXPECT_EQ(later.second, 2);
  EXPECT_EQ(later.third, 0);
}

}  // namespace
}  // namespace renga
