// Writes a GGUF of a public model's shape with random weights: what speed is measured on where the
// model itself cannot be had. Its text means nothing.
//   renga_synthetic_model NAME -o X.gguf [--layers N] [--vocab N] [-t THREADS]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <thread>

#include "CLI/CLI.hpp"
#include "ir/base/status.h"
#include "tests/bench/synthetic/write_model.h"

namespace renga::synthetic {
namespace {

struct Flags {
  std::string name, output;
  Cut cut;
  int threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
};

absl::Status Run(const Flags& flags) {
  const auto start = std::chrono::steady_clock::now();
  RENGA_ASSIGN_OR_RETURN(const Model model, FindModel(flags.name, flags.cut));
  RENGA_ASSIGN_OR_RETURN(const uint64_t bytes, WriteModel(model, flags.output, flags.threads));
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  printf("wrote %s: %zu tensors, %.2f GB in %.1f s\n", flags.output.c_str(), model.tensors.size(),
         static_cast<double>(bytes) / 1e9, seconds.count());
  return absl::OkStatus();
}

}  // namespace
}  // namespace renga::synthetic

int main(int argc, char** argv) {
  using namespace renga::synthetic;
  CLI::App app("Writes a GGUF of a public model's shape with random weights.");
  Flags flags;
  std::string names;
  for (const Shape& shape : AllShapes()) names += std::string(shape.name) + ", ";
  app.add_option("NAME", flags.name, names + "each with -f16, -bf16, -q8_0 or -q4_k_m behind it")
      ->required();
  app.add_option("-o,--output", flags.output, "the file to write")->required();
  app.add_option("--layers", flags.cut.layers, "only so many layers (default: all)");
  app.add_option("--vocab", flags.cut.vocab, "only so many tokens (default: all)");
  app.add_option("-t,--threads", flags.threads, "threads (default: all cores)")
      ->check(CLI::Range(1, 1024));
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = Run(flags);
  if (status.ok()) return 0;
  fprintf(stderr, "error: %s\n", std::string(status.message()).c_str());
  return 2;
}
