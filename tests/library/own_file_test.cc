#include "tools/own_file.h"

#include "gtest/gtest.h"

namespace renga {
namespace {

// The shared library is tried by the test of what is installed.
TEST(OwnFile, IsTheProgramWhereTheCodeIsPartOfIt) { EXPECT_EQ(OwnFile(), "/proc/self/exe"); }

}  // namespace
}  // namespace renga
