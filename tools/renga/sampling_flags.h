// Flags that choose the next token, with llama.cpp's names and defaults.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "runtime/text/sampler.h"

namespace renga {

struct SamplingFlags {
  SamplingParams params;
  std::vector<std::string> logit_bias;  // "ID=V"
  std::optional<uint64_t> seed;         // nullopt: a new one each time

  // For a vocabulary of `vocab` tokens. Errors: a bias that does not read, of an id out of range.
  // What else can be wrong Sampler::Create finds.
  absl::StatusOr<SamplingParams> Params(int64_t vocab) const;
};

void AddSamplingFlags(CLI::App& app, SamplingFlags* flags);

}  // namespace renga
