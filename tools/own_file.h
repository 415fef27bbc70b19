// The file that this very code came from.
#pragma once

#include <string>

namespace renga {

// The program's, as /proc/self/exe, or that of the shared library that the code is part of.
std::string OwnFile();

}  // namespace renga
