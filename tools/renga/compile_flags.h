// Flags about how a GGUF becomes a plan, shared by the verbs that may compile one.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "tools/compiler.h"

namespace renga {

// Of CompileFlags::context: what fits into memory, for verbs that run the model.
inline constexpr int64_t kAutoContext = std::numeric_limits<int64_t>::min();

struct CompileFlags {
  std::optional<int64_t> context;
  std::optional<int64_t> max_sequences;
  std::optional<int64_t> kv_tokens;
  std::optional<int64_t> max_step_tokens;
  std::optional<int64_t> max_rows;
  std::string kv_type;                // "k=f16,v=f16": kv_type_flag.h
  std::optional<std::string> passes;  // names separated by commas; "" is none
  std::vector<std::string> disabled_passes;
  std::vector<std::string> kernels;  // "NODE=KERNEL"

  // Errors: InvalidArgument naming the flag.
  absl::StatusOr<CompileOptions> Options() const;

  // A plan is what it is: InvalidArgument when a flag other than -c asks for something else.
  absl::Status CheckForPlan(const std::string& plan) const;
};

void AddCompileFlags(CLI::App& app, CompileFlags* flags);

}  // namespace renga
