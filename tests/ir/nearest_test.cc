#include "ir/base/nearest.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace renga {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(EditDistance, CountsSlips) {
  EXPECT_EQ(EditDistance("", ""), 0u);
  EXPECT_EQ(EditDistance("rope", ""), 4u);
  EXPECT_EQ(EditDistance("", "rope"), 4u);
  EXPECT_EQ(EditDistance("rope", "robe"), 1u);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3u);
}

TEST(NearestNames, NearestFirstAndFew) {
  EXPECT_THAT(NearestNames("0.atn_norm", {"0.attn_norm", "1.attn_norm", "0.q_proj", "x"}),
              ElementsAre("0.attn_norm", "1.attn_norm"));
  EXPECT_THAT(NearestNames("zzz", {"abcdef", "ab"}), ElementsAre("ab"));
  EXPECT_THAT(NearestNames("a", {"b", "c", "d", "e"}), ElementsAre("b", "c", "d"));
  EXPECT_THAT(NearestNames("a", {}), IsEmpty());
}

TEST(NearestNames, LongNamesCostNoMore) {
  const std::string huge(1 << 20, 'a');
  EXPECT_THAT(NearestNames(huge, {huge, "b"}), testing::Contains(huge));
}

}  // namespace
}  // namespace renga
