// The seed of tests that try something else in every run.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>

namespace renga {

// Printed; RENGA_TEST_SEED=N in the environment repeats a run.
inline uint32_t TestSeed() {
  const char* given = std::getenv("RENGA_TEST_SEED");
  const uint32_t seed = given != nullptr ? static_cast<uint32_t>(std::strtoul(given, nullptr, 10))
                                         : std::random_device{}();
  std::cout << "seed " << seed << " (RENGA_TEST_SEED repeats it)\n";
  return seed;
}

}  // namespace renga
