#include "runtime/text/stop_strings.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace renga {
namespace {

std::string Shown(StopStrings& stops, const std::vector<std::string>& parts) {
  std::string out;
  for (const std::string& part : parts) out += stops.Append(part) + "|";
  return out;
}

TEST(StopStrings, StopsInsideAndAcrossPieces) {
  StopStrings stops({"END", "\n\n"});
  EXPECT_EQ(Shown(stops, {"abE", "N", "x", "E", "ND more"}), "ab||ENx|||");
  EXPECT_TRUE(stops.stopped());
  EXPECT_EQ(stops.stop(), "END");
  EXPECT_EQ(stops.Append("later"), "");
  EXPECT_EQ(stops.Flush(), "");
}

TEST(StopStrings, HoldsBackOnlyWhatMayBecomeAStop) {
  StopStrings stops({"aab"});
  EXPECT_EQ(Shown(stops, {"aa", "a", "c", "a"}), "|a|aac||");
  EXPECT_FALSE(stops.stopped());
  EXPECT_EQ(stops.Flush(), "a");
}

TEST(StopStrings, TheFirstOfSeveralCounts) {
  StopStrings stops({"b", "abc", ""});
  EXPECT_EQ(stops.Append("xabcb"), "x");
  EXPECT_EQ(stops.stop(), "abc");
  StopStrings none({});
  EXPECT_EQ(none.Append("text"), "text");
}

}  // namespace
}  // namespace renga
