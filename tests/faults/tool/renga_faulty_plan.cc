// Makes the faulty engine of docs/the-hunt.md: a copy of a model whose biases are zeros, as a
// loader leaves them that looks for another name, and a plan of it whose RoPE rotates the other
// pairs.
//   renga_faulty_plan MODEL.gguf -o FOLDER [--zero-biases] [--other-pairs]
//   renga verify MODEL.gguf --plan FOLDER/faulty.plan
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "frontend/gguf/gguf.h"
#include "ir/base/output_file.h"
#include "ir/base/status.h"
#include "runtime/plan/serialize.h"
#include "tests/faults/zoo/zoo.h"
#include "tools/compiler.h"

namespace renga::faults {
namespace {

struct Flags {
  std::string model, folder;
  bool zero_biases = false, other_pairs = false;
};

absl::StatusOr<std::vector<std::string>> Biases(const std::string& gguf) {
  RENGA_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(gguf));
  std::vector<std::string> names;
  for (const GgufTensor& tensor : file.tensors()) {
    if (tensor.name.ends_with(".bias")) names.emplace_back(tensor.name);
  }
  return names;
}

void OtherPairs(plan::Plan* plan) {
  for (plan::Step& step : plan->steps) {
    for (plan::Attr& attr : step.attrs) {
      if (attr.name != "pairing") continue;
      attr.value = std::string(std::get<std::string>(attr.value) == "neox" ? "norm" : "neox");
    }
  }
}

absl::Status Run(const Flags& flags) {
  std::filesystem::create_directories(flags.folder);
  std::string loaded = flags.model;
  if (flags.zero_biases) {
    RENGA_ASSIGN_OR_RETURN(const std::vector<std::string> biases, Biases(flags.model));
    loaded = flags.folder + "/loaded.gguf";
    RENGA_RETURN_IF_ERROR(CopyWithZeros(flags.model, biases, loaded));
    std::cout << biases.size() << " biases are zeros in " << loaded << "\n";
  }
  CompileOptions options;
  options.context = 96;
  options.max_sequences = 3;
  options.max_rows = 128;
  RENGA_ASSIGN_OR_RETURN(Compilation compilation, Compile(loaded, options));
  if (flags.other_pairs) OtherPairs(&compilation.plan);
  RENGA_ASSIGN_OR_RETURN(const std::string bytes, plan::Serialize(compilation.plan));
  const std::string plan = flags.folder + "/faulty.plan";
  RENGA_RETURN_IF_ERROR(WriteFileAtomically(plan, {bytes}));
  std::cout << "wrote " << plan << "\n";
  return absl::OkStatus();
}

}  // namespace
}  // namespace renga::faults

int main(int argc, char** argv) {
  renga::faults::Flags flags;
  CLI::App app("Makes a faulty plan to try `renga verify` on.");
  app.add_option("model", flags.model, "a GGUF")->required();
  app.add_option("-o", flags.folder, "folder for what is made")->required();
  app.add_flag("--zero-biases", flags.zero_biases, "the loader leaves zeros for biases");
  app.add_flag("--other-pairs", flags.other_pairs, "RoPE rotates the other pairs");
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = renga::faults::Run(flags);
  if (status.ok()) return 0;
  std::cerr << "error: " << status.message() << "\n";
  return 2;
}
