// Flags of the verbs that open a model, GGUF or plan.
#pragma once

#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "tools/given_steps.h"
#include "tools/open_model.h"
#include "tools/renga/compile_flags.h"

namespace renga {

struct ModelFlags {
  std::string model;
  std::string device = "auto";
  int threads = 0;
  bool no_cache = false;
  bool check_steps = false;
  bool check = false;
  std::string repro;  // folder for what --check finds, and for a GPU's step that fails
  bool paranoid = false;
  bool recompile = false;
  CompileFlags compile;
  // What a step was given that failed on a GPU; where `repro` asks for it.
  std::shared_ptr<GivenSteps> given = std::make_shared<GivenSteps>();

  // Checks the flags against what the file is. Errors also as IsPlan.
  absl::StatusOr<OpenOptions> Options() const;

  // What the verb returns: where --check found something, that is said on stderr and the answer is
  // no. An error of a GPU's step stays what it is, and says where the step is kept.
  absl::Status CheckedAnswer(const absl::Status& status) const;

  // Tokens that a sequence may hold: what the model was compiled for, or less where -c asks for
  // less. InvalidArgument where it asks for more.
  absl::StatusOr<int64_t> Context(const plan::Plan& plan) const;
};

// MODEL, also as -m.
void AddModelArgument(CLI::App& app, std::string* model);

// MODEL, --no-cache and the compile flags.
void AddModelFlags(CLI::App& app, ModelFlags* flags);

// --device, --threads, and what only GPUs know.
void AddDeviceFlags(CLI::App& app, ModelFlags* flags);

// --check and --repro, for verbs that run a model for its results.
void AddCheckFlags(CLI::App& app, ModelFlags* flags);

}  // namespace renga
